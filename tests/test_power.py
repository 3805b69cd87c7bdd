"""Simulated error rates: small runs within stated errors, controls that do worse, a page up to date."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nfd.evidence import power
from nfd.report.verdicts import between_markers

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CASES = power.all_cases()
EXPERIMENTS = 300  # standard errors: 1.3 % of a coverage of 95 %, 1.3 % of an error rate of 5 %


def cases(rule: str, setting: str = "") -> list[power.Case]:
    found = [c for c in CASES if c.rule == rule and c.setting.startswith(setting)]
    assert found
    return found


@pytest.mark.parametrize(
    "case",
    [
        *cases("drift of the best rate", power.SHALLOW.name),
        *cases("drift of the best rate", power.DEEP_EDGE.name),
        *cases("regret of keeping the rate (root)", power.DEEP.name),
        *cases("exponent of an amplitude", "noise 0.3"),
        *cases("gain with depth, limit + b/L"),
        *cases("gains diminish (ratio below 3/4)"),
        *cases("advantage above 1 %"),
    ],
    ids=lambda case: f"{case.rule}, {case.setting}, {case.truth:g}",
)
def test_coverage_and_wrong_verdicts_with_eight_seeds(case):
    """Coverage of 93 % or more and wrong verdicts below 5 %, give or take three standard errors.

    Coverage is below 98 % too, but where the noise is so small that known errors dominate, those of smoothing
    or of an edge whose place is rounded to the grid.
    """
    found = power.fixed_seeds(case, 8, EXPERIMENTS)
    assert found["coverage"] > 0.93 - 0.04
    known_errors = (power.SHALLOW.name, power.DEEP_EDGE.name)
    assert found["coverage"] < 0.98 + 0.02 or case.setting in known_errors
    assert found["wrong"] < 0.05 + 0.04


def test_a_plateau_in_squares_errs_on_the_safe_side():
    for case in cases("plateau in squares", "noise 0.3"):
        found = power.fixed_seeds(case, 8, EXPERIMENTS)
        assert found["coverage"] > 0.93 - 0.04
        assert found["wrong"] < 0.05 + 0.04


def test_leaving_diverged_runs_out_decides_nothing():
    """The control, at a true drift of 0 beside the edge of stability."""
    ours, survivors = (
        next(c for c in cases(rule, power.DEEP_CLOSE.name) if c.truth == 0.0)
        for rule in ("drift of the best rate", "drift, diverged runs left out")
    )
    counted = power.fixed_seeds(ours, 8, 100)
    assert counted["coverage"] > 0.9
    assert counted["supported"] > 0.8
    assert power.fixed_seeds(survivors, 8, 100)["supported"] < 0.2


def test_a_root_of_a_clipped_square_decides_less():
    """The control, where nothing is left: its plateau is biased upwards and seldom excludes the threshold."""
    ours, roots = (
        next(c for c in cases(rule, "noise 0.3") if c.truth == 0.0)
        for rule in ("plateau in squares", "plateau of roots, free exponent")
    )
    shares = [power.fixed_seeds(case, 8, 60)["supported"] for case in (ours, roots)]
    assert shares[0] > shares[1] + 0.1


def test_peeking_is_paid_for_by_the_levels_of_the_looks():
    """1000 sweeps at an end of the range (standard error 0.7 %): 5 % wrong with, more than 9 % without."""
    case = next(c for c in cases("advantage above 1 %", "noise 10") if c.truth == 0.01)
    assert power.growing_seeds(case, 1000)["wrong"] < 0.05 + 0.02
    assert power.growing_seeds(case, 1000, spent=False)["wrong"] > 0.09


def test_a_verdict_at_an_end_of_the_range_is_wrong_either_way():
    case = next(c for c in CASES if c.rule == "drift of the best rate" and c.truth == -power.DRIFT)
    assert case.wrong("supported")
    assert case.wrong("contradicted")
    assert not case.wrong("inconclusive")


def test_simulations_are_addressed_by_name():
    case = cases("advantage above 1 %")[0]
    assert power.fixed_seeds(case, 5, 20) == power.fixed_seeds(case, 5, 20)
    assert power.fixed_seeds(case, 5, 20) != power.fixed_seeds(case, 8, 20)


# ------------------------------------------------------------------------------------ the recorded tables


@pytest.mark.parametrize(
    ("name", "table"),
    [("rules", power.fixed_seeds_table), ("looks", power.growing_seeds_table)],
)
def test_the_page_holds_the_recorded_tables(name, table):
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    begin = f"<!-- {name}: made by scripts/simulate_rules.py -->"
    content = table(pd.read_csv(RESULTS / f"{name}.csv"))
    assert between_markers(page, content, begin, f"<!-- end of {name} -->") == page


def test_the_recorded_tables_are_of_the_cases_at_hand():
    rules = pd.read_csv(RESULTS / "rules.csv")
    recorded = rules[["rule", "setting", "truth"]].drop_duplicates().itertuples(index=False)
    assert [(r.rule, r.setting, round(r.truth, 4)) for r in recorded] == [
        (c.rule, c.setting, round(c.truth, 4)) for c in CASES
    ]
    assert set(rules["seeds"]) == set(power.SEEDS)


def test_recorded_wrong_verdicts_are_rare():
    rules = pd.read_csv(RESULTS / "rules.csv").query("not control")
    error = np.sqrt(0.05 * 0.95 / rules["experiments"])
    bad = rules[rules["wrong"] > 0.05 + 3 * error]
    assert bad.empty, bad[["rule", "setting", "truth", "seeds", "wrong"]].to_string()
    looks = pd.read_csv(RESULTS / "looks.csv")
    spent = looks[looks["level"].str.startswith("spent")]
    assert (spent["wrong"] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / spent["experiments"])).all()
