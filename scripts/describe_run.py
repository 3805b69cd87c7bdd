"""Put a run's claims, and what made them, beside its figures: what two runs are compared by."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.files import write_text
from nfd.pipeline.script import run_script
from nfd.pipeline.tables import TableError
from nfd.report.record import CLAIMS_TABLE, PROVENANCE, describe


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=json.loads, help="checked config, JSON")
    parser.add_argument("--claims", required=True, type=Path, help="table of claims, .csv")
    parser.add_argument("--tables", nargs="+", required=True, help="tables of results, .parquet")
    parser.add_argument(
        "--figures", required=True, type=Path, help="the preset's folder of figures"
    )
    arguments = parser.parse_args(argv)
    try:
        claims = arguments.claims.read_text(encoding="utf-8")
        write_text(arguments.figures / CLAIMS_TABLE, claims)
        described = describe(arguments.config, arguments.tables, arguments.figures)
        write_text(arguments.figures / PROVENANCE, described)
    except (TableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_script(main)
