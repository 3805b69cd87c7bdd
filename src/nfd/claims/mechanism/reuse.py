"""The coupling that is due to reused weights, and that of infinite width, from rows of evidence.

**What reuse adds** is the coupling that training creates in standard minus that in decoupled runs: part of it
is there without reuse, in networks with independent backward weights and in NFD itself (docs/theory.md,
section 3), where gradient independence holds by construction.

**At infinite width** the mean square is known from two widths, c^2 = A + B/n with exponent 1 exactly. Taking
off the square at step 0 instead leaves a positive constant, since the noise grows in training.

The rows hold no pairing by seed, so half widths are added in squares, over the two terms of a difference and
over depths. That is exact for independent runs; runs that share seeds vary together, which cancels in
differences and in slopes, so that these intervals are then too wide.
"""

from typing import TypeAlias

import numpy as np
import pandas as pd

from nfd.evidence.table import pick_measured

Points: TypeAlias = pd.DataFrame


def added_by_reuse(frame: pd.DataFrame, metric: str, source: str) -> Points:
    """Created coupling of standard minus decoupled runs: columns depth, estimate, half, seeds."""
    standard, decoupled = (
        _points(frame, f"{metric}_created", series, source)
        for series in ("depth_mup", "depth_mup, decoupled")
    )
    both = standard.merge(decoupled, on="depth", suffixes=("", "_2"))
    return pd.DataFrame(
        {
            "depth": both["depth"],
            "estimate": both["estimate"] - both["estimate_2"],
            "half": np.hypot(both["half"], both["half_2"]),
            "seeds": both[["seeds", "seeds_2"]].min(axis=1),
        }
    )


def at_infinite_width(frame: pd.DataFrame, metric: str) -> Points:
    """Coupling of standard runs at the last step, networks and limit taken to infinite width."""
    networks, limit = (
        _points(frame, metric, "depth_mup", source) for source in ("network", "limit")
    )
    both = limit.merge(networks, on="depth", suffixes=("", "_2"))
    n, fewer = both["width"], both["width_2"]
    weight = n / (n - fewer)
    square = weight * both["estimate"] ** 2 - (weight - 1) * both["estimate_2"] ** 2
    error = 2 * np.hypot(
        weight * both["estimate"] * both["half"],
        (weight - 1) * both["estimate_2"] * both["half_2"],
    )
    root = np.sqrt(square.clip(lower=0))
    return pd.DataFrame(
        {
            "depth": both["depth"],
            "estimate": root,
            "half": error / (2 * root).where(root > 0),
            "seeds": both[["seeds", "seeds_2"]].min(axis=1),
        }
    )


def _points(frame: pd.DataFrame, quantity: str, series: str, source: str) -> Points:
    """Depth, width, estimate, half width and seeds at the last step."""
    rows = pick_measured(frame, quantity, series=series, source=source, optimizer="sgd")
    rows = rows[rows["step"] == rows["step"].max()]
    half = (rows["ci_high"] - rows["ci_low"]) / 2
    return rows[["depth", "width", "estimate", "seeds"]].assign(half=half)


def slope_over_depth(points: Points) -> pd.Series | None:
    """Exponent in depth with interval and seeds, over the points that exceed their half width.

    None if these are fewer than three. ``window`` says over which depths.
    """
    kept = points[points["estimate"] > points["half"]].sort_values("depth")
    if len(kept) < 3:
        return None
    depth, value = (kept[name].to_numpy(float) for name in ("depth", "estimate"))
    centred = np.log(depth) - np.log(depth).mean()
    weights = centred / (centred**2).sum()
    half = np.linalg.norm(weights * kept["half"].to_numpy(float) / value)
    found = weights @ np.log(value)
    return pd.Series(
        {
            "estimate": found,
            "ci_low": found - half,
            "ci_high": found + half,
            "seeds": kept["seeds"].min(),
            "window": f"fitted over depth {depth[0]:g}..{depth[-1]:g}",
        }
    )
