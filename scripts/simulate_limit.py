"""Simulate the infinite-width limit of one job, for all its seeds, and write its tables."""

import sys
from collections.abc import Sequence

from nfd.command import job_parser, run_job
from nfd.runs import limit_parts, run_limit


def main(argv: Sequence[str] | None = None) -> int:
    arguments = job_parser(__doc__).parse_args(argv)
    parts, simulated = limit_parts(arguments.settings), "simulated {} limits"
    return run_job(arguments, run_limit, parts, each=1, unit="simulation", done=simulated)


if __name__ == "__main__":
    sys.exit(main())
