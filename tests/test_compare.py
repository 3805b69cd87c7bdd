"""Two runs side by side: z-scores against scipy's Welch test and runs of known truth; nothing dropped."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_report
from scipy.stats import norm, ttest_ind

from nfd.evidence.intervals import Interval, interval, mean_interval
from nfd.report import ReportError
from nfd.report.compare import EXPECTED_SHARE, Run, compare, lines, read_run, summary, z_scores

ROOT = Path(__file__).parents[1]
LAPTOP = ROOT / "figures" / "record" / "laptop"


def frame(found: Interval, seeds: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "estimate": found.estimate,
            "ci_low": found.low,
            "ci_high": found.high,
            "seeds": float(seeds),
        }
    )


def beyond_two(first: pd.DataFrame, second: pd.DataFrame) -> float:
    return float((np.abs(z_scores(first, second)) > 2).mean())


# ------------------------------------------------------------------------------------- z-scores


def samples(name: int, seeds: int, count: int, spread: float = 1.0) -> np.ndarray:
    """``count`` observables of true value 0, each measured at ``seeds`` seeds: (seeds, count)."""
    return spread * np.random.default_rng([7, name]).standard_normal((seeds, count))


def test_z_is_that_of_welchs_test():
    """scipy makes the same test from the seeds themselves; here only intervals are known."""
    a, b = samples(1, 5, 200), samples(2, 8, 200, spread=2.0) + 0.7
    z = z_scores(frame(mean_interval(a), 5), frame(mean_interval(b), 8))
    reference = ttest_ind(b, a, equal_var=False)
    expected = np.sign(reference.statistic) * norm.isf(reference.pvalue / 2)
    np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-9)


# Of 40,000 z-scores the share beyond 2 has a standard deviation of 0.1 %; Welch's approximation itself is
# 0.6 % too low at five seeds, hence a bound of 0.9 %.
@pytest.mark.parametrize(("seeds", "others", "spread"), [(5, 5, 1.0), (5, 8, 1.0), (8, 10, 3.0)])
def test_runs_of_one_truth_differ_by_two_as_often_as_stated(seeds, others, spread):
    first = frame(mean_interval(samples(3, seeds, 40_000)), seeds)
    second = frame(mean_interval(samples(4, others, 40_000, spread)), others)
    assert abs(beyond_two(first, second) - EXPECTED_SHARE) < 0.009


def test_the_stated_share_is_not_met_by_half_widths_over_1_96_nor_by_runs_that_differ():
    """Controls: the naive standard error, and a truth that moved by two standard errors."""
    a, b = (mean_interval(samples(name, 5, 40_000)) for name in (3, 4))
    half = [(found.high - found.low) / 2 / 1.96 for found in (a, b)]
    naive = np.abs(b.estimate - a.estimate) / np.hypot(*half)
    assert abs((naive > 2).mean() - 0.021) < 0.005
    moved = mean_interval(samples(4, 5, 40_000) + 2 * np.sqrt(2 / 5))
    assert beyond_two(frame(a, 5), frame(moved, 5)) > 0.3


def test_what_the_number_of_seeds_does_not_tell_costs_as_much_as_stated():
    """Two independent groups of five (5.4 %), and rounding that is known (9.6 %), as the module says.

    4,000 observables: a standard deviation of 0.4 %; 1,000 resamples add to it.
    """

    def gap(network: np.ndarray, limit: np.ndarray) -> np.ndarray:
        return network - limit

    pairs = [
        interval(gap, samples(n, 5, 4_000), samples(n + 1, 5, 4_000), names=(n,)) for n in (10, 20)
    ]
    assert abs(beyond_two(*(frame(found, 5) for found in pairs)) - 0.054) < 0.012
    half = norm.isf(0.025)
    rounded = [
        Interval(value, value - half, value + half)
        for value in (samples(n, 1, 40_000)[0] for n in (30, 40))
    ]
    assert abs(beyond_two(*(frame(found, 5) for found in rounded)) - 0.096) < 0.006


def one(estimate: float, half: float, seeds: float = 5) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "estimate": [estimate],
            "ci_low": [estimate - half],
            "ci_high": [estimate + half],
            "seeds": [seeds],
        }
    )


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (one(1, 0.5), one(1, 0.5), 0),
        (one(1, 0.0), one(1, 0.0), 0),  # no width
        (one(1, NAN), one(1, NAN), 0),  # no interval
        (one(INF, NAN), one(INF, NAN), 0),  # an infinite regret
        (one(1, NAN), one(2, 0.5), NAN),
        (one(1, 0.5), one(2, NAN), NAN),
        (one(1, 0.5), one(INF, NAN), NAN),
        (one(NAN, NAN), one(NAN, NAN), NAN),  # measured in neither
        (one(1, 0.0), one(2, 0.0), INF),
        (one(2, 0.0), one(1, 0.0), -INF),
        (one(1, 0.5, NAN), one(2, 0.5), NAN),  # an interval over an unknown number of seeds
    ],
)
def test_z_at_the_edges(first, second, expected):
    np.testing.assert_equal(z_scores(first, second)[0], expected)


def test_a_distance_far_out_keeps_its_size():
    near, far = (z_scores(one(0, 1e-3), one(x, 1e-3))[0] for x in (1.0, 10.0))
    assert 5 < near < far < INF


# ------------------------------------------------------------------------------------- whole runs


def finding(identity: str, observable: str, found: Interval, seeds: int, verdict: str) -> dict:
    return {
        "id": identity,
        "name": f"name-{identity}",
        "observable": observable,
        "statistic": "mean",
        "figure": "scaling_trend",
        "decides": True,
        "estimate": float(found.estimate),
        "ci_low": float(found.low),
        "ci_high": float(found.high),
        "seeds": seeds,
        "verdict": verdict,
    }


def a_run(name: str, number: int, count: int, config: dict | None = None) -> Run:
    """A run that measured ``count`` observables of true value 0 at five seeds."""
    found = mean_interval(samples(number, 5, count))
    rows = [
        finding(f"C{place % 13 + 1}", f"observable {place}", found.part(place), 5, "supported")
        for place in range(count)
    ]
    return Run(name, pd.DataFrame(rows), {}, config or {"root_seed": number}, {})


def test_two_whole_runs_of_one_truth_have_the_stated_share():
    """2,000 observables: a standard deviation of 0.5 %."""
    found = compare(a_run("one", 50, 2_000), a_run("two", 51, 2_000))
    assert abs((found.observables["z"].abs() > 2).mean() - EXPECTED_SHARE) < 0.015
    assert found.same == 13
    assert not found.shared_seeds
    beyond = int((found.observables["z"].abs() > 2).sum())
    assert summary(found)[1] == (
        f"{beyond} of 2000 z-scores lie beyond ±2; chance alone puts 4.6% of those of independent runs "
        "there, about 91."
    )


def test_identical_runs_have_every_z_at_zero(tmp_path):
    run = read_run(LAPTOP)
    found = compare(run, run)
    measured = found.observables["estimate_1"].notna()
    assert (found.observables.loc[measured, "z"] == 0).all()
    assert (found.observables["found"] == "both").all()
    assert (found.evidence["both"] == found.evidence["equal"]).all()
    assert not [*found.settings, *found.circumstances]
    assert summary(found, "as recorded") == ["13 of 13 verdicts as recorded; no estimate differs."]


def test_the_other_way_round_only_the_signs_differ():
    first, second = a_run("one", 50, 40), a_run("two", 51, 40)
    there, back = compare(first, second).observables, compare(second, first).observables
    np.testing.assert_allclose(there["z"], -back["z"])


def test_what_one_run_lacks_is_listed_and_not_dropped():
    first, second = a_run("one", 50, 30), a_run("two", 51, 30)
    findings = second.findings[second.findings["id"] != "C13"].iloc[1:]
    extra = finding("C14", "of my own", mean_interval(samples(9, 5, 1)).part(0), 5, "contradicted")
    findings = pd.concat([findings, pd.DataFrame([extra])], ignore_index=True)
    found = compare(first, Run("two", findings, {}, {}, {}))
    table = found.observables.set_index("observable")
    lost = [
        name for name in first.findings["observable"] if name not in set(findings["observable"])
    ]
    assert len(table) == 31
    assert list(table.index[table["found"] == "first only"]) == lost
    assert list(table.index[table["found"] == "second only"]) == ["of my own"]
    assert table.loc[table["found"] != "both", "z"].isna().all()
    assert found.claims.set_index("id").loc["C13", "verdict_2"] == ""
    told = "\n".join(lines(found))
    assert all(f"{name} (scaling_trend)" in told for name in [*lost, "of my own"])
    assert "C13 supported → not judged, C14 not judged → contradicted" in summary(found)[0]
    assert f"{len(lost)} of 31 observables are in one only." in summary(found)
    assert "1 of 31 observables are in two only." in summary(found)


def test_what_made_the_runs_is_compared_key_by_key():
    a = {
        "root_seed": 0,
        "experiments": {"scaling": {"seeds": 5, "widths": [1, 2]}, "old": {"x": 1}},
    }
    b = {"root_seed": 0, "experiments": {"scaling": {"seeds": 8, "widths": [1, 2]}}, "tf32": True}
    first, second = a_run("one", 50, 13, a), a_run("two", 51, 13, b)
    first.made_with.update({"Device": {"cpu": 3}, "Data digest": {"a" * 64: 3}, "torch": {"2": 3}})
    second.made_with.update(
        {"Device": {"A100": 2}, "Data digest": {"b" * 64: 2}, "torch": {"2": 9}}
    )
    found = compare(first, second)
    assert {(d.key, d.first, d.second) for d in found.settings} == {
        ("experiments.scaling.seeds", "5", "8"),
        ("experiments.old.x", "1", "absent"),
        ("tf32", "absent", "true"),
    }
    assert [(d.key, d.first, d.second) for d in found.circumstances] == [
        ("Device", "cpu", "A100"),
        ("Data digest", "a" * 12, "b" * 12),
    ]
    assert "Settings that differ: tf32, experiments.old.x" in summary(found)[-2]


def test_a_table_that_lists_an_observable_twice_is_refused():
    run = a_run("one", 50, 13)
    double = Run("double", pd.concat([run.findings, run.findings.iloc[:1]]), {}, {}, {})
    with pytest.raises(ReportError, match="double: lists C1, scaling_trend, observable 0 twice"):
        compare(run, double)


def evidence(*points: tuple[int, float, float]) -> pd.DataFrame:
    """Points (depth, estimate, half width) of one line, measured at five seeds."""
    table = synthetic_report.evidence("scaling_trend").iloc[[0] * len(points)].copy()
    depth, estimate, half = np.array(points, float).T
    columns = {"estimate": estimate, "ci_low": estimate - half, "ci_high": estimate + half}
    return table.assign(depth=depth, seeds=5.0, **columns)


def test_points_of_figures_are_compared_too():
    first, second = a_run("one", 50, 13), a_run("two", 51, 13)
    first.evidence["scaling_trend"] = evidence((2, 1.0, 0.1), (4, 2.0, 0.1), (8, 3.0, 0.1))
    second.evidence["scaling_trend"] = evidence((2, 1.0, 0.1), (4, 9.0, 0.1), (16, 3.0, 0.1))
    first.evidence["depth_transfer"] = evidence((2, 1.0, 0.1))
    rows = compare(first, second).evidence.set_index("figure")
    trend = rows.loc["scaling_trend"]
    assert list(trend[["both", "equal", "first_only", "second_only"]]) == [2, 1, 1, 1]
    assert trend["share_notable"] == 0.5
    assert list(rows.loc["depth_transfer", ["both", "first_only"]]) == [0, 1]


# ------------------------------------------------------------------------------------- the command


@pytest.fixture
def command(monkeypatch):
    """main() of scripts/compare.py."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    spec = importlib.util.spec_from_file_location("compare_runs", ROOT / "scripts" / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> dict[str, Path]:
    return synthetic_report.make(tmp_path_factory.mktemp("compare"))


def test_the_command_writes_the_same_bytes_in_any_locale(synthetic, command, tmp_path, capfd):
    runs = [str(synthetic[name]) for name in ("record", "figures")]
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    assert command([*runs, "--output", str(here)]) == 0
    told = capfd.readouterr().out
    call = [sys.executable, str(ROOT / "scripts" / "compare.py"), *runs, "--output", str(there)]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(call, env={**os.environ, **plain}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode("utf-8").replace(str(there), str(here)) == told
    assert there.read_bytes() == here.read_bytes()
    assert "contradicted → inconclusive" in told
    assert told.endswith(f"All observables: {here}\n")
    assert len(pd.read_csv(here)) == synthetic_report.FINDINGS


def test_a_preset_without_record_is_told_so_and_is_no_error(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert command(["--summary", "--config", str(ROOT / "config/smoke.yaml")]) == 0
    assert capfd.readouterr().out == (
        "Preset smoke has no record (figures/record/smoke is not there), "
        "so there is nothing to compare.\n"
    )


def test_a_run_is_compared_with_the_record_of_its_preset(command, tmp_path, monkeypatch, capfd):
    shutil.copytree(LAPTOP, tmp_path / "figures/laptop")
    monkeypatch.chdir(tmp_path)
    assert command(["--summary"]) == 0
    assert capfd.readouterr().out == (
        "13 of 13 verdicts as recorded; no estimate differs.\n"
        "All observables: results/laptop/comparison.csv\n"
    )
    assert Path("results/laptop/comparison.csv").exists()


def test_wrong_folders_are_named_in_one_line(command, tmp_path, capfd):
    assert command([str(LAPTOP), str(tmp_path)]) == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: {tmp_path}: no finished run is here")
    assert len(told.err.splitlines()) == 1
    (tmp_path / "provenance.json").write_text(json.dumps({"config": {}}))
    assert command([str(LAPTOP), str(tmp_path)]) == 1
    assert "needs the keys config and made_with" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        command([str(LAPTOP)])


def test_comparing_needs_no_torch():
    code = "import sys, nfd.report.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
