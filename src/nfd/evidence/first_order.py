"""What is left at infinite size, where the leading correction is 1/size.

A fit of value = limit + coefficient / size with the exponent *known* is linear in the values: both come out
as weighted sums of them. So it takes what it is given, negative squares too, adds no bias, and per seed the
limit is just another number with a t interval. The same weights serve

* losses over width or depth: limit + a/n, limit + b/L (theory.md, sections 4 and 6);
* squares of coupling or gap over width, whose noise of finite width is 1/n exactly: with two widths this is
  Richardson's extrapolation (Richardson 1911);
* plateaus of squares over depth (:mod:`nfd.evidence.squares`), whose corrections are 1/L.

A fitted exponent would cost more than it gives: with six depths it is hardly determined and drags the limit
along (docs/statistics.md).
"""

import numpy as np
from scipy.stats import t as student

from nfd.evidence.intervals import Interval, level_in_use, mean_interval


def first_order_weights(sizes: np.ndarray, precision: np.ndarray | None = None) -> np.ndarray:
    """Weights (2, sizes) of values whose sums are limit and coefficient of limit + coefficient / size.

    Least squares over two sizes or more; ``precision`` (sizes,), 1 / variance, is taken as equal if it is
    not given. Raises ValueError for fewer than two distinct sizes.
    """
    if len(np.unique(sizes)) < 2:
        raise ValueError(
            f"a limit needs values at two sizes or more, not only at {np.unique(sizes).tolist()}"
        )
    root = np.sqrt(np.ones(len(sizes)) if precision is None else precision)
    design = np.stack([np.ones(len(sizes)), 1 / np.asarray(sizes, float)], axis=1)
    return np.linalg.pinv(design * root[:, None]) * root


def fit_first_order(
    sizes: np.ndarray, values: np.ndarray, precision: np.ndarray | None = None
) -> Interval:
    """Limit and coefficient, (2, ...), of ``values`` (seeds, sizes, ...) that share their seeds over sizes.

    Student's t over the seeds' own fits, exact for normal values whatever their correlation over sizes.
    A seed that lacks a size gives NaN and is left out. The gain from a doubling at a size s is
    coefficient / (2 s).
    """
    weights = first_order_weights(sizes, precision)
    return mean_interval(np.moveaxis(np.tensordot(values, weights, axes=(1, 1)), -1, 1))


def first_order_curve(
    sizes: np.ndarray, limit: float, coefficient: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes from the least to the largest and limit + coefficient / size there, to be drawn as a curve."""
    shown = np.geomspace(np.min(sizes), np.max(sizes), 30)
    return shown, limit + coefficient / shown


def doubling_gains(values: np.ndarray) -> Interval:
    """Fall of ``values`` (seeds, sizes, ...) from each size to the next, (sizes - 1, ...), paired by seed."""
    return mean_interval(values[:, :-1] - values[:, 1:])


def diminishing_ratio(sizes: np.ndarray, values: np.ndarray) -> Interval:
    """Gain of a later step over that of the one before it, for ``values`` (seeds, sizes).

    The sizes form a geometric series of ratio q; under limit + coefficient / size each step gains 1/q of
    the one before: with doublings the difference halves. All steps are pooled, later gains summed over
    earlier ones, which leaves (v_2 - v_last) / (v_1 - v_last but one), with Fieller's interval.
    Raises ValueError if sizes are fewer than three or not geometric.
    """
    steps = np.diff(np.log(sizes))
    if len(sizes) < 3 or not np.allclose(steps, steps[0], rtol=1e-3):
        raise ValueError(
            "a ratio of gains needs three sizes or more with a common ratio, "
            f"not {np.asarray(sizes).tolist()}"
        )
    return ratio_interval(values[:, 1] - values[:, -1], values[:, 0] - values[:, -2])


def ratio_interval(numerator: np.ndarray, denominator: np.ndarray) -> Interval:
    """Ratio of two means over seeds, (seeds,) each, paired, with Fieller's interval (Fieller 1954).

    It holds the ratios r at which the mean of numerator - r denominator is not told from 0 by a t test, so it
    is exact for normal values. Unbounded if the denominator itself is not told from 0.
    """
    seeds = len(numerator)
    top, bottom = numerator.mean(), denominator.mean()
    covariance = np.cov(numerator, denominator) / seeds if seeds > 1 else np.full((2, 2), np.nan)
    quantile = student.ppf(0.5 + level_in_use() / 2, seeds - 1) ** 2
    # The ratios r at the ends of the interval solve a r^2 - 2 b r + c = 0.
    a = bottom**2 - quantile * covariance[1, 1]
    b = top * bottom - quantile * covariance[0, 1]
    c = top**2 - quantile * covariance[0, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.asarray(top / bottom)
        half = np.sqrt(np.maximum(b**2 - a * c, 0.0)) / a
    if not np.isnan(a) and a <= 0:
        return Interval(estimate, np.asarray(-np.inf), np.asarray(np.inf))
    return Interval(estimate, np.asarray(b / a - half), np.asarray(b / a + half))
