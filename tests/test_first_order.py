"""Fits of limit + coefficient / size and ratios of gains: least squares, exact cases, coverage."""

import numpy as np
import pytest

from nfd.evidence.first_order import (
    diminishing_ratio,
    doubling_gains,
    first_order_weights,
    fit_first_order,
    ratio_interval,
)
from nfd.seeds import generator

DEPTHS = np.array([4.0, 8, 16, 32, 64])
# 1000 experiments: the standard error of a coverage of 95 % is 0.7 %.
TRIALS = 1000


def losses(random, *, limit=1.6, gain=0.5, seeds=5, shared=0.02, own=0.01):
    """(seeds, depths): limit + gain / depth with noise that seeds share over depths, and their own."""
    law = limit + gain / DEPTHS
    return (
        law
        + shared * random.normal(size=(seeds, 1))
        + own * random.normal(size=(seeds, len(DEPTHS)))
    )


def test_weights_are_those_of_weighted_least_squares():
    values = generator(0, "w").normal(size=5)
    precision = np.array([1.0, 1, 2, 4, 4])
    slope, intercept = np.polyfit(1 / DEPTHS, values, 1, w=np.sqrt(precision))
    found = first_order_weights(DEPTHS, precision) @ values
    np.testing.assert_allclose(found, [intercept, slope], rtol=1e-9)


def test_two_sizes_are_richardsons_extrapolation():
    sizes = np.array([1024.0, 8192.0])
    found = first_order_weights(sizes)[0]
    np.testing.assert_allclose(found, [-1 / 7, 8 / 7])


def test_one_size_has_no_limit():
    with pytest.raises(ValueError, match=r"two sizes or more, not only at \[4.0\]"):
        first_order_weights(np.array([4.0, 4.0]))


def test_a_fit_of_exact_values():
    values = np.stack([1.5 + a / DEPTHS for a in (0.4, 0.5, 0.6)])
    found = fit_first_order(DEPTHS, values)
    np.testing.assert_allclose(found.estimate, [1.5, 0.5])
    np.testing.assert_allclose(found.high - found.low, [0.0, 0.4969], atol=1e-3)


@pytest.mark.parametrize("seeds", [5, 20])
def test_coverage_of_limit_and_coefficient(seeds):
    random = generator(1, "cover", seeds)
    found = [fit_first_order(DEPTHS, losses(random, seeds=seeds)) for _ in range(TRIALS)]
    inside = [(f.low <= [1.6, 0.5]) & (f.high >= [1.6, 0.5]) for f in found]
    covered = np.mean(inside, axis=0)
    assert ((covered > 0.93) & (covered < 0.97)).all()


def test_gains_are_paired_by_seed():
    random = generator(2, "gains")
    noisy = losses(random, shared=1.0, own=1e-4)
    found = doubling_gains(noisy)
    np.testing.assert_allclose(found.estimate, 0.5 / DEPTHS[1:], atol=1e-3)
    assert (found.high - found.low < 1e-3).all()


def test_the_difference_halves():
    found = diminishing_ratio(DEPTHS, losses(generator(3, "half"), own=1e-4))
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.01
    steady = 2.0 - 0.1 * np.log2(DEPTHS) + 1e-4 * generator(4, "log").normal(size=(5, 5))
    assert diminishing_ratio(DEPTHS, steady).low > 0.9


@pytest.mark.parametrize("sizes", [[4.0, 8], [4.0, 8, 24]])
def test_a_ratio_of_gains_needs_a_geometric_series(sizes):
    with pytest.raises(ValueError, match="three sizes or more with a common ratio"):
        diminishing_ratio(np.array(sizes), np.ones((5, len(sizes))))


@pytest.mark.parametrize("own", [0.01, 0.05])
def test_coverage_of_a_ratio_of_gains(own):
    """Exact for normal noise, also where the denominator is lost in it and the interval has no bounds."""
    random = generator(5, "ratio")
    found = [diminishing_ratio(DEPTHS, losses(random, own=own)) for _ in range(TRIALS)]
    covered = np.mean([f.low <= 0.5 <= f.high for f in found])
    assert 0.93 < covered < 0.99
    unbounded = np.mean([np.isinf(f.high) for f in found])
    assert unbounded > 0.1 if own == 0.05 else unbounded < 0.01


def test_a_ratio_of_one_seed_has_no_bounds():
    found = ratio_interval(np.array([1.0]), np.array([2.0]))
    assert found.estimate == 0.5
    assert np.isnan(found.low)
