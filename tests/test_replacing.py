"""Tables that a run is about to replace are found by what their own provenance says."""

from pathlib import Path

import pandas as pd
import pytest

from nfd.pipeline import tables
from nfd.pipeline.provenance import provenance
from nfd.pipeline.replacing import (
    announcement,
    dataset_digest,
    made_otherwise,
    settings_digest,
)

DIGITS = dataset_digest({"name": "digits"})
WANTED = settings_digest(DIGITS, '{"steps":1}')


@pytest.fixture
def table(tmp_path: Path):
    """Writes an empty table with the given provenance."""

    def write(**facts: str) -> Path:
        path = tmp_path / "run.parquet"
        frame = pd.DataFrame({name: [] for name in tables.RESULT_COLUMNS})
        tables.write_results(frame, path, provenance(**facts))
        return path

    return write


def test_a_table_made_with_the_same_settings_is_not_named(table) -> None:
    assert made_otherwise([(table(settings_digest=WANTED), WANTED)]) == []


@pytest.mark.parametrize(
    "other",
    [
        settings_digest(DIGITS, '{"steps":2}'),
        settings_digest(dataset_digest({"name": "mnist"}), '{"steps":1}'),
        settings_digest(dataset_digest({"name": "digits", "train_size": 9}), '{"steps":1}'),
    ],
)
def test_a_table_made_with_others_is(table, other: str) -> None:
    path = table(settings_digest=other)
    assert made_otherwise([(path, WANTED)]) == [str(path)]


def test_what_does_not_say_is_not_named(table, tmp_path: Path) -> None:
    """No table, a table of an older version of the code, and files that are no tables."""
    assert made_otherwise([(tmp_path / "absent.parquet", WANTED)]) == []
    assert made_otherwise([(table(device="cpu"), WANTED)]) == []
    for content in (b"", b"PAR1", b"x" * 100):
        path = tmp_path / "broken.parquet"
        path.write_bytes(content)
        assert made_otherwise([(path, WANTED)]) == []


def test_where_the_images_lie_and_what_they_are_called_does_not_count() -> None:
    assert dataset_digest({"name": "digits", "label": "8 x 8", "root": "/x"}) == DIGITS


def test_the_line_says_how_to_keep_both() -> None:
    assert announcement("smoke", 3) == (
        "preset smoke: 3 tables were made with other settings and will be replaced; "
        "give the configuration another preset name to keep both"
    )
    assert "1 table was made" in announcement("smoke", 1)
