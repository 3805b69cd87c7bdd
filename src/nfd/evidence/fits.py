"""Straight lines in log-log (docs/theory.md, section 6).

Every function takes means over seeds with the resample as first axis, ``(resamples, *cells)``, as the
statistics of :mod:`nfd.evidence.intervals` do; NaN marks a missing measurement.
"""

import numpy as np


def line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares slope and intercept of ``y`` (resamples, points) on ``x`` (points,); NaN left out."""
    present = np.isfinite(y)
    count = present.sum(axis=-1)
    y = np.where(present, y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_mean = (present * x).sum(axis=-1) / count
        y_mean = y.sum(axis=-1) / count
        centred = present * (x - x_mean[..., None])
        slope = (centred * y).sum(axis=-1) / (centred**2).sum(axis=-1)
    slope = np.where(count >= 2, slope, np.nan)
    return slope, y_mean - slope * x_mean


def window(estimate: np.ndarray, floor: np.ndarray | float = 0.0) -> np.ndarray:
    """Which points a slope may use: the longest contiguous run that stands above the noise floor.

    ``estimate`` (points,) in order of size, ``floor`` what each must exceed.
    Contiguous, because beyond the first point lost in noise the survivors are the lucky ones. Of two
    equally long runs the first is taken.
    """
    above = np.isfinite(estimate) & (estimate > 0) & (estimate > np.asarray(floor))
    edges = np.flatnonzero(np.diff(np.concatenate(([0], above.astype(int), [0]))))
    chosen = np.zeros(len(above), bool)
    if len(edges):
        starts, ends = edges[::2], edges[1::2]
        longest = np.argmax(ends - starts)
        chosen[starts[longest] : ends[longest]] = True
    return chosen


def loglog_slope(sizes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Exponent of ``values`` (resamples, points) as a power of ``sizes`` (points,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return line(np.log(sizes), np.log(np.where(values > 0, values, np.nan)))[0]
