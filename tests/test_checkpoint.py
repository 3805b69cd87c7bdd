"""Interrupted and resumed training against undisturbed training: every bit must agree.

No tolerance anywhere but in the out-of-memory tests, where other stacks are formed.
"""

import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nfd.data.prepared import save
from nfd.data.sources import prepare
from nfd.network.architecture import Architecture
from nfd.network.couplings import COUPLINGS
from nfd.pipeline import tables
from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand
from nfd.pipeline.run import run_limit
from nfd.training import checkpoint as checkpoints
from nfd.training.batches import TrainingData, draw_batches
from nfd.training.checkpoint import Checkpoint, Interrupted, job_key
from nfd.training.optimizers import OPTIMIZERS
from nfd.training.train import train
from nfd.training.trainer import Member, Trainer

ROOT = Path(__file__).parents[1]
STEPS = 6
KINDS = {"one-layer": {}, "two-layer": {"block_layers": 2}, "no-skip": {"skip": False}}


def make_data(steps=STEPS):
    rng = np.random.default_rng(5)
    inputs, targets = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    batches = {seed: draw_batches(20, 4, steps, 0, seed) for seed in range(3)}
    evaluation = {"train": (inputs[:8], targets[:8]), "test": (inputs[8:], targets[8:])}
    return TrainingData(inputs, targets, batches, evaluation, (inputs[:3], targets[:3]))


MEMBERS = [
    Member("depth_mup", rate, seed, coupling)
    for seed in range(2)
    for coupling in ("standard", "decoupled")
    for rate in (0.1, 0.4)
]


def run(checkpoint=None, *, members=MEMBERS, kind="one-layer", optimizer="sgd", **options):
    probes = ["outputs", "output_change", "features", "kernel"]
    probes += ["coupling"] if kind == "one-layer" else []
    return train(
        Architecture(5, 3, 8, 3, **KINDS[kind]),
        members,
        make_data(),
        optimizer=optimizer,
        log_steps=[1, 3],
        probes=probes,
        checkpoint=checkpoint,
        **options,
    )


class StopsAfter(Checkpoint):
    """Is asked to stop at its n-th offer, and says how many there were."""

    def __init__(self, path, key="key", *, stop_at=None):
        super().__init__(path, key)
        self.stop_at, self.offers = stop_at, 0

    def offer(self, state):
        self.offers += 1
        if self.offers == self.stop_at:
            self.signal = signal.SIGTERM
        super().offer(state)


def assert_same(result, expected):
    pd.testing.assert_frame_equal(
        pd.DataFrame(result.rows), pd.DataFrame(expected.rows), check_exact=True
    )
    assert result.outputs.keys() == expected.outputs.keys()
    for key, outputs in expected.outputs.items():
        np.testing.assert_array_equal(result.outputs[key], outputs)


def interrupt(path, stop_at, **options):
    with pytest.raises(Interrupted):
        run(StopsAfter(path, stop_at=stop_at), **options)
    assert path.exists()


# ------------------------------------------------------------------------------- bit for bit


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop_at", [1, 2, 3, STEPS])
def test_resumed_training_is_the_undisturbed_one(tmp_path, kind, optimizer, stop_at):
    options = {"kind": kind, "optimizer": optimizer}
    path = tmp_path / "job.pt"
    interrupt(path, stop_at, **options)
    resumed = StopsAfter(path)
    result = run(resumed, **options)
    assert resumed.offers == STEPS - stop_at  # what was done is not done again
    assert_same(result, run(**options))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop_at", [1, 3])
def test_resumed_networks_of_all_couplings_draw_the_copies_of_their_step(
    tmp_path, optimizer, stop_at
):
    """Also after one of them, with a rate beyond all bounds, has been dropped."""
    rates = {"decoupled": 1e9, "third": 1e9}
    members = [
        Member("depth_mup", rate, 1, name)
        for name in COUPLINGS
        for rate in (0.1, rates.get(name, 0.4))
    ]
    options = {"kind": "two-layer", "optimizer": optimizer, "members": members}
    path = tmp_path / "job.pt"
    interrupt(path, stop_at, **options)
    assert_same(run(StopsAfter(path), **options), run(**options))


@pytest.mark.parametrize("stop_at", [STEPS, STEPS + 1, 2 * STEPS + 2])
def test_finished_stacks_are_kept(tmp_path, stop_at):
    path = tmp_path / "job.pt"
    interrupt(path, stop_at, members_at_once=3)
    resumed = StopsAfter(path)
    # The number stacked is that of the interrupted job: it may depend on the memory that was free.
    assert_same(run(resumed, members_at_once=5), run(members_at_once=3))
    assert resumed.offers == 3 * STEPS - stop_at


def test_many_interruptions_in_a_row(tmp_path):
    path = tmp_path / "job.pt"
    for _ in range(STEPS - 1):
        interrupt(path, 1, optimizer="adam")
    assert_same(run(StopsAfter(path), optimizer="adam"), run(optimizer="adam"))


@pytest.mark.parametrize("stop_at", range(1, STEPS + 1))
def test_diverged_members_stay_diverged(tmp_path, stop_at):
    members = [*MEMBERS, Member("standard", 1e9, 0), Member("standard", 1e9, 1, "decoupled")]
    path = tmp_path / "job.pt"
    interrupt(path, stop_at, members=members)
    result, expected = run(StopsAfter(path), members=members), run(members=members)
    assert_same(result, expected)
    assert {row["member"] for row in expected.rows if row["diverged"]} == {8, 9}


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_a_stack_that_diverges_altogether(tmp_path, stop_at):
    members = [Member("standard", 1e9, seed) for seed in range(2)]
    path = tmp_path / "job.pt"
    interrupt(path, stop_at, members=members)
    assert_same(run(StopsAfter(path), members=members), run(members=members))


def test_progress_counts_what_was_done_before(tmp_path):
    path, done = tmp_path / "job.pt", []
    interrupt(path, STEPS + 2, members_at_once=3)
    run(StopsAfter(path), members_at_once=3, progress=done.append)
    assert sum(done) == STEPS * len(MEMBERS)


# ------------------------------------------------------------------------- when it is written


def test_a_short_job_writes_nothing(tmp_path):
    run(Checkpoint(tmp_path / "job.pt", "key"))
    assert list(tmp_path.iterdir()) == []


def test_saves_are_an_interval_apart(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "job.pt", "key", interval_s=60)
    saved = []
    for now[0] in range(1, 200):
        checkpoint.offer(lambda: saved.append(now[0]) or {})
    assert saved == [60, 120, 180]


def test_a_slow_save_is_repeated_less_often(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints, "monotonic", lambda: now[0])

    def slow(*_):
        now[0] += 30

    monkeypatch.setattr(torch, "save", slow)
    checkpoint = Checkpoint(tmp_path / "job.pt", "key", interval_s=60)
    now[0] = 60
    checkpoint.offer(dict)
    assert checkpoint.next_save == 90 + 30 / checkpoints.SHARE


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    checkpoint = Checkpoint(tmp_path / "job.pt", "key", interval_s=0)
    assert_same(run(checkpoint), run())
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_removing_takes_leftovers_of_killed_saves_along(tmp_path):
    for name in ("job.pt", ".job.pt.abc.pt", "other.pt", ".other.pt.abc.pt"):
        (tmp_path / name).touch()
    Checkpoint(tmp_path / "job.pt", "key").remove()
    assert {path.name for path in tmp_path.iterdir()} == {"other.pt", ".other.pt.abc.pt"}


# ----------------------------------------------------------------------------- what is refused


def test_a_checkpoint_of_another_key_is_refused(tmp_path, caplog):
    path = tmp_path / "job.pt"
    interrupt(path, 3)
    other = StopsAfter(path, "another key")
    assert_same(run(other), run())
    assert other.offers == STEPS
    assert "other settings, data, code or device; starting afresh" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_ignored(tmp_path, caplog, share):
    path = tmp_path / "job.pt"
    interrupt(path, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_same(run(StopsAfter(path)), run())
    assert "not a whole checkpoint" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_something_else_is_ignored(tmp_path, caplog, content):
    path = tmp_path / "job.pt"
    path.write_bytes(content)
    assert Checkpoint(path, "key").load() is None
    assert "starting afresh" in caplog.text


def small_data(**changes):
    data = prepare({"name": "digits", "train_size": 60, "test_size": 20})
    return replace(data, **changes)


def test_the_key_covers_all_that_the_bits_depend_on(monkeypatch):
    """Settings, samples and code are in the addresses (tests/test_store.py)."""
    keys = [
        job_key("scaling", ["a", "b"], "cpu"),
        job_key("other", ["a", "b"], "cpu"),
        job_key("scaling", ["b", "a"], "cpu"),
        job_key("scaling", ["a"], "cpu"),
        job_key("scaling", ["a", "b"], "NVIDIA H100"),
    ]
    for library in (torch, np):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "0.0")
            keys.append(job_key("scaling", ["a", "b"], "cpu"))
    assert len(set(keys)) == len(keys)


# ------------------------------------------------------------------------- out of GPU memory


def test_out_of_memory_halves_the_stack(monkeypatch, caplog):
    expected = run()
    advance, stacked = Trainer.advance, []

    def hungry(trainer):
        stacked.append(trainer.stack.members)
        if trainer.stack.members > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", hungry)
    result = run()
    assert stacked[:3] == [8, 4, 2]
    assert max(stacked[2:]) == 2
    assert "going on with 2 networks at once" in caplog.text
    found, wanted = pd.DataFrame(result.rows), pd.DataFrame(expected.rows)
    by = ["member", "step", "split", "metric"]
    pd.testing.assert_frame_equal(
        found.sort_values(by, ignore_index=True),
        wanted.sort_values(by, ignore_index=True),
        rtol=1e-5,
        atol=1e-6,
    )


def test_one_network_that_does_not_fit_is_an_error(monkeypatch):
    def hungry(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "advance", hungry)
    with pytest.raises(torch.OutOfMemoryError):
        run()


def test_out_of_memory_after_an_interruption(tmp_path, monkeypatch):
    """Resumed on a GPU with less room: the stack in training is begun anew, in halves."""
    path = tmp_path / "job.pt"
    interrupt(path, 2)
    advance = Trainer.advance

    def hungry(trainer):
        if trainer.stack.members > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", hungry)
    result = run(StopsAfter(path))
    monkeypatch.undo()
    assert_same(result, run(members_at_once=4))


# ------------------------------------------------------------------------------- limit jobs


def limit_job():
    config = {
        "preset": "test",
        "dataset": {"name": "digits"},
        "experiments": {
            "small": {
                "networks": [{"parametrization": "depth_mup"}],
                "grids": [{"widths": [8], "depths": [2]}],
                "learning_rates": [0.25, 0.5],
                "seeds": 2,
                "steps": 2,
                "batch_size": 2,
                "train_size": 4,
                "evaluation_size": 4,
                "probe_size": 2,
                "data_order": "shared",
                "limit": {"particles": 64, "depths": [2], "couplings": ["standard"]},
            }
        },
    }
    return expand(check(config))[1][0]


@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_a_limit_job_keeps_finished_simulations(tmp_path, stop_at):
    job, data, path = limit_job(), small_data(), tmp_path / "job.pt"

    def simulate(checkpoint):
        return run_limit(
            "small", job.settings, data, device=torch.device("cpu"), checkpoint=checkpoint
        )

    with pytest.raises(Interrupted):
        simulate(StopsAfter(path, stop_at=stop_at))
    resumed = StopsAfter(path)
    for found, wanted in zip(simulate(resumed), simulate(None), strict=True):
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
    assert resumed.offers == 4 - stop_at


# ------------------------------------------------------------------- the command, with signals


def training_settings(steps):
    config = {
        "preset": "test",
        "dataset": {"name": "digits"},
        "experiments": {
            "small": {
                "networks": [{"parametrization": "depth_mup", "couplings": ["decoupled"]}],
                "grids": [{"widths": [32], "depths": [8]}],
                "optimizers": ["adam"],
                "learning_rates": [0.01, 0.02],
                "seeds": 2,
                "steps": steps,
                "batch_size": 16,
                "probes": ["outputs", "output_change"],
                "evaluation_size": 20,
            }
        },
    }
    return expand(check(config))[0][0].settings


@pytest.fixture
def job(tmp_path):
    """Starts scripts/train.py on a job of some seconds; returns the process.

    Every process hashes strings with another seed: what is saved in one must not hang on set order.
    """
    save(small_data(), tmp_path / "data.npz")
    hash_seeds = itertools.count(1)

    def start(name, steps=1500, data="data.npz"):
        return subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "scripts" / "train.py"),
                *("--experiment", "small", "--settings", training_settings(steps).to_json()),
                *("--data", data, "--results", f"{name}/job.parquet"),
                *("--outputs", f"{name}/job.outputs.parquet", "--store", f"stores/{name}"),
            ],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(next(hash_seeds))},
        )

    return start


def wait_for_step(process):
    """Wait until training has begun: the progress bar counts."""
    line = ""
    while process.poll() is None:
        line += process.stderr.read(1)
        if "step/s" in line:
            return
    raise AssertionError(f"ended before a step: {line}{process.stderr.read()}")


def test_a_signal_saves_and_the_next_start_goes_on(job, tmp_path):
    undisturbed = job("plain")
    assert undisturbed.wait() == 0
    saved = tmp_path / "work/checkpoints/stopped/job.pt"
    for number in (signal.SIGTERM, signal.SIGINT):
        stopped = job("stopped")
        wait_for_step(stopped)
        stopped.send_signal(number)
        error = stopped.communicate()[1]
        assert stopped.returncode == 128 + number
        assert f"stopped by {number.name}" in error
        assert "Traceback" not in error
        assert saved.exists()
        assert not (tmp_path / "stopped").exists()
    resumed = job("stopped")
    error = resumed.communicate()[1]
    assert resumed.returncode == 0
    assert f"resuming from {saved.relative_to(tmp_path)}" in error
    assert list(saved.parent.iterdir()) == []
    for table in ("job.parquet", "job.outputs.parquet"):
        found, wanted = (tables.read(tmp_path / name / table) for name in ("stopped", "plain"))
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def test_handlers_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    checkpoint = Checkpoint(tmp_path / "job.pt", "key")
    with checkpoint.heeding_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
    assert checkpoint.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_resuming_is_logged(tmp_path, caplog):
    path = tmp_path / "job.pt"
    interrupt(path, 3)
    with caplog.at_level(logging.INFO):
        run(StopsAfter(path))
    assert f"resuming from {path}" in caplog.text
