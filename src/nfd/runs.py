"""One job from its settings to its tables: what scripts/train.py and scripts/simulate_limit.py call.

``settings`` are those of :mod:`nfd.experiments`: all that a job's numbers depend on, besides the data.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from nfd.checkpoint import Checkpoint
from nfd.datasets import DataError, PreparedData
from nfd.experiments import CPU_STACK_BYTES, TrainingJob
from nfd.limit import LimitProblem, LimitTrajectory, simulate_limit
from nfd.pipeline.reuse import Part
from nfd.resnet import Architecture
from nfd.training import (
    DIVERGENCE_FACTOR,
    Member,
    TrainingData,
    as_values,
    draw_batches,
    log_spaced_steps,
    train,
)

DTYPES = {"float32": torch.float32, "float64": torch.float64}
Tables = tuple[pd.DataFrame, pd.DataFrame]


# Share of a GPU's free memory that a stack may take.
GPU_SHARE = 0.6


class DeviceError(RuntimeError):
    """A device that was asked for and is not there."""


def use_device(name: str, threads: int, tf32: bool) -> torch.device:
    """Set up 'cpu' or 'cuda' with ``threads`` CPU threads. Raises DeviceError if there is no GPU."""
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device: cuda was asked for, but torch sees no GPU; use cpu or auto")
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    return torch.device(name)


def stack_budget(device: torch.device) -> int:
    """Bytes that the networks trained together may take on this device."""
    if device.type == "cuda":
        return int(GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    return CPU_STACK_BYTES


def describe_device(device: torch.device) -> str:
    """Name of the device for the provenance."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def job_members(settings: Mapping[str, Any]) -> list[Member]:
    """All networks of a training job, those of one seed together: they share initial weights."""
    return [
        Member(
            network["parametrization"],
            rate,
            seed,
            coupling,
            tuple(network["trainable"]),
            network["correction"],
        )
        for seed, network in product(settings["seeds"], settings["networks"])
        for coupling, rate in product(network["couplings"], network["learning_rates"])
    ]


def job_simulations(settings: Mapping[str, Any]) -> list[tuple[float, int]]:
    """(learning rate, seed) of all simulations of a limit job."""
    return list(product(settings["learning_rates"], settings["seeds"]))


def job_data(settings: Mapping[str, Any], data: PreparedData) -> TrainingData:
    """Samples, batch order, and the samples that are evaluated and probed."""
    n_train = settings["train_size"] or len(data.train_labels)
    if n_train > len(data.train_labels):
        raise DataError(
            f"train_size {n_train}: {data.label} has {len(data.train_labels)} training images"
        )
    x, y = data.train_inputs[:n_train], data.train_labels[:n_train]
    seen, probed = settings["evaluation_size"], settings["probe_size"]
    return TrainingData(
        x,
        y,
        job_batches(settings, n_train),
        {
            "train": (x[:seen], y[:seen]),
            "test": (data.test_inputs[:seen], data.test_labels[:seen]),
        },
        (data.test_inputs[:probed], data.test_labels[:probed]),
    )


def job_batches(settings: Mapping[str, Any], n_train: int) -> np.ndarray | dict[int, np.ndarray]:
    """Sample ids per step: (steps, batch), or one such array per seed."""
    sizes = (n_train, settings["batch_size"], settings["steps"], settings["root_seed"])
    if settings["data_order"] == "shared":
        return draw_batches(*sizes, "shared")
    return {seed: draw_batches(*sizes, seed) for seed in settings["seeds"]}


def run_training(
    experiment: str,
    settings: Mapping[str, Any],
    data: PreparedData,
    *,
    device: torch.device,
    only: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Tables:
    """Train a job's networks. Returns (results, outputs) with the columns of :mod:`nfd.tables`.

    ``only``: places in :func:`job_members` of the networks to train (default: all).
    """
    architecture = Architecture(
        data.input_dim,
        len(data.classes),
        settings["width"],
        settings["depth"],
        settings["block_layers"],
        settings["skip"],
        settings["activation"],
        settings["horizon"],
    )
    members = _chosen(job_members(settings), only)
    result = train(
        architecture,
        members,
        job_data(settings, data),
        loss=settings["loss"],
        optimizer=settings["optimizer"],
        root_seed=settings["root_seed"],
        log_steps=log_spaced_steps(settings["steps"], settings["log_points"]),
        probes=settings["probes"],
        device=device,
        dtype=DTYPES[settings["precision"]],
        members_at_once=TrainingJob(experiment, "", settings).members_at_once(stack_budget(device)),
        progress=progress,
        checkpoint=checkpoint,
    )
    identity = pd.DataFrame([_identity(experiment, settings, member) for member in members])
    rows = pd.DataFrame(result.rows)
    results = _joined(identity, rows)
    flat = [
        {"member": member, "step": step, "outputs": f.ravel().astype(np.float32)}
        for (member, step), f in result.outputs.items()
    ]
    outputs = _joined(identity, pd.DataFrame(flat, columns=["member", "step", "outputs"]))
    return results, outputs


def limit_problem(
    settings: Mapping[str, Any], data: PreparedData, learning_rate: float
) -> LimitProblem:
    """The problem whose infinite-width limit belongs to an experiment's networks.

    Its samples are the training samples followed by the test samples that are evaluated or probed.
    """
    n_train, probed, seen = (settings[f"{of}_size"] for of in ("train", "probe", "evaluation"))
    data = data.subset(n_train, min(max(probed, seen), len(data.test_labels)))
    targets = np.concatenate([data.train_labels, data.test_labels])
    return LimitProblem(
        inputs=np.concatenate([data.train_inputs, data.test_inputs]),
        targets=as_values(targets, len(data.classes)),
        batches=job_batches(settings, n_train),
        depth=settings["depth"],
        learning_rate=learning_rate,
        horizon=settings["horizon"],
        activation=settings["activation"],
        block_layers=settings["block_layers"],
        loss=settings["loss"],
        parametrization=settings["parametrization"],
        correction=settings["correction"],
        trainable=settings["trainable"],
        coupling=settings["coupling"],
        evaluated=[*range(min(seen, n_train)), *range(n_train, len(targets))],
        probes=n_train + np.arange(probed),
    )


def run_limit(
    experiment: str,
    settings: Mapping[str, Any],
    data: PreparedData,
    *,
    device: torch.device,
    only: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Tables:
    """Simulate a job's limit for each learning rate and seed. Returns (results, outputs).

    ``only``: places in :func:`job_simulations` of the simulations to run (default: all).
    """
    results, outputs, begin = [], [], 0
    saved = checkpoint.load() if checkpoint else None
    if saved:
        results, begin = saved["results"], saved["done"]
        outputs = [{**row, "outputs": row["outputs"].numpy()} for row in saved["outputs"]]
        if progress:
            progress(begin)
    simulations = _chosen(job_simulations(settings), only)
    for done, (rate, seed) in enumerate(simulations[begin:], begin + 1):
        problem = limit_problem(settings, data, rate)
        trajectory = simulate_limit(
            problem,
            settings["particles"],
            seed,
            device=str(device),
            dtype=DTYPES[settings["precision"]],
            noise_depth=settings["noise_depth"],
        )
        lost = _diverged(trajectory)
        identity = _limit_identity(experiment, settings, rate, seed)
        for step in log_spaced_steps(settings["steps"], settings["log_points"]):
            at = {**identity, "step": step}
            diverged = bool(lost[: step + 1].any())
            for (split, metric), values in _limit_metrics(trajectory).items():
                row = {"split": split, "metric": metric, "value": float(values[step])}
                results.append({**at, **row, "diverged": diverged})
            probed = trajectory.outputs[step, problem.probe_ids].ravel()
            outputs.append({**at, "outputs": probed.astype(np.float32)})
        if progress:
            progress(1)
        if checkpoint:
            checkpoint.offer(partial(_limit_state, done, results, outputs))
    return pd.DataFrame(results), pd.DataFrame(outputs)


def _limit_state(done: int, results: list[dict], outputs: list[dict]) -> dict[str, Any]:
    """What a checkpoint keeps; outputs as tensors, which are read back without running anything."""
    tensors = [{**row, "outputs": torch.from_numpy(row["outputs"])} for row in outputs]
    return {"done": done, "results": results, "outputs": tensors}


def _diverged(trajectory: LimitTrajectory) -> np.ndarray:
    """Whether the loss on the training or the test samples (K+1,) leaves all bounds, as a network's would."""
    losses = np.stack([trajectory.train_losses, trajectory.test_losses])
    losses = losses[~np.isnan(losses[:, 0])]  # there may be no samples of a kind
    bound = DIVERGENCE_FACTOR * losses[:, 0].max()
    return ~(losses <= bound).all(axis=0)


def _limit_metrics(trajectory: LimitTrajectory) -> dict[tuple[str, str], np.ndarray]:
    """(split, metric) -> values (K+1,), named as those of networks."""
    probed = ("output_change", "coupling_layer", "coupling_accumulated", "kernel_min_eigenvalue")
    metrics = {
        ("train", "loss"): trajectory.train_losses,
        ("test", "loss"): trajectory.test_losses,
        **{("probe", name): getattr(trajectory, name) for name in probed},
    }
    # The coupling of two-layer blocks is not defined: all NaN, and no rows.
    return {key: values for key, values in metrics.items() if not np.isnan(values).all()}


def _shape(experiment: str, source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("block_layers", "skip", "activation", "horizon", "loss", "optimizer", "width", "depth")
    return {"experiment": experiment, "source": source, **{key: settings[key] for key in keys}}


def _identity(experiment: str, settings: Mapping[str, Any], member: Member) -> dict[str, Any]:
    return {
        **_shape(experiment, "network", settings),
        "parametrization": member.parametrization,
        "correction": member.correction,
        "trainable": "+".join(member.trainable),
        "coupling": member.coupling,
        "learning_rate": member.learning_rate,
        "seed": member.seed,
    }


def _limit_identity(
    experiment: str, settings: Mapping[str, Any], rate: float, seed: int
) -> dict[str, Any]:
    return {
        **_shape(experiment, "limit", {**settings, "width": settings["particles"]}),
        **{key: settings[key] for key in ("parametrization", "correction", "coupling")},
        "trainable": "+".join(settings["trainable"]),
        "learning_rate": rate,
        "seed": seed,
    }


def training_parts(settings: Mapping[str, Any]) -> list[Part]:
    """Each network of a training job by itself, in the order of :func:`job_members`."""
    parts = []
    for member in job_members(settings):
        network = {
            "parametrization": member.parametrization,
            "correction": member.correction,
            "trainable": list(member.trainable),
            "couplings": [member.coupling],
            "learning_rates": [member.learning_rate],
        }
        alone = {**settings, "networks": [network], "seeds": [member.seed]}
        parts.append(Part(alone, _identity("", settings, member)))
    return parts


def limit_parts(settings: Mapping[str, Any]) -> list[Part]:
    """Each simulation of a limit job by itself, in the order of :func:`job_simulations`."""
    return [
        Part(
            {**settings, "learning_rates": [rate], "seeds": [seed]},
            _limit_identity("", settings, rate, seed),
        )
        for rate, seed in job_simulations(settings)
    ]


def _chosen(everything: list, places: Sequence[int] | None) -> list:
    return everything if places is None else [everything[place] for place in places]


def _joined(identity: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the identity of their member in front."""
    chosen = identity.iloc[rows["member"]].reset_index(drop=True)
    return pd.concat([chosen, rows.drop(columns="member").reset_index(drop=True)], axis=1)
