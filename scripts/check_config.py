"""Check a configuration before anything runs, and say in one sentence what is wrong with it.

Snakemake reads configuration files before the workflow can look at them, and stops at some faults with a
message that names neither file nor line; this command names both.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.datasets import DataError, check_settings
from nfd.pipeline import config_files
from nfd.pipeline.config import ConfigError, check

BASE = Path(__file__).parents[1] / "config" / "config.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="laid over config/config.yaml")
    try:
        config = check(config_files.load([BASE, *parser.parse_args(argv).files]))
        check_settings(config["dataset"])
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
