"""What docs/claims.md says about the recorded runs is what their provenance says."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
RECORDS = {
    record["config"]["preset"]: record["config"]["experiments"]
    for path in (ROOT / "figures" / "record").glob("*/provenance.json")
    for record in [json.loads(path.read_text(encoding="utf-8"))]
}


def read_at() -> dict[str, dict[str, str]]:
    """Preset -> experiment -> cell of the table of where each verdict was read."""
    section = TEXT.split("## Where each verdict was read")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    cells: dict[str, dict[str, str]] = {"laptop": {}, "cifar10_night": {}}
    for _, experiment, *read in rows[2:]:
        for preset, cell in zip(cells, read, strict=True):
            if cell.strip():
                cells[preset][experiment.strip(" `")] = cell
    return cells


@pytest.mark.parametrize("preset", sorted(RECORDS))
def test_the_table_of_where_verdicts_were_read_is_that_of_the_record(preset):
    for name, cell in read_at()[preset].items():
        experiment = RECORDS[preset][name]
        assert int(re.search(r"step ([\d,]+)", cell)[1].replace(",", "")) == experiment["steps"], (
            name
        )
        for key, letter in (("widths", "n"), ("depths", "L")):
            sizes = [size for grid in experiment["grids"] for size in grid[key]]
            first, last = re.search(rf"\b{letter} = (\d+)(?: to (\d+))?", cell).groups()
            assert int(first) == min(sizes), (name, letter)
            assert int(last or first) == max(sizes), (name, letter)


@pytest.mark.parametrize("preset", sorted(RECORDS))
def test_every_experiment_that_decides_is_in_the_table(preset):
    read = set(read_at()[preset])
    # These list what decides nothing: C11's other exponents, and the responses to one small step.
    listed = {name for name in RECORDS[preset] if name.startswith("response_")}
    assert read == set(RECORDS[preset]) - listed - {"correction_exponent"}
