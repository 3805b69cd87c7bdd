"""Best rates, their drift and regret: exact curves, intervals near the edge of stability, controls."""

import numpy as np
import pytest

from nfd.evidence.intervals import Interval, jackknife_interval
from nfd.evidence.learning_rates import (
    Curves,
    Smoother,
    best_rates,
    drift,
    edge_errors,
    losses_at_best,
    regret,
    regret_root,
    squared,
    steps_to_reach,
    usable,
)
from nfd.seeds import generator

RATES = 2.0 ** np.arange(-4, 4.01, 0.5)
DEPTHS = np.array([4.0, 8, 16, 32, 64])
UNTRAINED = 2.3


def losses(
    random,
    *,
    slope=0.0,
    curvature=0.05,
    noise=0.02,
    seeds=5,
    edge=9.0,
    rates=RATES,
    best=0.1,
):
    """(seeds, depths, rates): bowls of log loss around best + slope log2(depth / 16).

    Seeds shift whole curves by 10 % and each run by ``noise``; a run diverges where its rate exceeds the
    best one by ``edge`` octaves, give or take 0.3 per seed and depth.
    """
    centre = best + slope * np.log2(DEPTHS / 16)
    distance = np.log2(rates) - centre[:, None]
    law = np.log(0.5) + curvature * distance**2
    log = (
        law
        + 0.1 * random.normal(size=(seeds, 1, 1))
        + noise * random.normal(size=(seeds, *law.shape))
    )
    limit = edge + 0.3 * random.normal(size=(seeds, len(DEPTHS), 1))
    return np.where(distance > limit, np.nan, np.exp(log))


def curves(random, rates=RATES, **settings):
    return Curves.of(rates, DEPTHS, losses(random, rates=rates, **settings), UNTRAINED)


def covers(found: Interval, truth: float) -> bool:
    return bool(found.low <= truth <= found.high)


# ------------------------------------------------------------------------------------------ exact curves


@pytest.mark.parametrize("rates", [RATES, 2.0 ** np.arange(-4, 5), np.append(RATES[::2], 6.0)])
def test_the_optimum_of_a_parabola_is_exact(rates):
    best = np.array([-1.3, 0.0, 0.4])
    means = 0.3 * (np.log2(rates) - best[:, None]) ** 2
    smoother = Smoother.on(np.log2(rates))
    np.testing.assert_allclose(smoother.best(means), best, atol=1e-9)
    rise = smoother.rise(means, best, best + 1.2)
    np.testing.assert_allclose(rise, 0.3 * 1.2**2, rtol=1e-9)


@pytest.mark.parametrize("best", [-7.0, 7.0, -3.9, 3.9])
def test_an_optimum_at_the_edge_of_the_grid_is_unusable(best):
    found = curves(generator(0, "edge"), best=best, noise=1e-3)
    assert not usable(found).any()
    assert np.isnan(drift(found).estimate)
    assert np.isnan(regret(found).estimate).all()


def test_a_smoothed_curve_without_a_valley_has_no_optimum():
    assert np.isnan(Smoother.on(np.log2(RATES)).best(np.log2(RATES)))


def test_exact_curves_give_exact_drift_and_regret():
    found = curves(generator(1, "exact"), slope=-0.25, noise=0.0)
    np.testing.assert_allclose(drift(found).estimate, -0.25, atol=1e-9)
    expected = 0.05 * (0.25 * np.arange(5)) ** 2
    np.testing.assert_allclose(regret(found).estimate, expected, atol=1e-9)
    np.testing.assert_allclose(best_rates(found).estimate, 0.1 - 0.25 * np.arange(-2, 3), atol=1e-9)


def test_loss_at_the_best_rate_is_paired_by_seed():
    found = curves(generator(2, "least"), noise=1e-4)
    per_seed = losses_at_best(found)
    assert per_seed.shape == (5, 5)
    spread = per_seed - per_seed.mean(axis=1, keepdims=True)
    assert np.abs(spread).max() < 1e-3
    assert per_seed.std(axis=0).min() > 0.03


def test_a_grid_of_three_rates_is_refused():
    with pytest.raises(ValueError, match="four learning rates or more"):
        Curves.of(RATES[:3], DEPTHS, np.ones((5, 5, 3)), UNTRAINED)


# ------------------------------------------------------------------------------------- diverged runs


def test_a_diverged_run_counts_as_an_untrained_one():
    values = losses(generator(3, "cap"))
    values[0, 0, -1] = np.nan
    values[1, 0, -1] = np.inf
    values[2, 0, -1] = 200.0
    found = Curves.of(RATES, DEPTHS, values, UNTRAINED)
    np.testing.assert_allclose(np.exp(found.log_losses[:3, 0, -1]), UNTRAINED)
    np.testing.assert_array_equal(found.diverged[:3, 0, -1], [True, True, False])


def test_one_diverged_seed_does_not_remove_a_rate():
    """One of ten seeds diverges near the optimum of one depth: its best rate moves, but by a little."""
    values = losses(generator(4, "one"), seeds=10, noise=0.01, curvature=0.3)
    before = best_rates(Curves.of(RATES, DEPTHS, values, UNTRAINED)).estimate
    values[3, 2, 11] = np.nan  # 1.4 octaves above the optimum
    after = best_rates(Curves.of(RATES, DEPTHS, values, UNTRAINED)).estimate
    assert 0 < abs(after - before)[2] < 0.15
    np.testing.assert_allclose(after[[0, 1, 3, 4]], before[[0, 1, 3, 4]])


def test_regret_is_infinite_where_most_runs_diverge():
    values = losses(generator(5, "wall"), noise=1e-3)
    values[:2, 3, 8] = np.nan  # two of five seeds at the kept rate
    values[:, 4, 7:] = np.nan  # all of the largest
    found = regret(Curves.of(RATES, DEPTHS, values, UNTRAINED))
    assert np.isfinite(found.high[:4]).all()
    assert np.isinf(found.estimate[4])
    assert np.isinf(found.high[4])
    assert 0 <= found.low[4] < np.inf


def test_a_coarse_grid_does_not_decide_in_view_of_diverged_runs():
    coarse = 2.0 ** np.arange(-4, 5.0)
    stable = curves(generator(6, "coarse"), coarse)
    assert usable(stable).all()
    assert not usable(curves(generator(6, "coarse"), coarse, edge=1.5)).any()
    assert usable(curves(generator(6, "fine"), edge=1.5)).all()


# --------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("slope", "edge", "noise", "curvature"),
    [(0.0, 9.0, 0.02, 0.05), (-0.3, 1.5, 0.02, 0.05), (0.1, 1.5, 0.3, 0.4), (0.1, 0.5, 0.3, 0.4)],
)
def test_coverage_of_a_drift(slope, edge, noise, curvature):
    """300 experiments with five seeds: standard error 1.3 %."""
    random = generator(7, "drift", str((slope, edge, noise)))
    found = [
        drift(curves(random, slope=slope, edge=edge, noise=noise, curvature=curvature))
        for _ in range(300)
    ]
    assert 0.91 < np.mean([covers(f, slope) for f in found]) <= 0.99


def test_an_edge_that_all_seeds_have_alike_is_rounded_to_the_grid():
    """Where it lies between two rates no seed shows: half a distance either way, drawn evenly."""
    random = generator(13, "alike")
    covered, by_seeds = 0, 0
    for _ in range(100):
        log2_edge = random.uniform(0.5, 1.0) - 0.1 * np.log2(DEPTHS / 16)
        values = losses(random, slope=-0.1, noise=0.01, curvature=0.02)
        values[:, np.log2(RATES) > log2_edge[:, None]] = np.nan
        found = drift(Curves.of(RATES, DEPTHS, values, UNTRAINED))
        covered += covers(found, -0.1)
        alone = jackknife_interval(
            lambda y: np.polyfit(np.log2(DEPTHS), Smoother.on(np.log2(RATES)).best(y.mean(0)), 1)[
                0
            ],
            Curves.of(RATES, DEPTHS, values, UNTRAINED).log_losses,
        )
        by_seeds += covers(alone, -0.1)
    assert covered > 0.93 * 100
    assert by_seeds < 0.5 * 100  # the control: the jackknife alone


def test_edges_that_scatter_place_themselves():
    """Dithering: what rounding leaves falls fast with the scatter over the distance of rates."""
    alike = np.full((5, 5, len(RATES)), 0.5)
    alike[..., -3:] = np.nan
    apart = alike.copy()
    apart[:2, :, -4] = np.nan
    rounded, dithered = (
        edge_errors(Curves.of(RATES, DEPTHS, 0.5 + abs(np.log2(RATES) - 1) + v, 9.0))
        for v in (alike, apart)
    )
    np.testing.assert_allclose(0.5 / 3, rounded)
    assert (dithered < 0.4 * rounded).all()


@pytest.mark.parametrize("slope", [0.0, -0.2])
def test_coverage_of_regret(slope):
    """300 experiments, standard error 1.3 %; never an interval of no width, never below 0."""
    random = generator(9, "regret", str(slope))
    truth = 0.2 * (4 * slope) ** 2
    found = [
        regret(curves(random, slope=slope, curvature=0.2, noise=0.1)).part(4) for _ in range(300)
    ]
    covered = np.mean([covers(f, truth) for f in found])
    assert covered > 0.91
    assert covered < 0.99 or slope  # the known error widens where there is a regret
    assert all(f.high > f.low >= 0 for f in found)


def test_squares_of_intervals_do_not_go_below_zero():
    root = Interval(*(np.array(v) for v in ([0.1, -0.4, 0.2], [-0.2, -0.5, 0.1], [0.4, -0.3, 0.3])))
    found = squared(root)
    np.testing.assert_allclose(found.low, [0.0, 0.09, 0.01])
    np.testing.assert_allclose(found.high, [0.16, 0.25, 0.09])
    assert np.isnan(squared(Interval(*np.full((3, 1), np.nan))).low).all()


def test_the_root_of_a_regret_has_a_sign_and_degrees_of_freedom():
    found = regret_root(curves(generator(11, "root"), slope=-0.25))
    assert (found.estimate[1:] > 0).all()  # the kept rate lies above those of larger sizes
    np.testing.assert_allclose(found.df[1:], 4)


# ----------------------------------------------------------------------------------- other observables


def test_steps_to_reach_a_loss():
    steps = np.array([0, 1, 2, 4])
    trajectories = np.array(
        [[2.0, 1.5, 1.0, 0.5], [0.5, 0.4, 0.3, 0.2], [2.0, 2.0, np.nan, np.nan]]
    )
    np.testing.assert_allclose(steps_to_reach(steps, trajectories, 0.75), [3.0, 0.0, np.inf])


def test_the_drift_of_the_steps_to_a_loss():
    """Networks whose loss falls as exp(-rate t) up to a best rate need least steps there."""
    steps = np.arange(0, 201)
    random = generator(12, "steps")
    distance = np.log2(RATES) - (0.2 * np.log2(DEPTHS / 16))[:, None]
    speed = 0.1 * np.exp(-0.2 * distance**2) * np.exp(0.05 * random.normal(size=(5, 5, len(RATES))))
    needed = steps_to_reach(steps, np.exp(-speed[..., None] * steps), 0.5)
    found = drift(Curves.of(RATES, DEPTHS, needed, steps[-1]))
    assert found.estimate == pytest.approx(0.2, abs=0.02)  # four standard errors
    assert found.high - found.low < 0.05
