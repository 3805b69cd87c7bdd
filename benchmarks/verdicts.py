"""What a verdict of a preset costs: core time and operations of the experiments that a claim rests on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nfd.claims.registry import CLAIMS, FIGURES
from nfd.claims.rules import overall
from nfd.pipeline.jobs import expand
from nfd.report.costs import read_costs

Row = dict[str, Any]


def verdicts(results: Path, config: Mapping[str, Any]) -> list[Row]:
    """One row per claim, from the folder of a preset's results and its checked configuration.

    Claims share experiments, and each counts all of its own: the costs of claims do not add up.
    """
    training, limits = expand(config)
    operations: dict[str, float] = {}
    for job in [*training, *limits]:
        operations[job.experiment] = operations.get(job.experiment, 0.0) + job.cost.flops
    seconds: dict[str, float] = {}
    for cost in read_costs(results / "benchmarks"):
        seconds[cost.what] = seconds.get(cost.what, 0.0) + cost.wall_s
    findings = pd.read_csv(results / "claims.csv")
    rows = []
    for claim in CLAIMS.values():
        used = dict.fromkeys(name for f in claim.figures for name in FIGURES[f].experiments)
        rows.append(
            {
                "claim": f"{claim.id} {claim.name}",
                "verdict": overall(findings[findings["id"] == claim.id]),
                "core minutes": round(sum(seconds.get(name, 0.0) for name in used) / 60, 2),
                "10^12 operations": round(sum(operations.get(n, 0.0) for n in used) / 1e12, 2),
                "experiments": ", ".join(used),
            }
        )
    return rows
