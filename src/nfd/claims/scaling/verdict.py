"""Do larger networks reach a lower loss (C1), do the gains shrink, and towards the limit's loss (C2)?"""

from collections.abc import Mapping
from math import inf
from typing import Any

import pandas as pd

from nfd.claims.rules import (
    NEGATIVE,
    PLAIN_NETWORK,
    POSITIVE,
    Condition,
    Effect,
    Finding,
    Frames,
    Rule,
    above,
    agreeing,
    below,
    diverged,
    finding,
    gated,
    notes,
    pick_row,
    within,
)
from nfd.evidence.table import pick

# Two loss curves are one if they part by less than this, relative to the loss lost (root mean square).
LIMIT_LOSS = 0.05
# Sizes differ before training too: outputs at initialisation have a variance of order 1/n, which costs up to
# (1 - 1/C) / 2 E[h^2] / n of a cross-entropy, 1 % of ln 10 at n = 32.
START = 0.05
# No least gain is asked for: that of a network that tends to a limit as 1/L falls below any fixed one.
IMPROVES = above(0.0, "larger networks reach a lower loss")
FROM_TRAINING = within(-START, START, "no gain to speak of before training")
PERSISTS = above(0.0, "the last doubling still gains")
GAINS = Rule(
    "supported if the interval excludes 0: there is a change whose shrinking can be asked for",
    (-inf, inf),
    (),
    half_widths=1.0,
)
SHRINKS = below(1.0, "a doubling gains less than the one before it")
APPROACHES = Rule(
    f"supported if the interval lies below {LIMIT_LOSS**2:g}, the square of {LIMIT_LOSS:g} of the loss lost; "
    "contradicted if above and the networks are significantly nearer to the coupled limit",
    (-inf, LIMIT_LOSS**2),
    ((LIMIT_LOSS**2, inf),),
    (Condition((0.0, inf), Effect.NEEDED_TO_CONTRADICT),),
)
SAME_CURVE = below(LIMIT_LOSS**2, f"the square of {LIMIT_LOSS:g} of the loss lost")
SAME_LOSS = within(-LIMIT_LOSS, LIMIT_LOSS, "one loss, as far as the loss lost tells")
FIRST_ORDER_IN_WIDTH = within(-1.25, -0.75, "falls as 1/n")

PLAIN_LINE = {"series": "depth_mup", "optimizer": "sgd"}
LOSS_NAMES = {
    "batch": "mean batch loss of the last stretch",
    "train": "loss on training samples",
    "test": "loss on test samples",
}
OWN = "each shape at its own best rate"
LIMITS = {"networks to NFD": "NFD", "networks to coupled limit": "the coupled limit"}


# ------------------------------------------------------------------------------------------------ C1


def scaling_trend(frames: Frames) -> list[Finding]:
    """What width and depth gain at one rate and at own rates, and whether the last doubling does (C1).

    Near the edge of stability one rate can serve the smallest network best and hurt the largest, so a
    verdict needs both readings.
    """
    findings = []
    for axis in ("width", "depth"):
        control = _control_at_start(frames, axis)
        at_one_rate = f"training loss over {axis}"
        readings = [
            _coefficient(frames, axis, "batch", at_one_rate, decides=True),
            _coefficient(
                frames, axis, "batch", f"{at_one_rate}, {OWN}", quantity="_own_rate", decides=True
            ),
        ]
        both = agreeing([gated(found, [control]) for found in readings], "one rate and own rates")
        findings += [*both, control]
    for axis in ("width", "depth"):
        for split, name in (("train", "training loss at the last step"), ("test", "test loss")):
            findings.append(_coefficient(frames, axis, split, f"{name} over {axis}"))
        least = f"training loss over {axis}, at the least learning rate"
        findings.append(_coefficient(frames, axis, "batch", least, quantity="_at_rate"))
        findings.append(_last_doubling(frames, axis))
    return findings


def _coefficient(
    frames: Frames,
    axis: str,
    split: str,
    observable: str,
    *,
    quantity: str = "",
    decides: bool = False,
) -> Finding:
    figure, size = "scaling_trend", {"width": "n", "depth": "L"}[axis]
    rows = pick(frames[figure], f"{axis}_coefficient{quantity}", split=split, **PLAIN_LINE)
    row = rows.sort_values("learning_rate").iloc[0] if len(rows) else None
    return finding(
        frames,
        figure,
        row,
        IMPROVES,
        observable,
        f"coefficient c of {LOSS_NAMES[split]} = limit + c / {size}, mean over the other size",
        decides=decides,
        note=diverged(frames[figure], **PLAIN_LINE),
        absent=f"two values of {axis} for depth_mup",
    )


def _control_at_start(frames: Frames, axis: str) -> Finding:
    """Before training nothing can be gained by it."""
    return finding(
        frames,
        "scaling_trend",
        pick_row(frames["scaling_trend"], f"{axis}_gain_at_start", **PLAIN_LINE),
        FROM_TRAINING,
        f"control, step 0 over {axis}",
        "share of the loss at step 0 that the largest size has less than the least",
        absent=f"two values of {axis} for depth_mup",
        control=NEGATIVE,
    )


def _last_doubling(frames: Frames, axis: str) -> Finding:
    rows = pick(frames["scaling_trend"], f"{axis}_gain", **PLAIN_LINE)
    row = rows.loc[rows[axis].idxmax()] if len(rows) else None
    return finding(
        frames,
        "scaling_trend",
        row,
        PERSISTS,
        f"gain of the last doubling of {axis}",
        "batch loss that it removes, mean over the other size",
        note="" if row is None else f"to {axis} {row[axis]:g}",
        absent=f"two values of {axis} for depth_mup",
    )


# ------------------------------------------------------------------------------------------------ C2


def diminishing_returns(frames: Frames) -> list[Finding]:
    """Whether the gains shrink over width and depth, and whether the loss approaches a limit's (C2)."""
    over_width = _gain_control(
        frames,
        "scaling_trend",
        "width_coefficient",
        "control, gain from width",
        split="batch",
        **PLAIN_LINE,
    )
    coupled = {"source": "limit", "coupling": "standard", **PLAIN_NETWORK}
    over_depth = _gain_control(
        frames, "limit_training", "depth_gain_total", "control, gain from depth", **coupled
    )
    width = _ratio(
        frames, "diminishing_returns", "width", "gain from width", PLAIN_LINE, decides=True
    )
    depth = _ratio(
        frames, "limit_training", "depth", "gain from depth, coupled limit", coupled, decides=True
    )
    nfd = {**coupled, "coupling": "decoupled"}
    return [
        gated(width, [over_width]),
        over_width,
        gated(depth, [over_depth]),
        over_depth,
        _distance(frames, "networks to NFD", APPROACHES, decides=True),
        _distance(frames, "networks to coupled limit", SAME_CURVE),
        *(_at_the_end(frames, series) for series in LIMITS),
        _width_exponent(frames),
        _ratio(frames, "diminishing_returns", "depth", "gain from depth, networks", PLAIN_LINE),
        _ratio(frames, "limit_training", "depth", "gain from depth, NFD", nfd),
    ]


def _gain_control(
    frames: Frames, figure: str, quantity: str, observable: str, **wanted: Any
) -> Finding:
    """What there is to shrink: a gain that is told from 0."""
    return finding(
        frames,
        figure,
        pick_row(frames[figure], quantity, **wanted),
        GAINS,
        observable,
        "loss gained from the least size to the largest (over width: coefficient of 1 / n)",
        absent="two sizes of depth_mup",
        control=POSITIVE,
    )


def _ratio(
    frames: Frames,
    figure: str,
    axis: str,
    observable: str,
    wanted: Mapping[str, Any],
    *,
    decides: bool = False,
) -> Finding:
    return finding(
        frames,
        figure,
        pick_row(frames[figure], f"{axis}_gain_ratio", **wanted),
        SHRINKS,
        observable,
        f"loss gained by a doubling of {axis} over that by the one before it; 1/2 in a first-order law",
        decides=decides,
        note=diverged(frames[figure], **PLAIN_NETWORK),
        absent=f"three sizes in {axis} of depth_mup",
    )


def _distance(frames: Frames, series: str, rule: Rule, *, decides: bool = False) -> Finding:
    frame = frames["limit_training"]
    row = pick_row(frame, "loss_distance", ("depth",), series=series, **PLAIN_NETWORK)
    nearer = pick_row(frame, "loss_distance_difference", ("depth",), **PLAIN_NETWORK)
    others = [] if nearer is None or row is None or nearer["depth"] != row["depth"] else [nearer]
    return finding(
        frames,
        "limit_training",
        row,
        rule,
        f"loss of networks at infinite width against {LIMITS[series]}",
        "mean square over log points of the difference of the losses, relative to that of the loss lost",
        others=others,
        decides=decides,
        note=notes(_at_depth(row), _nearer(others)),
        absent=f"{LIMITS[series]} and networks of two widths at one depth",
    )


def _at_depth(row: pd.Series | None) -> str:
    return "" if row is None else f"at L = {row['depth']:g}"


def _nearer(others: list[pd.Series]) -> str:
    """Which limit the networks are nearer to; nothing without an interval."""
    for row in others:
        if row["ci_low"] > 0:
            return "nearer to the coupled limit than to NFD"
        if row["ci_high"] < 0:
            return "nearer to NFD than to the coupled limit"
        if row["ci_low"] <= row["ci_high"]:
            return "as near to one limit as to the other"
    return ""


def _at_the_end(frames: Frames, series: str) -> Finding:
    row = pick_row(
        frames["limit_training"],
        "loss_difference",
        ("step", "depth"),
        series=series,
        **PLAIN_NETWORK,
    )
    return finding(
        frames,
        "limit_training",
        row,
        SAME_LOSS,
        f"the same at the last step, {LIMITS[series]}",
        "networks at infinite width minus the limit, relative to the loss lost",
        note=_at_depth(row),
        absent=f"{LIMITS[series]} and networks of two widths at one depth",
    )


def _width_exponent(frames: Frames) -> Finding:
    row = pick_row(frames["limit_training"], "width_exponent", ("depth",), **PLAIN_NETWORK)
    return finding(
        frames,
        "limit_training",
        row,
        FIRST_ORDER_IN_WIDTH,
        "exponent of width",
        "exponent in n of what a doubling of the width gains of the run loss",
        note=_at_depth(row),
        absent="four widths of depth_mup whose doublings all gain",
    )
