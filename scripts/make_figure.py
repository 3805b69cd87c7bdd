"""Draw one figure from its evidence, and put the table behind it beside it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.claims.registry import FIGURES, function
from nfd.drawing.page import FORMATS, Context, draw, save_as
from nfd.evidence.intervals import LEVEL
from nfd.evidence.significance import Look
from nfd.evidence.table import read
from nfd.files import write_text
from nfd.pipeline.script import run_script


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, choices=list(FIGURES))
    parser.add_argument("--evidence", required=True, type=Path, help="evidence table, .csv")
    parser.add_argument(
        "--label", required=True, type=json.loads, help="name of the data set, as printed, in JSON"
    )
    parser.add_argument("--preset", required=True, help="name of the configuration")
    parser.add_argument("--digest", required=True, help="digest of the configuration")
    parser.add_argument("--look", type=int, help="number of seeds, one of --schedule")
    parser.add_argument(
        "--schedule",
        type=int,
        nargs="+",
        default=[],
        help="as for the evidence: scripts/make_evidence.py",
    )
    parser.add_argument(
        "--outputs", required=True, nargs="+", type=Path, help=f".csv, .{', .'.join(FORMATS)}"
    )
    arguments = parser.parse_args(argv)
    try:
        write(arguments)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def write(arguments: argparse.Namespace) -> None:
    """Write every output in the format that its suffix names."""
    schedule = tuple(arguments.schedule)
    level = Look(arguments.look, schedule).level() if schedule else LEVEL
    context = Context(arguments.label, arguments.preset, arguments.digest, level)
    figure = draw(function("figure", arguments.figure), read(arguments.evidence), context)
    for path in arguments.outputs:
        if path.suffix == ".csv":
            write_text(path, arguments.evidence.read_text(encoding="utf-8"))
        else:
            save_as(figure, path)


if __name__ == "__main__":
    run_script(main)
