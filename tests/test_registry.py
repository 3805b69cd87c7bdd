"""Families of claims: what they declare is there, loads lightly, and keeps to its own folder."""

import ast
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

from nfd.claims import registry
from nfd.claims.registry import (
    CLAIMS,
    FAMILIES,
    FIGURES,
    caption_path,
    claims_of,
    function,
    module_of,
)

ROOT = Path(__file__).parents[1]
CLAIMS_FOLDER = ROOT / "src" / "nfd" / "claims"


def test_every_folder_is_a_family_and_every_name_is_declared_once():
    folders = {path.parent.name for path in CLAIMS_FOLDER.glob("*/__init__.py")}
    assert {family.package.split(".")[-1] for family in FAMILIES} == folders
    assert len(FIGURES) == sum(len(family.figures) for family in FAMILIES)
    assert len(CLAIMS) == sum(len(family.claims) for family in FAMILIES)


def test_claims_are_in_the_order_of_their_numbers():
    numbers = [int(name[1:]) for name in CLAIMS]
    assert numbers == sorted(numbers)


def test_claims_and_figures_know_each_other():
    for claim in CLAIMS.values():
        assert claim.figures
        assert all(claim.id in claims_of(figure) for figure in claim.figures)
    assert claims_of("depth_transfer_2") == ("C10", "C11", "C12")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_its_evidence_its_drawing_and_its_caption(name):
    takes = ["results", "outputs"] if FIGURES[name].outputs else ["results"]
    assert list(signature(function("evidence", name)).parameters) == takes
    assert list(signature(function("figure", name)).parameters) == ["table"]
    assert caption_path(name).is_file()


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_has_its_verdict(name):
    assert list(signature(function("verdict", name)).parameters) == ["frames"]


def test_an_unknown_name_is_named_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"'no_figure' is not known; accepted are scaling_trend, "):
        module_of("figure", "no_figure")


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a process loads."""
    show = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {show}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_registry_loads_nothing_heavy():
    assert not {"numpy", "pandas", "matplotlib", "torch"} & loaded_by("import nfd.claims.registry")


def test_evidence_and_verdicts_never_load_matplotlib_nor_figures_torch():
    parts = ("evidence", "verdict")
    modules = [f"{family.package}.{part}" for family in FAMILIES for part in parts]
    assert not {"matplotlib", "seaborn", "torch"} & loaded_by(f"import {', '.join(modules)}")
    figures = ", ".join(f"{family.package}.figure" for family in FAMILIES)
    assert "torch" not in loaded_by(f"import {figures}")


def imported_by(path: Path) -> set[str]:
    """Modules that a file imports by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.package)
def test_families_never_import_each_other(family):
    others = {other.package for other in FAMILIES if other is not family}
    for path in (CLAIMS_FOLDER / family.package.split(".")[-1]).glob("*.py"):
        strangers = [
            module
            for module in imported_by(path)
            if any(module == other or module.startswith(f"{other}.") for other in others)
        ]
        assert strangers == [], path
    assert imported_by(Path(registry.__file__)) >= {family.package}  # the check sees imports
