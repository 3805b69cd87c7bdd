"""Squares from pairs of seeds: no bias, honest intervals, and what roots of clipped squares do instead."""

import itertools

import numpy as np
import pytest

from nfd.evidence.squares import (
    above_noise,
    amplitude_exponent,
    mean_square,
    plateau,
    ratio_of_squares,
    share_left,
)
from nfd.seeds import generator

DEPTHS = np.array([2.0, 4, 8, 16, 32, 64])
COMPONENTS = 160  # 16 probes, 10 outputs


def gaps(random, squares, *, seeds=8, noise=0.3):
    """Differences (seeds, depths, components) with mean squares ``squares`` (depths,), and noise per seed."""
    direction = random.normal(size=COMPONENTS)
    direction /= np.sqrt((direction**2).mean())
    mean = np.sqrt(squares)[:, None] * direction
    return mean + noise * random.normal(size=(seeds, len(squares), COMPONENTS))


def test_mean_square_is_the_mean_over_pairs_of_seeds():
    sample = generator(0, "pairs").normal(size=(5, 3, 7))
    pairs = [(sample[i] * sample[j]).mean(axis=-1) for i, j in itertools.permutations(range(5), 2)]
    np.testing.assert_allclose(mean_square(sample), np.mean(pairs, axis=0))
    assert np.isnan(mean_square(sample[:1])).all()
    assert np.isnan(mean_square(sample, sample[:1])).all()


def test_mean_square_has_no_floor():
    """Of nothing it is negative about as often as positive; the square of the mean never is."""
    random = generator(1, "nothing")
    found = np.array([mean_square(random.normal(size=(5, 1, 20)))[0] for _ in range(2000)])
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(2000)
    assert 0.4 < (found < 0).mean() < 0.65


def test_ratio_of_squares():
    random = generator(2, "ratio")
    change = 2.0 + 0.01 * random.normal(size=(8, 3, 50))
    gap = 0.2 + 0.01 * random.normal(size=(8, 3, 50))
    np.testing.assert_allclose(ratio_of_squares(gap, change), 0.01, rtol=0.05)
    np.testing.assert_allclose(
        ratio_of_squares(gap, change * np.array([1.0, 1, 2])[:, None], pooled=True),
        0.005,
        rtol=0.05,
    )


@pytest.mark.parametrize("left", [0.0, 0.01, 0.04])
def test_coverage_of_a_plateau_in_squares(left):
    """300 experiments, standard error 1.3 %; the jackknife of pure noise may be too wide, not too narrow."""
    random = generator(3, "plateau", str(left))
    found = [plateau(DEPTHS, mean_square, gaps(random, left + 0.05 / DEPTHS)) for _ in range(300)]
    covered = np.mean([f.low <= left <= f.high for f in found])
    assert 0.91 < covered <= (0.99 if left else 1.0)
    error = np.std([f.estimate for f in found]) / np.sqrt(300)
    assert abs(np.mean([f.estimate for f in found]) - left) < 4 * error


@pytest.mark.parametrize(("left", "share"), [(0.1, 1.0), (0.0, 0.0)])
def test_coverage_of_the_share_that_is_left(left, share):
    """What stays and what vanishes as 1/L, at noise in which single squares are told from 0; as above."""
    random = generator(9, "share", str(left))
    squares = left + (0.1 - left) * 2 / DEPTHS
    found = [share_left(DEPTHS, mean_square, gaps(random, squares)) for _ in range(300)]
    assert 0.91 < np.mean([f.low <= share <= f.high for f in found]) <= 1.0
    assert np.median([f.high - f.low for f in found]) < 0.4


def test_a_root_of_a_clipped_square_is_biased_where_nothing_is_left():
    """The control: where nothing is there, intercepts of roots lie above 0 by many standard errors."""
    random = generator(4, "clipped")

    def intercept(values):
        return np.polyfit(1 / DEPTHS, np.sqrt(np.maximum(values, 0.0)), 1)[1]

    roots, squares = [], []
    for _ in range(200):
        sample = gaps(random, 0.0 / DEPTHS, noise=1.0)
        roots.append(intercept(mean_square(sample)))
        squares.append(plateau(DEPTHS, mean_square, sample).estimate)
    error = np.std(roots) / np.sqrt(200)
    assert np.mean(roots) > 10 * error
    assert abs(np.mean(squares)) < 4 * np.std(squares) / np.sqrt(200)


def test_a_plateau_may_be_negative():
    found = plateau(DEPTHS, mean_square, gaps(generator(5, "n"), 0.2 / DEPTHS))
    assert found.low < 0.0


def test_an_exponent_is_read_above_the_noise_only():
    random = generator(6, "exponent")
    sample = gaps(random, 0.5 / DEPTHS, noise=0.3)
    found, kept = amplitude_exponent(DEPTHS, mean_square, sample)
    assert kept.sum() >= 4
    assert found.low < -0.5 < found.high
    assert found.high - found.low < 0.2
    drowned, none = amplitude_exponent(DEPTHS, mean_square, gaps(random, 0.0 / DEPTHS))
    assert none.sum() < 3
    assert np.isnan(drowned.estimate)


def test_coverage_of_an_exponent():
    """Sizes are chosen on the same data; 300 experiments, standard error 1.3 %."""
    random = generator(7, "cover")
    found = [
        amplitude_exponent(DEPTHS, mean_square, gaps(random, 0.5 / DEPTHS, noise=0.6))[0]
        for _ in range(300)
    ]
    covered = [f.low <= -0.5 <= f.high for f in found if np.isfinite(f.high)]
    assert len(covered) > 200
    assert 0.91 < np.mean(covered) < 0.99


def test_above_noise_is_contiguous():
    random = generator(8, "window")
    kept = above_noise(mean_square, gaps(random, np.array([1.0, 1, 0, 1, 1, 1]), noise=0.3))
    np.testing.assert_array_equal(kept, [0, 0, 0, 1, 1, 1])
