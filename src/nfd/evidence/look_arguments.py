"""The look at which intervals are made, on the command lines of the scripts that make or print them."""

import argparse

from nfd.evidence.intervals import LEVEL
from nfd.evidence.significance import Look


def add_look_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command be told a look of a growing sweep; without it the run is a single one."""
    parser.add_argument("--look", type=int, help="number of seeds, one of --schedule")
    parser.add_argument(
        "--schedule",
        type=int,
        nargs="+",
        default=[],
        help="numbers of seeds at which the sweep is judged; intervals hold at all of them at once",
    )


def level_told(arguments: argparse.Namespace) -> float:
    """The level of the intervals. Raises ValueError for a look that the schedule does not hold."""
    schedule = tuple(arguments.schedule)
    return Look(arguments.look, schedule).level() if schedule else LEVEL
