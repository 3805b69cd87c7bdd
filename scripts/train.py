"""Train all networks of one job (one shape of one experiment) and write their tables."""

from collections.abc import Sequence

from nfd.pipeline.command import job_parser, run_job
from nfd.pipeline.run import run_training, training_parts
from nfd.pipeline.script import run_script
from nfd.pipeline.settings import TrainingSettings


def main(argv: Sequence[str] | None = None) -> int:
    arguments = job_parser(__doc__, TrainingSettings).parse_args(argv)
    parts, steps = training_parts(arguments.settings), arguments.settings.steps
    trained = "trained {} networks"
    return run_job(arguments, run_training, parts, each=steps, unit="step", done=trained)


if __name__ == "__main__":
    run_script(main)
