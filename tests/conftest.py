"""For every test process: one thread, compiled modules kept, and the commands of scripts/ as modules."""

import os
import sys
from pathlib import Path

import pytest

# Small matrices are faster so, and sums have one order.
os.environ["OMP_NUM_THREADS"] = "1"
# Container images like to set it; every process that a test starts would then compile torch anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.path.append(str(Path(__file__).parents[1] / "scripts"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The workflow's tests first: they take longest, and at the end a process would wait for the other's."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)
