"""List what can be made: experiments, figures and claims of a configuration, and what each costs.

Times are those of one CPU core. 'estimated' counts floating-point operations and is right within a factor
of two; 'measured' is what Snakemake's benchmarks say, where the jobs have run.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from check_config import BASE, load

from nfd.claims.registry import CLAIMS, FIGURES, claims_of
from nfd.pipeline.config import ConfigError
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand
from nfd.pipeline.progress import duration
from nfd.pipeline.script import run_script
from nfd.report.costs import read_costs


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=BASE, type=Path, help="laid over config/config.yaml")
    arguments = parser.parse_args(argv)
    try:
        config = load(arguments.config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(describe(config)))
    return 0


def describe(config: dict[str, Any]) -> list[str]:
    """The lines to print."""
    preset = config["preset"]
    training, limits = expand(config)
    jobs: list[TrainingJob | LimitJob] = [*training, *limits]
    estimated = dict.fromkeys(config["experiments"], 0.0)
    for job in jobs:
        estimated[job.experiment] += job.cost.estimate_s
    costs = read_costs(
        Path("results") / preset / "benchmarks", [(job.experiment, job.name) for job in jobs]
    )
    measured: dict[str, float] = {}
    for cost in costs:
        measured[cost.what] = measured.get(cost.what, 0.0) + cost.wall_s
    rows = []
    for name, seconds in estimated.items():
        networks = sum(job.members for job in training if job.experiment == name)
        count = sum(job.experiment == name for job in jobs)
        known = duration(measured[name]) if name in measured else "-"
        rows.append((name, f"{networks:,}", str(count), duration(seconds), known))
    shown = {n: f for n, f in FIGURES.items() if set(f.experiments) <= set(estimated)}
    return [
        f"Preset {preset}: {len(jobs)} jobs, about {duration(sum(estimated.values()))} of one core.",
        "",
        *_table(("experiment", "networks", "jobs", "estimated", "measured"), rows),
        "",
        *_table(
            ("figure", "estimated", "claims", "shows"),
            [
                (
                    n,
                    duration(sum(estimated[e] for e in f.experiments)),
                    ", ".join(claims_of(n)),
                    f.title,
                )
                for n, f in shown.items()
            ],
        ),
        "",
        *_table(
            ("claim", "figures"),
            [(f"{c.id} {c.name}", ", ".join(c.figures)) for c in CLAIMS.values()],
        ),
        "",
        f"One figure: snakemake --cores all figures/{preset}/<figure>.png (or pdf, svg, csv). "
        "Figures of one experiment share its cost.",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns padded to their widest entry, the last one free."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    return [
        "  ".join([*(text.ljust(w) for text, w in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    ]


if __name__ == "__main__":
    run_script(main)
