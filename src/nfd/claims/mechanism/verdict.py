"""Does the coupling vanish (C5, C6), and does the kernel stay away from singular (C13)?"""

import numpy as np
import pandas as pd

from nfd.claims.rules import (
    FIRST_ORDER_RATE,
    NEGATIVE,
    POSITIVE,
    Finding,
    Frames,
    Rule,
    above,
    below,
    finding,
    gated,
    notes,
    outside,
    pick_row,
    rows_of,
    window_of,
)
from nfd.evidence.table import SINGLE_MATRICES, pick

# 'Of higher order in depth': midway between O(1) and the L^-1/2 that the paper's mechanism gives.
HIGHER_ORDER = -0.25
# A sum over depth has vanished if less than a quarter of what the shallowest network has is left.
LEFT = 1 / 4
# Growth of the initial coupling with depth that still counts as uniform in L.
UNIFORM = 0.1
# Fraction of its initial value that the least eigenvalue must keep: it loses less than a decade.
EIGENVALUE = 0.1
# A kernel that training has moved by less than a tenth shows nothing about a tenfold drop.
MOVED = 0.1
OF_HIGHER_ORDER = below(HIGHER_ORDER, "vanishes with depth")
NOT_SEEN_TO_FALL = above(HIGHER_ORDER, "a sum that is known to stay is not seen to fall")
VANISHES = below(LEFT**2, "less than a quarter of the amplitude is left at infinite depth")
NOTHING_BEFORE = below(LEFT**2, "without training the statistic finds nothing")
IS_THERE = above(0.0, "there is something that could vanish")
UNIFORM_IN_DEPTH = below(UNIFORM, "does not grow with depth")
STAYS_AWAY = above(EIGENVALUE, "the least eigenvalue keeps its order of magnitude")
MOVES = outside(1 - MOVED, 1 + MOVED, "training moves the kernel")

AMPLITUDE = "exponent in L of the coupling (mean over seeds, in unbiased squares), last step"
PLATEAU = "plateau c of its square c + b/L over the square at the smallest depth, last step"


def vanishing_mechanism(frames: Frames) -> list[Finding]:
    """How the coupling that training creates depends on depth, per layer and summed (C5).

    Both readings decide, since a version of the paper states each: the coupling of a layer (the first) and
    its sum over depth (the later ones), of which what reuse adds could vanish.
    """
    stays = _over_depth(
        frames,
        "coupling_sum_exponent",
        NOT_SEEN_TO_FALL,
        "control, coupling of decoupled networks, accumulated over depth",
        series="depth_mup, decoupled",
        control=NEGATIVE,
    )
    is_there, before = _something_to_vanish(frames)
    layer, *layer_limit = _everywhere(
        frames, "coupling_layer_exponent", OF_HIGHER_ORDER, "coupling per layer", decides=True
    )
    total, *total_limit = _everywhere(
        frames,
        "reuse_sum_share_left",
        VANISHES,
        "what reuse adds, accumulated over depth",
        decides=True,
    )
    part = "part of it is there without reuse, in NFD too"
    other = "the reading with a fresh backward copy at every step"
    return [
        gated(layer, [stays]),
        gated(total, [is_there, before]),
        stays,
        is_there,
        before,
        *layer_limit,
        *total_limit,
        *_everywhere(
            frames,
            "fresh_sum_share_left",
            VANISHES,
            "what reuse adds to fresh copies, accumulated over depth",
            note=other,
        ),
        *_everywhere(
            frames,
            "reuse_sum_exponent",
            OF_HIGHER_ORDER,
            "exponent of what reuse adds, accumulated over depth",
        ),
        *_everywhere(
            frames,
            "coupling_sum_exponent",
            OF_HIGHER_ORDER,
            "coupling accumulated over depth",
            note=part,
        ),
        *_everywhere(frames, "reuse_layer_exponent", OF_HIGHER_ORDER, "what reuse adds, per layer"),
        *_everywhere(
            frames,
            "fresh_layer_exponent",
            OF_HIGHER_ORDER,
            "what reuse adds to fresh copies, per layer",
            note=other,
        ),
        *_one_matrix_at_a_time(frames),
    ]


def _one_matrix_at_a_time(frames: Frames) -> list[Finding]:
    """What is left of the sum when each matrix is trained alone, if the experiment has such networks."""
    there = set(frames["vanishing_mechanism"]["trainable"])
    return [
        found
        for matrix, name in SINGLE_MATRICES.items()
        if matrix in there
        for found in _everywhere(
            frames,
            "reuse_sum_share_left",
            VANISHES,
            f"{name} trained alone: what reuse adds, accumulated over depth",
            network=f"depth_mup, trained: {matrix}",
        )
    ]


def _everywhere(
    frames: Frames,
    quantity: str,
    rule: Rule,
    observable: str,
    *,
    network: str = "depth_mup",
    decides: bool = False,
    note: str = "",
) -> list[Finding]:
    """The same finding in networks, where it may decide, and in the limit, where it is listed."""
    return [
        _over_depth(
            frames,
            quantity,
            rule,
            f"{observable}, {where}",
            series=network + (", limit" if where == "limit" else ""),
            decides=decides and where == "networks",
            note=note,
        )
        for where in ("networks", "limit")
    ]


def _over_depth(
    frames: Frames,
    quantity: str,
    rule: Rule,
    observable: str,
    *,
    series: str,
    decides: bool = False,
    control: str = "",
    note: str = "",
) -> Finding:
    figure = "vanishing_mechanism"
    frame, line = frames[figure], {"series": series, "optimizer": "sgd"}
    exponent = quantity.endswith("_exponent")
    square = f"{quantity.removesuffix('_exponent').removesuffix('_share_left')}_square"
    return finding(
        frames,
        figure,
        pick_row(frame, quantity, **line),
        rule,
        observable,
        AMPLITUDE if exponent else PLATEAU,
        decides=decides,
        control=control,
        note=notes(window_of(frame, square, "depth", **line) if exponent else "", note),
        absent="three depths whose square stands above its noise"
        if exponent
        else "signed couplings of standard and other runs at three depths",
    )


def _something_to_vanish(frames: Frames) -> tuple[Finding, Finding]:
    """Controls of what reuse adds: it is there in the shallowest networks, and was not before training."""
    figure = "vanishing_mechanism"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    squares = pick(frame, "reuse_sum_square", source="network", **line)
    last = squares[squares["step"] == squares["step"].max()].sort_values("depth")
    is_there = finding(
        frames,
        figure,
        None if last.empty else last.iloc[0],
        IS_THERE,
        "control, what reuse adds in the shallowest networks",
        "square of the coupling accumulated over depth, standard minus decoupled, last step",
        absent="signed couplings of standard and decoupled networks",
        control=POSITIVE,
    )
    before = finding(
        frames,
        figure,
        pick_row(frame, "reuse_sum_before", **line),
        NOTHING_BEFORE,
        "control, what reuse adds before training",
        "squares at step 0 over those at the last step, means over depths",
        absent="signed couplings of standard and decoupled networks at step 0",
        control=NEGATIVE,
    )
    return is_there, before


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
        check = "a check of the construction: it holds for every Gaussian matrix"
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
                        check
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
    """How much of its least eigenvalue the kernel keeps in training, at the largest depth (C13).

    The long runs decide. Those of a few steps are listed: they hardly move the kernel, and check the networks
    and the solver rather than the claim.
    """
    moves = _kernel(
        frames,
        "kernel_moved",
        MOVES,
        "control, movement of the least eigenvalue",
        "value at the last step / value at initialisation",
        control=POSITIVE,
    )
    keeps = _kernel(
        frames,
        "kernel_ratio",
        STAYS_AWAY,
        "least eigenvalue",
        "least value over training / value at initialisation",
        decides=True,
    )
    frame = frames["kernel_spectrum"]
    early = pick(frame, "early_kernel_ratio", series="depth_mup", optimizer="sgd")
    deepest = early.groupby(["source", "width"])["depth"].transform("max")
    early = early[early["depth"] == deepest].sort_values(
        ["source", "width"], ascending=[False, True]
    )
    return [
        gated(keeps, [moves]),
        moves,
        *(
            finding(
                frames,
                "kernel_spectrum",
                row,
                STAYS_AWAY,
                f"least eigenvalue, few steps, {_shape(row)}",
                "least value over training / value at initialisation",
                note="a check of the construction: so few steps hardly move the kernel",
            )
            for row in rows_of(early)
        ),
    ]


def _kernel(
    frames: Frames,
    quantity: str,
    rule: Rule,
    observable: str,
    statistic: str,
    *,
    decides: bool = False,
    control: str = "",
) -> Finding:
    """A finding on the widest standard networks of the long runs, at their largest depth."""
    frame = frames["kernel_spectrum"]
    row = pick_row(
        frame, quantity, ("width", "depth"), series="depth_mup", optimizer="sgd", source="network"
    )
    return finding(
        frames,
        "kernel_spectrum",
        row,
        rule,
        observable,
        statistic,
        decides=decides,
        note="" if row is None else f"at {_shape(row)}",
        absent="the kernel probe of depth_mup",
        control=control,
    )


def _shape(row: pd.Series) -> str:
    kind = "particles" if row["source"] == "limit" else "width"
    return f"{kind} {row['width']:g}, depth {row['depth']:g}"
