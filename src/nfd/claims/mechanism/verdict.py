"""Does the coupling vanish (C5, C6), and does the kernel stay away from singular (C13)?"""

import numpy as np
import pandas as pd

from nfd.claims.mechanism import reuse
from nfd.claims.rules import (
    FIRST_ORDER_RATE,
    POSITIVE,
    Finding,
    Frames,
    above,
    below,
    finding,
    gated,
    notes,
    outside,
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
# A kernel that training has moved by less than a tenth shows nothing about a tenfold drop.
MOVED = 0.1
OF_HIGHER_ORDER = below(HIGHER_ORDER, "vanishes with depth")
UNIFORM_IN_DEPTH = below(UNIFORM, "does not grow with depth")
STAYS_AWAY = above(EIGENVALUE, "the least eigenvalue keeps its order of magnitude")
MOVES = outside(1 - MOVED, 1 + MOVED, "training moves the kernel")


def vanishing_mechanism(frames: Frames) -> list[Finding]:
    """How the coupling that training creates depends on depth, per layer and summed (C5).

    Both readings decide, since a version of the paper states each: the coupling of a matrix (the first) and
    its sum over depth (the later ones).
    """
    figure = "vanishing_mechanism"
    frame = frames[figure]
    at_infinite_width = _over_depth(
        frames,
        reuse.at_infinite_width(frame, "coupling_layer"),
        "coupling per layer at infinite width",
        "exponent in L of the coupling (rms), last step, from networks and limit with c^2 = A + B/n",
        decides=True,
    )
    return [
        at_infinite_width,
        *_added_by_reuse(frames, "coupling_accumulated", "accumulated over depth", decides=True),
        *_added_by_reuse(frames, "coupling_layer", "per layer", decides=False),
        *_created(frames, "coupling_accumulated", "coupling accumulated over depth"),
        *_created(frames, "coupling_layer", "coupling per layer"),
    ]


def _over_depth(
    frames: Frames, points: pd.DataFrame, observable: str, statistic: str, decides: bool
) -> Finding:
    row = reuse.slope_over_depth(points)
    return finding(
        frames,
        "vanishing_mechanism",
        row,
        OF_HIGHER_ORDER,
        observable,
        statistic,
        decides=decides,
        note="" if row is None else row["window"],
        absent="three depths at which it exceeds its half width",
    )


def _added_by_reuse(frames: Frames, metric: str, what: str, decides: bool) -> list[Finding]:
    """What reuse adds, in networks and in the limit; the networks decide, or the limit if they cannot."""
    figure = "vanishing_mechanism"
    points = {
        where: reuse.added_by_reuse(frames[figure], metric, source)
        for where, source in (("networks", "network"), ("limit", "limit"))
    }
    usable = {
        where: not problem_of(reuse.slope_over_depth(rows), figure, frames[figure], "-")
        for where, rows in points.items()
    }
    deciding = "limit" if usable["limit"] and not usable["networks"] else "networks"
    return [
        _over_depth(
            frames,
            rows,
            f"what reuse adds, {what}, {where}",
            "exponent in L of the created coupling (rms), standard minus decoupled, last step",
            decides=decides and where == deciding,
        )
        for where, rows in points.items()
    ]


def _created(frames: Frames, metric: str, observable: str) -> list[Finding]:
    """The created coupling itself, from which the noise of step 0 is taken off: listed."""
    figure = "vanishing_mechanism"
    frame = frames[figure]
    why = (
        "the noise of the weights grows in training, so that taking off that of step 0 flattens this slope"
        if metric == "coupling_layer"
        else "part of it is there without reuse, in NFD too"
    )
    return [
        finding(
            frames,
            figure,
            pick_row(frame, f"{metric}_created_slope", series=series, optimizer="sgd"),
            OF_HIGHER_ORDER,
            f"{observable}, {where}",
            "exponent in L of the coupling that training created (rms), last step",
            note=notes(window_of(frame, f"{metric}_created", "depth", series=series), why),
            absent="three depths whose coupling exceeds that at step 0 (the noise floor)",
        )
        for where, series in (("networks", "depth_mup"), ("limit", "depth_mup, limit"))
    ]


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
    moves = _kernel_moves(frames, rows[widest])
    findings = []
    for index, row in enumerate(rows):
        where = "networks"
        if row is not None:
            kind = "particles" if row["source"] == "limit" else "width"
            where = f"{kind} {row['width']:g}, depth {row['depth']:g}"
        found = finding(
            frames,
            figure,
            row,
            STAYS_AWAY,
            f"least eigenvalue, {where}",
            "least value over training / value at initialisation",
            decides=index == widest,
            absent="the kernel probe of depth_mup",
        )
        findings.append(gated(found, [moves]))
    return [*findings, moves]


def _kernel_moves(frames: Frames, row: pd.Series | None) -> Finding:
    """How far the least eigenvalue of the network that decides has moved at the last step."""
    frame = frames["kernel_spectrum"]
    moved = None
    if row is not None:
        place = {name: row[name] for name in ("series", "optimizer", "source", "width", "depth")}
        values = pick(frame, "kernel_min_eigenvalue", **place).sort_values("step")
        moved = _ratio(values.iloc[-1], values.iloc[0])
    return finding(
        frames,
        "kernel_spectrum",
        moved,
        MOVES,
        "control, movement of the least eigenvalue",
        "value at the last step / value at initialisation, bounds of both added",
        absent="the kernel probe of depth_mup",
        control=POSITIVE,
    )


def _ratio(above: pd.Series, below: pd.Series) -> pd.Series:
    """The ratio of two positive estimates, with the widest bounds that theirs allow."""
    found = above.copy()
    found["estimate"] = above["estimate"] / below["estimate"]
    found["ci_low"] = above["ci_low"] / below["ci_high"]
    found["ci_high"] = above["ci_high"] / below["ci_low"]
    return found
