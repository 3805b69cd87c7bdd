"""Where does the learned change of a two-layer block go (C9), and does the correction help (C11, C12)?"""

from nfd.claims.rates import CORRECTED, drift_control, other_lines, transfer_findings
from nfd.claims.rules import (
    NEGATIVE,
    POSITIVE,
    Finding,
    Frames,
    Rule,
    above,
    diverged,
    finding,
    gated,
    notes,
    pick_row,
    window_of,
    within,
)
from nfd.claims.two_layers import NO_ADVANTAGE, W2_ALONE, freezing_costs, w1_alone

# Exponents of feature changes: 0 and -1/2 are told apart, with finite-depth corrections allowed for.
EXPONENT = 0.15
COLLAPSE = -0.5
# Halfway between the drift 0 that 'own change of order one' predicts for W1 alone and coherent reuse's -1/2.
W1_DRIFT = 0.25
COLLAPSES = within(COLLAPSE - EXPONENT, COLLAPSE + EXPONENT, "falls as L^-1/2")
OF_ORDER_ONE = within(-EXPONENT, EXPONENT, "neither falls nor grows with depth")
W1_TRANSFERS = within(-W1_DRIFT, W1_DRIFT, "the correction is what W1 needs")
W2_STAYS = within(-W1_DRIFT, W1_DRIFT, "a layer that needs no correction does not drift")
DEEPER_IS_BETTER = above(0.0, "deeper networks reach lower loss")
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
    control: str = "",
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
        f"control, {series}: {observable}" if control else f"{series}: {observable}",
        "exponent in L, last step",
        control=control,
        decides=decides,
        note=notes(window_of(frame, metric, "depth", **line), note),
        absent=f"three depths of {series}",
    )


def internal_collapse(frames: Frames) -> list[Finding]:
    """Exponents in depth of both layers' own, inherited and stream change under depth_mup (C9)."""
    both = (
        "the branch factor in the gradient gives L^-1/2 in either layer (docs/theory.md, section 2)"
    )
    coherent = (
        "what the change adds up to, which no version of the paper states; weights that are reused add "
        "coherently over blocks, see the decoupled networks"
    )
    series = "depth_mup"
    # What reaches the layer from below keeps its size: the statistic tells an exponent 0 from -1/2.
    inherited = _change_over_depth(
        frames,
        "inherited_change_1",
        series,
        OF_ORDER_ONE,
        "inherited change, layer 1",
        control=NEGATIVE,
    )
    own = _change_over_depth(
        frames, "own_change_1", series, COLLAPSES, "own learned change, layer 1", decides=True
    )
    return [
        gated(own, [inherited]),
        inherited,
        _change_over_depth(
            frames, "own_change_2", series, OF_ORDER_ONE, "own learned change, layer 2", note=both
        ),
        _change_over_depth(
            frames, "inherited_change_2", series, OF_ORDER_ONE, "inherited change, layer 2"
        ),
        _change_over_depth(
            frames, "total_change_1", series, OF_ORDER_ONE, "own and inherited change, layer 1"
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
    transfer = "depth_transfer_2"
    collapses = _change_over_depth(
        frames,
        "own_change_1",
        "depth_mup",
        COLLAPSES,
        "own learned change, layer 1",
        control=POSITIVE,
    )
    own = _change_over_depth(
        frames, "own_change_1", CORRECTED, OF_ORDER_ONE, "own learned change, layer 1", decides=True
    )
    w2_alone = drift_control(frames, transfer, "depth", W2_ALONE, NEGATIVE, W2_STAYS)
    alone = w1_alone(
        frames, W1_TRANSFERS, "W1 trained alone: best learning rate over depth", decides=True
    )
    matters = freezing_costs(frames)
    drift, regret = transfer_findings(frames, transfer, "depth", CORRECTED, decides=True)
    findings = [
        gated(own, [collapses]),
        gated(alone, [w2_alone]),
        gated(drift, [matters]),
        regret,
        collapses,
        w2_alone,
        matters,
        _change_over_depth(
            frames,
            "inherited_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "inherited change, layer 1",
        ),
        _change_over_depth(
            frames,
            "total_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "own and inherited change, layer 1",
        ),
        _change_over_depth(
            frames,
            "stream_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "stream change by layer 1",
            note="reused weights predict +1/2 (docs/theory.md, section 5)",
        ),
        *_gradient_findings(frames),
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


def _gradient_findings(frames: Frames) -> list[Finding]:
    """What the learned W1 does to the gradient's stream, with one backward copy of W2 and with a third."""
    predicted = {
        f"{CORRECTED}, decoupled": "+1/2, though forward and backward weights are independent",
        "depth_mup, decoupled": "0",
        f"{CORRECTED}, third copy": "0: another copy makes W1's gradient",
        CORRECTED: "+1/2",
    }
    return [
        _change_over_depth(
            frames,
            "gradient_change_1",
            series,
            OF_ORDER_ONE,
            "change of the gradient by layer 1",
            note=f"predicted {power} (docs/theory.md, section 5)",
        )
        for series, power in predicted.items()
    ]


def deeper_is_better(frames: Frames) -> list[Finding]:
    """Best losses against depth_mup's, and each one's gain from depth (C12)."""
    figure = "deeper_is_better"
    frame = frames[figure]
    matters = freezing_costs(frames)
    findings = []
    for series, decides in ((CORRECTED, True), ("complete_p", False)):
        line = {"series": series, "optimizer": "sgd"}
        row = pick_row(frame, "advantage", ("width", "depth"), **line)
        if row is None and not decides:
            continue
        where = "" if row is None else f"at L = {row['depth']:g}"
        lost = notes(diverged(frame, **line), diverged(frame, series="depth_mup", optimizer="sgd"))
        best = finding(
            frames,
            figure,
            row,
            HAS_ADVANTAGE,
            f"{series}: best training loss at the largest depth",
            "log(depth_mup's best loss / its best loss), paired by seed",
            decides=decides,
            note=notes(where, lost),
            absent=f"depth_mup and {series} at a common depth",
        )
        findings += [
            gated(best, [matters]) if decides else best,
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
    findings.append(matters)
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
