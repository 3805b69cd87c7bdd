"""How sure verdicts are: each by itself, all of a run together, and at repeated looks.

A verdict is one of whole claims, with several observables, conditions and controls, so its p-value is found
by asking the rules again: it is the least error at which the verdict still stands when all intervals of the
evidence are widened to that error. Intervals are widened about their estimates, as t intervals with one
degree of freedom less than there are seeds; that is what they are, but for those on a transformed scale and
those of several groups, where it is an approximation.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nfd.claims.registry import CLAIMS
from nfd.claims.rules import CONTRADICTED, INCONCLUSIVE, Frames, judge, overall
from nfd.evidence.intervals import LEVEL
from nfd.evidence.significance import Look, holm, quantile

# The columns of claims.csv that say how sure a claim's verdict is; a claim's rows agree in them.
CERTAINTY_COLUMNS = ("p_value", "p_holm")
# Those of a run that was judged at a look of a schedule.
LOOK_COLUMNS = ("look", "level")
# Smaller errors are told from none by no rule here, and strain the tails of the boundaries.
LEAST_ERROR = 1e-6
_HALVINGS = 12

Looks = Mapping[str, Look]


def level_of(figure: str, looks: Looks, error: float = 1 - LEVEL) -> float:
    """Two-sided level of a figure's intervals: that of its look, or of a single one, 1 - ``error``."""
    return looks[figure].level(1 - error) if figure in looks else 1 - error


def rescaled(frame: pd.DataFrame, factor: np.ndarray | float) -> pd.DataFrame:
    """Evidence with intervals ``factor`` times as wide, about their estimates."""
    found = frame.copy()
    for end in ("ci_low", "ci_high"):
        with np.errstate(invalid="ignore"):
            moved = frame["estimate"] + factor * (frame[end] - frame["estimate"])
        found[end] = np.where(np.isfinite(frame["estimate"]), moved, frame[end])
    return found


def at_error(frames: Frames, looks: Looks, error: float) -> dict[str, pd.DataFrame]:
    """Evidence, made at the 5 % of ``looks``, as it would be at another ``error``."""
    widened = {}
    for figure, frame in frames.items():
        seeds = frame["seeds"].to_numpy(float)
        now = quantile(level_of(figure, looks), seeds)
        widened[figure] = rescaled(frame, quantile(level_of(figure, looks, error), seeds) / now)
    return widened


def p_value(claim: str, frames: Frames, looks: Looks, found: pd.DataFrame) -> float:
    """p-value of a claim's verdict, given its findings: one-sided, so a verdict of 95 % intervals has 0.025.

    All deciding findings must support, so the least sure of them counts; any of them may contradict, so
    there the surest counts, times their number. At a look it is the repeated p-value (Jennison and Turnbull
    2000, section 9.2). At least LEAST_ERROR / 2; NaN where nothing is decided.
    """
    verdict = overall(found)
    if verdict == INCONCLUSIVE:
        return np.nan
    used = {figure: frames[figure] for figure in CLAIMS[claim].figures if figure in frames}

    def stands_at(log_error: float) -> bool:
        widened = at_error(used, looks, float(np.exp(log_error)))
        return overall(judge(CLAIMS[claim], widened)) == verdict

    stands, falls = np.log(1 - LEVEL), np.log(LEAST_ERROR)
    if stands_at(falls):
        stands = falls
    for _ in range(_HALVINGS if stands > falls else 0):
        middle = (stands + falls) / 2
        stands, falls = (middle, falls) if stands_at(middle) else (stands, middle)
    ways = int(found["decides"].sum()) if verdict == CONTRADICTED else 1
    return float(min(1.0, ways * np.exp(stands) / 2))


def with_certainty(findings: Sequence[pd.DataFrame], frames: Frames, looks: Looks) -> pd.DataFrame:
    """The table of claims, from the findings of each: with CERTAINTY_COLUMNS, at looks LOOK_COLUMNS too."""
    p_values = {
        claim: p_value(claim, frames, looks, found)
        for claim, found in ((table["id"].iloc[0], table) for table in findings)
    }
    table = pd.concat(findings, ignore_index=True)
    table["p_value"] = table["id"].map(p_values)
    table["p_holm"] = table["id"].map(holm(p_values))
    if looks:
        schedules = table["figure"].map(lambda figure: looks.get(figure))
        table["look"] = [look.seeds if look else np.nan for look in schedules]
        table["level"] = [look.level() if look else LEVEL for look in schedules]
    return table


def wrong_decisions(findings: pd.DataFrame) -> float:
    """How many wrong verdicts are to be expected at most, of all claims in the table of claims.

    Half of 5 % for each deciding finding: a claim that is true is contradicted wrongly if one of them does
    it, and one that is false is supported wrongly only if all do.
    """
    return (1 - LEVEL) / 2 * int(findings["decides"].astype(bool).sum())
