"""Whatever dies at whatever moment: the next run ends with the tables of an undisturbed one.

Kills hit single jobs, started as their rule starts them, at random moments from before the first step
to the writing of the tables, and Snakemake itself together with its jobs. A fixed seed draws the
moments; what is hit at them differs from machine to machine, and must not matter.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from checkout import TINY, Checkout, assert_same_tables, merged, tables_in

from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand

# Checkpoints so often that a kill nearly always finds one.
QUICK = ("INTERVAL_S = 60.0", "INTERVAL_S = 0.2")
EAGER = ("SHARE = 0.05", "SHARE = 1.0")
LONGER = {
    **TINY,
    "preset": "longer",
    "experiments": {
        **TINY["experiments"],
        "depth_transfer": {
            "networks": [{"parametrization": "depth_mup", "couplings": ["standard", "decoupled"]}],
            "grids": [{"widths": [16], "depths": [8]}],
            "learning_rates": [0.1, 0.5, 1.0e6],  # the last one diverges
            "optimizers": ["adam"],
            "seeds": 2,
            "steps": 1200,
            "batch_size": 8,
            "log_points": 6,
            "evaluation_size": 16,
            "probe_size": 4,
            "probes": ["outputs", "output_change"],
        },
        "limit_convergence": {
            **TINY["experiments"]["limit_convergence"],
            "limit": {"particles": 2048, "depths": [2], "couplings": ["standard"], "seeds": 12},
        },
    },
}


def quickened(folder):
    """A copy with frequent checkpoints, and the config file of LONGER in it."""
    checkout = Checkout(folder)
    module = folder / "src/nfd/training/checkpoint.py"
    text = module.read_text()
    for old, new in (QUICK, EAGER):
        assert old in text
        text = text.replace(old, new)
    module.write_text(text)
    return checkout, checkout.write_config("longer", LONGER)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A copy in which LONGER has been run without disturbance."""
    checkout, config = quickened(tmp_path_factory.mktemp("undisturbed"))
    done = checkout.snakemake("train", "limits", config=config)
    assert done.returncode == 0, done.stdout[-5000:]
    return checkout, config


@pytest.fixture
def prepared(tmp_path, undisturbed):
    """A fresh copy of the same, with the prepared data and no results yet."""
    checkout, config = quickened(tmp_path / "copy")
    (checkout.folder / "results/longer").mkdir(parents=True)
    data = "results/longer/data.npz"
    shutil.copy(undisturbed[0].folder / data, checkout.folder / data)
    return checkout, config


def job_command(checkout, kind):
    """The command of LONGER's training job, or of its limit job, as the rule would start it."""
    training, limits = expand(check(merged(LONGER)))
    jobs = {"train": (training, "runs"), "simulate_limit": (limits, "limits")}[kind]
    job = max(jobs[0], key=lambda job: job.settings.steps)
    stem = f"results/longer/{jobs[1]}/{job.experiment}/{job.name}"
    return [
        *(checkout.python, f"scripts/{kind}.py", "--experiment", job.experiment),
        *("--settings", job.settings.to_json(), "--data", "results/longer/data.npz"),
        *("--results", f"{stem}.parquet", "--outputs", f"{stem}.outputs.parquet"),
    ]


def job_path(checkout, kind, option):
    """The path that such a command gives after an option."""
    command = job_command(checkout, kind)
    return command[command.index(option) + 1]


def start(checkout, command):
    return subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process, number=signal.SIGKILL):
    """Send a signal to the process and all it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait()


def assert_whole(folder):
    """Whatever stands under its final name can be read to the end."""
    tables_in(folder / "results")


def seconds_of(undisturbed, kind):
    """How long a job took undisturbed, by Snakemake's own benchmark."""
    results = undisturbed[0].folder / "results/longer"
    table = Path(job_path(undisturbed[0], kind, "--results")).relative_to("results/longer")
    return pd.read_csv(results / "benchmarks" / table.with_suffix(".tsv"), sep="\t")["s"].item()


def kill_job_repeatedly(checkout, undisturbed, kind, kills, seed):
    """Kill the job ``kills`` times at random moments, then let it end.

    A job that ends before its moment is begun anew, with an empty store, and checked like any other.
    """
    command, rng = job_command(checkout, kind), random.Random(seed)
    folder = checkout.folder / "results/longer" / {"train": "runs"}.get(kind, "limits")
    store = checkout.folder / "work/store"
    duration = seconds_of(undisturbed, kind)
    while kills:
        process = start(checkout, command)
        try:
            assert process.wait(timeout=rng.uniform(0.1, 1.0) * duration) == 0
            shutil.rmtree(folder)
            shutil.rmtree(store)
        except subprocess.TimeoutExpired:
            kill(process)
            kills -= 1
        assert_whole(checkout.folder)
    assert start(checkout, command).wait() == 0


def assert_job_table_same(checkout, undisturbed, kind):
    for option in ("--results", "--outputs"):
        path = job_path(checkout, kind, option)
        found, wanted = (
            pq.ParquetFile(c.folder / path).read().to_pandas() for c in (checkout, undisturbed)
        )
        assert found.astype(str).equals(wanted.astype(str)), path


@pytest.mark.parametrize("kind", ["train", "simulate_limit"])
def test_a_killed_job_ends_with_the_same_tables(prepared, undisturbed, kind):
    checkout, _ = prepared
    kill_job_repeatedly(checkout, undisturbed, kind, kills=2, seed=1)
    assert_job_table_same(checkout, undisturbed[0], kind)
    assert not list((checkout.folder / "work").rglob("*.pt"))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["train", "simulate_limit"])
def test_many_killed_jobs(prepared, undisturbed, kind, seed):
    checkout, _ = prepared
    kill_job_repeatedly(checkout, undisturbed, kind, kills=5, seed=seed)
    assert_job_table_same(checkout, undisturbed[0], kind)


def kill_snakemake(checkout, config, undisturbed, kills):
    """Kill Snakemake and all its jobs by each (signal, what waits for the moment); then let it end."""
    for number, wait in kills:
        command = checkout.command("train", "limits", "--cores", "2", config=config)
        process = start(checkout, command)
        wait(process)
        kill(process, number)
        assert_whole(checkout.folder)
        checkout.snakemake("--unlock", config=config)
    done = checkout.snakemake("train", "limits", config=config)
    assert done.returncode == 0, done.stdout[-5000:]
    assert_same_tables(checkout.folder / "results", undisturbed.folder / "results")


def in_training(checkout):
    """Waits until the longer job has trained for about a second, or the process has ended."""
    table = Path(job_path(checkout, "train", "--results")).relative_to("results")
    log = checkout.folder / "logs" / table.with_suffix(".log")

    def wait(process):
        log.unlink(missing_ok=True)
        while process.poll() is None:
            if log.exists() and "step/s" in log.read_text():
                time.sleep(1)
                return
            time.sleep(0.1)

    return wait


def after(seconds):
    """Waits so long, or until the process has ended."""

    def wait(process):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)

    return wait


def test_a_killed_snakemake_goes_on(prepared, undisturbed):
    """Snakemake and all its jobs at once, as when a machine goes down or a session is closed."""
    wait = in_training(prepared[0])
    kill_snakemake(*prepared, undisturbed[0], [(signal.SIGTERM, wait), (signal.SIGKILL, wait)])


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
def test_a_snakemake_killed_many_times(prepared, undisturbed, seed):
    rng = random.Random(seed)
    moments = [after(rng.uniform(2, 30)) for _ in range(5)]
    kill_snakemake(*prepared, undisturbed[0], [(signal.SIGKILL, wait) for wait in moments])


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_truncated_prepared_data_are_named(tiny, tmp_path):
    checkout, config = tiny
    data = checkout.folder / "results/tiny/data.npz"
    whole = data.read_bytes()
    damage(data)
    # Prepared data are known by the small file beside them, so a job must have a reason to read them.
    next((checkout.folder / "results/tiny/runs").rglob("*block1_sgd.parquet")).unlink()
    done = checkout.snakemake("train", config=config)
    data.write_bytes(whole)
    assert done.returncode != 0
    log = checkout.folder / "logs/tiny/runs/limit_convergence/width8_depth2_block1_sgd.log"
    assert "is not a whole prepared data set" in done.stdout + log.read_text()
    again = checkout.snakemake("train", "limits", config=config)
    assert again.returncode == 0, again.stdout[-3000:]


def test_a_truncated_table_is_named(tiny):
    """By whatever reads it, with what to do: delete it and run again."""
    checkout, config = tiny
    table = next((checkout.folder / "results/tiny/runs").rglob("*block1_sgd.parquet"))
    wanted = table.read_bytes()
    damage(table)
    done = checkout.snakemake("results/tiny/evidence/limit_convergence.csv", config=config)
    log = checkout.folder / "logs/tiny/evidence/limit_convergence.log"
    assert done.returncode != 0
    assert "not a readable Parquet table" in done.stdout + log.read_text()
    table.unlink()
    again = checkout.snakemake("train", "limits", config=config)
    assert again.returncode == 0, again.stdout[-3000:]
    assert len(table.read_bytes()) == pytest.approx(len(wanted), rel=0.05)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_named_and_survived(tmp_path, tiny):
    checkout = Checkout(tmp_path / "copy")
    config = checkout.write_config("tiny", TINY)
    results = checkout.folder / "results"
    results.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(results)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        done = checkout.snakemake("train", "limits", config=config)
        assert done.returncode != 0
        assert_whole(checkout.folder)
        subprocess.run(["mount", "-o", "remount,size=50m", str(results)], check=True)
        done = checkout.snakemake("train", "limits", config=config)
        assert done.returncode == 0, done.stdout[-3000:]
        assert_same_tables(results / "tiny/runs", tiny[0].folder / "results/tiny/runs")
        assert_same_tables(results / "tiny/limits", tiny[0].folder / "results/tiny/limits")
    finally:
        subprocess.run(["umount", str(results)], check=True)
