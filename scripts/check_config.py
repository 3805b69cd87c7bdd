"""Check a configuration before anything runs, and say in one sentence what is wrong with it.

Snakemake reads configuration files before the workflow can look at them, and stops at some faults with a
message that names neither file nor line; this command names both.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfd.data.raw import DataError
from nfd.data.sources import check_settings
from nfd.pipeline import config_files
from nfd.pipeline.config import ConfigError, check
from nfd.pipeline.script import run_script

CHECKOUT = Path(__file__).parents[1]
BASE = CHECKOUT / "config" / "config.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="laid over config/config.yaml")
    try:
        check_settings(load(*parser.parse_args(argv).files)["dataset"])
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def load(*paths: Path) -> dict[str, Any]:
    """The checked configuration: files laid over the base one, as ``snakemake --configfile`` does it."""
    return check(config_files.load([BASE, *paths]))


if __name__ == "__main__":
    run_script(main)
