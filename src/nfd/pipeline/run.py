"""One job from its settings to its tables: what scripts/train.py and scripts/simulate_limit.py call.

``settings`` are those of :mod:`nfd.pipeline.settings`: all that a job's numbers depend on, besides the data.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nfd.data.needs import needs_of, shortage
from nfd.data.prepared import PreparedData
from nfd.data.raw import DataError
from nfd.limit.problem import LimitProblem
from nfd.limit.simulate import simulate_limit
from nfd.limit.trajectory import LimitTrajectory
from nfd.network.architecture import Architecture
from nfd.pipeline.cost import TrainingCost
from nfd.pipeline.device import stack_budget
from nfd.pipeline.reuse import Part
from nfd.pipeline.settings import JobSettings, LimitSettings, NetworkSettings, TrainingSettings
from nfd.training.batches import TrainingData, as_values, draw_batches
from nfd.training.checkpoint import Checkpoint
from nfd.training.probes import signed_couplings
from nfd.training.recorder import DIVERGENCE_FACTOR
from nfd.training.train import train
from nfd.training.trainer import Member, NetworkState

DTYPES = {"float32": torch.float32, "float64": torch.float64}
Tables = tuple[pd.DataFrame, pd.DataFrame]
T = TypeVar("T")


def job_members(settings: TrainingSettings) -> list[Member]:
    """All networks of a training job, those of one seed together: they share initial weights."""
    return [
        Member(
            network.parametrization,
            rate,
            seed,
            coupling,
            network.trainable,
            network.correction,
        )
        for seed, network in product(settings.seeds, settings.networks)
        for coupling, rate in product(network.couplings, network.learning_rates)
    ]


def check_sizes(
    experiment: str, settings: JobSettings, data: PreparedData, *, probed: bool
) -> None:
    """Raise DataError, naming key and numbers, if there are too few samples for a job."""
    needs = needs_of(
        f"experiments.{experiment}",
        batch_size=settings.batch_size,
        train_size=settings.train_size,
        evaluation_size=settings.evaluation_size,
        probe_size=settings.probe_size,
        probed=probed,
    )
    lacking = shortage(needs, data.sizes, data.name)
    if lacking:
        raise DataError(lacking)


def job_simulations(settings: LimitSettings) -> list[tuple[float, int]]:
    """(learning rate, seed) of all simulations of a limit job."""
    return list(product(settings.learning_rates, settings.seeds))


def job_data(settings: TrainingSettings, data: PreparedData) -> TrainingData:
    """Samples, batch order, and the samples that are evaluated and probed."""
    n_train = settings.train_size or len(data.train_labels)
    x, y = data.train_inputs[:n_train], data.train_labels[:n_train]
    seen, probed = settings.evaluation_size, settings.probe_size
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


def job_batches(settings: JobSettings, n_train: int) -> np.ndarray | dict[int, np.ndarray]:
    """Sample ids per step: (steps, batch), or one such array per seed."""
    sizes = (n_train, settings.batch_size, settings.steps, settings.root_seed)
    if settings.data_order == "shared":
        return draw_batches(*sizes, "shared")
    return {seed: draw_batches(*sizes, seed) for seed in settings.seeds}


def run_training(
    experiment: str,
    settings: TrainingSettings,
    data: PreparedData,
    *,
    device: torch.device,
    only: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    begin: Sequence[NetworkState] = (),
    keep: Callable[[int, NetworkState], None] | None = None,
) -> Tables:
    """Train a job's networks. Returns (results, outputs) with the columns of :mod:`nfd.pipeline.tables`.

    ``only``: places in :func:`job_members` of the networks to train (default: all); ``begin`` and ``keep``
    are those of :func:`nfd.training.train.train`, for these networks. Raises DataError if the data are too
    few for the settings.
    """
    check_sizes(experiment, settings, data, probed=bool(settings.probes))
    architecture = Architecture(
        data.input_dim,
        len(data.classes),
        settings.width,
        settings.depth,
        settings.block_layers,
        settings.skip,
        settings.activation,
        settings.horizon,
    )
    members = _chosen(job_members(settings), only)
    result = train(
        architecture,
        members,
        job_data(settings, data),
        loss=settings.loss,
        optimizer=settings.optimizer,
        root_seed=settings.root_seed,
        nested=settings.initial_weights == "nested",
        log_steps=settings.logged_steps,
        probes=settings.probes,
        device=device,
        dtype=DTYPES[settings.precision],
        members_at_once=TrainingCost(settings).members_at_once(stack_budget(device)),
        progress=progress,
        checkpoint=checkpoint,
        begin=begin,
        keep=keep,
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
    settings: LimitSettings, data: PreparedData, learning_rate: float
) -> LimitProblem:
    """The problem whose infinite-width limit belongs to an experiment's networks.

    Its samples are the training samples followed by the test samples that are evaluated or probed; it
    is observed at the steps whose values are kept.
    """
    n_train, probed, seen = settings.train_size, settings.probe_size, settings.evaluation_size
    assert n_train is not None  # the configuration's check: a limit follows every sample
    data = data.subset(n_train, min(max(probed, seen), len(data.test_labels)))
    targets = np.concatenate([data.train_labels, data.test_labels])
    batches = job_batches(settings, n_train)
    assert isinstance(batches, np.ndarray)  # and that all networks get the same
    return LimitProblem(
        inputs=np.concatenate([data.train_inputs, data.test_inputs]),
        targets=as_values(targets, len(data.classes)),
        batches=batches,
        depth=settings.depth,
        learning_rate=learning_rate,
        horizon=settings.horizon,
        activation=settings.activation,
        block_layers=settings.block_layers,
        loss=settings.loss,
        parametrization=settings.parametrization,
        correction=settings.correction,
        trainable=settings.trainable,
        coupling=settings.coupling,
        evaluated=[*range(min(seen, n_train)), *range(n_train, len(targets))],
        probes=range(n_train, n_train + probed),
        observed_steps=settings.logged_steps,
    )


def run_limit(
    experiment: str,
    settings: LimitSettings,
    data: PreparedData,
    *,
    device: torch.device,
    only: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Tables:
    """Simulate a job's limit for each learning rate and seed. Returns (results, outputs).

    ``only``: places in :func:`job_simulations` of the simulations to run (default: all). Raises DataError if
    the data are too few for the settings.
    """
    check_sizes(experiment, settings, data, probed=True)
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
            settings.particles,
            seed,
            device=str(device),
            dtype=DTYPES[settings.precision],
            noise_depth=settings.noise_depth,
        )
        steps = np.asarray(problem.observed_steps)
        identity = _limit_identity(experiment, settings, rate, seed)
        for step, diverged in zip(steps.tolist(), _diverged(trajectory, steps), strict=True):
            at = {**identity, "step": step}
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


def _limit_state(
    done: int, results: list[dict[str, Any]], outputs: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a checkpoint keeps; outputs as tensors, which are read back without running anything."""
    tensors = [{**row, "outputs": torch.from_numpy(row["outputs"])} for row in outputs]
    return {"done": done, "results": results, "outputs": tensors}


def _diverged(trajectory: LimitTrajectory, steps: NDArray[np.int_]) -> list[bool]:
    """Whether, by each of ``steps``, the loss on the training or the test samples has left all bounds.

    Looked for at those steps only, as a network's is; the first is step 0.
    """
    losses = np.stack([trajectory.train_losses, trajectory.test_losses])[:, steps]
    losses = losses[~np.isnan(losses[:, 0])]  # there may be no samples of a kind
    bound = DIVERGENCE_FACTOR * losses[:, 0].max()
    lost: NDArray[np.bool_] = ~(losses <= bound).all(axis=0)
    return [bool(so_far) for so_far in np.logical_or.accumulate(lost)]


def _limit_metrics(trajectory: LimitTrajectory) -> dict[tuple[str, str], np.ndarray]:
    """(split, metric) -> values (K+1,), named as those of networks."""
    probed = ("output_change", "coupling_layer", "coupling_accumulated", "kernel_min_eigenvalue")
    signed = signed_couplings(trajectory.coupling, trajectory.branch)
    metrics = {
        ("train", "loss"): trajectory.train_losses,
        ("test", "loss"): trajectory.test_losses,
        **{("probe", name): getattr(trajectory, name) for name in probed},
        **{("probe", name): c for name, c in signed.items()},
    }
    # The coupling of two-layer blocks is not defined: all NaN, and no rows.
    return {key: values for key, values in metrics.items() if not np.isnan(values).all()}


def _shape(experiment: str, source: str, settings: JobSettings, *, width: int) -> dict[str, Any]:
    keys = ("block_layers", "skip", "activation", "horizon", "loss", "optimizer", "depth")
    shape = {key: getattr(settings, key) for key in keys}
    return {"experiment": experiment, "source": source, **shape, "width": width}


def _identity(experiment: str, settings: TrainingSettings, member: Member) -> dict[str, Any]:
    return {
        **_shape(experiment, "network", settings, width=settings.width),
        "parametrization": member.parametrization,
        "correction": member.correction,
        "trainable": "+".join(member.trainable),
        "coupling": member.coupling,
        "learning_rate": member.learning_rate,
        "seed": member.seed,
    }


def _limit_identity(
    experiment: str, settings: LimitSettings, rate: float, seed: int
) -> dict[str, Any]:
    return {
        **_shape(experiment, "limit", settings, width=settings.particles),
        "parametrization": settings.parametrization,
        "correction": settings.correction,
        "trainable": "+".join(settings.trainable),
        "coupling": settings.coupling,
        "learning_rate": rate,
        "seed": seed,
    }


def training_parts(settings: TrainingSettings) -> list[Part]:
    """Each network of a training job by itself, in the order of :func:`job_members`."""
    parts = []
    for member in job_members(settings):
        network = NetworkSettings(
            parametrization=member.parametrization,
            correction=member.correction,
            trainable=tuple(member.trainable),
            couplings=(member.coupling,),
            learning_rates=(member.learning_rate,),
        )
        alone = replace(settings, networks=(network,), seeds=(member.seed,))
        parts.append(Part(alone, _identity("", settings, member)))
    return parts


def limit_parts(settings: LimitSettings) -> list[Part]:
    """Each simulation of a limit job by itself, in the order of :func:`job_simulations`."""
    return [
        Part(
            replace(settings, learning_rates=(rate,), seeds=(seed,)),
            _limit_identity("", settings, rate, seed),
        )
        for rate, seed in job_simulations(settings)
    ]


def _chosen(everything: list[T], places: Sequence[int] | None) -> list[T]:
    return everything if places is None else [everything[place] for place in places]


def _joined(identity: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the identity of their member in front."""
    chosen = identity.iloc[rows["member"]].reset_index(drop=True)
    return pd.concat([chosen, rows.drop(columns="member").reset_index(drop=True)], axis=1)
