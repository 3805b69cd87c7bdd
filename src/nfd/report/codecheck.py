"""codecheck.yml: the output files that whoever repeats a recorded run is to find again.

The format is that of https://codecheck.org.uk/spec/config/1.0/; who checks, and the certificate, are for the
checker to add.
"""

from collections.abc import Iterable
from pathlib import Path

import yaml

from nfd.claims.registry import FIGURES
from nfd.report.page import PAPER
from nfd.report.record import CLAIMS_TABLE
from nfd.report.verdicts import Recorded

HEAD = """\
---
# Made by scripts/update_verdicts.py from figures/record/. For a CODECHECK (https://codecheck.org.uk): these
# files are what a run of each preset is to give again; `make reproduce CONFIG=...` runs one, and
# `make compare CONFIG=...` sets it beside the record, number by number. The paper is the one whose claims are
# tested; its authors have no part in this repository. The checker adds codechecker, report and certificate.
"""


def codecheck(records: Iterable[Recorded]) -> str:
    """The text of the file."""
    manifest = [item for record in records for item in _files(record)]
    content = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "paper": {
            "title": PAPER["title"],
            "authors": [{"name": name} for name in PAPER["authors"].split(", ")],
            "reference": PAPER["url"],
        },
        "manifest": manifest,
    }
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _files(record: Recorded) -> list[dict[str, str]]:
    """The record's files, each with a comment: verdicts first, then figures and the tables behind them."""
    folder = Path(record.folder)
    described = [(CLAIMS_TABLE, f"Verdicts, preset {record.preset}, {record.data}")]
    for name, figure in FIGURES.items():
        if (folder / f"{name}.png").exists():  # a figure may be younger than a record
            title = f"{figure.title}, preset {record.preset}"
            described += [(f"{name}.png", title), (f"{name}.csv", f"{title}: the table behind it")]
    return [{"file": (folder / name).as_posix(), "comment": text} for name, text in described]
