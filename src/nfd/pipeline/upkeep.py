"""Looking after a store: what a configuration uses of it, and whether what it holds is true."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nfd.data.prepared import PreparedData, load
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand
from nfd.pipeline.reuse import Part, Reuse, origin_of
from nfd.pipeline.run import limit_parts, run_limit, run_training, training_parts
from nfd.pipeline.settings import JobSettings, LimitSettings, TrainingSettings, as_argument
from nfd.pipeline.store import Origin, Store, address_of

# Up to this width, in float32, a network made again must be the same bit for bit. Beyond it other stacks may
# take other kernels, on some processors, and training carries on what they change in the last bits: a sample
# that a ReLU lets through here and not there moves single outputs. By how much a number may differ, relative
# to the largest of its network and metric: about five times what was seen (docs/store.md).
EXACT_WIDTH = 64
LOSS_TOLERANCE = 2e-3
TOLERANCE = 0.1
# A limit is simulated alone; the number of threads changes its last bits.
LIMIT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Kind:
    """One kind of job: the type of its settings, what runs it, and its parts that are kept one by one."""

    settings: type[JobSettings]
    run: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
    parts_of: Callable[[Any], list[Part]]


KINDS = {
    "network": Kind(TrainingSettings, run_training, training_parts),
    "limit": Kind(LimitSettings, run_limit, limit_parts),
}


def addresses_of(config: Mapping[str, Any]) -> set[str]:
    """Addresses of all that a checked configuration trains and simulates, on the CPU or on a GPU.

    Raises DataError if its prepared data set, results/<preset>/data.npz, is not there.
    """
    data = load(Path("results") / config["preset"] / "data.npz")
    found = set()
    both: tuple[Sequence[TrainingJob | LimitJob], ...] = expand(config)
    for kind, jobs in zip(KINDS.values(), both, strict=True):
        origins = [origin_of(kind.run, data, device) for device in ("cpu", "cuda")]
        parts = [part for job in jobs for part in kind.parts_of(job.settings)]
        found |= {address_of(o.of(asdict(part.settings))) for o in origins for part in parts}
    return found


@dataclass(frozen=True)
class Check:
    """One network made again: its address, width, largest relative difference, whether that is allowed."""

    address: str
    width: int
    difference: float
    passed: bool


def verify(
    store: Store, paths: Iterable[str | Path], sample: int, seed: int, device: str
) -> tuple[list[Check], int]:
    """Train ``sample`` kept networks again, each alone, and compare.

    Drawn by ``seed`` from those of the present code, of the prepared data sets at ``paths`` and of the
    kind of ``device``. Returns the checks and how many there were to choose from.
    """
    kept = store.load(store.addresses())
    candidates = []
    for path in paths:
        data = load(path)
        for source, kind in KINDS.items():
            now = origin_of(kind.run, data, device)
            rows = kept[kept["source"] == source]
            for address, text in rows[["address", "origin"]].drop_duplicates().to_numpy():
                settings = json.loads(text)["settings"]
                if address_of(now.of(settings)) == address:
                    job = kind.settings.from_json(as_argument(settings))
                    candidates.append((address, kind, job, now, data))
    order = np.random.default_rng(seed).permutation(len(candidates))[:sample]
    checks = []
    for address, kind, settings, now, data in (candidates[n] for n in order):
        again = made_again(kind, "", settings, now, data)
        checks.append(_compared(address, kept[kept["address"] == address], again, settings))
    return checks, len(candidates)


def made_again(
    kind: Kind,
    experiment: str,
    settings: JobSettings,
    now: Origin,
    data: PreparedData,
    only: Sequence[int] | None = None,
) -> pd.DataFrame:
    """What today's code makes of a job, or of ``only`` some of its parts by place, as rows of a store."""
    reuse = Reuse(Store("nowhere"), now, kind.parts_of(settings))
    tables = kind.run(experiment, settings, data, device=torch.device(now.device), only=only)
    return reuse.rows_of(*tables)


def _compared(
    address: str, kept: pd.DataFrame, again: pd.DataFrame, settings: JobSettings
) -> Check:
    width = settings.width if isinstance(settings, TrainingSettings) else 0
    found = differences(kept, again)
    worst = max(found.values())
    if not width:
        passed = worst <= LIMIT_TOLERANCE
    elif width <= EXACT_WIDTH and settings.precision == "float32":
        passed = worst == 0
    else:
        passed = tolerable(found)
    return Check(address, width, worst, passed)


def differences(kept: pd.DataFrame, again: pd.DataFrame) -> dict[str, float]:
    """Largest difference in each metric between two trainings of a network, relative to its largest number.

    Infinite where one has a number and the other none.
    """
    columns = ["step", "split", "metric", "diverged"]
    # A network that has gone on from a shorter run has its rows in another order.
    kept, again = (rows.sort_values(columns[:3]) for rows in (kept, again))
    if kept[columns].to_numpy().tolist() != again[columns].to_numpy().tolist():
        return {"rows": np.inf}
    return relative_differences(_numbers(kept), _numbers(again))


def _numbers(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """All numbers of one network by metric."""
    numbers = {}
    for metric, part in rows.groupby("metric"):
        column = part["outputs"] if metric == "outputs" else part["value"]
        numbers[metric] = np.concatenate([np.atleast_1d(value) for value in column])
    return numbers


def relative_differences(
    kept: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """:func:`differences` of two networks' numbers by metric."""
    found = {}
    for metric, numbers in kept.items():
        size = np.nanmax(np.abs(numbers), initial=1e-300)
        largest = np.nanmax(np.abs(numbers - again[metric]), initial=0.0) / size
        same_holes = np.array_equal(np.isnan(numbers), np.isnan(again[metric]))
        found[metric] = float(largest) if same_holes else np.inf
    return found


def tolerable(found: Mapping[str, float]) -> bool:
    """Whether :func:`relative_differences` are no larger than other kernels may make them."""
    return all(
        difference <= (LOSS_TOLERANCE if metric == "loss" else TOLERANCE)
        for metric, difference in found.items()
    )
