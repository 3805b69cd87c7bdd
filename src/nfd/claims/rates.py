"""What the claims about learning rates share (C7, C8, C10, C11): findings of drift and regret.

Drift is the slope of log2 best rate against log2 size; regret the relative loss of keeping the smallest
network's rate at the largest size (:mod:`nfd.evidence.rates`). A verdict needs both, in either direction: a
best rate that moves while keeping it costs nothing is no failure of transfer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import pandas as pd

from nfd.claims.rules import (
    Condition,
    Effect,
    Finding,
    Frames,
    Rule,
    above,
    below,
    diverged,
    finding,
    notes,
    outside,
    pick_row,
)
from nfd.evidence.table import pick, series_label

# A drift of 0.1 moves the best rate by 2^0.5 = 1.4 over five doublings, less than the usual spacing of a
# grid; the drift that wrong scaling predicts is 0.5 or 1.
DRIFT = 0.1
# Loss lost by transferring the smallest network's rate: 10 %, about what a doubling of size buys.
REGRET = 0.1

TRANSFERS = Rule(
    f"supported if the drift's interval lies within ±{DRIFT:g} and the regret's at the largest size below "
    f"{REGRET:g}; contradicted if the drift's lies outside ±{DRIFT:g} and the regret's above {REGRET:g}",
    (-DRIFT, DRIFT),
    ((-inf, -DRIFT), (DRIFT, inf)),
    (
        Condition((-inf, REGRET), Effect.NEEDED_TO_SUPPORT),
        Condition((REGRET, inf), Effect.NEEDED_TO_CONTRADICT),
    ),
)
DOES_NOT_TRANSFER = TRANSFERS.negation(
    f"supported if the drift's interval lies outside ±{DRIFT:g} and the regret's at the largest size above "
    f"{REGRET:g}; contradicted if the drift's lies within ±{DRIFT:g} and the regret's below {REGRET:g}"
)
# What a control must show: a statistic that does not see a known drift cannot say that there is none.
DRIFTS = outside(-DRIFT, DRIFT, "the best rate is known to move, and it is seen to")
SMALL_REGRET = below(REGRET, "the smallest network's rate serves the largest")
LARGE_REGRET = above(REGRET, "the smallest network's rate does not serve the largest")

CORRECTED = series_label({"parametrization": "depth_mup_corrected", "correction": 0.5})


def transfer_findings(
    frames: Frames,
    figure: str,
    axis: str,
    series: str,
    optimizer: str = "sgd",
    *,
    rule: Rule = TRANSFERS,
    decides: bool = False,
) -> list[Finding]:
    """Drift (judged by ``rule``, TRANSFERS or its negation) and regret of one line over ``axis``."""
    frame = frames[figure]
    other = "width" if axis == "depth" else "depth"
    line = {"series": series, "optimizer": optimizer}
    drift = pick_row(frame, "drift", (other,), **line)
    regret = pick_row(frame, "regret", (other, axis), **line)
    regret_note = (
        "" if regret is None else f"regret {regret['estimate']:.3g} at {axis} {regret[axis]:g}"
    )
    no_regret = f"{series} ({optimizer}), or its smallest network's optimum lies at the grid's edge"
    if regret is not None and regret["estimate"] == inf:
        no_regret = "a finite loss: the smallest network's rate diverges there"
    return [
        finding(
            frames,
            figure,
            drift,
            rule,
            f"best learning rate over {axis}: {series}, {optimizer}",
            f"drift of log2 best rate per log2 {axis}",
            others=[] if regret is None else [_cost(frame, regret, axis, line)],
            decides=decides,
            note=notes(_grid_note(frame, axis, line), regret_note, diverged(frame, **line)),
            absent=f"three values of {axis} of {series} ({optimizer}) with the optimum inside the grid",
        ),
        finding(
            frames,
            figure,
            regret,
            LARGE_REGRET if rule.negated else SMALL_REGRET,
            f"regret over {axis}: {series}, {optimizer}",
            f"relative excess loss of the smallest network's rate at the largest {axis}",
            absent=no_regret,
        ),
    ]


def _cost(frame: pd.DataFrame, regret: pd.Series, axis: str, line: Mapping[str, Any]) -> pd.Series:
    """The regret; infinite, with its interval, where most runs diverge at the transferred rate.

    Where fewer do the regret is infinite too, because the rate is dropped for all seeds, but one seed of many
    is no evidence for or against: then the row keeps its empty interval.
    """
    place = {axis: regret[axis], "learning_rate": regret["learning_rate"]}
    lost = pick_row(frame, "diverged_runs", **line, **place)
    if regret["estimate"] == inf and lost is not None and lost["estimate"] > lost["seeds"] / 2:
        regret = regret.copy()
        regret["ci_low"] = regret["ci_high"] = inf
    return regret


def drift_control(
    frames: Frames,
    figure: str,
    axis: str,
    series: str,
    kind: str,
    rule: Rule = DRIFTS,
) -> Finding:
    """The drift of a line over ``axis`` (SGD) as a control, POSITIVE or NEGATIVE, judged by ``rule``."""
    found = transfer_findings(frames, figure, axis, series, rule=rule)[0]
    return replace(found, observable=f"control, {found.observable}", control=kind)


def _grid_note(frame: pd.DataFrame, axis: str, line: Mapping[str, Any]) -> str:
    """Grid spacing, the step at which 'best' was read, and optima that are unusable."""
    best = pick(frame, "best_learning_rate", source="network", **line)
    spacing = pick_row(frame, "grid_spacing", **line)
    if best.empty or spacing is None:
        return ""
    edge = ", ".join(f"{size:g}" for size in best.loc[best["estimate"].isna(), axis])
    return notes(
        f"grid spacing {spacing['estimate']:g} in log2, read at step {best['step'].iloc[0]:g}",
        f"unusable, optimum at the grid's edge: {axis} {edge}" if edge else "",
    )


def other_lines(
    frames: Frames, figure: str, axis: str, done: Iterable[tuple[str, str]] = ()
) -> list[Finding]:
    """Findings of all lines of a figure (series, optimizer) but those ``done``; they never decide."""
    lines = frames[figure][["series", "optimizer"]].drop_duplicates()
    return [
        found
        for series, optimizer in lines.itertuples(index=False, name=None)
        if optimizer and (series, optimizer) not in set(done)
        for found in transfer_findings(frames, figure, axis, series, optimizer)
    ]
