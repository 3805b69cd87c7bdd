"""What a verdict costs, by all seeds and by rounds, of runs whose answer and whose times are known."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic_tables as synthetic
from synthetic_report import describe_run

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not part of the package

from benchmarks import lines, render
from benchmarks.verdicts import UNDECIDED, Run, at_look, counted, of_run
from nfd.claims.registry import CLAIMS, gather
from nfd.claims.rules import judge, overall
from nfd.evidence.intervals import intervals_at
from nfd.evidence.significance import LOOKS, Look
from nfd.pipeline import tables
from nfd.pipeline.config import check
from nfd.pipeline.cost import START_S
from nfd.pipeline.jobs import expand

SEEDS, TOOK_S = 21, 33.0
EXPERIMENT = {
    "networks": [{"parametrization": "depth_mup"}],
    "grids": [{"widths": [32, 64, 128, 256], "depths": [2, 4, 8, 16]}],
    "learning_rates": [0.25, 0.5, 1.0],
    "seeds": SEEDS,
    "steps": 100,
    "batch_size": 4,
}
CONFIG = check(
    {"preset": "known", "dataset": {"name": "digits"}, "experiments": {"scaling": EXPERIMENT}}
)
JOBS, _ = expand(CONFIG)


def losses(sd):
    """Losses that fall with width and depth, so that C1 is true; ``sd`` is their noise from run to run."""
    return synthetic.scaling(loss=lambda n, L: 0.3 + 5 / n + 0.5 / L, sd=sd, seeds=range(SEEDS))


def finished(folder, results, said="trained 63 networks, 0 from the store"):
    """A run of 16 jobs that took 33 seconds each; returns the folder of its results."""
    home = folder / "results" / "known"
    written = []
    for job in JOBS:
        s = job.settings
        mine = results[(results["width"] == s.width) & (results["depth"] == s.depth)]
        path = home / "runs" / "scaling" / f"{job.name}.parquet"
        for folder_of, suffix, text in (
            (home / "benchmarks", ".tsv", f"s\tmax_rss\n{TOOK_S}\t1\n"),
            (folder / "logs" / "known", ".log", said),
        ):
            beside = folder_of / "runs" / "scaling" / f"{job.name}{suffix}"
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        tables.write_results(mine, path, {"code_version": "f00d"})
        none = pd.DataFrame(columns=list(tables.OUTPUT_COLUMNS))
        tables.write_outputs(none, path.with_suffix(".outputs.parquet"), {})
        written.append(path)
    frames = {"scaling_trend": gather("scaling_trend", results)}
    judged = pd.concat([judge(claim, frames) for claim in CLAIMS.values()])
    judged.to_csv(home / "claims.csv", index=False)
    figures = folder / "figures" / "known"
    figures.mkdir(parents=True)
    for name in ("scaling_trend", "diminishing_returns"):
        (figures / f"{name}.csv").write_text("")
    describe_run(figures, judged, CONFIG, written)
    return home


def by_hand(results, seeds, level):
    """C1's verdict on the first seeds, with intervals of a level."""
    with intervals_at(level):
        evidence = gather("scaling_trend", results[results["seed"] < seeds].reset_index(drop=True))
    return overall(judge(CLAIMS["C1"], {"scaling_trend": evidence}))


@pytest.mark.parametrize(("sd", "look", "rounds"), [(0.01, 5, 1), (0.15, 8, 2)])
def test_a_claim_costs_the_share_of_its_seeds_at_the_look_that_decides(tmp_path, sd, look, rounds):
    """A job of 33 s starts for 3 s; 30 s are for 21 seeds. Each round starts each of the 16 jobs."""
    results = losses(sd)
    row = Run(finished(tmp_path, results), CONFIG).row("C1")
    assert row["rounds decide"] == f"supported at {look} seeds"
    for seeds in (n for n in LOOKS if n <= look):
        expected = "supported" if seeds == look else "inconclusive"
        assert by_hand(results, seeds, Look(seeds, LOOKS).level()) == expected
    assert (row["verdict"], row["seeds"], row["experiments"]) == ("supported", "21", "scaling")
    assert row["core minutes"] == pytest.approx(16 * TOOK_S / 60, rel=0.01)
    spent = 16 * (rounds * START_S + (TOOK_S - START_S) * look / SEEDS)
    assert row["core minutes by rounds"] == pytest.approx(spent / 60, rel=0.01)
    whole = sum(job.cost.flops for job in JOBS) / 1e12
    assert row["10^12 operations"] == pytest.approx(whole, rel=0.01)
    assert row["10^12 operations by rounds"] == pytest.approx(whole * look / SEEDS, rel=0.01)


def test_what_no_look_decides_has_no_cost(tmp_path):
    run = Run(finished(tmp_path, losses(2.0)), CONFIG)
    row = run.row("C1")
    assert row["rounds decide"] == UNDECIDED
    assert "core minutes by rounds" not in row
    assert row["core minutes"] > 0
    # Nor has a claim whose experiment is switched off, or of which one is.
    assert run.row("C8")["rounds decide"] == UNDECIDED
    assert run.row("C2")["rounds decide"] == UNDECIDED


def test_a_look_has_a_level_of_its_own(tmp_path):
    """Noise at which plain 95 % intervals of five seeds would have decided, and those of the look do not."""
    results = losses(0.15)
    assert by_hand(results, 5, Look(5, LOOKS).level()) == "inconclusive"
    assert by_hand(results, 5, 0.95) == "supported"
    assert Run(finished(tmp_path, results), CONFIG).decided("C1") == (8, "supported")


@pytest.mark.parametrize(
    "said",
    ["trained 3 networks, 60 from the store", "trained 3 networks, 0 from the store, 60 continued"],
)
def test_jobs_that_the_store_helped_count_by_their_estimates(tmp_path, said):
    run = Run(finished(tmp_path, losses(0.01), said), CONFIG)
    assert [run.seconds(job) for job in run.jobs] == [None] * 16
    estimated = sum(job.cost.estimate_s for job in JOBS)
    assert run.cost(["scaling"])[0] == pytest.approx(estimated)
    assert of_run(run.results)["estimated jobs"] == 16


def test_seeds_of_a_look_are_the_first_ones_and_limits_follow_in_proportion():
    limit = {"particles": 64, "depths": [2], "seeds": 8}
    shared = {**EXPERIMENT, "train_size": 4, "data_order": "shared", "limit": limit, "seeds": 16}
    six = {**EXPERIMENT, "seeds": [7, 3, 9, 1, 4, 0]}
    config = {**CONFIG, "experiments": {"limit_convergence": shared, "depth_transfer": six}}
    config = check(config)

    def seeds_at(look):
        training, limits = expand(at_look(config, list(config["experiments"]), look))
        return {job.experiment: job.settings.seeds for job in training}, limits[0].settings.seeds

    networks, limits = seeds_at(13)
    assert networks["limit_convergence"] == tuple(range(13))
    assert networks["depth_transfer"] == (7, 3, 9, 1, 4)  # it has no look at 8
    assert limits == tuple(range(7))  # 13 / 16 of 8, rounded up
    assert seeds_at(5)[1] == (0, 1, 2)


def test_what_counts_is_what_decides():
    """C4 lists what single layers do, and nothing is decided by it."""
    assert set(CLAIMS["C4"].figures) > set(counted("C4")) == {"gia_restoration"}
    assert set(counted("C12")) == {
        "deeper_is_better",
        "depth_transfer_2",
    }  # the latter for its control


def test_the_command_writes_the_line_and_the_page_begins_with_it(tmp_path, monkeypatch, capsys):
    run = finished(tmp_path, losses(0.01))
    monkeypatch.setattr(lines, "RESULTS", tmp_path)
    monkeypatch.setattr(render, "DOCS", tmp_path)
    for name in ("benchmarks.md", "scale.md"):
        text = (Path(__file__).parents[1] / "docs" / name).read_text()
        (tmp_path / name).write_text(text)
    assert lines.main(["--run", str(run)]) == 0
    assert "C1 scaling-trend: supported; by rounds supported at 5 seeds" in capsys.readouterr().out
    (path,) = tmp_path.glob("*.json")
    line = json.loads(path.read_text())["lines"]["verdicts"]
    assert line["made with"]["Code version"] == {"f00d": 16}
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| C1 scaling-trend | supported | 21 |" in page
    assert f"Configuration {line['configuration']}" in page
    assert page.index("C1 scaling-trend") < page.index("## How it is measured")
    assert lines.main(["--run", str(tmp_path / "results" / "other")]) == 1
    assert "no finished run is here" in capsys.readouterr().err
