"""Simulate the infinite-width limit of one job, for all its seeds, and write its tables."""

from collections.abc import Sequence

from nfd.command import job_parser, run_job
from nfd.pipeline.script import run_script
from nfd.runs import run_limit


def main(argv: Sequence[str] | None = None) -> int:
    arguments = job_parser(__doc__).parse_args(argv)
    settings = arguments.settings
    total = len(settings["learning_rates"]) * len(settings["seeds"])
    return run_job(arguments, run_limit, total=total, unit="simulation")


if __name__ == "__main__":
    run_script(main)
