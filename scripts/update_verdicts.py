"""Renew what the texts quote: rules, names and needs from the code, verdicts from figures/record/."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nfd.claims.rules import with_rules
from nfd.files import write_text
from nfd.pipeline.script import run_script
from nfd.pipeline.vocabulary import with_names
from nfd.report import ReportError
from nfd.report.codecheck import codecheck
from nfd.report.record import RECORDS
from nfd.report.verdicts import (
    NEEDS,
    between_markers,
    claims_appendix,
    needs_table,
    recorded,
    verdict_table,
)


def updated() -> dict[Path, str]:
    """The texts as they should be."""
    records = recorded(RECORDS)
    tables = {
        Path("README.md"): verdict_table(records),
        Path("docs/claims.md"): claims_appendix(records),
    }
    names, needs = Path("config/README.md"), Path("docs/tables.md")
    return {
        names: with_names(names.read_text(encoding="utf-8")),
        Path("codecheck.yml"): codecheck(records),
        needs: between_markers(needs.read_text(encoding="utf-8"), needs_table(), *NEEDS),
        **{
            path: between_markers(with_rules(path.read_text(encoding="utf-8")), table)
            for path, table in tables.items()
        },
    }


def main(argv: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    try:
        for path, text in updated().items():
            write_text(path, text)
    except (ReportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_script(main)
