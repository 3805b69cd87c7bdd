"""What the claims about two-layer blocks share (C10, C11, C12): what W1 is worth, and W1 trained alone.

A correction of W1's learning rate can at most be worth what W1's learning is worth, and that is bounded by
freezing it. SGD on W1 alone sees its learning rate and the correction only as eta L^p: its drift says which
p the layer needs, however little it matters to the loss.
"""

from math import inf

import pandas as pd

from nfd.claims.rates import CORRECTED
from nfd.claims.rules import POSITIVE, Finding, Frames, Rule, finding, notes, pick_row
from nfd.evidence.table import pick

FIGURE = "depth_transfer_2"
W1_ALONE = f"{CORRECTED}, trained: hidden_1"
W2_ALONE = f"{CORRECTED}, trained: hidden_2"
FROZEN = f"{CORRECTED}, trained: input+hidden_2+output"
RIVALS_OF_FROZEN = ("depth_mup", CORRECTED)

# Advantage in log loss that is worth having: 1 %.
NO_ADVANTAGE = 0.01
# An effect is told from none where it could be this many times the threshold and the half width.
SENSITIVITY = 3.0
MATTERS = Rule(
    f"supported if the interval lies above {SENSITIVITY * NO_ADVANTAGE:g} and the estimate is at least "
    f"{SENSITIVITY:g} half widths: W1 matters to the loss; contradicted if below",
    (SENSITIVITY * NO_ADVANTAGE, inf),
    ((-inf, SENSITIVITY * NO_ADVANTAGE),),
    half_widths=SENSITIVITY,
)


def freezing_costs(frames: Frames) -> Finding:
    """What freezing W1 costs, at the depth where it costs most: the positive control of all about W1."""
    row = _cost_of_freezing(frames[FIGURE])
    return finding(
        frames,
        FIGURE,
        row,
        MATTERS,
        "control, cost of freezing W1",
        "log(best training loss with W1 frozen / trained, corrected or not), greatest over depths",
        note="" if row is None else f"at L = {row['depth']:g}, against {row['series']}",
        absent=f"best losses of depth_mup and {FROZEN}",
        control=POSITIVE,
    )


def _cost_of_freezing(frame: pd.DataFrame) -> pd.Series | None:
    """Against the better of the networks that train W1; greatest over depths, at the last step."""
    costs = pick(frame, "freezing_cost", optimizer="sgd")
    costs = costs[costs["step"] == costs["step"].max()]
    if costs.empty:
        return None
    against_better = costs.loc[costs.groupby("depth")["estimate"].idxmax()]
    return against_better.loc[against_better["estimate"].idxmax()]


def w1_alone(
    frames: Frames, rule: Rule, observable: str, shift: float = 0.0, decides: bool = False
) -> Finding:
    """Drift over depth of W1 trained alone with p = 1/2 - ``shift``: that of p = 1/2, shifted."""
    row = pick_row(frames[FIGURE], "drift", ("width", "step"), series=W1_ALONE, optimizer="sgd")
    if row is not None:
        row = row.copy()
        row[["estimate", "ci_low", "ci_high"]] += shift
    return finding(
        frames,
        FIGURE,
        row,
        rule,
        observable,
        "drift of log2 best rate per log2 depth",
        decides=decides,
        note=notes(
            f"{shift:g} + the drift at p = 1/2, since SGD sees eta L^p only" if shift else "",
            f"'own change of order one' predicts {shift:g}, coherent reuse {shift - 0.5:g}",
        ),
        absent=f"three depths of {W1_ALONE} (sgd) with the optimum inside the grid",
    )
