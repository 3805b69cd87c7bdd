"""Does the coupling vanish (C5, C6), and does the kernel stay away from singular (C13)?"""

import numpy as np

from nfd.claims.rules import (
    FIRST_ORDER_RATE,
    Finding,
    Frames,
    above,
    below,
    finding,
    notes,
    pick_row,
    problem_of,
    rows_of,
    window_of,
)
from nfd.evidence.table import pick

# 'Of higher order in depth': midway between O(1) and the L^-1/2 that the paper's mechanism gives.
HIGHER_ORDER = -0.25
# Growth of the initial coupling with depth that still counts as uniform in L.
UNIFORM = 0.1
# Fraction of its initial value that the least eigenvalue must keep: it loses less than a decade.
EIGENVALUE = 0.1
OF_HIGHER_ORDER = below(HIGHER_ORDER, "vanishes with depth")
UNIFORM_IN_DEPTH = below(UNIFORM, "does not grow with depth")
STAYS_AWAY = above(EIGENVALUE, "the least eigenvalue keeps its order of magnitude")


def vanishing_mechanism(frames: Frames) -> list[Finding]:
    """How the coupling that training creates depends on depth, summed and per layer (C5)."""
    figure = "vanishing_mechanism"
    frame = frames[figure]
    findings = []
    for metric, observable in (
        ("coupling_accumulated", "coupling accumulated over depth"),
        ("coupling_layer", "coupling per layer"),
    ):
        quantity = f"{metric}_created"
        rows = {
            "networks": pick_row(frame, f"{quantity}_slope", series="depth_mup", optimizer="sgd"),
            "limit": pick_row(
                frame, f"{quantity}_slope", series="depth_mup, limit", optimizer="sgd"
            ),
        }
        # What enters the dynamics is the sum over layers: it decides, on networks if they can.
        network_usable = not problem_of(rows["networks"], figure, frame, "-")
        limit_usable = not problem_of(rows["limit"], figure, frame, "-")
        deciding = "limit" if limit_usable and not network_usable else "networks"
        for where, row in rows.items():
            series = "depth_mup" if where == "networks" else "depth_mup, limit"
            findings.append(
                finding(
                    frames,
                    figure,
                    row,
                    OF_HIGHER_ORDER,
                    f"{observable}, {where}",
                    "exponent in L of the coupling that training created (rms), last step",
                    decides=metric == "coupling_accumulated" and where == deciding,
                    note=notes(
                        window_of(frame, quantity, "depth", series=series),
                        "L layers at L^-1/2, times the branch's L^-1/2, sum to O(1): see accumulated"
                        if metric == "coupling_layer"
                        else "",
                    ),
                    absent="three depths whose coupling exceeds that at step 0 (the noise floor)",
                )
            )
    return findings


def coupling_at_init(frames: Frames) -> list[Finding]:
    """How the coupling of the initial weights falls with width, and whether it grows with depth (C6)."""
    figure = "coupling_at_init"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    absent = "three widths of depth_mup with the coupling probe"
    findings = []
    for metric, name in (
        ("coupling_layer", "coupling per layer"),
        ("coupling_accumulated", "coupling accumulated over depth"),
    ):
        slopes = pick(frame, f"{metric}_square_slope", **line)
        worst = None if slopes.empty else slopes.sort_values("ci_high").iloc[-1]
        depths = ", ".join(f"{depth:g}" for depth in np.sort(slopes["depth"]))
        note = "" if worst is None else f"slowest of L = {depths}: L = {worst['depth']:g}"
        for square, what in ((True, "mean square"), (False, "root mean square")):
            findings.append(
                finding(
                    frames,
                    figure,
                    worst,
                    FIRST_ORDER_RATE,
                    f"{name}, {what}",
                    f"exponent of the {what} in n at step 0, slowest depth",
                    decides=square and metric == "coupling_layer",
                    note=notes(
                        note,
                        ""
                        if square
                        else "a Gaussian matrix gives -1/2: O(1/n) holds for the square",
                    ),
                    absent=absent,
                    scale=1.0 if square else 0.5,
                )
            )
        findings.append(
            finding(
                frames,
                figure,
                pick_row(frame, f"{metric}_depth_slope", **line),
                UNIFORM_IN_DEPTH,
                f"{name}, over depth",
                "exponent of the root mean square in L at the largest width, step 0",
                decides=metric == "coupling_layer",
                absent="three depths of depth_mup with the coupling probe",
            )
        )
    return findings


def nondegenerate(frames: Frames) -> list[Finding]:
    """How much of its least eigenvalue the kernel keeps in training, at the largest depth (C13)."""
    figure = "kernel_spectrum"
    frame = frames[figure]
    ratios = pick(frame, "kernel_ratio", series="depth_mup", optimizer="sgd", source="network")
    deepest = ratios.groupby("width")["depth"].transform("max")
    ratios = ratios[ratios["depth"] == deepest].sort_values("width")
    rows = rows_of(ratios) or [None]
    limit = pick_row(
        frame,
        "kernel_ratio",
        ("width", "depth"),
        series="depth_mup",
        optimizer="sgd",
        source="limit",
    )
    rows += [] if limit is None else [limit]
    widest = len(ratios) - 1 if len(ratios) else 0
    findings = []
    for index, row in enumerate(rows):
        where = "networks"
        if row is not None:
            kind = "particles" if row["source"] == "limit" else "width"
            where = f"{kind} {row['width']:g}, depth {row['depth']:g}"
        findings.append(
            finding(
                frames,
                figure,
                row,
                STAYS_AWAY,
                f"least eigenvalue, {where}",
                "least value over training / value at initialisation",
                decides=index == widest,
                absent="the kernel probe of depth_mup",
            )
        )
    return findings
