"""Run a preset, and more seeds or rates where claims are undecided, until all are decided or the time is up.

Each round is the workflow with a configuration laid over the user's own, results/<preset>/rounds/; what is
trained already comes from the store. Verdicts are judged at a look of a schedule that is fixed beforehand, so
that looking again and again makes no wrong decision likelier. docs/decide.md explains.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from check_config import BASE, CHECKOUT, load

from nfd import rounds
from nfd.claims.registry import FIGURES
from nfd.evidence.table import read
from nfd.files import write_text
from nfd.pipeline.config import ConfigError
from nfd.pipeline.script import run_script

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=BASE, type=Path, help="laid over config/config.yaml")
    parser.add_argument("--budget", default="2h", type=_seconds, help="10m, 2h, 1d (wall time)")
    parser.add_argument("--cores", default=os.cpu_count(), type=int, help="that train at once")
    parser.add_argument("snakemake", nargs="*", help="arguments of snakemake, after --")
    arguments = parser.parse_args(argv)
    try:
        return _decide(arguments, monotonic() + arguments.budget)
    except (ConfigError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # the workflow has had it too, and has said what it leaves
        return 130


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; accepted are such as 90s, 10m, 2h, 1d"
        )
    return float(found[1]) * UNITS[found[2]]


def _decide(arguments: argparse.Namespace, end: float) -> int:
    config = load(arguments.config)
    results = Path("results") / config["preset"]
    overlay, cost_s, pace, number = rounds.opening(config), 0.0, 1.0, 1
    while True:
        file = results / "rounds" / f"round{number}.yaml"
        write_text(file, yaml.safe_dump(overlay, sort_keys=False, default_flow_style=None))
        print(f"Round {number}: {file}", flush=True)
        start = monotonic()
        if code := _snakemake(arguments, file, str(results / "claims.csv")):
            return code
        if cost_s:
            pace *= (monotonic() - start) * arguments.cores / cost_s
        config = load(arguments.config, file)
        left_s = max(0.0, end - monotonic()) * arguments.cores
        planned = rounds.plan(config, _evidence(results), left_s, pace)
        print("\n".join(rounds.described(planned, left_s)), flush=True)
        if not planned.overlay:
            print(
                "Nothing more to train within the budget; drawing figures and report.", flush=True
            )
            return _snakemake(arguments, file)
        overlay, cost_s, number = planned.overlay, planned.cost_s, number + 1
        print(f"The next round takes about {rounds.core_time(cost_s)}.", flush=True)


def _snakemake(arguments: argparse.Namespace, overlay: Path, *targets: str) -> int:
    """Run the workflow; returns its exit code."""
    more = list(arguments.snakemake)
    if "--profile" not in more:
        more += ["--cores", str(arguments.cores)]
    files = ["--configfile", str(arguments.config), str(overlay)]
    workflow = ["--snakefile", str(CHECKOUT / "Snakefile")]
    command = [sys.executable, "-m", "snakemake", *targets, *workflow, *more, *files]
    return subprocess.run(command, check=False).returncode


def _evidence(results: Path) -> dict[str, Any]:
    paths = [results / "evidence" / f"{figure}.csv" for figure in FIGURES]
    return {path.stem: read(path) for path in paths if path.exists()}


if __name__ == "__main__":
    run_script(main)
