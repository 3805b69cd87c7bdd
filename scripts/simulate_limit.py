"""Simulate the infinite-width limit of one job, for all its seeds, and write its tables."""

from collections.abc import Sequence

from nfd.pipeline.command import job_parser, run_job
from nfd.pipeline.run import limit_parts, run_limit
from nfd.pipeline.script import run_script
from nfd.pipeline.settings import LimitSettings


def main(argv: Sequence[str] | None = None) -> int:
    arguments = job_parser(__doc__, LimitSettings).parse_args(argv)
    parts, simulated = limit_parts(arguments.settings), "simulated {} limits"
    return run_job(arguments, run_limit, parts, each=1, unit="simulation", done=simulated)


if __name__ == "__main__":
    run_script(main)
