"""Make the report of a preset: one HTML page that holds everything it shows."""

import argparse
import json
import sys
from collections.abc import Sequence

from nfd.files import write_text
from nfd.pipeline import tables
from nfd.pipeline.script import run_script
from nfd.report import ReportError, page


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=json.loads, help="checked config, JSON")
    parser.add_argument("--claims", required=True, help="table of claims, .csv")
    parser.add_argument("--results", required=True, help="the preset's folder of results")
    parser.add_argument("--figures", required=True, help="the preset's folder of figures")
    parser.add_argument("--record", nargs="?", help="folder of the preset's record, if it has one")
    parser.add_argument("--captions", help="folder of captions, <figure>.rst in it or below")
    parser.add_argument("--output", required=True, help="page to write, .html")
    arguments = parser.parse_args(argv)
    try:
        content = page.collect(
            arguments.config,
            claims=arguments.claims,
            results=arguments.results,
            figures=arguments.figures,
            captions=arguments.captions,
            record=arguments.record,
        )
    except (ReportError, tables.TableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    html = page.render(content)
    write_text(arguments.output, html)
    print(f"{arguments.output}: {len(html) / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    run_script(main)
