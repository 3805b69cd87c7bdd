"""Tables of a preset that were made with other settings, found before a run replaces them.

Every table's provenance holds a digest of the settings it was made with. It stands in plain text at the end
of the Parquet file, where it is read here without pyarrow, which is slow to load.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nfd.pipeline.settings import as_argument

# Settings of a data set that say where it lies or what it is called, not which images it holds.
ELSEWHERE = ("label", "root", "download")
_RECORDED = re.compile(rb'"settings_digest": "([0-9a-f]{64})"')


def dataset_digest(dataset: Mapping[str, Any]) -> str:
    """Digest of the settings that choose the images."""
    chosen = {key: value for key, value in dataset.items() if key not in ELSEWHERE}
    return hashlib.sha256(as_argument(chosen).encode()).hexdigest()


def settings_digest(dataset: str, settings: str) -> str:
    """Digest of what a table is made with: a :func:`dataset_digest` and a job's settings as JSON."""
    return hashlib.sha256(f"{dataset}\n{settings}".encode()).hexdigest()


def made_otherwise(expected: Iterable[tuple[str | Path, str]]) -> list[str]:
    """Of (table, settings digest), the tables that exist and say they were made with another digest."""
    return [
        str(path) for path, digest in expected if _recorded_digest(Path(path)) not in (None, digest)
    ]


def _recorded_digest(path: Path) -> str | None:
    try:
        with open(path, "rb") as table:
            table.seek(-8, 2)  # the length of the footer, four bytes, and the letters PAR1
            length = int.from_bytes(table.read(4), "little")
            table.seek(-8 - length, 2)
            found = _RECORDED.search(table.read(length))
    except OSError:  # no such table, or none at all
        return None
    return found[1].decode() if found else None


def announcement(preset: str, replaced: int) -> str:
    """The line that says what a run is about to replace."""
    tables = "1 table was" if replaced == 1 else f"{replaced} tables were"
    return (
        f"preset {preset}: {tables} made with other settings and will be replaced; "
        "give the configuration another preset name to keep both"
    )
