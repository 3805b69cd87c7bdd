"""Does training look the same with independent backward weights (C4)?"""

from nfd.claims.rules import (
    Finding,
    Frames,
    above,
    below,
    diverged,
    finding,
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
        ("output_gap_limit", last, GAP_VANISHES, "output gap of single runs", False),
        ("output_gap_mean_limit", first, GAP_VANISHES, "output gap after the first step", False),
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
    for series in ("mup", "mup, no skip"):
        control = {"series": series, "optimizer": "sgd"}
        row = pick_row(frame, "output_gap_mean", ("depth",), source="network", step=last, **control)
        depth = "" if row is None else f"at L = {row['depth']:g}"
        skip = series == "mup"
        findings.append(
            finding(
                frames,
                figure,
                row,
                GAP_REMAINS,
                f"control {series}: output gap, mean over seeds",
                "relative gap at the largest depth that trains",
                note=notes(depth, diverged(frame, parametrization="mup", skip=skip)),
                absent=f"{series} with both couplings at a rate that does not diverge",
            )
        )
    return findings
