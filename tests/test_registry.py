"""Families of claims: what they declare is there, loads lightly, and keeps to its own folder."""

import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

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
    figure = FIGURES[name]
    takes = ["results", *["outputs"] * figure.outputs, *["batch"] * figure.batch]
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
