"""Measure the lines of the speed table on this machine, and write benchmarks/results and docs.

`python -m benchmarks` measures everything this machine can (the GPU lines where there is a GPU), and
replaces in benchmarks/results/<machine>.json the lines it measured; `--only` chooses lines. `--run` takes a
finished run instead and reckons what its verdicts cost. The tables of docs/benchmarks.md and docs/scale.md
are rendered from those files.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, neighbours, overheads, render, scale, solver, sweeps, verdicts
from nfd.pipeline.tables import TableError
from nfd.report import ReportError

# Threads -> name, of the floors measured.
FLOORS = {"cpu": {1: "cpu 1 thread", 2: "cpu 2 threads"}, "cuda": {1: "cuda"}}
RESULTS = Path(__file__).parent / "results"
Line = dict[str, Any]
Found = dict[str, Any]


def lines(device: str, found: Found) -> dict[str, Callable[[], Line]]:
    """Every line this machine can measure. ``found``: the lines so far, for those that need others'."""
    floors = found["floor"]
    if device == "cuda":
        return {
            "sweep_gpu": lambda: sweeps.sweep_line(
                sweeps.GPU_SWEEP, floors["cuda"], ((1, 1),), target=100, steps=3, repeats=5
            ),
        }

    def preset(config: str) -> Line:
        got = found["lines"]
        return overheads.preset_line(
            got["imports"]["value"]["median"],
            got["snakemake"]["value"]["median"],
            got["snakemake"]["rows"][0]["seconds"]["median"],
            config=config,
            cores=2,
        )

    def one_thread(sweep: sweeps.Sweep, target: float, peer: str = "serial") -> Line:
        return sweeps.sweep_line(
            sweep,
            floors["cpu 1 thread"],
            ((1, 1),),
            target=target,
            peer=peer,
            methods=sweeps.EAGER,
            processor=True,
        )

    return {
        "sweep_cpu": lambda: sweeps.sweep_line(
            sweeps.CPU_SWEEP, floors["cpu 2 threads"], ((1, 2), (2, 1)), target=1.5
        ),
        "sweep_processor": lambda: sweeps.sweep_line(
            sweeps.CPU_SWEEP, floors["cpu 1 thread"], ((1, 1),), target=1.5, processor=True
        ),
        "pixels": lambda: one_thread(sweeps.PIXELS, target=3.5),
        "pixels_shared": lambda: one_thread(sweeps.PIXELS, target=1.5, peer="apart"),
        "digits": lambda: one_thread(sweeps.DIGITS, target=3.5),
        "neighbours": neighbours.neighbours_line,
        "solver": lambda: solver.against_dense_line(floors["cpu 2 threads"]),
        "solver_observed": lambda: solver.against_dense_line(
            floors["cpu 2 threads"], peer="observed_dense", repeats=3
        ),
        "solver_one_step": lambda: solver.against_dense_line(
            floors["cpu 2 threads"], solver.ONE_STEP
        ),
        "observation": solver.observation_line,
        "linearity": solver.linearity_line,
        "breakdown": solver.breakdown_line,
        "stack_size": sweeps.stack_size_line,
        "threads": sweeps.threads_line,
        "imports": overheads.imports_line,
        "snakemake": overheads.snakemake_line,
        "preset": lambda: preset("config/config.yaml"),
        "dry_run": lambda: overheads.dry_run_line("config/cifar10.yaml"),
        "dry_run_many": overheads.many_shapes_line,
        "scale_training": scale.training_line,
        "scale_limit": scale.limit_line,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="LINE", help="lines to measure")
    parser.add_argument("--list", action="store_true", help="list the lines and stop")
    parser.add_argument("--render", action="store_true", help="only write the tables of docs/")
    parser.add_argument(
        "--run",
        type=Path,
        metavar="RESULTS",
        help="measure nothing; reckon what the verdicts of a finished run cost, from its results/<preset>",
    )
    arguments = parser.parse_args(argv)
    if arguments.run:
        try:
            reckon_verdicts(arguments.run)
        except (ReportError, TableError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    elif not arguments.render:
        measure_all(arguments.only, arguments.list)
    if not arguments.list:
        render.write(RESULTS)
    return 0


def reckon_verdicts(results: Path) -> None:
    """Write the line of verdicts of a finished run, among those of this machine; nothing is measured."""
    facts = machine.describe("cpu")
    path = RESULTS / f"{machine.file_name(facts)}.json"
    found: Found = {"machine": facts, "floor": {}, "lines": {}}
    if path.exists():
        found = json.loads(path.read_text())
    line = verdicts.of_run(results)
    for row in line["rows"]:
        print(f"{row['claim']}: {row['verdict']}; by rounds {row['rounds decide']}")
    found["lines"]["verdicts"] = line
    path.write_text(json.dumps(found, indent=1) + "\n")


def measure_all(only: Sequence[str], list_only: bool) -> None:
    """Measure the lines ``only`` (all if empty), writing after each."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        facts = machine.describe(device)
        path = RESULTS / f"{machine.file_name(facts)}.json"
        found: Found = json.loads(path.read_text()) if path.exists() else {"lines": {}}
        found["machine"] = facts
        found.setdefault("floor", {})
        available = lines(device, found)
        if list_only:
            print("\n".join(available))
            continue
        for threads, name in FLOORS[device].items():
            found["floor"][name] = machine.floor(device, threads)
        for name in [name for name in available if not only or name in only]:
            print(f"{name} ...", end=" ", flush=True)
            circumstances = machine.circumstances()
            line = available[name]()
            circumstances["load_after"] = round(os.getloadavg()[0], 2)
            # The preset's run is gone by now; what its verdicts cost is a line of its own.
            if "verdicts" in line:
                found["lines"]["verdicts"] = line.pop("verdicts")
            found["lines"][name] = {**line, "circumstances": circumstances}
            print(f"{line['value']['median']:g} {line['unit']} (target {line['target'] or 'none'})")
            path.write_text(json.dumps(found, indent=1) + "\n")
