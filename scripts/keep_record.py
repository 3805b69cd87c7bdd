"""Promote a finished run to the record that is published, and renew the numbers in the texts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import update_verdicts
from list_targets import BASE, load

from nfd.pipeline.config import ConfigError
from nfd.pipeline.script import run_script
from nfd.report import ReportError
from nfd.report.record import keep


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=BASE, type=Path, help="laid over config/config.yaml")
    arguments = parser.parse_args(argv)
    try:
        config = load(arguments.config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        place = keep(Path("figures", config["preset"]), config)
    except (ReportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{place}: recorded; commit it with README.md and docs/claims.md")
    return update_verdicts.main([])


if __name__ == "__main__":
    run_script(main)
