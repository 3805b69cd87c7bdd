"""Levels, Holm and repeated looks against intervals, other libraries, published tables and simulation."""

import numpy as np
import pytest
from scipy import stats

from nfd.evidence.intervals import Interval, interval, jackknife_interval, mean_interval
from nfd.evidence.significance import (
    LOOKS,
    boundaries,
    holm,
    sequential_level,
)
from nfd.seeds import generator


def test_an_interval_of_two_groups_is_welchs():
    """Estimate, standard error and degrees of freedom, as scipy's interval has them."""
    random = generator(2, "welch")
    a, b = random.normal(size=(6, 1)), 3 * random.normal(size=(4, 1))
    found = jackknife_interval(lambda x, y: x.mean(axis=0) - y.mean(axis=0), a, b)
    welch = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    assert found.df[0] == pytest.approx(welch.df)
    assert found.estimate[0] / found.standard_error[0] == pytest.approx(welch.statistic, rel=1e-9)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(welch.confidence_interval()))


def test_an_interval_at_another_level_is_students():
    values = generator(3, "level").normal(size=(5, 2))
    found = mean_interval(values).at_level(0.8)
    expected = stats.t.interval(0.8, 4, loc=values.mean(axis=0), scale=stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], expected)
    np.testing.assert_allclose(found.standard_error, stats.sem(values))


def test_a_mapped_interval_has_no_standard_error():
    found = mean_interval(generator(4, "map").normal(size=(5, 1))).map(np.exp)
    assert np.isnan(found.standard_error).all()
    assert np.isnan(found.at_level(0.9).low).all()


def test_degrees_of_freedom_come_with_every_interval():
    values = generator(5, "df").normal(size=(5, 3))
    for found in (mean_interval(values), interval(lambda m: m, values)):
        np.testing.assert_allclose(found.df, 4)
        np.testing.assert_allclose(found.part(1).df, 4)
    one_sided = Interval(np.zeros(2), np.zeros(2), np.ones(2))
    assert np.isnan(one_sided.part(0).df)


def test_holm_agrees_with_its_definition():
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert list(found) == ["a", "b", "c", "d"]
    np.testing.assert_allclose(list(found.values()), [0.03, 0.06, 0.06, 0.02])
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_a_verdict_without_a_test_still_counts():
    found = holm({"a": 0.01, "b": np.nan, "c": 0.02})
    assert (found["a"], found["c"]) == pytest.approx((0.03, 0.04))
    assert np.isnan(found["b"])


def test_holm_keeps_the_error_of_a_family():
    """Thirteen true nulls, correlated: any below 5 % in at most 5 % of 2000 families; unadjusted far more."""
    random = generator(6, "family")
    draws = 0.5 * random.normal(size=(2000, 1)) + random.normal(size=(2000, 13))
    p = stats.norm.sf(draws / np.sqrt(1.25))
    adjusted = np.array([list(holm(dict(enumerate(row))).values()) for row in p])
    # Standard error 0.5 %.
    assert (adjusted.min(axis=1) < 0.05).mean() < 0.065
    assert (p.min(axis=1) < 0.05).mean() > 0.3


# --------------------------------------------------------------------------------------- repeated looks


def test_boundaries_are_the_published_ones():
    """Five equal looks, Lan-DeMets spending of Pocock's type, two-sided 5 % (Reboussin et al. 2000)."""
    published = [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]
    np.testing.assert_allclose(boundaries(np.arange(1, 6) / 5), published, atol=2e-3)


def test_one_look_is_the_plain_interval():
    assert sequential_level(20, [20]) == pytest.approx(0.95, abs=1e-6)


def test_an_unplanned_look_is_refused():
    with pytest.raises(ValueError, match="7 seeds are no look"):
        sequential_level(7)


def test_intervals_hold_at_all_looks_at_once():
    """Misses at any of six looks: 5 % of 4000 at the schedule's levels (error 0.35 %), else 14 % or more."""
    draws = generator(7, "looks").normal(size=(4000, LOOKS[-1]))
    missed = {"adjusted": np.zeros(4000, bool), "plain": np.zeros(4000, bool)}
    for seeds in LOOKS:
        found = mean_interval(draws[:, :seeds].T)
        for name, level in (("adjusted", sequential_level(seeds)), ("plain", 0.95)):
            at = found.at_level(level)
            missed[name] |= (at.low > 0) | (at.high < 0)
    assert 0.035 < missed["adjusted"].mean() < 0.062
    assert missed["plain"].mean() > 0.14
