"""Samples, their targets, the order in which they are learned, and the steps that are looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nfd.seeds import generator


@dataclass(frozen=True)
class TrainingData:
    """Samples and their order.

    ``inputs`` (N, d); ``targets`` (N,) class ids or (N, C) values; ``batches`` (K, B) sample ids of K
    steps, shared by all members, or a mapping from seed to such an array. ``evaluation`` maps a split
    ('train', 'test') to (inputs, targets); ``probe`` is the (inputs, targets) the probes look at.
    """

    inputs: np.ndarray
    targets: np.ndarray
    batches: np.ndarray | Mapping[int, np.ndarray]
    evaluation: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    probe: tuple[np.ndarray, np.ndarray] | None = None


def as_values(targets: np.ndarray, outputs: int) -> np.ndarray:
    """Class ids (N,) as one-hot rows (N, C); values (N, C) as they are."""
    targets = np.asarray(targets)
    if targets.ndim == 2:
        if targets.shape[1] != outputs:
            raise ValueError(f"targets: {targets.shape[1]} columns for {outputs} outputs")
        return targets
    if targets.size and not 0 <= targets.min() <= targets.max() < outputs:
        raise ValueError(f"targets: class ids must lie in 0..{outputs - 1}")
    one_hot: np.ndarray = np.eye(outputs)[targets]
    return one_hot


def draw_batches(
    samples: int, batch_size: int, steps: int, root_seed: int, seed: int | str
) -> np.ndarray:
    """Sample ids (steps, batch_size): whole epochs in random order, one permutation each."""
    if batch_size > samples:
        raise ValueError(f"batch_size: {batch_size} exceeds the {samples} training samples")
    per_epoch = samples // batch_size
    epochs = max(-(-steps // per_epoch), 1)
    order = [
        generator(root_seed, "batches", seed, epoch).permutation(samples)[: per_epoch * batch_size]
        for epoch in range(epochs)
    ]
    return np.concatenate(order).reshape(-1, batch_size)[:steps]


def log_spaced_steps(steps: int, count: int) -> list[int]:
    """About ``count`` steps from 0 to ``steps``, both included, dense at the start."""
    if steps == 0:
        return [0]
    grid = np.unique(np.rint(np.geomspace(1, steps, max(count - 1, 2))).astype(int))
    return [0, *grid.tolist()]
