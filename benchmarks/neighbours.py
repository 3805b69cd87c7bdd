"""What stacking changes in a network's numbers, by which `scripts/store.py verify` judges."""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.peers import Sweep
from nfd.pipeline.upkeep import TOLERANCE, largest_difference
from nfd.training.batches import TrainingData, log_spaced_steps
from nfd.training.train import train
from nfd.training.trainer import Member

Line = dict[str, Any]
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
    """Some networks of each stack trained again alone: by how much their tables differ, at most."""
    rows = []
    for sweep, optimizer in product(sweeps, ("sgd", "adam")):
        table = partial(_table, sweep, optimizer, steps)
        together = table(sweep.networks)
        chosen = np.linspace(0, sweep.members - 1, looked_at).astype(int)
        alone = [table([sweep.networks[m]])[0] for m in chosen]
        found = max(largest_difference(together[m], b) for m, b in zip(chosen, alone, strict=True))
        shape = {"width": sweep.width, "depth": sweep.depth, "pixels": sweep.input_dim}
        rows.append(
            shape
            | {"optimizer": optimizer, "stacked": sweep.members}
            | {"largest relative difference": float(f"{found:.2g}")}
        )
    worst = max(row["largest relative difference"] for row in rows)
    return {
        "what": f"a network's numbers after {steps} steps in a stack: largest relative difference",
        "against": "the same network alone",
        "target": f"<= {TOLERANCE:g}",
        "value": {"median": worst, "repeats": 1},
        "unit": "",
        "met": worst <= TOLERANCE,
        "rows": rows,
    }


def _table(
    sweep: Sweep, optimizer: str, steps: int, networks: list[Member]
) -> list[dict[str, np.ndarray]]:
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
        tables[row["member"]][f"{row['split']} {row['metric']}"].append(row["value"])
    for (member, _), f in result.outputs.items():
        tables[member]["outputs"] += f.ravel().tolist()
    return [{key: np.array(found) for key, found in table.items()} for table in tables]
