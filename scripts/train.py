"""Train all networks of one job (one shape of one experiment) and write their tables."""

from collections.abc import Sequence

from nfd.command import job_parser, run_job
from nfd.pipeline.script import run_script
from nfd.runs import job_members, run_training


def main(argv: Sequence[str] | None = None) -> int:
    arguments = job_parser(__doc__).parse_args(argv)
    total = len(job_members(arguments.settings)) * arguments.settings["steps"]
    return run_job(arguments, run_training, total=total, unit="step")


if __name__ == "__main__":
    run_script(main)
