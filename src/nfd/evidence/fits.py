"""Straight lines in log-log and fits with a plateau (docs/theory.md, section 6).

Every function takes means over seeds with the resample as first axis, ``(resamples, *cells)``, as the
statistics of :mod:`nfd.evidence.intervals` do; NaN marks a missing measurement.
"""

import numpy as np

# Exponents tried by the fits. Below L^-1/2, the slowest correction that theory knows, the plateau of a few
# sizes is not determined: a slower decay is read as a plateau.
PLATEAU_EXPONENTS = np.round(np.arange(0.5, 2.5001, 0.02), 2)


# ------------------------------------------------------------------------------------ straight lines


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


# ------------------------------------------------------------------------------- fits with a plateau


def fit_plateau(sizes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Fit values = c_inf + c * size^-r by least squares; returns (resamples, 3): c_inf, c, r.

    For each exponent r of PLATEAU_EXPONENTS the two coefficients are linear, so the best r is found by
    trying them all: no starting point and no local minimum. Needs four points or more, else NaN.
    """
    if len(sizes) < 4:
        return np.full((len(values), 3), np.nan)
    # Powers of the relative size, so that the columns of the design stay of order one.
    start = sizes[0]
    designs = [
        np.stack([np.ones(len(sizes)), (sizes / start) ** -r], axis=1) for r in PLATEAU_EXPONENTS
    ]
    best, coefficients = _best_design(np.stack(designs), values)
    r = PLATEAU_EXPONENTS[best]
    return np.stack([coefficients[:, 0], coefficients[:, 1] * start**r, r], axis=1)


def _best_design(designs: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the designs (candidates, points, columns) fits each row of y best, and its coefficients."""
    q, r = np.linalg.qr(designs)
    best = np.zeros(len(y), int)
    least = np.full(len(y), -1.0)
    for candidate in range(len(designs)):
        explained = ((y @ q[candidate]) ** 2).sum(axis=1)
        better = explained > least
        best[better], least[better] = candidate, explained[better]
    projected = np.einsum("rpc,rp->rc", q[best], y)
    return best, np.linalg.solve(r[best], projected[..., None])[..., 0]
