"""Copy a run's verdicts, and what made them, to where they can be committed."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.pipeline.tables import write_text
from nfd.verdicts import record


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=json.loads, help="checked config, JSON")
    parser.add_argument("--claims", required=True, help="table of claims, .csv")
    parser.add_argument("--tables", nargs="+", required=True, help="tables of results, .parquet")
    parser.add_argument("--outputs", nargs=2, required=True, help="claims.csv and provenance.json")
    arguments = parser.parse_args(argv)
    claims, provenance = arguments.outputs
    write_text(claims, Path(arguments.claims).read_text())
    write_text(provenance, record(arguments.config, arguments.tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
