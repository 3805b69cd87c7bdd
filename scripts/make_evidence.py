"""Make the evidence of one figure, a CSV table of estimates with intervals, from tables of runs."""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd

from nfd.claims.registry import FIGURES, gather
from nfd.data import prepared
from nfd.evidence.intervals import intervals_at
from nfd.evidence.look_arguments import add_look_arguments, level_told
from nfd.files import write_text
from nfd.pipeline import tables
from nfd.pipeline.first_batch import first_batch
from nfd.pipeline.script import run_script
from nfd.pipeline.settings import TrainingSettings


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, choices=FIGURES, help="name of the figure")
    parser.add_argument("--tables", nargs="*", default=[], help="tables of results, .parquet")
    parser.add_argument("--outputs", nargs="*", default=[], help="tables of network outputs")
    add_look_arguments(parser)
    parser.add_argument("--data", help="prepared data, for closed forms of the first step")
    parser.add_argument("--settings", help="of a job that was trained on them, as JSON")
    parser.add_argument("--output", required=True, help="evidence table to write, .csv")
    arguments = parser.parse_args(argv)
    try:
        level = level_told(arguments)
        results = _read(arguments.tables, tables.RESULT_COLUMNS)
        outputs = _read(arguments.outputs, tables.OUTPUT_COLUMNS)
        batch = None
        if arguments.data and arguments.settings:
            settings = TrainingSettings.from_json(arguments.settings)
            batch = first_batch(settings, prepared.load(arguments.data))
        with intervals_at(level):
            frame = gather(arguments.figure, results, outputs, batch)
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
