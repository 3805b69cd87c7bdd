"""Curvature, sensitivity and speed of transfer on bowls of known truth, with controls that have none."""

import numpy as np
import pytest
import synthetic_tables as synthetic

from nfd.claims.transfer.evidence import depth_transfer
from nfd.evidence import bowls
from nfd.evidence.learning_rates import Curves
from nfd.evidence.table import pick
from nfd.seeds import generator

RATES = 2.0 ** np.arange(-4, 4.01, 0.5)
DEPTHS = 2.0 ** np.arange(2, 8)
UNTRAINED = 100.0


def curves(
    random,
    *,
    gap=2.0,
    loss_exponent=1.0,
    shift=6.0,
    rate_exponent=0.7,
    curvature=0.1,
    growth=0.0,
    noise=0.01,
    seeds=8,
    sizes=DEPTHS,
):
    """Bowls of least loss 0.3 + gap L^-loss_exponent at log2 rate -1 + shift L^-rate_exponent.

    The second derivative of log loss there is curvature (L / 4)^growth.
    """
    best = -1 + shift * sizes**-rate_exponent
    bend = curvature * (sizes / 4) ** growth
    away = np.log2(RATES) - best[:, None]
    log = np.log(0.3 + gap * sizes**-loss_exponent)[:, None] + bend[:, None] / 2 * away**2
    log = log + 0.05 * random.normal(size=(seeds, 1, 1))
    log = log + noise * random.normal(size=(seeds, *away.shape))
    return Curves.of(RATES, sizes, np.exp(log), UNTRAINED)


def covers(found, truth):
    return bool(found.low <= truth <= found.high)


# ------------------------------------------------------------------------------------ one size at a time


def test_the_curvature_of_a_parabola_and_its_exponent_are_exact():
    found = curves(generator(0, "bend"), growth=0.5, noise=0.0)
    expected = 0.1 * (DEPTHS / 4) ** 0.5
    np.testing.assert_allclose(bowls.curvatures(found).estimate, expected, rtol=1e-9)
    assert bowls.curvature_exponent(found).estimate == pytest.approx(0.5, abs=1e-9)


def test_coverage_of_curvature_and_sensitivity_and_their_exponents():
    """100 experiments with eight seeds: standard error 2.2 %."""
    random = generator(1, "shape")
    quiet = curves(generator(2, "truth"), growth=0.3, noise=0.0, seeds=2)
    # Without noise the common shift of a seed is a factor of its losses; its mean is that of a log-normal.
    truth = bowls.sensitivity_exponent(quiet).estimate
    covered = {"curvature": [], "curvature exponent": [], "sensitivity exponent": []}
    for _ in range(100):
        found = curves(random, growth=0.3, noise=0.02)
        covered["curvature"].append(covers(bowls.curvatures(found).part(2), 0.1 * 4**0.3))
        covered["curvature exponent"].append(covers(bowls.curvature_exponent(found), 0.3))
        covered["sensitivity exponent"].append(covers(bowls.sensitivity_exponent(found), truth))
    for what, those in covered.items():
        assert np.mean(those) > 0.88, what


def test_the_sensitivity_is_the_mean_excess_with_diverged_runs_as_untrained():
    """Loss 1 + |log2 rate| up to 2, where runs diverge: a triangle and a plateau, by hand."""
    losses = np.tile(1 + np.abs(np.log2(RATES)) / 4, (3, 3, 1))
    losses[..., np.log2(RATES) > 2] = np.nan
    found = bowls.sensitivities(Curves.of(RATES, np.array([4.0, 8, 16]), losses, 3.0))
    # From -4 to 2 the triangle; to 2.5 a step from 0.5 to 2, then 2.
    area = 1 * 4 / 2 + 0.5 * 2 / 2 + (0.5 + 2) / 2 * 0.5 + 2 * 1.5
    np.testing.assert_allclose(found.estimate, area / 8)
    np.testing.assert_allclose(found.low, found.high)


def test_a_flat_curve_has_no_exponent():
    flat = Curves.of(RATES, DEPTHS, np.full((5, 6, len(RATES)), np.nan), UNTRAINED)
    assert np.isnan(bowls.curvatures(flat).estimate).all()
    assert np.isnan(bowls.curvature_exponent(flat).estimate)
    assert np.isnan(bowls.sensitivities(flat).estimate).all()


# ------------------------------------------------------------------------------------------ fast transfer


@pytest.mark.parametrize(("loss_exponent", "rate_exponent"), [(1.0, 1.0), (1.0, 0.7), (1.5, 0.6)])
def test_coverage_of_the_speed_of_transfer(loss_exponent, rate_exponent):
    """60 experiments: standard error 2.8 %. In the last case transfer is slow, and seen to be."""
    random = generator(3, "speed", str((loss_exponent, rate_exponent)))
    law = {"loss_exponent": loss_exponent, "rate_exponent": rate_exponent}
    found = [bowls.transfer_speed(curves(random, **law)) for _ in range(60)]
    truth = (-loss_exponent, -2 * rate_exponent, loss_exponent - 2 * rate_exponent)
    for place, value in enumerate(truth):
        assert np.mean([covers(f.part(place), value) for f in found]) > 0.87
    decided = [f.part(2).high < 0 if truth[2] < 0 else f.part(2).low > 0 for f in found]
    assert np.mean(decided) > 0.9


def test_an_exponent_is_not_invented_where_nothing_falls():
    """Rates that stay, losses that stay, and sizes that are too few; no experiment of 20 gives a number."""
    random = generator(4, "nothing")
    for settings, has in (
        ({"shift": 0.0}, (True, False, False)),
        ({"gap": 0.0}, (False, True, False)),
        ({"sizes": DEPTHS[:3]}, (False, False, False)),
        ({"rate_exponent": 0.2}, (True, False, False)),  # slower than a few sizes determine
    ):
        for _ in range(20):
            found = bowls.transfer_speed(curves(random, noise=0.002, **settings)).estimate
            assert not np.isfinite(found[~np.array(has)]).any(), settings
            assert np.isfinite(found[np.array(has)]).all(), settings


def test_the_regret_at_the_largest_size():
    found = curves(generator(5, "carried"), noise=0.0, shift=4.0)
    away = 4.0 * (DEPTHS**-0.7 - DEPTHS[-1] ** -0.7)
    carried = bowls.regret_at_largest(found)
    np.testing.assert_allclose(carried.estimate, 0.05 * away**2, atol=1e-9)
    assert carried.estimate[-1] == carried.high[-1] == 0
    assert (carried.low <= carried.estimate).all()


def test_a_rate_at_which_the_largest_diverges_has_no_exponent():
    still = curves(generator(6, "wall"), shift=6.0, noise=0.002)
    losses = np.exp(still.log_losses)
    losses[:, -1, np.log2(RATES) > 0.4] = np.nan
    found = Curves.of(RATES, DEPTHS, losses, UNTRAINED)
    assert np.isinf(bowls.regret_at_largest(found).estimate[0])
    assert np.isnan(bowls.transfer_speed(found).estimate[1:]).all()
    assert np.isfinite(bowls.transfer_speed(still).estimate).all()


# ------------------------------------------------------------------------------------------ as evidence


def shifted(shift, rate_exponent=0.7, loss_exponent=1.0):
    """A table of results with the law of :func:`curves`."""
    sizes = (4, 8, 16, 32, 64, 128)
    results = synthetic.transfer("depth_transfer", "depth", sizes=sizes, log2_rates=np.log2(RATES))
    depth, random = results["depth"], generator(7, "table", str(shift))
    best = -1 + shift * depth**-rate_exponent
    law = (0.3 + 2 * depth**-loss_exponent) * np.exp(
        0.05 * (np.log2(results["learning_rate"]) - best) ** 2
        + 0.005 * random.normal(size=len(depth))
    )
    trained = (results["metric"] == "loss") & (results["step"] == results["step"].max())
    untrained = (results["metric"] == "loss") & (results["step"] == 0)
    return results.assign(value=results["value"].mask(trained, law).mask(untrained, UNTRAINED))


def exponent(frame, quantity):
    """(low, estimate, high) of a fitted exponent in a table of evidence."""
    (row,) = pick(frame, quantity, source="fit").to_dict("records")
    return row["ci_low"], row["estimate"], row["ci_high"]


def test_the_evidence_says_whether_transfer_is_fast():
    fast, slow = (depth_transfer(shifted(*law)) for law in ((6.0, 1.0, 1.0), (6.0, 0.6, 2.0)))
    assert (
        exponent(fast, "regret_exponent_excess")[2]
        < 0
        < exponent(slow, "regret_exponent_excess")[0]
    )
    carried = pick(fast, "regret_at_largest").sort_values("depth")["estimate"]
    assert (np.diff(carried) < 0).all()


def test_the_evidence_has_no_speed_where_the_best_rate_stands_still():
    frame = depth_transfer(shifted(0.0))
    assert np.isnan(exponent(frame, "regret_exponent")).all()
    assert np.isnan(exponent(frame, "regret_exponent_excess")).all()


def test_the_evidence_has_the_shape_of_the_bowl():
    frame = depth_transfer(shifted(2.0))
    low, _, high = exponent(frame, "curvature_exponent")
    assert low < 0 < high
    assert pick(frame, "curvature")["estimate"].to_numpy() == pytest.approx(0.1, rel=0.1)
    # Where the bowl does not move, the excess over the least loss is a multiple of that.
    depths = np.array([4, 8, 16, 32, 64, 128])
    expected = np.polyfit(np.log(depths), np.log(0.3 + 2 / depths), 1)[0]
    _, found, _ = exponent(depth_transfer(shifted(0.0)), "rate_sensitivity_exponent")
    assert found == pytest.approx(expected, abs=0.02)
