"""Draw one figure from its evidence, and put the table behind it beside it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.claims.registry import FIGURES, function
from nfd.drawing.page import FORMATS, Context, draw, save_as
from nfd.evidence.look_arguments import add_look_arguments, level_told
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
    add_look_arguments(parser)
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
    context = Context(arguments.label, arguments.preset, arguments.digest, level_told(arguments))
    figure = draw(function("figure", arguments.figure), read(arguments.evidence), context)
    for path in arguments.outputs:
        if path.suffix == ".csv":
            write_text(path, arguments.evidence.read_text(encoding="utf-8"))
        else:
            save_as(figure, path)


if __name__ == "__main__":
    run_script(main)
