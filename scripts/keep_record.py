"""Promote a finished run to the record that is published, and renew the numbers in the texts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import update_verdicts
from check_config import BASE, load

from nfd.data.raw import DataError
from nfd.pipeline.config import ConfigError
from nfd.pipeline.script import run_script
from nfd.pipeline.store import Store, default_folder
from nfd.pipeline.upkeep import addresses_of
from nfd.report import ReportError
from nfd.report.record import keep

NETWORKS = "networks.parquet"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", default=[BASE], nargs="+", type=Path, help="laid over config/config.yaml"
    )
    parser.add_argument(
        "--networks",
        action="store_true",
        help=f"add {NETWORKS}, all that the store has of the run: megabytes, so only if asked for",
    )
    arguments = parser.parse_args(argv)
    try:
        config = load(*arguments.config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        place = keep(Path("figures", config["preset"]), config)
        if arguments.networks:
            _add_networks(config, place / NETWORKS)
    except (ReportError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{place}: recorded; commit it with README.md, codecheck.yml and docs/claims.md")
    return update_verdicts.main([])


def _add_networks(config: dict[str, Any], path: Path) -> None:
    count = Store(default_folder()).export(addresses_of(config), path)
    size = path.stat().st_size / 2**20
    print(f"{path}: {count} networks and simulations, {size:.2f} MiB; 'store.py import' reads it")


if __name__ == "__main__":
    run_script(main)
