"""Where does the learned change of a two-layer block go (C9), and does the correction help (C11, C12)?"""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from nfd.claims.rates import (
    CORRECTED,
    diverged_note,
    drift_control,
    other_lines,
    transfer_findings,
)
from nfd.claims.rules import (
    NEGATIVE,
    POSITIVE,
    Finding,
    Frames,
    Rule,
    above,
    finding,
    gated,
    notes,
    pick_row,
    window_of,
    within,
)
from nfd.claims.two_layers import NO_ADVANTAGE, W2_ALONE, freezing_costs, w1_alone
from nfd.evidence.table import pick

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
# One end for both verdicts, so that no interval lies in both and no advantage can be shown as well as one.
HAS_ADVANTAGE = above(NO_ADVANTAGE, "an advantage over depth_mup worth having")
ANY_ADVANTAGE = above(0.0, "better than depth_mup, by however little")


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
    drift, *listed = transfer_findings(frames, transfer, "depth", CORRECTED, decides=True)
    findings = [
        gated(own, [collapses]),
        gated(alone, [w2_alone]),
        gated(drift, [matters]),
        *listed,
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
    # The same networks as in the figure of transfer, whose findings stand above.
    return findings + other_lines(frames, figure, "depth", [(CORRECTED, "sgd")])


def _gradient_findings(frames: Frames) -> list[Finding]:
    """What the learned W1 does to the gradient's stream, with one backward copy of W2, a third, fresh."""
    predicted = {
        f"{CORRECTED}, decoupled": "+1/2, though forward and backward weights are independent",
        "depth_mup, decoupled": "0",
        f"{CORRECTED}, third copy": "0: another copy makes W1's gradient",
        f"{CORRECTED}, fresh copies": "0: what is learned and what meets it share no copy",
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
    frame = frames["deeper_is_better"]
    matters = freezing_costs(frames)
    decided = [
        gated(found, [matters])
        for split in ("train", "test")
        for found in [_advantage(frames, CORRECTED, split, decides=True)]
    ]
    findings = [
        *decided,
        matters,
        _any_advantage(frames),
        _accuracy(frames),
        *(found for split in ("train", "test") for found in _earlier(frames, split)),
        _mean_advantage(frames, CORRECTED),
    ]
    if len(pick(frame, "advantage", series="complete_p", optimizer="sgd")):
        findings += [
            *(_advantage(frames, "complete_p", split) for split in ("train", "test")),
            _mean_advantage(frames, "complete_p"),
        ]
    return findings + [
        found for series in (CORRECTED, "depth_mup") for found in _gains(frames, series)
    ]


def _advantage(
    frames: Frames,
    series: str,
    split: str,
    *,
    step: float | None = None,
    rule: Rule = HAS_ADVANTAGE,
    decides: bool = False,
) -> Finding:
    """The advantage at the largest depth, at one step or the last."""
    frame = frames["deeper_is_better"]
    quantity = {"train": "advantage", "test": "advantage_test"}[split]
    line = {"series": series, "optimizer": "sgd"}
    at = {} if step is None else {"step": step}
    row = pick_row(frame, quantity, ("width", "step", "depth"), **line, **at)
    where = "" if row is None else f"at L = {row['depth']:g}, step {row['step']:g}"
    kind = {"train": "training", "test": "test"}[split]
    name = f"{series}: best {kind} loss at the largest depth"
    return finding(
        frames,
        "deeper_is_better",
        row,
        rule,
        name if step is None else f"{name}, step {step:g}",
        f"log(depth_mup's {kind} loss / its own), each at its own best rate, paired by seed",
        decides=decides,
        note=notes(
            where,
            _on_the_way(frame, quantity, line) if decides else "",
            diverged_note(frame, **line),
        ),
        absent=f"depth_mup and {series} at a common depth with a usable optimum",
    )


def _on_the_way(frame: pd.DataFrame, quantity: str, line: Mapping[str, str]) -> str:
    """How the advantage at the largest depth went with the length of training."""
    rows = pick(frame, quantity, **line)
    rows = rows[rows["depth"] == rows["depth"].max()].sort_values("step")
    said = [f"{row['estimate']:.2g} at step {row['step']:g}" for _, row in rows.iterrows()]
    return f"on the way {', '.join(said[:-1])}" if len(said) > 1 else ""


def _earlier(frames: Frames, split: str) -> list[Finding]:
    """The same advantage at the earlier steps that were read."""
    rows = pick(frames["deeper_is_better"], "advantage", series=CORRECTED, optimizer="sgd")
    steps = sorted(rows["step"].unique())[:-1]
    return [_advantage(frames, CORRECTED, split, step=step) for step in steps]


def _any_advantage(frames: Frames) -> Finding:
    """Whether there is any advantage, however small."""
    found = _advantage(frames, CORRECTED, "train", rule=ANY_ADVANTAGE)
    return replace(found, observable=f"{CORRECTED}: any advantage in training loss")


def _accuracy(frames: Frames) -> Finding:
    frame = frames["deeper_is_better"]
    line = {"series": CORRECTED, "optimizer": "sgd"}
    return finding(
        frames,
        "deeper_is_better",
        pick_row(frame, "advantage_accuracy", ("width", "step", "depth"), **line),
        ANY_ADVANTAGE,
        f"{CORRECTED}: test accuracy at the largest depth",
        "its test accuracy - depth_mup's, each at its own best rate, paired by seed",
        absent="test accuracies at a common depth with a usable optimum",
    )


def _mean_advantage(frames: Frames, series: str) -> Finding:
    line = {"series": series, "optimizer": "sgd"}
    return finding(
        frames,
        "deeper_is_better",
        pick_row(frames["deeper_is_better"], "advantage_mean", ("width",), **line),
        HAS_ADVANTAGE,
        f"{series}: best training loss, mean over depths",
        "log(depth_mup's best loss / its best loss), paired by seed",
        absent=f"depth_mup and {series} at common depths",
    )


def _gains(frames: Frames, series: str) -> list[Finding]:
    """What a doubling of depth gains one network, in both losses and in test accuracy."""
    kinds = {
        "train_loss_gain_depth_mean": ("gain from depth", "fraction of the best training loss"),
        "test_loss_gain_depth_mean": ("gain from depth in test loss", "fraction of the test loss"),
        "accuracy_gain_depth_mean": ("gain from depth in test accuracy", "test accuracy"),
    }
    frame = frames["deeper_is_better"]
    line = {"series": series, "optimizer": "sgd"}
    return [
        finding(
            frames,
            "deeper_is_better",
            pick_row(frame, quantity, ("width",), **line),
            DEEPER_IS_BETTER,
            f"{series}: {name}",
            f"{what} that a doubling of depth {'adds' if 'accuracy' in quantity else 'removes'}, mean",
            absent=f"two depths of {series}",
        )
        for quantity, (name, what) in kinds.items()
    ]
