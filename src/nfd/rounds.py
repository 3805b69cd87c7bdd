"""What to train next so that claims get decided: from evidence to the configuration of the next round.

:func:`plan` is pure. For every claim that is inconclusive it asks the rules what they would say if the
estimates stayed and the intervals were those of more seeds, look by look of the schedule that was fixed
beforehand (:mod:`nfd.evidence.significance`). A claim that this decides within the budget gets the seeds of
its next look; one that rests on an optimum at the end of a grid of rates, or on a coarse grid, gets rates
first; one that is decided gets nothing. What is trained already comes from the store.

Seeds are those of an experiment: its lines are compared in pairs, so all of them grow. Rates are those of the
lines that an undecided finding names.

A round is a configuration file to be laid over the user's own (:attr:`Round.overlay`), so the workflow knows
nothing of rounds. scripts/decide.py drives it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from nfd.claims.certainty import rescaled
from nfd.claims.registry import CLAIMS, FIGURES
from nfd.claims.rules import INCONCLUSIVE, MIN_SEEDS, Frames, judge, overall
from nfd.evidence.learning_rates import FINE_GRID, ROUNDED_RATES
from nfd.evidence.significance import LOOKS, Look, quantile
from nfd.evidence.table import pick, series_label
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.pipeline.cost import START_S
from nfd.pipeline.jobs import expand, seed_list
from nfd.pipeline.looks import looks_of

Config = Mapping[str, Any]
# Beyond this number of seeds a forecast is none.
MOST_SEEDS = 10_000
# An optimum at the end of a grid gets so many rates beyond it.
RATES_BEYOND = 2


@dataclass(frozen=True)
class Prospect:
    """What it would take to decide one claim.

    ``observable`` is the first that is undecided and ``note`` what it lacks. ``seeds`` is the number at which
    the present estimates would decide the claim (None: no number would, or nothing can be foretold),
    ``rates`` how many learning rates are missing instead; ``cost_s`` core-seconds to get there. ``width`` is
    that of the observable's interval now, ``expected`` at the next look. ``next`` has the settings of the
    claim's experiments in the next round, empty if nothing helps; ``chosen``: the budget allows it.
    """

    claim: str
    verdict: str
    observable: str = ""
    note: str = ""
    seeds: int | None = None
    rates: int = 0
    cost_s: float = 0.0
    width: float = np.nan
    expected: float = np.nan
    next: Mapping[str, Any] = field(default_factory=dict)
    chosen: bool = False


@dataclass(frozen=True)
class Round:
    """The next round: the ``overlay`` to run, empty if there is none, and what it costs in core-seconds."""

    prospects: tuple[Prospect, ...]
    overlay: dict[str, Any]
    cost_s: float = 0.0


def opening(config: Config) -> dict[str, Any]:
    """The overlay of the first round: the configuration's own seeds, as the first look of a schedule."""
    config = deepcopy(dict(config))
    for settings in config["experiments"].values():
        settings["looks"] = schedule(len(seed_list(settings["seeds"])))
    return _overlay(config)


def schedule(seeds: int) -> list[int]:
    """The looks of a sweep that begins with so many seeds."""
    return [seeds, *(look for look in LOOKS if look > seeds)]


def plan(config: Config, evidence: Frames, budget_s: float, pace: float = 1.0) -> Round:
    """The next round of a checked ``config`` with looks, from the ``evidence`` of its figures.

    ``budget_s`` are the core-seconds left, ``pace`` the core-seconds that one estimated second has taken.
    Claims are served by their cost, cheapest first; those that share an experiment share its cost.
    """
    shown = {
        name: figure.experiments
        for name, figure in FIGURES.items()
        if set(figure.experiments) <= set(config["experiments"])
    }
    looks = {name: Look(n, tuple(at)) for name, (n, at) in looks_of(config, shown).items()}
    prospects = [_prospect(config, claim, evidence, looks, pace) for claim in CLAIMS]
    taken, chosen = config, set()
    for prospect in sorted(prospects, key=lambda prospect: prospect.cost_s):
        tried = _with_experiments(taken, prospect.next)
        cost = max(prospect.cost_s, pace * cost_s(config, tried))
        if prospect.next and cost <= budget_s:
            taken = tried
            chosen.add(prospect.claim)
    marked = tuple(replace(p, chosen=p.claim in chosen) for p in prospects)
    if not chosen:
        return Round(marked, {})
    return Round(marked, _overlay(taken), pace * cost_s(config, taken))


def _with_experiments(config: Config, grown: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with ``grown`` experiments: of each what is there already, and what is new."""
    experiments = dict(config["experiments"])
    for name, settings in grown.items():
        experiments[name] = _joined(experiments[name], settings)
    return {**config, "experiments": experiments}


def _joined(one: Config, other: Config) -> dict[str, Any]:
    """Settings of an experiment with the seeds of the one that has more, and the rates of both."""
    more = max(one, other, key=lambda settings: len(seed_list(settings["seeds"])))
    networks = []
    for network, again in zip(one["networks"], other["networks"], strict=True):
        rates = {*_rates(network, one), *_rates(again, other)}
        same = rates == set(_rates(network, one))
        networks.append(network if same else {**network, "learning_rates": sorted(rates)})
    return {**more, "networks": networks}


def _rates(network: Config, settings: Config) -> list[float]:
    return list(network.get("learning_rates", settings["learning_rates"]))


def cost_s(before: Config, after: Config) -> float:
    """Estimated core-seconds of what ``after`` trains and simulates that ``before`` does not."""
    total = 0.0
    for name, settings in after["experiments"].items():
        if settings != before["experiments"][name]:
            old, new = (_estimates_s(config, name) for config in (before, after))
            total += sum(new) - sum(old) + START_S * len(new)
    return total


def _estimates_s(config: Config, experiment: str) -> list[float]:
    alone = {**config, "experiments": {experiment: config["experiments"][experiment]}}
    return [job.cost.estimate_s for jobs in expand(alone) for job in jobs]


# ------------------------------------------------------------------------------------------ one claim


def _prospect(
    config: Config, claim: str, evidence: Frames, looks: Mapping[str, Look], pace: float
) -> Prospect:
    frames = {name: evidence[name] for name in CLAIMS[claim].figures if name in evidence}
    found = judge(CLAIMS[claim], frames)
    undecided = found[found["decides"].astype(bool) & (found["verdict"] == INCONCLUSIVE)]
    # A control that has not come out may be all that a claim lacks.
    controls = found[(found["control"] != "") & (found["verdict"] == INCONCLUSIVE)]
    if overall(found) != INCONCLUSIVE:
        return Prospect(claim, overall(found))
    first = undecided.iloc[0]
    prospect = Prospect(claim, INCONCLUSIVE, first["observable"], first["note"])
    needed = pd.concat([undecided, controls])
    figures = list(needed["figure"].drop_duplicates())
    if not set(CLAIMS[claim].figures) <= looks.keys() or len(frames) < len(CLAIMS[claim].figures):
        return prospect
    finer = with_rates(config, frames, needed)
    if finer:
        after = _with_experiments(config, finer)
        return replace(
            prospect,
            rates=_number_of_rates(after) - _number_of_rates(config),
            cost_s=pace * cost_s(config, after),
            next=finer,
        )
    return _with_forecast(prospect, config, frames, looks, figures, pace)


def _with_forecast(
    prospect: Prospect,
    config: Config,
    frames: Frames,
    looks: Mapping[str, Look],
    figures: Sequence[str],
    pace: float,
) -> Prospect:
    """The prospect with how many seeds would decide it, and those of the next look if one will."""
    claim = CLAIMS[prospect.claim]
    experiments = {name for figure in figures for name in FIGURES[figure].experiments}
    step = _deciding_step(prospect.claim, frames, looks)
    seeds = (
        _seeds_at(looks, figures, step) if step else _seeds_beyond(prospect.claim, frames, looks)
    )
    grown = _next_look(config, experiments)
    # With too few seeds for a verdict there is none to foretell another from.
    unknown = seeds is None and any(looks[figure].seeds < MIN_SEEDS for figure in figures)
    if unknown:
        after = _with_experiments(config, grown)
    else:
        counts = {
            name: _with_seeds(config["experiments"][name], seeds or 0) for name in experiments
        }
        after = _with_experiments(config, counts)
    now, then = (
        judge(claim, at).set_index("observable").loc[prospect.observable]
        for at in (frames, _foreseen(frames, looks, 1))
    )
    return replace(
        prospect,
        seeds=seeds,
        cost_s=pace * cost_s(config, after),
        width=float(now["ci_high"] - now["ci_low"]),
        expected=float(then["ci_high"] - then["ci_low"]),
        next=grown if step or unknown else {},
    )


def _deciding_step(claim: str, frames: Frames, looks: Mapping[str, Look]) -> int | None:
    """By how many looks the claim's figures must go on to decide it, if estimates stay."""
    most = max(len(_later(looks[figure])) for figure in frames if figure in looks)
    for step in range(1, most + 1):
        if overall(judge(CLAIMS[claim], _foreseen(frames, looks, step))) != INCONCLUSIVE:
            return step
    return None


def _foreseen(frames: Frames, looks: Mapping[str, Look], step: int) -> dict[str, pd.DataFrame]:
    """Evidence as it would be ``step`` looks later, or at the last look."""
    foreseen = {}
    for figure, frame in frames.items():
        look = looks[figure]
        later = [look.seeds, *_later(look)]
        then = Look(later[min(step, len(later) - 1)], look.schedule)
        foreseen[figure] = _with_more(frame, then.seeds / look.seeds, look.level(), then.level())
    return foreseen


def _with_more(frame: pd.DataFrame, times: float, now: float, then: float) -> pd.DataFrame:
    """Evidence of ``times`` the seeds, at level ``then`` instead of ``now``, estimates as they are."""
    seeds = frame["seeds"].to_numpy(float)
    factor = quantile(then, times * seeds) / quantile(now, seeds) / np.sqrt(times)
    return rescaled(frame, factor).assign(seeds=times * frame["seeds"])


def _seeds_at(looks: Mapping[str, Look], figures: Iterable[str], step: int) -> int:
    """Most seeds that any of ``figures`` has ``step`` looks later."""
    later = [[looks[figure].seeds, *_later(looks[figure])] for figure in figures]
    return max(at[min(step, len(at) - 1)] for at in later)


def _seeds_beyond(claim: str, frames: Frames, looks: Mapping[str, Look]) -> int | None:
    """About how many seeds would decide a claim that no look does; None if MOST_SEEDS would not."""
    now = max(look.seeds for figure, look in looks.items() if figure in frames)
    seeds = max(look.schedule[-1] for look in looks.values())
    while seeds <= MOST_SEEDS:
        foreseen = {}
        for figure, frame in frames.items():
            level = looks[figure].level()
            foreseen[figure] = _with_more(frame, seeds / now, level, level)
        if overall(judge(CLAIMS[claim], foreseen)) != INCONCLUSIVE:
            return seeds
        seeds = int(np.ceil(1.15 * seeds))
    return None


def _later(look: Look) -> tuple[int, ...]:
    return tuple(seeds for seeds in look.schedule if seeds > look.seeds)


# -------------------------------------------------------------------------------------------- seeds


def _next_look(config: Config, experiments: Iterable[str]) -> dict[str, Any]:
    """Settings of those of ``experiments`` that have another look, with its seeds."""
    grown = {}
    for name in experiments:
        settings = config["experiments"][name]
        later = [n for n in settings["looks"] if n > len(seed_list(settings["seeds"]))]
        if later:
            grown[name] = _with_seeds(settings, later[0])
    return grown


def _with_seeds(settings: Config, count: int) -> dict[str, Any]:
    """Settings of an experiment with ``count`` seeds; those of its limit grow in proportion."""
    now = len(seed_list(settings["seeds"]))
    grown = {**settings, "seeds": more_seeds(settings["seeds"], count)}
    limit = settings["limit"]
    if limit is not None and "seeds" in limit:
        wanted = int(np.ceil(len(seed_list(limit["seeds"])) * max(count, now) / now))
        grown["limit"] = {**limit, "seeds": more_seeds(limit["seeds"], wanted)}
    return grown


def more_seeds(seeds: int | Sequence[int], count: int) -> int | list[int]:
    """``seeds`` as a configuration has them, grown to ``count``: those there stay."""
    if isinstance(seeds, int):
        return max(seeds, count)
    unused = (n for n in range(len(seeds) + count) if n not in seeds)
    return [*seeds, *(next(unused) for _ in range(count - len(seeds)))]


# -------------------------------------------------------------------------------------------- rates


def with_rates(config: Config, frames: Frames, undecided: pd.DataFrame) -> dict[str, Any]:
    """Settings of the experiments that need more learning rates for ``undecided`` findings; may be empty.

    A line that a finding speaks of needs some where its optimum lies at an end of its grid, and in the middle
    if the grid is coarser than FINE_GRID there.
    """
    finer = {}
    for figure, findings in undecided.groupby("figure"):
        best = pick(frames[str(figure)], "best_learning_rate", source="network")
        text = " | ".join(findings["observable"])
        for name in FIGURES[str(figure)].experiments:
            settings = config["experiments"][name]
            networks = [
                _with_needed(network, settings, best, text) for network in settings["networks"]
            ]
            if networks != list(settings["networks"]):
                finer[name] = {**settings, "networks": networks}
    return finer


def _with_needed(network: Config, settings: Config, best: pd.DataFrame, text: str) -> Config:
    lines = [s for s in _series_of(network, settings) if _is_named(s, text, best["series"])]
    rates = _rates(network, settings)
    added = _needed_rates(rates, best[best["series"].isin(lines)])
    return {**network, "learning_rates": sorted({*rates, *added})} if added else network


def _series_of(network: Config, settings: Config) -> list[str]:
    """The lines of figures (one per coupling) that a network of a configuration is."""
    block_layers = network.get("block_layers", settings["block_layers"])
    roles = ("input", "hidden_1", "hidden_2", "output")
    trained = network.get("trainable", [r for r in roles if r != "hidden_1" or block_layers == 2])
    has_correction = PARAMETRIZATIONS[network["parametrization"]].has_correction
    row = {
        "parametrization": network["parametrization"],
        "correction": network.get("correction", 0.5) if has_correction else 0.0,
        "block_layers": block_layers,
        "skip": network.get("skip", True),
        "trainable": "+".join(role for role in roles if role in trained),
    }
    couplings = network.get("couplings", settings["couplings"])
    return [series_label({**row, "coupling": coupling}) for coupling in couplings]


def _is_named(series: str, text: str, known: Iterable[str]) -> bool:
    """Whether a text speaks of a line, and not only of one whose longer name holds its name."""
    for longer in sorted(set(known), key=len, reverse=True):
        if series in longer and longer != series:
            text = text.replace(longer, "")
    return re.search(rf"(?<!\w){re.escape(series)}(?!\w)", text) is not None


def _needed_rates(rates: Sequence[float], best: pd.DataFrame) -> set[float]:
    """Rates that the optima of a line (rows of best_learning_rate) lack on its grid."""
    grid = np.sort(np.asarray(rates, float))
    if best.empty or len(grid) < 2:
        return set()
    spacing = float(np.median(np.diff(np.log2(grid))))
    steps = 2 ** (spacing * np.arange(1, RATES_BEYOND + 1))
    at = best["learning_rate"].to_numpy(float)
    at_edge = at[best["estimate"].isna().to_numpy()]
    added: list[float] = []
    if np.isclose(at_edge, grid[0]).any():
        added += list(grid[0] / steps)
    if np.isclose(at_edge, grid[-1]).any():
        added += list(grid[-1] * steps)
    if not added and np.isfinite(at).any():
        low, high = np.nanmin(at), np.nanmax(at)
        for left, right in pairwise(grid):
            beside_best = right >= low * (1 - 1e-9) and left <= high * (1 + 1e-9)
            if beside_best and np.log2(right / left) > FINE_GRID + ROUNDED_RATES:
                added.append(np.sqrt(left * right))
    return {float(f"{rate:.4g}") for rate in added}


def _number_of_rates(config: Config) -> int:
    """Learning rates of all networks of all experiments."""
    return sum(
        len(_rates(network, settings))
        for settings in config["experiments"].values()
        for network in settings["networks"]
    )


# ------------------------------------------------------------------------------- what is written and said


def _overlay(config: Config) -> dict[str, Any]:
    """What rounds change of a configuration, whole: seeds, looks, networks, the limit's seeds."""
    experiments = {}
    for name, settings in config["experiments"].items():
        changed = {key: settings[key] for key in ("seeds", "looks", "networks")}
        limit = settings["limit"]
        if limit is not None and "seeds" in limit:
            changed["limit"] = {"seeds": limit["seeds"]}
        experiments[name] = changed
    return deepcopy({"experiments": experiments})


def described(planned: Round, budget_s: float) -> list[str]:
    """One sentence per claim; ``budget_s`` are the core-seconds left."""
    return [
        f"{p.claim:>3} {CLAIMS[p.claim].name}: {_sentence(p, budget_s)}" for p in planned.prospects
    ]


def _sentence(prospect: Prospect, budget_s: float) -> str:
    if prospect.verdict != INCONCLUSIVE:
        return prospect.verdict
    cost = f"about {core_time(prospect.cost_s)}"
    if prospect.rates:
        needs = f"needs {prospect.rates} more learning rates, {cost}"
    elif prospect.seeds:
        needs = f"needs about {prospect.seeds} seeds if its estimate stays, {cost}"
    elif prospect.next:
        needs = f"has too few seeds for a verdict; those of the next look take {cost}"
    elif prospect.note.startswith("missing: experiment"):
        return f"undecided; {prospect.note}"
    else:
        why = f" ({prospect.note})" if prospect.note else ""
        return f"more seeds would not decide it: {prospect.observable}{why}"
    if prospect.chosen and np.isfinite(prospect.expected):
        needs += (
            f"; the interval of '{prospect.observable}', now {prospect.width:.2g} wide, "
            f"should be {prospect.expected:.2g} wide at the next look"
        )
    if not prospect.next:
        return f"{needs}; that is beyond the last look"
    return needs if prospect.chosen else f"{needs}; {core_time(budget_s)} are left"


def core_time(seconds: float) -> str:
    """'9 core hours', '4 core minutes'."""
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"{minutes} core minute{'s' if minutes > 1 else ''}"
    hours = seconds / 3600
    return f"{hours:.2g} core hours" if hours < 10 else f"{hours:.0f} core hours"
