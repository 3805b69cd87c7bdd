"""Draw one figure from its evidence, and put the table behind it beside it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nfd.pipeline.tables import write_text
from nfd.plotting import FIGURES, FORMATS, Context, save_as


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, choices=list(FIGURES))
    parser.add_argument("--evidence", required=True, type=Path, help="evidence table, .csv")
    parser.add_argument("--label", required=True, help="name of the data set, as printed")
    parser.add_argument("--preset", required=True, help="name of the configuration")
    parser.add_argument("--digest", required=True, help="digest of the configuration")
    parser.add_argument(
        "--outputs", required=True, nargs="+", type=Path, help=f".csv, .{', .'.join(FORMATS)}"
    )
    arguments = parser.parse_args(argv)
    try:
        draw(arguments)
    except (OSError, ValueError) as error:  # pandas' errors of reading are ValueErrors
        print(f"error: {arguments.evidence}: {error}", file=sys.stderr)
        return 1
    return 0


def draw(arguments: argparse.Namespace) -> None:
    """Write every output in the format that its suffix names."""
    evidence = pd.read_csv(arguments.evidence)
    context = Context(arguments.label, arguments.preset, arguments.digest)
    figure = FIGURES[arguments.figure](evidence, context)
    for path in arguments.outputs:
        if path.suffix == ".csv":
            write_text(path, arguments.evidence.read_text())
        else:
            save_as(figure, path)


if __name__ == "__main__":
    sys.exit(main())
