"""Rounds: what an undecided claim gets, what a decided one does not, and verdicts that hold at every look."""

import importlib
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nfd import rounds
from nfd.claims import rules
from nfd.claims.family import Claim
from nfd.evidence.intervals import Interval, intervals_at, mean_interval
from nfd.evidence.significance import LOOKS, Look
from nfd.evidence.table import Rows
from nfd.pipeline import config_files
from nfd.pipeline.config import ConfigError, check
from nfd.seeds import generator

ROOT = Path(__file__).parents[1]
# 'scaling' decides the first claim, 'depth_transfer' the second.
CLAIMS = {
    "C1": Claim("C1", "near-zero", "Near 0.", ("scaling_trend",)),
    "C7": Claim("C7", "no-drift", "No drift.", ("depth_transfer",)),
}
BOUND = 0.1
RICH_S = 1e9


@pytest.fixture(autouse=True)
def claims(monkeypatch):
    """Both claims say that a number lies within ±BOUND: an average, and a drift of depth_mup."""

    def verdict_on(figure, quantity, observable):
        rule = rules.within(-BOUND, BOUND, "near 0")

        def verdict(frames):
            row = rules.pick_row(frames[figure], quantity)
            return [
                rules.finding(frames, figure, row, rule, observable, quantity, decides=True),
                rules.finding(frames, figure, row, rule, "listed", quantity),
            ]

        return verdict

    judges = {
        "C1": verdict_on("scaling_trend", "average", "average"),
        "C7": verdict_on("depth_transfer", "drift", "drift: depth_mup, sgd"),
    }
    monkeypatch.setattr(rounds, "CLAIMS", CLAIMS)
    monkeypatch.setattr(rules, "function", lambda part, name: judges[name])


def config_of(seeds=5, **experiments):
    """A checked configuration of the two experiments at the look with so many seeds."""
    scaling = {
        "networks": [{"parametrization": "depth_mup"}, {"parametrization": "mup"}],
        "grids": [{"widths": [16], "depths": [2, 4]}],
        "learning_rates": [0.25, 0.354, 0.5],
        "seeds": seeds,
        "steps": 10,
        "batch_size": 8,
    }
    both = {"scaling": scaling, "depth_transfer": scaling}
    both = {name: {**settings, **experiments.get(name, {})} for name, settings in both.items()}
    base = {"preset": "mine", "dataset": {"name": "digits"}, "experiments": both}
    return check(config_files.lay_over(base, rounds.opening(check(base))))


def evidence(average=(0.0, 0.05), drift=(0.0, 0.05), seeds=5, best=()):
    """Estimates with half widths; ``best`` has (series, best rate of the grid, whether it is usable)."""
    frames = {}
    for figure, quantity, (estimate, half) in (
        ("scaling_trend", "average", average),
        ("depth_transfer", "drift", drift),
    ):
        rows = Rows()
        rows.add(quantity, {}, interval_of(estimate, half), seeds)
        for series, rate, is_usable in best if quantity == "drift" else ():
            shown = {"series": series, "learning_rate": rate, "source": "network"}
            rows.add("best_learning_rate", {}, np.array(rate if is_usable else np.nan), **shown)
        frames[figure] = rows.frame()
    return frames


def interval_of(estimate, half):
    return Interval(*map(np.asarray, (estimate, estimate - half, estimate + half)))


def seeds_of(overlay):
    return {name: settings["seeds"] for name, settings in overlay["experiments"].items()}


def test_what_is_decided_gets_nothing():
    planned = rounds.plan(config_of(), evidence(), RICH_S)
    assert planned.overlay == {}
    assert [prospect.verdict for prospect in planned.prospects] == [rules.SUPPORTED] * 2


def test_only_the_undecided_claims_experiment_grows_and_to_the_next_look():
    planned = rounds.plan(config_of(), evidence(average=(0.0, 0.2)), RICH_S)
    assert seeds_of(planned.overlay) == {"scaling": 8, "depth_transfer": 5}
    assert planned.overlay["experiments"]["scaling"]["looks"] == list(LOOKS)


def test_the_foretold_look_is_the_first_whose_interval_fits():
    """Half widths by hand: t quantile of the look's level over the root of the number of seeds."""
    half = 0.4
    planned = rounds.plan(config_of(), evidence(average=(0.0, half)), RICH_S)

    def half_at(seeds):
        def in_sd(n):
            return stats.t.ppf(0.5 + Look(n, LOOKS).level() / 2, n - 1) / sqrt(n)

        return half * in_sd(seeds) / in_sd(5)

    needed = next(seeds for seeds in LOOKS if half_at(seeds) < BOUND)
    assert needed in LOOKS[1:-1]
    prospect = planned.prospects[0]
    assert prospect.seeds == needed
    assert prospect.width == pytest.approx(2 * half)
    assert prospect.expected == pytest.approx(2 * half_at(8))


def test_a_claim_beyond_the_last_look_is_told_what_it_would_take():
    """The half width falls as the root of the seeds: 20 times the bound at five is far beyond 55."""
    planned = rounds.plan(config_of(), evidence(average=(0.09, 0.4)), RICH_S)
    assert planned.overlay == {}
    prospect = planned.prospects[0]
    assert prospect.seeds > LOOKS[-1]
    assert prospect.cost_s > 0
    said = rounds.described(planned, RICH_S)[0]
    assert f"about {prospect.seeds} seeds" in said
    assert "beyond the last look" in said


def test_an_estimate_on_the_bound_is_told_that_seeds_do_not_help():
    planned = rounds.plan(config_of(), evidence(average=(BOUND, 0.2)), RICH_S)
    assert planned.overlay == {}
    assert "more seeds would not decide it: average" in rounds.described(planned, RICH_S)[0]


def test_the_budget_serves_the_cheapest_claim_and_names_the_price_of_the_other():
    config = config_of(scaling={"steps": 10**7})
    undecided = evidence(average=(0.0, 0.2), drift=(0.0, 0.2))
    whole = rounds.plan(config, undecided, RICH_S)
    costs = {prospect.claim: prospect.cost_s for prospect in whole.prospects}
    assert costs["C7"] < costs["C1"]
    planned = rounds.plan(config, undecided, costs["C1"] / 2)
    assert seeds_of(planned.overlay) == {"scaling": 5, "depth_transfer": 8}
    assert [prospect.chosen for prospect in planned.prospects] == [False, True]
    assert "are left" in rounds.described(planned, costs["C1"] / 2)[0]
    assert planned.cost_s <= costs["C7"]
    assert rounds.plan(config, undecided, 0.0).overlay == {}


def test_costs_follow_the_measured_pace():
    undecided = evidence(average=(0.0, 0.2))
    planned = [rounds.plan(config_of(), undecided, RICH_S, pace) for pace in (1.0, 3.0)]
    assert planned[1].cost_s == pytest.approx(3 * planned[0].cost_s)


def test_an_optimum_at_an_end_of_the_grid_gets_rates_beyond_it():
    lost = ("depth_mup", 0.5, False)
    planned = rounds.plan(config_of(), evidence(drift=(0.0, 0.2), best=[lost]), RICH_S)
    networks = planned.overlay["experiments"]["depth_transfer"]["networks"]
    assert networks[0]["learning_rates"][:3] == [0.25, 0.354, 0.5]
    assert networks[0]["learning_rates"][3:] == pytest.approx([0.5 * sqrt(2), 1.0], rel=0.01)
    assert "learning_rates" not in networks[1]
    assert seeds_of(planned.overlay) == {"scaling": 5, "depth_transfer": 5}


def test_a_coarse_grid_gets_rates_between_and_only_about_the_optima():
    coarse = {"learning_rates": [0.0625, 0.25, 1.0, 4.0, 16.0]}
    best = [("depth_mup", 1.0, True), ("mup", 0.25, False)]
    config = config_of(depth_transfer=coarse)
    planned = rounds.plan(config, evidence(drift=(0.0, 0.2), best=best), RICH_S)
    networks = planned.overlay["experiments"]["depth_transfer"]["networks"]
    assert networks[0]["learning_rates"] == [0.0625, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0]
    assert "learning_rates" not in networks[1], "no undecided finding speaks of mup"


def test_a_line_is_not_named_by_a_longer_name():
    known = ["mup", "depth_mup", "mup, no skip"]
    assert rounds._is_named("depth_mup", "drift: depth_mup, sgd", known)
    assert not rounds._is_named("mup", "drift: depth_mup, sgd", known)
    assert not rounds._is_named("mup", "drift: mup, no skip, sgd", known)


def test_too_few_seeds_for_a_verdict_go_to_the_next_look():
    planned = rounds.plan(config_of(seeds=2), evidence(seeds=2, average=(0.0, 9.0)), RICH_S)
    assert seeds_of(planned.overlay)["scaling"] == 5


def test_seeds_grow_and_stay():
    assert rounds.more_seeds(5, 8) == 8
    assert rounds.more_seeds([3, 7], 5) == [3, 7, 0, 1, 2]
    assert rounds.schedule(10) == [10, 13, 21, 34, 55]
    assert rounds.schedule(60) == [60]


def test_the_limit_grows_in_proportion():
    settings = {"seeds": 8, "limit": {"seeds": 6, "depths": [4]}}
    assert rounds._with_seeds(settings, 13)["limit"]["seeds"] == 10


def test_an_overlay_is_a_configuration_that_can_be_run_again():
    """A plan made on it goes on from there: five, eight, thirteen, ... and ends with the schedule."""
    config, seen = config_of(), []
    while True:
        seeds = config["experiments"]["scaling"]["seeds"]
        seen.append(seeds)
        planned = rounds.plan(config, evidence(average=(0.0, 0.12), seeds=seeds), RICH_S)
        if not planned.overlay:
            break
        config = check(config_files.lay_over(config, planned.overlay))
    assert seen == list(LOOKS)


def test_seeds_off_the_schedule_are_refused():
    config = config_of()
    config["experiments"]["scaling"]["seeds"] = 7
    with pytest.raises(
        ConfigError, match=r"scaling.seeds: 7 seeds are no look of the schedule \[5, 8"
    ):
        check(config)


@pytest.fixture
def decide(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("decide")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_budgets(decide, text, seconds):
    assert decide._seconds(text) == seconds


def test_a_budget_without_unit_is_refused(decide, capsys):
    with pytest.raises(SystemExit):
        decide.main(["--budget", "10"])
    assert "'10' is no time; accepted are such as 90s, 10m" in capsys.readouterr().err


def test_peeking_makes_no_wrong_decision_likelier():
    """1,000 sweeps whose truth is the bound, stopped at the first look that decides: either verdict is wrong.

    With levels of looks at most 5 % (standard error 0.7 %); with plain 95 % intervals, the control, far more.
    """
    sweeps = 1000
    draws = BOUND + 0.05 * generator(0, "peeking").normal(size=(LOOKS[-1], sweeps))
    wrong = {}
    for name in ("looks", "plain"):
        decided = np.zeros(sweeps, bool)
        for seeds in LOOKS:
            level = Look(seeds, LOOKS).level() if name == "looks" else 0.95
            with intervals_at(level):
                found = mean_interval(draws[:seeds])
            rule = rules.within(-BOUND, BOUND, "near 0")
            verdicts = np.array(
                [rule.verdict(*ends) for ends in zip(found.low, found.high, strict=True)]
            )
            decided |= verdicts != rules.INCONCLUSIVE
        wrong[name] = decided.mean()
    assert wrong["looks"] < 0.065
    assert wrong["plain"] > 0.12
