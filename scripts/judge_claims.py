"""Judge the claims: one CSV table of findings and verdicts.

Either from evidence tables (named as their figures: gia_restoration.csv), or directly from tables of runs,
whatever code wrote them (docs/tables.md). A claim whose evidence is not given is inconclusive, and its note
says what is missing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nfd.claims.certainty import with_certainty
from nfd.claims.registry import CLAIMS, EXPERIMENTS, FIGURES, gather
from nfd.claims.rules import judge, overall
from nfd.evidence.significance import Look
from nfd.evidence.table import read
from nfd.files import write_text
from nfd.pipeline import foreign
from nfd.pipeline.script import run_script


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claim", choices=CLAIMS, nargs="+", default=list(CLAIMS))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--evidence", nargs="+", help="evidence tables, .csv")
    source.add_argument("--tables", nargs="+", help="tables of results, .parquet or .csv")
    parser.add_argument("--outputs", nargs="*", default=[], help="with --tables: network outputs")
    parser.add_argument("--page", help="with --tables: report to write, .html")
    parser.add_argument("--label", default="unnamed data", help="name of the data, for the page")
    parser.add_argument(
        "--looks",
        type=_looks,
        default={},
        help="with --evidence, for figures judged at a look: {figure: [seeds, [seeds at each look]]}",
    )
    parser.add_argument("--output", required=True, help="table of claims to write, .csv")
    arguments = parser.parse_args(argv)
    claims = [CLAIMS[name] for name in arguments.claim]
    try:
        if arguments.evidence:
            frames = _read_evidence(arguments.evidence)
        else:
            results = foreign.read_results(arguments.tables, EXPERIMENTS)
            given = arguments.outputs
            outputs = foreign.read_outputs(given, EXPERIMENTS) if given else None
            figures = dict.fromkeys(figure for claim in claims for figure in claim.figures)
            frames = {figure: gather(figure, results, outputs) for figure in figures}
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    findings = [judge(claim, frames) for claim in claims]
    for claim, found in zip(claims, findings, strict=True):
        print(f"{claim.id:>3} {claim.name:<20} {overall(found)}")
    table = with_certainty(findings, frames, arguments.looks)
    write_text(arguments.output, table.to_csv(index=False, float_format="%.8g"))
    if arguments.page and arguments.tables:
        from nfd.report.judged import write_page  # what draws takes a second to load

        names = results["parametrization"].unique()
        write_page(
            *(arguments.page, frames, arguments.output, arguments.tables, names, arguments.label)
        )
    return 0


def _looks(text: str) -> dict[str, Look]:
    return {
        figure: Look(seeds, tuple(schedule))
        for figure, (seeds, schedule) in json.loads(text).items()
    }


def _read_evidence(paths: Sequence[str]) -> dict[str, pd.DataFrame]:
    frames = {}
    for path in map(Path, paths):
        if path.stem not in FIGURES:
            accepted = ", ".join(FIGURES)
            raise ValueError(f"{path}: no figure has this name; accepted are {accepted}")
        frames[path.stem] = read(path)
    return frames


if __name__ == "__main__":
    run_script(main)
