"""What stacking changes in a network's numbers, by which `scripts/store.py verify` judges."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.peers import Sweep
from nfd.network import products
from nfd.pipeline.upkeep import LOSS_TOLERANCE, TOLERANCE, relative_differences, tolerable
from nfd.training.batches import TrainingData, log_spaced_steps
from nfd.training.train import train
from nfd.training.trainer import Member

Line = dict[str, Any]
Table = dict[str, np.ndarray]
NEIGHBOURS = (
    Sweep(width=64, depth=16, members=16),
    Sweep(width=128, depth=16, members=16),
    Sweep(width=64, depth=8, members=16, input_dim=3072),
    Sweep(width=128, depth=8, members=16, input_dim=3072),
    Sweep(width=256, depth=8, members=8),
    Sweep(width=512, depth=4, members=4),
)


def neighbours_line(
    sweeps: tuple[Sweep, ...] = NEIGHBOURS, *, steps: int = 100, looked_at: int = 3
) -> Line:
    """Some networks of each stack trained again alone: by how much their tables differ, at most.

    On some processors other stacks take other kernels, on some they do not. So the networks are trained by
    the BLAS only and by oneDNN only, too: what other kernels change on any machine.
    """
    rows, fine = [], True
    for sweep, optimizer in product(sweeps, ("sgd", "adam")):
        table = partial(_table, sweep, optimizer, steps)
        together = table(sweep.networks)
        chosen = np.linspace(0, sweep.members - 1, looked_at).astype(int)
        alone = [table([sweep.networks[m]])[0] for m in chosen]
        stacking = _worst([together[m] for m in chosen], alone)
        kernels = _worst(
            *(
                _with(large, partial(table, [sweep.networks[m] for m in chosen]))
                for large in (0, 2**62)
            )
        )
        shape = {"width": sweep.width, "depth": sweep.depth, "pixels": sweep.input_dim}
        rows.append(
            shape
            | {"optimizer": optimizer, "stacked": sweep.members}
            | {"in a stack or alone": max(stacking.values())}
            | {"losses by other kernels": kernels.pop("loss")}
            | {"other numbers by other kernels": max(kernels.values())}
        )
        fine = fine and tolerable(stacking) and tolerable(kernels)
    worst = max(row["losses by other kernels"] for row in rows)
    return {
        "what": f"a network's losses in {steps} steps: largest relative difference",
        "against": "the same network by other kernels, or in a stack",
        "target": f"<= {LOSS_TOLERANCE:g}, other numbers {TOLERANCE:g}",
        "value": {"median": worst, "repeats": 1},
        "unit": "",
        "met": fine,
        "rows": rows,
    }


def _worst(ones: list[Table], others: list[Table]) -> dict[str, float]:
    """By metric, over networks."""
    found = [relative_differences(a, b) for a, b in zip(ones, others, strict=True)]
    return {metric: float(f"{max(each[metric] for each in found):.2g}") for metric in found[0]}


def _with(large: int, call: Callable[[], list[Table]]) -> list[Table]:
    """What ``call`` gives when products from this size on go to oneDNN."""
    before, products.LARGE = products.LARGE, large
    try:
        return call()
    finally:
        products.LARGE = before


def _table(sweep: Sweep, optimizer: str, steps: int, networks: list[Member]) -> list[Table]:
    """Each network's numbers by metric."""
    x, y = sweep.data.inputs, sweep.data.targets
    seen = {"train": (x[:256], y[:256])}
    batches = {seed: order[:steps] for seed, order in sweep.data.batches.items()}
    data = TrainingData(x, y, batches, seen, (x[:16], y[:16]))
    if optimizer == "adam":  # whose best rates are smaller
        networks = [replace(m, learning_rate=m.learning_rate / 10) for m in networks]
    result = train(
        sweep.architecture,
        networks,
        data,
        optimizer=optimizer,
        log_steps=log_spaced_steps(steps, 6),
        probes=["outputs", "output_change"],
    )
    tables: list[dict[str, list]] = [defaultdict(list) for _ in networks]
    for row in result.rows:
        tables[row["member"]][row["metric"]].append(row["value"])
    for (member, _), f in result.outputs.items():
        tables[member]["outputs"] += f.ravel().tolist()
    return [{key: np.array(found) for key, found in table.items()} for table in tables]
