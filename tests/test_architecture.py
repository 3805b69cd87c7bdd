"""docs/architecture.md names rooms, files and functions that exist, and leaves no room out."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from test_rooms import ROOMS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
QUOTED = sorted(set(re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))))
NAMES = [word for word in QUOTED if word.startswith("nfd.")]
FILES = [word for word in QUOTED if "/" in word and "<" not in word]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name):
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        assert found.__name__ == parts[-1] if callable(found) else found is not None
        return
    pytest.fail(name)


@pytest.mark.parametrize("name", FILES)
def test_every_file_exists(name):
    assert list(ROOT.glob(name)), name


def test_every_room_stands_in_the_table_once():
    table = TEXT.split("## Rooms")[1].split("## A walk")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = [word.removesuffix(".py") for row in rows for word in re.findall(r"`([^`]+)`", row)]
    assert sorted(told) == sorted(set(ROOMS) - {"__init__"})


def test_the_registries_are_those_of_their_rooms():
    for line in TEXT.splitlines():
        if line.startswith("| `") and (registries := re.findall(r"`([A-Z]+)`", line)):
            folder = ROOT / "src" / "nfd" / re.search(r"`(\w+)`", line)[1]
            code = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
            for name in registries:
                assert re.search(rf"^{name}\b.* = ", code, re.MULTILINE), name


def test_the_walk_is_as_long_as_it_should_be():
    """It names something of every room that computes, and every kind of step."""
    for room in ("network", "training", "pipeline", "evidence", "drawing", "claims", "report"):
        assert any(name.startswith(f"nfd.{room}.") for name in NAMES), room
    assert len(NAMES) > 25
