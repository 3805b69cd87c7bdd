"""Do larger networks reach a lower loss (C1), and do the gains shrink (C2)?"""

from collections.abc import Mapping
from math import inf
from typing import Any

from nfd.claims.rules import (
    POSITIVE,
    Condition,
    Effect,
    Finding,
    Frames,
    Rule,
    above,
    diverged,
    finding,
    gated,
    notes,
    pick_row,
    rows_of,
    within,
)
from nfd.evidence.fits import LIMIT_EXPONENTS
from nfd.evidence.table import pick

# A loss that grows by more than 1 % between neighbours is a setback.
SETBACK = -0.01
# The fitted limit of the loss and the simulated limit's loss agree within this fraction.
LIMIT_LOSS = 0.05
# No least gain is asked for: the gain of a network that tends to a limit as 1/L falls below any fixed one.
IMPROVES = Rule(
    "supported if the interval of the mean gain lies above 0; contradicted if below, "
    f"or if between neighbours the loss grows, interval below {SETBACK:g}",
    (0.0, inf),
    ((-inf, 0.0),),
    (Condition((-inf, SETBACK), Effect.CONTRADICTS),),
)
GAINS = Rule(
    "supported if the interval excludes 0: there is a change whose shrinking can be asked for",
    (-inf, inf),
    (),
    half_widths=1.0,
)
SHRINKS = above(0.0, "a doubling gains less among the large sizes than among the small")
LEAST_EXPONENT = float(LIMIT_EXPONENTS[0])
POWER_LAW = Rule(
    f"supported if the interval lies above {LEAST_EXPONENT:g}, the least exponent fitted (a smaller one is "
    "no saturation that these sizes can show); never contradicted by itself",
    (LEAST_EXPONENT, inf),
    (),
)
SAME_LIMIT = within(-LIMIT_LOSS, LIMIT_LOSS, "the fitted limit is the simulated limit's loss")


def scaling_trend(frames: Frames) -> list[Finding]:
    """What a doubling of width or depth gains: on average, and nowhere a loss (C1)."""
    figure = "scaling_trend"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    findings = []
    for split in ("train", "test"):
        for axis in ("width", "depth"):
            quantity = f"{split}_loss_gain_{axis}"
            pairs = pick(frame, quantity, source="network", **line)
            setbacks = pairs[pairs["ci_high"] < SETBACK]
            sizes = ", ".join(f"{size:g}" for size in setbacks[axis])

            note = f"the loss grows on reaching {axis} {sizes}" if sizes else ""
            findings.append(
                finding(
                    frames,
                    figure,
                    pick_row(frame, f"{quantity}_mean", **line),
                    IMPROVES,
                    f"{split}ing loss over {axis}".replace("testing", "test"),
                    f"fraction of the loss a doubling of {axis} removes, mean over neighbours",
                    others=rows_of(pairs),
                    decides=split == "train",
                    note=notes(note, diverged(frame, **line)),
                    absent=f"two values of {axis} for depth_mup",
                )
            )
    return findings


def diminishing_returns(frames: Frames) -> list[Finding]:
    """Whether the gains shrink, as what power, and towards which loss (C2)."""
    figure = "diminishing_returns"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    findings = []
    for axis in ("width", "depth"):
        control = _gain_control(frames, axis, line)
        shrinks = finding(
            frames,
            figure,
            pick_row(frame, f"gain_decline_{axis}", **line),
            SHRINKS,
            f"gain from {axis}",
            f"loss gained per doubling of {axis}, lower half of the sizes minus upper half",
            decides=True,
            note=diverged(frame, **line),
            absent=f"three values of {axis} for depth_mup",
        )
        findings += [gated(shrinks, [control]), control]
    for axis in ("width", "depth"):
        findings.append(
            finding(
                frames,
                figure,
                pick_row(frame, f"{axis}_exponent", **line),
                POWER_LAW,
                f"exponent of {axis}",
                "exponent in loss = limit + a n^-alpha + b L^-beta",
                absent="three widths and three depths for depth_mup",
            )
        )
    findings.append(_limit_loss(frames, figure, line))
    return findings


def _gain_control(frames: Frames, axis: str, line: Mapping[str, Any]) -> Finding:
    """What there is to shrink: the mean gain of a doubling, which must not be 0 within its interval."""
    return finding(
        frames,
        "scaling_trend",
        pick_row(frames["scaling_trend"], f"train_loss_gain_{axis}_mean", **line),
        GAINS,
        f"control, mean gain from {axis}",
        f"fraction of the loss a doubling of {axis} removes, mean over neighbours",
        absent=f"two values of {axis} for depth_mup",
        control=POSITIVE,
    )


def _limit_loss(frames: Frames, figure: str, line: Mapping[str, Any]) -> Finding:
    """Fitted limit of the loss against the simulated limit's, with the wider of all bounds."""
    fit = pick_row(frames[figure], "limit_loss", source="fit", **line)
    limit = pick_row(frames[figure], "limit_loss", source="limit", **line)
    row = None
    if fit is not None and limit is not None:
        row = fit.copy()
        row["estimate"] = fit["estimate"] / limit["estimate"] - 1
        row["ci_low"] = fit["ci_low"] / limit["ci_high"] - 1
        row["ci_high"] = fit["ci_high"] / limit["ci_low"] - 1
        row["seeds"] = min(fit["seeds"], limit["seeds"])
    return finding(
        frames,
        figure,
        row,
        SAME_LIMIT,
        "limit of the loss",
        "fitted limit / loss of the coupled limit at its largest depth - 1",
        absent="the fit, or limit jobs of depth_mup in experiment scaling",
    )
