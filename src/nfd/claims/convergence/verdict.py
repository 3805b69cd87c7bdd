"""Do finite networks converge to Neural Feature Dynamics, and how fast (C3)?"""

from collections.abc import Mapping
from math import inf
from typing import Any

import pandas as pd

from nfd.claims.rules import (
    FIRST_ORDER_RATE,
    Condition,
    Effect,
    Finding,
    Frames,
    Rule,
    below,
    diverged,
    finding,
    notes,
    pick_row,
    window_of,
)

# Relative error against a limit that counts as converged: a twentieth of what training changed.
LIMIT_ERROR = 0.05
CONVERGES = Rule(
    f"supported if the interval lies below {LIMIT_ERROR:g} of the output change; contradicted if above and "
    "the networks are significantly nearer to the coupled limit",
    (-inf, LIMIT_ERROR),
    ((LIMIT_ERROR, inf),),
    (Condition((0.0, inf), Effect.NEEDED_TO_CONTRADICT),),
)
CLOSE = below(LIMIT_ERROR, "no distance to speak of")


def limit_convergence(frames: Frames) -> list[Finding]:
    """Distances of networks and limits at infinite depth, and the rates in depth and width (C3)."""
    figure = "limit_convergence"
    frame = frames[figure]
    nfd, coupled = {"series": "standard to NFD"}, {"series": "standard to coupled limit"}
    measured = {"parametrization": "depth_mup", "source": "network"}
    statistic = "relative rms error of the widest networks, depth extrapolated to infinity"
    to_coupled = pick_row(frame, "bias_at_infinite_depth", **coupled, **measured)
    return [
        _nfd_error(frames, figure, statistic, to_coupled),
        finding(
            frames,
            figure,
            to_coupled,
            CLOSE,
            "standard networks against the coupled limit",
            statistic,
            absent="two depths of networks and of the coupled limit",
        ),
        finding(
            frames,
            figure,
            pick_row(frame, "bias_at_infinite_depth", **{**measured, **nfd, "source": "limit"}),
            CLOSE,
            "coupled limit against NFD",
            "relative rms distance of the two limits, depth extrapolated to infinity",
            absent="limit jobs of both couplings at two depths",
        ),
        *(_depth_rate(frames, figure, series) for series in (nfd, coupled)),
        _width_rate(frames, figure),
    ]


def _nfd_error(
    frames: Frames, figure: str, statistic: str, to_coupled: pd.Series | None
) -> Finding:
    frame = frames[figure]
    nearer = pick_row(frame, "squared_error_difference", parametrization="depth_mup")
    note = "missing: the coupled limit to compare with"
    if nearer is not None and to_coupled is not None:
        nearer_to = (
            "nearer to the coupled limit"
            if nearer["ci_low"] > 0
            else "not nearer to the coupled limit"
        )
        note = f"{nearer_to}, whose error is {to_coupled['estimate']:.3g}"
    plateau = pick_row(frame, "bias_over_depth_plateau", series="standard to NFD")
    if plateau is not None:
        note += f"; the error against NFD levels off at {plateau['estimate']:.3g} over depth"
    return finding(
        frames,
        figure,
        pick_row(
            frame,
            "bias_at_infinite_depth",
            series="standard to NFD",
            parametrization="depth_mup",
            source="network",
        ),
        CONVERGES,
        "standard networks against NFD",
        statistic,
        others=[] if nearer is None else [nearer],
        decides=True,
        note=notes(note, diverged(frame)),
        absent="two depths of networks and of NFD",
    )


def _depth_rate(frames: Frames, figure: str, series: Mapping[str, Any]) -> Finding:
    frame = frames[figure]
    return finding(
        frames,
        figure,
        pick_row(frame, "bias_over_depth_slope", parametrization="depth_mup", **series),
        FIRST_ORDER_RATE,
        f"rate in depth, {series['series']}",
        "exponent of the error (bias) in L at the largest width",
        note=window_of(frame, "bias_over_depth", "depth", **series),
        absent="three depths whose error stands above the noise floor",
    )


def _width_rate(frames: Frames, figure: str) -> Finding:
    frame = frames[figure]
    line = {"series": "standard to NFD", "parametrization": "depth_mup", "step": 0}
    row = pick_row(frame, "fluctuation_over_width_slope", ("depth",), **line)
    window = {} if row is None else {"depth": row["depth"], **line}
    return finding(
        frames,
        figure,
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
