"""The smoke preset on a real Slurm, through profiles/slurm, against the same preset run locally."""

import importlib.util
import os
import subprocess
import time
from pathlib import Path

import pytest
from checkout import TINY, Checkout, assert_same_tables

pytestmark = pytest.mark.slurm
CLUSTER = Path(__file__).with_name("slurm_cluster.sh")
# Looks at a job sooner than the profile does, for these last seconds.
PROFILE = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A running cluster."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("Snakemake's Slurm plugin is not in this environment: `make test-slurm`")
    if os.geteuid() != 0:
        pytest.skip("only root can install and start Slurm")
    installed = subprocess.run([CLUSTER, "install"], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"Slurm cannot be installed: {installed.stderr.strip()[-200:]}")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        [CLUSTER, "start", folder], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    if started.returncode:
        pytest.skip(started.stderr.strip()[-500:])
    yield folder
    subprocess.run([CLUSTER, "stop", folder], check=True)


def ended_jobs(folder):
    """Each ended job's fields, as Slurm wrote them down."""
    lines = (folder / "finished_jobs.txt").read_text().splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


def test_a_gpu_job_is_given_a_gpu_and_a_cpu_job_is_not(slurm, checkout):
    """The GPU is make-believe: the job itself must say that torch sees none, and fail."""
    config = checkout.write_config("tiny", TINY)
    more = ("--retries", "0", "--verbose", "--config", "device=cuda")
    done = checkout.snakemake("train", *PROFILE, *more, config=config)
    assert done.returncode != 0
    data, training = [line for line in done.stdout.splitlines() if "sbatch call: " in line]
    assert "prepare_data" in data
    assert "--gpus" not in data
    assert "train_networks" in training
    assert "--gpus=1" in training
    assert [job["JobState"] for job in ended_jobs(slurm)[-2:]] == ["COMPLETED", "FAILED"]
    log = checkout.folder / "logs/tiny/runs/limit_convergence/width8_depth2_block1_sgd.log"
    assert "torch sees no GPU" in log.read_text() + done.stdout


def test_a_requeued_job_resumes(slurm, checkout):
    """`scontrol requeue`, as preemption does: the job saves, leaves, and goes on later."""
    long = {**TINY["experiments"]["limit_convergence"], "train_size": None, "limit": None}
    long = {**long, "steps": 8000, "grids": [{"widths": [16], "depths": [4]}]}
    config = checkout.write_config(
        "long", {**TINY, "experiments": {**TINY["experiments"], "limit_convergence": long}}
    )
    process = subprocess.Popen(
        checkout.command("train", *PROFILE, config=config),
        cwd=checkout.folder,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log = checkout.folder / "logs/tiny/runs/limit_convergence/width16_depth4_block1_sgd.log"
    wait_until(lambda: log.exists() and "step/s" in log.read_text())
    queue = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True)
    number = queue.stdout.split()[-1]
    subprocess.run(["scontrol", "requeue", number], check=True)
    wait_until(lambda: "stopped by SIGTERM" in log.read_text())
    # Slurm would wait for two minutes; it takes no other time before the job is back in the queue.
    state = ["squeue", "-h", "-j", number, "-o", "%T"]
    wait_until(lambda: b"PENDING" in subprocess.run(state, capture_output=True).stdout)
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], check=True)
    assert process.wait() == 0
    assert "resuming from" in log.read_text()


def wait_until(true, seconds=300):
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.2)


def test_the_smoke_preset_gives_the_local_tables(slurm, smoke, tmp_path):
    cluster = Checkout(tmp_path / "copy")
    done = cluster.snakemake(*PROFILE)
    assert done.returncode == 0, done.stdout[-5000:]
    for kind in ("runs", "limits", "evidence"):
        assert_same_tables(
            cluster.folder / "results/smoke" / kind, smoke.folder / "results/smoke" / kind
        )
    again = cluster.snakemake(*PROFILE, "--dry-run")
    assert "Nothing to be done" in again.stdout
