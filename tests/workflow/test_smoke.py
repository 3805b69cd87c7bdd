"""The smoke preset from a clean checkout to figures and verdicts, and what makes jobs run again."""

import os
import time
from collections import Counter
from contextlib import contextmanager

import pandas as pd
import pytest
import yaml
from checkout import SMOKE, merged

from nfd import catalogue
from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand

FORMATS = ("pdf", "png", "svg", "csv")


@pytest.fixture(scope="module")
def config(smoke):
    return check(merged(yaml.safe_load((smoke.folder / SMOKE).read_text())))


def test_everything_is_there(smoke):
    figures = smoke.folder / "figures/smoke"
    for name in catalogue.FIGURES:
        for kind in FORMATS:
            assert (figures / f"{name}.{kind}").stat().st_size > 0
    claims = pd.read_csv(smoke.folder / "results/smoke/claims.csv")
    assert set(claims["id"]) == {f"C{number}" for number in range(1, 14)}
    assert (smoke.folder / "results/smoke/report.html").stat().st_size > 0


def test_every_job_has_its_tables(smoke, config):
    for kind, jobs in zip(("runs", "limits"), expand(config), strict=True):
        for job in jobs:
            stem = smoke.folder / f"results/smoke/{kind}/{job.experiment}/{job.name}"
            assert stem.with_suffix(".parquet").exists()
            assert stem.with_suffix(".outputs.parquet").exists()


def test_nothing_is_left_over(smoke):
    """No temporary files beside the results, and no checkpoints: all jobs have ended."""
    for folder in ("results", "figures", "work"):
        found = [path for path in (smoke.folder / folder).rglob("*") if path.is_file()]
        assert [path for path in found if path.name.startswith(".")] == []
        assert [path for path in found if path.suffix == ".pt"] == []


def test_a_second_run_has_nothing_to_do(smoke):
    done = smoke.snakemake("--dry-run")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_a_git_checkout_reruns_nothing(smoke):
    """git gives files it writes the time of the checkout, in no order."""
    now = time.time()
    touched = [path for path in smoke.folder.rglob("*") if path.is_file()]
    for number, path in enumerate(touched):
        parts = path.relative_to(smoke.folder).parts
        if parts[0] not in ("results", "figures", ".snakemake", "logs", "work"):
            os.utime(path, (now + number % 7, now + number % 7))
    done = smoke.snakemake("--dry-run")
    assert "Nothing to be done" in done.stdout, done.stdout[-3000:]


@contextmanager
def edited(smoke, path, old, new):
    """A file of the copy, edited within the block."""
    file = smoke.folder / path
    before = file.read_bytes()
    assert old.encode() in before
    file.write_bytes(before.replace(old.encode(), new.encode(), 1))
    try:
        yield
    finally:
        file.write_bytes(before)


def test_a_caption_reruns_no_training(smoke):
    with edited(smoke, "workflow/report/depth_transfer.rst", "\n", " Edited.\n"):
        planned = smoke.planned()
    assert planned == ["report_page"]


def test_the_code_of_figures_reruns_figures_only(smoke):
    with edited(smoke, "src/nfd/plotting.py", '"""', '"""Edited. '):
        planned = Counter(smoke.planned())
    assert planned.pop("draw_figure") == len(catalogue.FIGURES)
    assert set(planned) <= {"report_page"}


@pytest.mark.parametrize("module", ["contract", "transfer"])
def test_the_code_of_evidence_reruns_evidence_and_no_runs(smoke, module):
    with edited(smoke, f"src/nfd/evidence/{module}.py", '"""', '"""Edited. '):
        planned = Counter(smoke.planned())
    assert planned.pop("gather_evidence") == len(catalogue.FIGURES)
    assert not {"train_networks", "simulate_limit", "prepare_data"} & set(planned)


def test_the_code_of_training_reruns_training(smoke):
    with edited(smoke, "src/nfd/training.py", '"""', '"""Edited. '):
        planned = Counter(smoke.planned("train"))
    trained = list((smoke.folder / "results/smoke/runs").rglob("*.outputs.parquet"))
    assert planned == {"train_networks": len(trained)}


def test_one_learning_rate_reruns_the_jobs_that_have_it(smoke, config):
    changed = yaml.safe_load((smoke.folder / "config/smoke.yaml").read_text())
    changed["experiments"]["depth_transfer"]["learning_rates"] = [0.3]
    name = smoke.write_config("one_rate", changed)
    before, after = (expand(c)[0] for c in (config, check(merged(changed))))
    affected = [job for job in after if job not in before]
    assert {job.experiment for job in affected} == {"depth_transfer"}
    planned = Counter(smoke.planned("train", config=name))
    assert planned == {"train_networks": len(affected)}
    everything = Counter(smoke.planned(config=name))
    figures = [n for n, f in catalogue.FIGURES.items() if "depth_transfer" in f.experiments]
    assert everything["train_networks"] == len(affected)
    assert everything["gather_evidence"] == everything["draw_figure"] == len(figures)
    assert "simulate_limit" not in everything
    assert "prepare_data" not in everything


def test_a_changed_label_redraws_and_trains_nothing(smoke):
    labelled = yaml.safe_load((smoke.folder / SMOKE).read_text())
    labelled["dataset"] = {"label": "8 x 8 digits"}
    planned = Counter(smoke.planned(config=smoke.write_config("labelled", labelled)))
    assert planned.pop("draw_figure") == len(catalogue.FIGURES)
    assert set(planned) <= {"keep_record", "report_page"}


def test_tables_that_will_be_replaced_are_announced(smoke, config):
    """In a dry run too; a run of the configuration that made them, or another preset's, says nothing."""
    changed = yaml.safe_load((smoke.folder / SMOKE).read_text())
    changed["experiments"]["depth_transfer"]["learning_rates"] = [0.3]
    count = len([j for j in expand(config)[0] if j.experiment == "depth_transfer"])
    name = smoke.write_config("one_rate_more", changed)
    line = f"preset smoke: {count} tables were made with other settings and will be replaced"
    assert line in smoke.snakemake("--dry-run", config=name).stdout
    everything = smoke.snakemake("--dry-run", "--config", 'dataset={"name": "mnist"}').stdout
    jobs = sum(map(len, expand(config)))
    assert f"preset smoke: {jobs} tables were made with other settings" in everything
    assert "other settings" not in smoke.snakemake("--dry-run").stdout
    renamed = smoke.write_config("renamed", {**changed, "preset": "renamed"})
    assert "other settings" not in smoke.snakemake("--dry-run", config=renamed).stdout


def test_another_device_or_number_of_threads_reruns_nothing(smoke):
    done = smoke.snakemake("--dry-run", "--config", "device=cpu", "threads_per_job=2")
    assert "Nothing to be done" in done.stdout


def test_one_figure_makes_what_it_needs_and_no_more(smoke, checkout, config):
    planned = Counter(checkout.planned("figures/smoke/width_transfer.png"))
    wanted = [job for job in expand(config)[0] if job.experiment == "width_transfer"]
    assert planned == {
        "prepare_data": 1,
        "train_networks": len(wanted),
        "gather_evidence": 1,
        "draw_figure": 1,
    }


def test_a_gpu_is_asked_for_only_if_the_config_says_so(checkout):
    path = "results/smoke/runs/scaling/width8_depth2_block1_sgd.parquet"
    for device, wanted in (("cuda", "--gpus 1"), ("cpu", "--gpus 0")):
        plan = checkout.snakemake(path, "-n", "--printshellcmds", "--config", f"device={device}")
        assert wanted in plan.stdout


def test_the_report_of_snakemake_can_be_made(smoke):
    done = smoke.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (smoke.folder / "report.html").stat().st_size > 10_000
