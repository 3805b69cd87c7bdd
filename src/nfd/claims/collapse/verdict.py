"""Where does the learned change of a two-layer block go (C9), and does the correction help (C11, C12)?"""

from nfd.claims.rates import CORRECTED, other_lines, transfer_findings
from nfd.claims.rules import (
    NO_GAIN,
    Finding,
    Frames,
    Rule,
    above,
    diverged,
    finding,
    notes,
    pick_row,
    window_of,
    within,
)

# Exponents of feature changes: 0 and -1/2 are told apart, with finite-depth corrections allowed for.
EXPONENT = 0.15
COLLAPSE = -0.5
# Advantage in log loss below which deeper is not better: 1 %.
NO_ADVANTAGE = 0.01
COLLAPSES = within(COLLAPSE - EXPONENT, COLLAPSE + EXPONENT, "falls as L^-1/2")
OF_ORDER_ONE = within(-EXPONENT, EXPONENT, "neither falls nor grows with depth")
DEEPER_IS_BETTER = above(0.0, "deeper networks reach lower loss", NO_GAIN)
HAS_ADVANTAGE = above(0.0, "lower loss than depth_mup", NO_ADVANTAGE)


def _change_over_depth(
    frames: Frames,
    metric: str,
    series: str,
    rule: Rule,
    observable: str,
    *,
    decides: bool = False,
    note: str = "",
) -> Finding:
    figure = "internal_collapse"
    frame = frames[figure]
    last = frame.loc[frame["quantity"] == f"{metric}_slope", "step"].max()
    line = {"series": series, "optimizer": "sgd", "step": last}
    return finding(
        frames,
        figure,
        pick_row(frame, f"{metric}_slope", ("width",), **line),
        rule,
        f"{series}: {observable}",
        "exponent in L, last step",
        decides=decides,
        note=notes(window_of(frame, metric, "depth", **line), note),
        absent=f"three depths of {series}",
    )


def internal_collapse(frames: Frames) -> list[Finding]:
    """Exponents in depth of both layers' own, inherited and stream change under depth_mup (C9)."""
    both = (
        "the branch factor in the gradient gives L^-1/2 in either layer (docs/theory.md, section 2)"
    )
    coherent = "weights that are reused add coherently over blocks; see the decoupled networks"
    series = "depth_mup"
    return [
        _change_over_depth(
            frames, "own_change_1", series, COLLAPSES, "own learned change, layer 1", decides=True
        ),
        _change_over_depth(
            frames, "own_change_2", series, OF_ORDER_ONE, "own learned change, layer 2", note=both
        ),
        _change_over_depth(
            frames, "inherited_change_1", series, OF_ORDER_ONE, "inherited change, layer 1"
        ),
        _change_over_depth(
            frames, "inherited_change_2", series, OF_ORDER_ONE, "inherited change, layer 2"
        ),
        _change_over_depth(
            frames, "stream_change_1", series, COLLAPSES, "stream change by layer 1", note=coherent
        ),
        _change_over_depth(
            frames, "stream_change_2", series, OF_ORDER_ONE, "stream change by layer 2"
        ),
        _change_over_depth(
            frames,
            "stream_change_1",
            "depth_mup, decoupled",
            COLLAPSES,
            "stream change by layer 1",
        ),
    ]


def correction_restores(frames: Frames) -> list[Finding]:
    """Whether the corrected rate keeps the first layer's change and transfers; every exponent p (C11)."""
    findings = [
        _change_over_depth(
            frames,
            "own_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "own learned change, layer 1",
            decides=True,
        ),
        *transfer_findings(frames, "depth_transfer_2", "depth", CORRECTED, decides=True),
        _change_over_depth(
            frames,
            "stream_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "stream change by layer 1",
            note="reused weights predict +1/2 (docs/theory.md, section 5)",
        ),
    ]
    figure = "correction_exponent"
    frame = frames[figure]
    for series in frame.loc[frame["quantity"] == "first_step_output_change", "series"].unique():
        line = {"series": series, "optimizer": "sgd"}
        findings.append(
            finding(
                frames,
                figure,
                pick_row(frame, "first_step_output_change_slope", ("width",), **line),
                OF_ORDER_ONE,
                f"{series}: change of the outputs by the first step",
                "exponent in L at the smallest learning rate",
                note=window_of(frame, "first_step_output_change", "depth", **line),
                absent="three depths",
            )
        )
    return findings + other_lines(frames, figure, "depth")


def deeper_is_better(frames: Frames) -> list[Finding]:
    """Best losses against depth_mup's, and each one's gain from depth (C12)."""
    figure = "deeper_is_better"
    frame = frames[figure]
    findings = []
    for series, decides in ((CORRECTED, True), ("complete_p", False)):
        line = {"series": series, "optimizer": "sgd"}
        row = pick_row(frame, "advantage", ("width", "depth"), **line)
        if row is None and not decides:
            continue
        where = "" if row is None else f"at L = {row['depth']:g}"
        lost = notes(diverged(frame, **line), diverged(frame, series="depth_mup", optimizer="sgd"))
        findings += [
            finding(
                frames,
                figure,
                row,
                HAS_ADVANTAGE,
                f"{series}: best training loss at the largest depth",
                "log(depth_mup's best loss / its best loss), paired by seed",
                decides=decides,
                note=notes(where, lost),
                absent=f"depth_mup and {series} at a common depth",
            ),
            finding(
                frames,
                figure,
                pick_row(frame, "advantage_mean", ("width",), **line),
                HAS_ADVANTAGE,
                f"{series}: best training loss, mean over depths",
                "log(depth_mup's best loss / its best loss), paired by seed",
                absent=f"depth_mup and {series} at common depths",
            ),
        ]
    for series in (CORRECTED, "depth_mup"):
        findings.append(
            finding(
                frames,
                figure,
                pick_row(
                    frame, "train_loss_gain_depth_mean", ("width",), series=series, optimizer="sgd"
                ),
                DEEPER_IS_BETTER,
                f"{series}: gain from depth",
                "fraction of the best loss a doubling of depth removes, mean",
                absent=f"two depths of {series}",
            )
        )
    return findings
