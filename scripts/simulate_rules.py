"""Simulate the estimators on experiments of known truth, and renew the tables of docs/statistics.md."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nfd.evidence.power import (
    SEEDS,
    all_cases,
    fixed_seeds,
    fixed_seeds_table,
    growing_seeds,
    growing_seeds_table,
    peeking_cases,
)
from nfd.files import write_text
from nfd.pipeline.script import run_script
from nfd.report.verdicts import between_markers

FOLDER, PAGE = Path("benchmarks/results"), Path("docs/statistics.md")
MARKER = "<!-- {}: made by scripts/simulate_rules.py -->"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400, help="per case and number of seeds")
    parser.add_argument(
        "--sweeps", type=int, default=400, help="that grow until they decide, per case"
    )
    parser.add_argument(
        "--page", action="store_true", help="renew the page from the tables at hand"
    )
    arguments = parser.parse_args(argv)
    tables = {"rules": fixed_seeds_table, "looks": growing_seeds_table}
    try:
        if not arguments.page:
            simulate(arguments.experiments, arguments.sweeps)
        text = PAGE.read_text(encoding="utf-8")
        for name, table in tables.items():
            content = table(pd.read_csv(FOLDER / f"{name}.csv"))
            text = between_markers(text, content, MARKER.format(name), f"<!-- end of {name} -->")
        write_text(PAGE, text)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def simulate(experiments: int, sweeps: int) -> None:
    """Write both tables, a line of progress per case."""
    rules = []
    for case in all_cases():
        rules += [fixed_seeds(case, seeds, experiments) for seeds in SEEDS]
        print(fixed_seeds_table(pd.DataFrame(rules[-len(SEEDS) :])).splitlines()[-1], flush=True)
    looks = []
    for case in peeking_cases():
        looks += [growing_seeds(case, sweeps, spent=spent) for spent in (True, False)]
        print(
            *growing_seeds_table(pd.DataFrame(looks[-2:])).splitlines()[-2:], sep="\n", flush=True
        )
    for name, rows in (("rules", rules), ("looks", looks)):
        text = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")
        write_text(FOLDER / f"{name}.csv", text)


if __name__ == "__main__":
    run_script(main)
