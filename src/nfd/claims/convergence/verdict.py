"""Do finite networks converge to Neural Feature Dynamics, and how fast (C3)?"""

from collections.abc import Mapping
from math import inf
from typing import Any

import pandas as pd

from nfd.claims.rules import (
    AGREEMENT,
    CONTRADICTED,
    FIRST_ORDER_RATE,
    NEGATIVE,
    PLAIN_NETWORK,
    POSITIVE,
    Condition,
    Effect,
    Finding,
    Frames,
    Rule,
    above,
    below,
    diverged,
    finding,
    gated,
    notes,
    pick_row,
    window_of,
    within,
)
from nfd.evidence.table import SINGLE_MATRICES

# The threshold of C4 as well, since both ask whether independent weights give the same outputs.
SQUARE = AGREEMENT**2
CONVERGES = Rule(
    f"supported if the interval lies below {SQUARE:g} of the squared output change; contradicted if above "
    "and the networks are significantly nearer to the coupled limit",
    (-inf, SQUARE),
    ((SQUARE, inf),),
    (Condition((0.0, inf), Effect.NEEDED_TO_CONTRADICT),),
)
CLOSE = below(SQUARE, "no distance to speak of")
APART = above(SQUARE, "the two limits differ")
THE_SAME = within(-SQUARE, SQUARE, "a limit does not differ from itself")

CONVERGENCE = "limit_convergence"
NAMED_LIMITS = {"standard": "coupled limit", "decoupled": "NFD", "fresh": "NFD, fresh copies"}
AT_INFINITY = "squared relative error of the widest networks at infinite depth, from limit + b / L"


def limit_convergence(frames: Frames) -> list[Finding]:
    """Distances of networks and limits at infinite depth, and the rates in depth and width (C3)."""
    itself = [
        _distance(
            frames,
            f"{limit} to itself",
            "limit",
            THE_SAME,
            f"control, {limit} against itself",
            control=NEGATIVE,
        )
        for limit in ("NFD", "coupled limit")
    ]
    apart = {
        limit: _distance(
            frames,
            f"standard to {limit}",
            "limit",
            APART,
            f"control, coupled limit against {limit}",
            control=POSITIVE,
        )
        for limit in ("NFD", "NFD, fresh copies")
    }
    readings = [
        _checked(_nfd_error(frames, limit, decides=limit == "NFD"), itself, differs)
        for limit, differs in apart.items()
    ]
    return [
        readings[0],
        *apart.values(),
        *itself,
        readings[1],
        _distance(
            frames,
            "standard to coupled limit",
            "network",
            CLOSE,
            "standard networks against the coupled limit",
        ),
        _distance(frames, "decoupled to NFD", "network", CLOSE, "decoupled networks against NFD"),
        *(_loss_rate(frames, coupling) for coupling in NAMED_LIMITS),
        _width_rate(frames),
        *_one_matrix_at_a_time(frames),
    ]


def _checked(found: Finding, itself: list[Finding], apart: Finding) -> Finding:
    """Gated by the negative controls, and by the positive one if it contradicts.

    That the two limits differ is what the claim denies, so it cannot be asked of networks that support it.
    """
    found = gated(found, itself)
    return gated(found, [apart]) if found.verdict == CONTRADICTED else found


def _one_matrix_at_a_time(frames: Frames) -> list[Finding]:
    """Where the distance comes from: each matrix trained alone, if the experiment has such networks."""
    trained = set(frames[CONVERGENCE]["trainable"])
    return [
        _distance(
            frames,
            "standard to NFD",
            source,
            CLOSE,
            f"{name} trained alone: {observable}",
            trainable=matrix,
        )
        for matrix, name in SINGLE_MATRICES.items()
        if matrix in trained
        for source, observable in (
            ("limit", "coupled limit against NFD"),
            ("network", "standard networks against NFD"),
        )
    ]


def _distance(
    frames: Frames,
    series: str,
    source: str,
    rule: Rule,
    observable: str,
    control: str = "",
    **network: str,
) -> Finding:
    """The squared distance at infinite depth of one comparison, of the plain ``network`` but for this."""
    line = {"series": series, "source": source, **PLAIN_NETWORK, **network}
    return finding(
        frames,
        CONVERGENCE,
        pick_row(frames[CONVERGENCE], "error_square_at_infinite_depth", **line),
        rule,
        observable,
        AT_INFINITY
        if source == "network"
        else AT_INFINITY.replace("the widest networks", "limits"),
        absent="two depths of both, and enough seeds",
        control=control,
    )


def _nfd_error(frames: Frames, limit: str, *, decides: bool) -> Finding:
    """Standard networks against one kind of NFD, and whether the coupled limit is nearer."""
    frame = frames[CONVERGENCE]
    line = {"source": "network", **PLAIN_NETWORK}
    series = f"{limit} minus coupled limit"
    nearer = pick_row(frame, "squared_error_difference", series=series, **PLAIN_NETWORK)
    coupled = {"series": "standard to coupled limit", **line}
    to_coupled = pick_row(frame, "error_square_at_infinite_depth", **coupled)
    note = "missing: the coupled limit to compare with"
    if nearer is not None and to_coupled is not None:
        nearer_to = "nearer" if nearer["ci_low"] > 0 else "not nearer"
        note = (
            f"{nearer_to} to the coupled limit, whose squared error is {to_coupled['estimate']:.3g}"
        )
    return finding(
        frames,
        CONVERGENCE,
        pick_row(frame, "error_square_at_infinite_depth", series=f"standard to {limit}", **line),
        CONVERGES,
        f"standard networks against {limit}",
        AT_INFINITY,
        others=[] if nearer is None else [nearer],
        decides=decides,
        note=notes(note, diverged(frame)),
        absent=f"two depths of networks and of {limit}",
    )


def _loss_rate(frames: Frames, coupling: str) -> Finding:
    """The exponent at which a limit's loss goes to that of infinite depth, paired by seed over depths."""
    line = {"coupling": coupling, **PLAIN_NETWORK}
    return finding(
        frames,
        CONVERGENCE,
        pick_row(frames[CONVERGENCE], "loss_exponent", **line),
        FIRST_ORDER_RATE,
        f"rate in depth, loss of the {NAMED_LIMITS[coupling]}",
        "-r in loss = loss at infinite depth + b L^-r, from the ratio of gains",
        absent="three depths of a limit, each twice the one before",
    )


def _width_rate(frames: Frames) -> Finding:
    frame = frames[CONVERGENCE]
    line: Mapping[str, Any] = {"series": "standard to NFD", "step": 0, **PLAIN_NETWORK}
    row: pd.Series | None = pick_row(frame, "fluctuation_over_width_slope", ("depth",), **line)
    window = {} if row is None else {"depth": row["depth"], **line}
    return finding(
        frames,
        CONVERGENCE,
        row,
        FIRST_ORDER_RATE,
        "rate in width at initialisation",
        "exponent of the mean square error of the outputs in n at step 0, largest depth",
        note=notes(
            window_of(frame, "fluctuation_over_width", "width", **window) if window else "",
            "the mean square is read as the error; its root falls half as fast",
        ),
        absent="three widths",
        scale=2.0,
    )
