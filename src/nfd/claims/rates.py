"""What the claims about learning rates share (C7, C8, C10, C11): findings of drift, regret and stability.

Drift is the slope of log2 best rate against log2 size; regret the relative loss of keeping the smallest
network's rate at the largest size (:mod:`nfd.evidence.rates`). A verdict needs both, in either direction: a
best rate that moves while keeping it costs nothing is no failure of transfer. The last step decides; what
earlier ones would have said is listed beside it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf, isfinite
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
    finding,
    notes,
    outside,
    pick_row,
    within,
)
from nfd.evidence.learning_rates import BANDWIDTH
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
STABLE_EVERYWHERE = within(-DRIFT, DRIFT, "the edge of stability does not move")

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
    """Findings of one line over ``axis``; first the drift, judged by ``rule`` (TRANSFERS or its negation).

    After it the regret and the drift of the largest stable rate. Of a line that ``decides`` also the drift at
    earlier steps and at a fixed loss, so that a reader sees what a verdict owes to the length of training.
    """
    line = {"series": series, "optimizer": optimizer}
    name = f"{axis}: {series}, {optimizer}"
    steps = sorted(pick(frames[figure], "regret", **line)["step"].unique())
    read = {step: _drift_at(frames, figure, axis, line, rule, step) for step in steps}
    cost = {step: _cost_note(frames[figure], axis, line, step) for step in steps}
    earlier = [
        replace(found, note=notes(found.note, cost[step]))
        for step, found in list(read.items())[:-1]
    ]
    last = read[steps[-1]] if steps else _drift_at(frames, figure, axis, line, rule, None)
    parts = notes(
        _grid_note(frames[figure], axis, line),
        cost[steps[-1]] if steps else "",
        _on_the_way(read) if decides else "",
        diverged_note(frames[figure], **line),
    )
    findings = [
        replace(
            last,
            observable=f"best learning rate over {name}",
            decides=decides,
            note=notes(last.note, parts),
        ),
        _regret(frames, figure, axis, line, rule),
        _stable_rate(frames, figure, axis, line),
    ]
    if decides:
        findings += [*earlier, _drift_at_loss(frames, figure, axis, line, rule)]
    return findings


def _drift_at(
    frames: Frames,
    figure: str,
    axis: str,
    line: Mapping[str, Any],
    rule: Rule,
    step: float | None,
) -> Finding:
    """The drift at one step, with the regret at that step as the rule's other row."""
    at = {**line, "step": step}
    regret = _regret_row(frames[figure], axis, at)
    return finding(
        frames,
        figure,
        pick_row(frames[figure], "drift", _other(axis), **at),
        rule,
        f"best learning rate over {axis} at step {step:g}: {line['series']}, {line['optimizer']}"
        if step is not None
        else "",
        f"drift of log2 best rate per log2 {axis}",
        others=[] if regret is None else [regret],
        absent=f"three values of {axis} of {line['series']} ({line['optimizer']}) with a usable optimum",
    )


def _regret_row(frame: pd.DataFrame, axis: str, line: Mapping[str, Any]) -> pd.Series | None:
    """The regret at the largest size at which there is one, at the last step if the line names none."""
    rows = frame[frame["estimate"].notna()]
    return pick_row(rows, "regret", (*_other(axis), "step", axis), **line)


def _other(axis: str) -> tuple[str]:
    """Transfer over one size is judged at the largest of the other."""
    return ("width" if axis == "depth" else "depth",)


def _regret(frames: Frames, figure: str, axis: str, line: Mapping[str, Any], rule: Rule) -> Finding:
    row = _regret_row(frames[figure], axis, line)
    series, optimizer = line["series"], line["optimizer"]
    absent = (
        f"{series} ({optimizer}), or an optimum of its smallest or largest network that is usable"
    )
    if row is not None and row["estimate"] == inf:
        absent = "a finite loss: most runs diverge at the smallest network's rate"
    return finding(
        frames,
        figure,
        row,
        LARGE_REGRET if rule.negated else SMALL_REGRET,
        f"regret over {axis}: {series}, {optimizer}",
        f"relative excess loss of the smallest network's rate at the largest {axis}",
        absent=absent,
    )


def _stable_rate(frames: Frames, figure: str, axis: str, line: Mapping[str, Any]) -> Finding:
    """How the largest stable rate moves, and how often training diverges at the kept rate."""
    row = pick_row(frames[figure], "stable_rate_drift", _other(axis), **line)
    share = pick_row(frames[figure], "diverged_share", (*_other(axis), axis), **line)
    kept = ""
    if share is not None:
        kept = (
            f"{share['estimate']:.0%} of the runs at {axis} {share[axis]:g} diverge at the best rate of the "
            "smallest network"
        )
    return finding(
        frames,
        figure,
        row,
        STABLE_EVERYWHERE,
        f"largest stable rate over {axis}: {line['series']}, {line['optimizer']}",
        f"drift of log2 largest stable rate per log2 {axis}",
        note=kept,
        absent=f"three values of {axis} whose largest stable rate the grid holds",
    )


def _drift_at_loss(
    frames: Frames, figure: str, axis: str, line: Mapping[str, Any], rule: Rule
) -> Finding:
    row = pick_row(frames[figure], "drift_at_loss", _other(axis), **line)
    loss = pick_row(frames[figure], "reached_loss", _other(axis), **line)
    level = "" if loss is None else f"{loss['estimate']:.3g}, "
    return finding(
        frames,
        figure,
        row,
        replace(rule, text=f"drift alone: {rule.text}", also=()),
        f"rate that first reaches a fixed loss over {axis}: {line['series']}, {line['optimizer']}",
        f"drift of log2 rate of fewest steps per log2 {axis}",
        note=f"{level}the loss that every size reaches, at its best rate, in a quarter of training",
        absent=f"three values of {axis} with a usable optimum",
    )


def _on_the_way(read: Mapping[float, Finding]) -> str:
    """Whether a verdict changed with the length of training, and which way the estimate went."""
    if len(read) < 2:
        return ""
    estimates = [found.estimate for found in read.values() if isfinite(found.estimate)]
    moved = f", {estimates[0]:.2g} to {estimates[-1]:.2g}" if len(estimates) > 1 else ""
    if len({found.verdict for found in read.values()}) == 1:
        return f"the same verdict from step {min(read):g} to {max(read):g}{moved}"
    said = ", ".join(f"{found.verdict} at step {step:g}" for step, found in read.items())
    return f"on the way, before controls: {said}{moved}"


def _cost_note(frame: pd.DataFrame, axis: str, line: Mapping[str, Any], step: float) -> str:
    regret = _regret_row(frame, axis, {**line, "step": step})
    if regret is None:
        return ""
    return f"regret {regret['estimate']:.3g} at {axis} {regret[axis]:g}"


def diverged_note(frame: pd.DataFrame, **columns: object) -> str:
    """How many runs diverged; unlike elsewhere they count."""
    lost = pick(frame, "diverged_runs", **columns)["estimate"].sum()
    return (
        f"{lost:g} diverged {'run counts' if lost == 1 else 'runs count'} as untrained"
        if lost
        else ""
    )


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
    """Grid spacing, the step at which 'best' was read, and sizes whose optimum is not used."""
    best = pick(frame, "best_learning_rate", source="network", **line)
    spacing = pick_row(frame, "grid_spacing", **line)
    if best.empty or spacing is None:
        return ""
    unresolved = set(pick(frame, "unresolved_learning_rate", **line)[axis])
    empty = best.loc[best["estimate"].isna(), axis]
    edge = ", ".join(f"{size:g}" for size in empty if size not in unresolved)
    coarse = ", ".join(f"{size:g}" for size in empty if size in unresolved)
    return notes(
        f"grid spacing {spacing['estimate']:g} in log2, read at step {best['step'].iloc[0]:g}",
        f"unusable, the grid does not hold the optimum: {axis} {edge}" if edge else "",
        f"unusable, runs diverge within {BANDWIDTH:g} octaves of the optimum, which a grid coarser than "
        f"half an octave does not resolve: {axis} {coarse}"
        if coarse
        else "",
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
