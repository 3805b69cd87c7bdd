"""Does training look the same with independent backward weights (C4)?

Both methods approach the same labels, so that any gap falls with steps whatever depth does, and a verdict
read at one step is one on the horizon. The gap is therefore read after the first step and after the last, and
the claim has a verdict where both readings have the same.
"""

from dataclasses import replace

from nfd.claims.rules import (
    INCONCLUSIVE,
    POSITIVE,
    Finding,
    Frames,
    above,
    below,
    diverged,
    finding,
    gated,
    notes,
    pick_row,
    within,
)

# Relative output or loss gap that counts as agreement: a tenth of what training changed. The closed form for
# one sample and a small first step gives a gap of 0.2 (ReLU, T = 1), twice as much.
GAP = 0.1
GAP_VANISHES = below(GAP, "no gap to speak of is left at large depth")
LOSS_GAP_VANISHES = within(-GAP, GAP, "no loss gap to speak of is left at large depth")
GAP_REMAINS = above(GAP, "a gap is left at the largest depth")


def gia_restored(frames: Frames) -> list[Finding]:
    """Gaps between standard and decoupled training at infinite depth, and those of the controls (C4)."""
    figure = "gia_restoration"
    frame = frames[figure]
    steps = frame.loc[frame["quantity"] == "output_gap_mean", "step"]
    first, last = steps.min(), steps.max()
    line = {"series": "depth_mup", "optimizer": "sgd"}
    fitted = "c_inf in gap = c_inf + c L^-r, r >= 1/2"
    absent = "four depths with both couplings and outputs"
    exact = pick_row(frame, "output_gap", ("depth",), source="closed_form")
    closed_form = ""
    if exact is not None:
        closed_form = (
            f"one sample at a small first step: exactly {exact['estimate']:.3g} at L = "
            f"{exact['depth']:g}, growing with depth"
        )
    cases = (
        ("output_gap_mean_limit", last, GAP_VANISHES, "output gap, mean over seeds", True),
        ("output_gap_mean_limit", first, GAP_VANISHES, "output gap after the first step", True),
        ("output_gap_limit", last, GAP_VANISHES, "output gap of single runs", False),
        ("loss_gap_limit", last, LOSS_GAP_VANISHES, "loss gap", False),
    )
    findings = [
        finding(
            frames,
            figure,
            pick_row(frame, quantity, ("width",), step=step, **line),
            rule,
            f"depth_mup: {observable}",
            fitted,
            decides=decides,
            note=notes(
                closed_form if "output" in quantity else "",
                diverged(frame, parametrization="depth_mup"),
            ),
            absent=absent,
        )
        for quantity, step, rule, observable, decides in cases
    ]
    no_skip = _control(frames, figure, "mup, no skip", last, POSITIVE)
    deciding = _agreeing([gated(found, [no_skip]) for found in findings[:2]])
    return [*deciding, no_skip, *findings[2:], _control(frames, figure, "mup", last)]


def _agreeing(readings: list[Finding]) -> list[Finding]:
    """The readings of one claim, inconclusive with the reason unless all have the same verdict."""
    verdicts = [found.verdict for found in readings]
    if len(set(verdicts)) == 1:
        return readings
    reason = f"first and last step do not agree: read alone {verdicts[1]} and {verdicts[0]}"
    return [
        replace(found, verdict=INCONCLUSIVE, note=notes(reason, found.note)) for found in readings
    ]


def _control(frames: Frames, figure: str, series: str, step: float, control: str = "") -> Finding:
    """The gap of networks in which the statement says that it remains, at their largest depth.

    mup with skips is none of the controls that decide: its deepest networks are read at a lower rate.
    """
    frame = frames[figure]
    row = pick_row(
        frame,
        "output_gap_mean",
        ("depth",),
        source="network",
        step=step,
        series=series,
        optimizer="sgd",
    )
    depth = "" if row is None else f"at L = {row['depth']:g}"
    return finding(
        frames,
        figure,
        row,
        GAP_REMAINS,
        f"control {series}: output gap, mean over seeds",
        "relative gap at the largest depth that trains",
        note=notes(depth, diverged(frame, parametrization="mup", skip=series == "mup")),
        absent=f"{series} with both couplings at a rate that does not diverge",
        control=control,
    )
