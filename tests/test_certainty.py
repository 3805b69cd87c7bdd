"""p-values of verdicts against the t test they are made of, and what looks and many verdicts do to them."""

from math import inf

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nfd.claims import certainty, rules
from nfd.claims.certainty import p_value, with_certainty, wrong_decisions
from nfd.claims.family import Claim
from nfd.evidence.intervals import LEVEL, interval, intervals_at, mean_interval
from nfd.evidence.significance import Look
from nfd.evidence.table import Rows, pick
from nfd.seeds import generator

RANGE = (-0.5, 0.5)
LOOK = Look(8, (8, 13, 21))


@pytest.fixture
def claims(monkeypatch):
    """Two claims on a mean: 'the mean is near 0', by one finding (C1) and by two that agree (C2)."""

    def near_zero(count):
        def verdict(frames):
            row = rules.pick_row(frames["scaling_trend"], "x")
            names = [f"mean {number}" for number in range(count)]
            rule = rules.within(*RANGE, "near 0")
            return [
                rules.finding(frames, "scaling_trend", row, rule, name, "mean", decides=True)
                for name in names
            ]

        return verdict

    made = {f"C{n}": Claim(f"C{n}", f"claim-{n}", "Near 0.", ("scaling_trend",)) for n in (1, 2)}
    monkeypatch.setattr(certainty, "CLAIMS", made)
    monkeypatch.setattr(rules, "function", lambda part, name: near_zero(int(name[1:])))
    return made


def frames_of(values):
    rows = Rows()
    rows.add("x", {}, mean_interval(values), len(values))
    return {"scaling_trend": rows.frame()}


def sample(mean, seeds=8):
    return mean + 0.3 * generator(0, "certainty", seeds).normal(size=(seeds, 1))


def test_the_p_value_of_a_supported_claim_is_that_of_the_nearer_bound(claims):
    values = sample(0.05)
    frames = frames_of(values)
    found = rules.judge(claims["C1"], frames)
    assert rules.overall(found) == rules.SUPPORTED
    above = stats.ttest_1samp(values[:, 0], RANGE[0], alternative="greater").pvalue
    below = stats.ttest_1samp(values[:, 0], RANGE[1], alternative="less").pvalue
    assert p_value("C1", frames, {}, found) == pytest.approx(max(above, below), rel=0.01)


def test_a_contradiction_pays_for_each_observable_that_could_contradict(claims):
    values = sample(1.2)
    frames = frames_of(values)
    expected = stats.ttest_1samp(values[:, 0], RANGE[1], alternative="greater").pvalue
    for claim, ways in (("C1", 1), ("C2", 2)):
        found = rules.judge(claims[claim], frames)
        assert rules.overall(found) == rules.CONTRADICTED
        assert p_value(claim, frames, {}, found) == pytest.approx(ways * expected, rel=0.01)


def test_what_is_undecided_has_no_p_value(claims):
    frames = frames_of(sample(0.5))
    found = rules.judge(claims["C1"], frames)
    assert np.isnan(p_value("C1", frames, {}, found))


def test_at_a_look_the_p_value_is_the_error_whose_boundary_is_met(claims):
    """Spending all of the p-value's error over the same schedule gives an interval that just decides."""
    values = sample(0.1)
    with intervals_at(LOOK.level()):
        frames = frames_of(values)
    found = rules.judge(claims["C1"], frames)
    p = p_value("C1", frames, {"scaling_trend": LOOK}, found)
    at = mean_interval(values).part(0).at_level(LOOK.level(1 - 2 * p))
    assert min(at.low - RANGE[0], RANGE[1] - at.high) == pytest.approx(0, abs=2e-3)
    plain = p_value("C1", frames_of(values), {}, found)
    assert plain < p < 0.025


def test_the_table_has_adjusted_p_values_and_looks(claims):
    with intervals_at(LOOK.level()):
        frames = frames_of(sample(0.1))
    findings = [rules.judge(claim, frames) for claim in claims.values()]
    table = with_certainty(findings, frames, {"scaling_trend": LOOK})
    assert (table["look"] == 8).all()
    assert table["level"].to_numpy() == pytest.approx(LOOK.level())
    assert (table["p_holm"] == 2 * table["p_value"]).all()
    assert "look" not in with_certainty(findings, frames, {})
    assert wrong_decisions(table) == pytest.approx(3 * 0.025)


def test_intervals_are_made_at_the_level_of_the_look():
    values = sample(0.0)
    with intervals_at(0.8):
        found = [mean_interval(values), interval(lambda m: m, values)]
    expected = stats.t.interval(0.8, 7, loc=values.mean(), scale=stats.sem(values[:, 0]))
    for each in found:
        assert each.level == 0.8
    np.testing.assert_allclose([found[0].low[0], found[0].high[0]], expected)
    assert mean_interval(values).level == LEVEL


def test_evidence_keeps_open_ends():
    rows = Rows()
    rows.add("x", {}, np.array([0.0, inf, np.nan]), 5)
    frame = rows.frame().assign(ci_low=[-inf, 1.0, np.nan], ci_high=[1.0, inf, np.nan])
    wider = certainty.rescaled(pick(frame, "x"), 2.0)
    pd.testing.assert_series_equal(wider["ci_low"], frame["ci_low"])
    assert wider["ci_high"].tolist()[:2] == [2.0, inf]
