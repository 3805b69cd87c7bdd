"""Make the evidence of one figure, a CSV table of estimates with intervals, from tables of runs."""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from nfd.claims.registry import FIGURES, gather
from nfd.files import write_text
from nfd.pipeline import tables
from nfd.pipeline.script import run_script


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, choices=FIGURES, help="name of the figure")
    parser.add_argument("--tables", nargs="*", default=[], help="tables of results, .parquet")
    parser.add_argument("--outputs", nargs="*", default=[], help="tables of network outputs")
    parser.add_argument("--output", required=True, help="evidence table to write, .csv")
    arguments = parser.parse_args(argv)
    try:
        results = _read(arguments.tables, tables.RESULT_COLUMNS)
        outputs = _read(arguments.outputs, tables.OUTPUT_COLUMNS)
        frame = gather(arguments.figure, results, outputs)
    except (tables.TableError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_text(arguments.output, frame.to_csv(index=False, float_format="%.8g"))
    print(f"{arguments.output}: {len(frame)} rows")
    return 0


def _read(paths: Sequence[str], columns: dict[str, str]) -> pd.DataFrame:
    return tables.read(list(paths)) if paths else pd.DataFrame(columns=list(columns))


if __name__ == "__main__":
    run_script(main)
