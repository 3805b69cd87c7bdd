"""Amplitudes judged in squares: gaps, couplings and changes whose direction differs from seed to seed.

:func:`mean_square` of a mean output is unbiased: the mean over *pairs of different seeds* of their products
(a U-statistic, Hoeffding 1948), in which the noise of one seed meets the independent noise of another. So it
has no noise floor, and it is negative about half of the time where nothing is there. It is never cut at 0
and no root is taken before the fit: the root of a clipped square is biased upwards just where a claim says
that nothing is left (:mod:`nfd.evidence.power` shows by how much).

* A *plateau* over depth is read from squares with the exponent known, c + b/L (:func:`plateau`): c may come
  out negative, and its interval then ends below 0.
* A *power* of the size may be read only where every square stands above its own noise
  (:func:`amplitude_exponent`); otherwise the plateau is the only reading.

Thresholds for an amplitude are squared too: 'a gap below 0.1' is 'a square below 0.01'.
"""

from collections.abc import Callable

import numpy as np

from nfd.evidence.first_order import first_order_weights
from nfd.evidence.fits import line, window
from nfd.evidence.intervals import Interval, jackknife_interval, squared_distance

# A square is above its noise if it exceeds so many of its jackknife standard errors: then leaving one seed
# out does not change its sign, and its logarithm is nearly symmetric.
ABOVE_NOISE = 3.0

Squares = Callable[..., np.ndarray]


def mean_square(sample: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Unbiased mean square, (...), over components of an expectation, or of the difference of two.

    ``sample`` (seeds, ..., components), ``other`` likewise, of independent seeds; NaN for a single seed.
    The products of all pairs of different seeds, averaged: the square of the mean less variance / seeds.
    """
    groups = (sample,) if other is None else (sample, other)
    if min(map(len, groups)) < 2:  # no pair
        return squared_distance(*groups) * np.nan
    return squared_distance(*groups)


def ratio_of_squares(
    numerator: np.ndarray, denominator: np.ndarray, *, pooled: bool = False
) -> np.ndarray:
    """Mean squares of ``numerator`` over those of ``denominator``, (...), both (seeds, ..., components).

    A relative gap, squared: the two samples share their seeds and only the denominator has to stand well
    above 0. ``pooled`` sums the denominators over the axes between seeds and components.
    """
    below = mean_square(denominator)
    return mean_square(numerator) / (below.mean() if pooled else below)


def plateau(sizes: np.ndarray, squares: Squares, *groups: np.ndarray) -> Interval:
    """c of squares = c + b / size, with a jackknife interval over the seeds of independent ``groups``.

    ``squares(*groups)`` gives the squares, (sizes,), e.g. :func:`mean_square` or a ratio. Least squares at
    the known exponent 1, all sizes alike. The jackknife of a pure square of noise is too wide rather than too
    narrow (Efron and Stein 1981), so 'nothing is left' is not concluded too early.
    """
    weights = first_order_weights(sizes)[0]
    return jackknife_interval(lambda *g: squares(*g) @ weights, *groups)


def share_left(sizes: np.ndarray, squares: Squares, *groups: np.ndarray) -> Interval:
    """c of :func:`plateau` over the square at the smallest size: 1 if it stays, 0 if it vanishes as 1 / size.

    A faster decay gives 0 or less; a slower one does not count as vanishing, for no plateau of 0 fits it. The
    square at the smallest size has to stand above 0, which a reader of the ratio must ask for separately.
    """
    weights = first_order_weights(sizes)[0]
    least = int(np.argmin(sizes))

    def share(*g: np.ndarray) -> np.ndarray:
        values = squares(*g)
        return values @ weights / values[least]

    return jackknife_interval(share, *groups)


def above_noise(squares: Squares, *groups: np.ndarray) -> np.ndarray:
    """Sizes, (sizes,), that a log slope may use: the longest run of squares above their noise.

    Contiguous, because beyond the first square lost in noise the survivors are the lucky ones.
    """
    found = jackknife_interval(squares, *groups)
    return window(found.estimate, ABOVE_NOISE * found.standard_error)


def amplitude_exponent(
    sizes: np.ndarray, squares: Squares, *groups: np.ndarray
) -> tuple[Interval, np.ndarray]:
    """Exponent of the amplitude, half that of its square, and which sizes it was read from.

    Least squares in log-log over the sizes :func:`above_noise`; NaN if they are fewer than three.
    """
    kept = above_noise(squares, *groups)
    if kept.sum() < 3:
        return Interval(*np.full(3, np.nan)), kept
    x = np.log(np.asarray(sizes, float)[kept])

    def exponent(*g: np.ndarray) -> np.ndarray:
        values = squares(*g)[kept]
        return line(x, np.log(np.where(values > 0, values, np.nan))[None])[0][0] / 2

    with np.errstate(invalid="ignore"):
        return jackknife_interval(exponent, *groups), kept
