"""Compare two runs, claim by claim and observable by observable: do they find the same?

Without folders, the run of a configuration's preset (figures/<preset>) with its record
(figures/record/<preset>). A folder needs claims.csv, provenance.json and the evidence tables.
"""

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from check_config import BASE, CHECKOUT, load

from nfd.files import write_text
from nfd.pipeline.config import ConfigError
from nfd.pipeline.script import run_script
from nfd.report import ReportError
from nfd.report.compare import Comparison, compare, lines, read_run, summary
from nfd.report.record import RECORDS


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="two folders, or none")
    parser.add_argument("--config", default=BASE, type=Path, help="laid over config/config.yaml")
    parser.add_argument("--output", type=Path, help="table of all observables to write, .csv")
    parser.add_argument("--summary", action="store_true", help="print the last lines only")
    arguments = parser.parse_args(argv)
    if len(arguments.runs) not in (0, 2):
        parser.error("give two folders of runs, or none to compare a preset with its record")
    # Observables and data sets have names that not every locale can print.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        return _compare_two(arguments) if arguments.runs else _compare_with_record(arguments)
    except (ReportError, ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _compare_two(arguments: argparse.Namespace) -> int:
    found = compare(*(read_run(folder) for folder in arguments.runs))
    _show(found, "the same", arguments.output, arguments.summary)
    return 0


def _compare_with_record(arguments: argparse.Namespace) -> int:
    preset = load(arguments.config)["preset"]
    record, run = CHECKOUT / RECORDS / preset, Path("figures", preset)
    if not record.exists():
        print(
            f"Preset {preset} has no record ({RECORDS / preset} is not there), "
            "so there is nothing to compare."
        )
        return 0
    output = arguments.output or Path("results", preset, "comparison.csv")
    _show(compare(read_run(record), read_run(run)), "as recorded", output, arguments.summary)
    return 0


def _show(found: Comparison, same: str, output: Path | None, briefly: bool) -> None:
    for line in () if briefly else lines(found):
        print(line)
    for line in summary(found, same):
        print(line)
    if output is not None:
        write_text(output, found.observables.to_csv(index=False))
        print(f"All observables: {output}")


if __name__ == "__main__":
    run_script(main)
