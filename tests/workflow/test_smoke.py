"""The smoke preset from a clean checkout to figures and verdicts, and what makes jobs run again."""

import os
import subprocess
import time
from collections import Counter
from contextlib import contextmanager

import pandas as pd
import pytest
import yaml
from checkout import ROOT, SMOKE, merged, planned_in

from nfd.claims.registry import EXPERIMENTS, FAMILIES, FIGURES
from nfd.drawing.names import NOT_MEASURED
from nfd.pipeline.config import check
from nfd.pipeline.foreign import read_results
from nfd.pipeline.jobs import expand
from nfd.report.compare import compare, read_run

FORMATS = ("pdf", "png", "svg", "csv")


@pytest.fixture(scope="module")
def config(smoke):
    return check(merged(yaml.safe_load((smoke.folder / SMOKE).read_text())))


def test_everything_is_there(smoke):
    figures = smoke.folder / "figures/smoke"
    for name in FIGURES:
        for kind in FORMATS:
            assert (figures / f"{name}.{kind}").stat().st_size > 0
    claims = pd.read_csv(smoke.folder / "results/smoke/claims.csv")
    assert set(claims["id"]) == {f"C{number}" for number in range(1, 14)}
    assert (smoke.folder / "results/smoke/report.html").stat().st_size > 0


def test_a_run_changes_and_adds_nothing_that_git_sees(smoke, tmp_path):
    git = ["git", f"--git-dir={tmp_path}/git", f"--work-tree={smoke.folder}"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    listed = [*git, "ls-files", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=smoke.folder, capture_output=True, text=True, check=True)
    seen = set(filter(None, done.stdout.split("\0")))
    assert "README.md" in seen
    changed = [
        name
        for name in sorted(seen)
        if not (ROOT / name).exists()
        or (ROOT / name).read_bytes() != (smoke.folder / name).read_bytes()
    ]
    assert changed == []


def test_the_run_can_be_compared_and_equals_itself(smoke):
    run = read_run(smoke.folder / "figures/smoke")
    judged = pd.read_csv(smoke.folder / "results/smoke/claims.csv")
    found = compare(run, run)
    assert list(found.observables["observable"]) == list(judged["observable"])
    assert (found.observables["z"].dropna() == 0).all()
    assert set(run.evidence) == set(FIGURES)


@pytest.mark.nightly
def test_another_root_seed_is_compared_observable_by_observable(smoke):
    done = smoke.snakemake("claims", "--config", "root_seed=1", "preset=smoke1")
    assert done.returncode == 0, done.stdout[-5000:]
    found = compare(*(read_run(smoke.folder / "figures" / name) for name in ("smoke", "smoke1")))
    listed = set(found.observables["observable"])
    for name in ("smoke", "smoke1"):
        claims = pd.read_csv(smoke.folder / "results" / name / "claims.csv")
        assert set(claims["observable"]) <= listed
    assert "root_seed" in [difference.key for difference in found.settings]
    assert not found.shared_seeds
    assert (found.observables["z"].dropna() != 0).any()


def test_every_job_has_its_tables(smoke, config):
    for kind, jobs in zip(("runs", "limits"), expand(config), strict=True):
        for job in jobs:
            stem = smoke.folder / f"results/smoke/{kind}/{job.experiment}/{job.name}"
            assert stem.with_suffix(".parquet").exists()
            assert stem.with_suffix(".outputs.parquet").exists()


def test_its_tables_are_such_as_another_code_might_give(smoke):
    """Every name in them is one that the judge of anyone's tables knows."""
    runs = (path for kind in ("runs", "limits") for path in results_of(smoke, kind))
    assert len(read_results(sorted(runs), EXPERIMENTS))


def test_nothing_is_left_over(smoke):
    """No temporary files beside the results, and no checkpoints: all jobs have ended."""
    for folder in ("results", "figures", "work"):
        found = [path for path in (smoke.folder / folder).rglob("*") if path.is_file()]
        assert [path for path in found if path.name.startswith(".")] == []
        assert [path for path in found if path.suffix == ".pt"] == []


def test_a_second_run_has_nothing_to_do(smoke):
    """Though git gives files it writes the time of the checkout, in no order, and on another device."""
    now = time.time()
    touched = [path for path in smoke.folder.rglob("*") if path.is_file()]
    for number, path in enumerate(touched):
        parts = path.relative_to(smoke.folder).parts
        if parts[0] not in ("results", "figures", ".snakemake", "logs", "work"):
            os.utime(path, (now + number % 7, now + number % 7))
    done = smoke.snakemake("--dry-run", "--config", "device=cpu", "threads_per_job=2")
    assert "Nothing to be done" in done.stdout, done.stdout[-3000:]
    assert "other settings" not in done.stdout


def results_of(checkout, kind):
    """The tables of results of the smoke preset, 'runs' or 'limits'."""
    found = (checkout.folder / "results/smoke" / kind).rglob("*.parquet")
    return [path for path in found if not path.name.endswith(".outputs.parquet")]


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


def test_captions_comments_and_docstrings_rerun_the_report_only(smoke):
    """tests/test_reruns.py goes through all modules."""
    comment = ("\nfrom ", "\n# Edited.\nfrom ")
    docstring = ('"""', '"""Edited. ')
    with (
        edited(smoke, "src/nfd/claims/transfer/depth_transfer.rst", "\n", " Edited.\n"),
        edited(smoke, "src/nfd/training/train.py", *comment),
        edited(smoke, "src/nfd/limit/simulate.py", *docstring),
        edited(smoke, "src/nfd/evidence/rates.py", *comment),
        edited(smoke, "src/nfd/drawing/page.py", *docstring),
    ):
        assert smoke.planned() == ["report_page"]


def test_no_panel_says_that_its_experiment_did_not_run(smoke):
    """All experiments ran: an empty panel would ask for something under another name than evidence has."""
    for name in FIGURES:
        picture = (smoke.folder / f"figures/smoke/{name}.svg").read_text(encoding="utf-8")
        assert "depth" in picture or "width" in picture  # text is text in these files
        assert NOT_MEASURED not in picture, name


def family_of(figure: str) -> list[str]:
    """The figures of the same family."""
    return next(
        names for family in FAMILIES if figure in (names := [f.name for f in family.figures])
    )


def test_the_code_of_a_figure_and_of_verdicts_reruns_drawing_and_judging_only(smoke):
    """Which figures, module by module, tests/test_reruns.py says."""
    drift = ("DRIFT = 0.1", "DRIFT = 0.2")
    panel = ('(table, "width")', '(table, "depth")')
    with (
        edited(smoke, "src/nfd/claims/rates.py", *drift),
        edited(smoke, "src/nfd/claims/transfer/figure.py", *panel),
    ):
        planned = Counter(smoke.planned())
    assert planned.pop("draw_figure") == len(family_of("width_transfer"))
    assert planned.pop("judge_claims") == 1
    assert set(planned) <= {"describe_run", "report_page"}


def test_the_code_of_evidence_reruns_its_evidence_and_no_runs(smoke):
    points = ("PROGRESS = (10, 25, 50, 75)", "PROGRESS = (10, 25, 50, 80)")
    with edited(smoke, "src/nfd/claims/decoupling/evidence.py", *points):
        planned = Counter(smoke.planned())
    family = family_of("gia_restoration")
    assert planned.pop("gather_evidence") == planned.pop("draw_figure") == len(family)
    assert set(planned) <= {"judge_claims", "describe_run", "report_page"}


def test_the_code_of_training_and_of_limits_reruns_both(smoke):
    bound = ("DIVERGENCE_FACTOR = 100", "DIVERGENCE_FACTOR = 90")
    scale = ("out.mul_(self._scale)", "out.div_(self._scale)")
    with (
        edited(smoke, "src/nfd/training/recorder.py", *bound),
        edited(smoke, "src/nfd/limit/gaussian.py", *scale),
    ):
        planned = Counter(smoke.planned("train", "limits"))
    jobs = {"train_networks": "runs", "simulate_limit": "limits"}
    assert planned == {rule: len(results_of(smoke, kind)) for rule, kind in jobs.items()}


def test_one_learning_rate_reruns_the_jobs_that_have_it_and_says_what_it_replaces(smoke, config):
    changed = yaml.safe_load((smoke.folder / "config/smoke.yaml").read_text())
    changed["experiments"]["depth_transfer"]["learning_rates"] = [0.3]
    name = smoke.write_config("one_rate", changed)
    before, after = (expand(c)[0] for c in (config, check(merged(changed))))
    affected = [job for job in after if job not in before]
    assert {job.experiment for job in affected} == {"depth_transfer"}
    done = smoke.snakemake("--dry-run", config=name)
    planned = planned_in(done.stdout)
    figures = [n for n, f in FIGURES.items() if "depth_transfer" in f.experiments]
    assert planned["train_networks"] == len(affected)
    assert planned["gather_evidence"] == planned["draw_figure"] == len(figures)
    assert not {"simulate_limit", "prepare_data"} & set(planned)
    count = len([job for job in before if job.experiment == "depth_transfer"])
    line = f"preset smoke: {count} tables were made with other settings and will be replaced"
    assert line in done.stdout


def test_a_changed_label_redraws_and_trains_nothing(smoke):
    labelled = yaml.safe_load((smoke.folder / SMOKE).read_text())
    labelled["dataset"] = {"label": "8 x 8 digits"}
    planned = Counter(smoke.planned(config=smoke.write_config("labelled", labelled)))
    assert planned.pop("draw_figure") == len(FIGURES)
    assert set(planned) <= {"describe_run", "report_page"}


def test_one_figure_makes_what_it_needs_and_no_more(smoke, config):
    """A preset of another name, which replaces nothing."""
    name = ("--config", "preset=renamed")
    done = smoke.snakemake("figures/renamed/width_transfer.png", "--dry-run", *name)
    wanted = [job for job in expand(config)[0] if job.experiment == "width_transfer"]
    assert planned_in(done.stdout) == {
        "prepare_data": 1,
        "train_networks": len(wanted),
        "gather_evidence": 1,
        "draw_figure": 1,
    }
    assert "other settings" not in done.stdout


def test_a_gpu_is_asked_for_only_if_the_config_says_so(smoke):
    path = "results/renamed/runs/scaling/width8_depth2_block1_sgd.parquet"
    for device, wanted in (("cuda", "--gpus 1"), ("cpu", "--gpus 0")):
        settings = ("--config", "preset=renamed", f"device={device}")
        plan = smoke.snakemake(path, "-n", "--printshellcmds", *settings)
        assert wanted in plan.stdout


def test_a_byte_order_mark_does_no_harm_nor_the_place_where_catalogues_look(smoke, tmp_path):
    text = (smoke.folder / SMOKE).read_text()
    (tmp_path / "marked.yaml").write_text(text, encoding="utf-8-sig")
    place = ("--snakefile", "workflow/Snakefile")
    assert smoke.planned(*place, config=str(tmp_path / "marked.yaml")) == []


def test_the_report_of_snakemake_can_be_made(smoke):
    done = smoke.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (smoke.folder / "report.html").stat().st_size > 10_000
