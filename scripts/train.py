"""Train all networks of one job (one shape of one experiment) and write their tables."""

import sys
from collections.abc import Sequence

from nfd.command import job_parser, run_job
from nfd.runs import run_training, training_parts


def main(argv: Sequence[str] | None = None) -> int:
    arguments = job_parser(__doc__).parse_args(argv)
    parts, steps = training_parts(arguments.settings), arguments.settings["steps"]
    trained = "trained {} networks"
    return run_job(arguments, run_training, parts, each=steps, unit="step", done=trained)


if __name__ == "__main__":
    sys.exit(main())
