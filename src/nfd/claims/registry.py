"""Every family of claims, and the figures, experiments and claims derived from them.

A new family is its folder and its name in :data:`FAMILIES`. Importing this loads data only; a family's code
is imported when :func:`function` is asked for it.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nfd.claims import collapse, convergence, decoupling, mechanism, scaling, transfer
from nfd.claims.family import Claim, Family, Figure

if TYPE_CHECKING:
    import pandas as pd

    from nfd.closed_form import Batch

FAMILIES: tuple[Family, ...] = (
    scaling.FAMILY,
    convergence.FAMILY,
    decoupling.FAMILY,
    mechanism.FAMILY,
    transfer.FAMILY,
    collapse.FAMILY,
)
FIGURES: dict[str, Figure] = {
    figure.name: figure for family in FAMILIES for figure in family.figures
}
CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in sorted(
        (claim for family in FAMILIES for claim in family.claims),
        key=lambda claim: int(claim.id.removeprefix("C")),
    )
}
EXPERIMENTS: tuple[str, ...] = tuple(
    dict.fromkeys(experiment for figure in FIGURES.values() for experiment in figure.experiments)
)

FamilyPart = Literal["evidence", "verdict", "figure"]


def claims_of(figure: str) -> tuple[str, ...]:
    """Ids of the claims that rest on a figure."""
    return tuple(claim.id for claim in CLAIMS.values() if figure in claim.figures)


def module_of(part: FamilyPart, name: str) -> str:
    """The module with the code of a figure (its ``evidence`` or ``figure``) or of a claim's ``verdict``."""
    for family in FAMILIES:
        named = family.claims if part == "verdict" else family.figures
        if name in [entry.id if isinstance(entry, Claim) else entry.name for entry in named]:
            return f"{family.package}.{part}"
    accepted = ", ".join(CLAIMS if part == "verdict" else FIGURES)
    raise ValueError(f"{name!r} is not known; accepted are {accepted}")


def function(part: FamilyPart, name: str) -> Callable[..., Any]:
    """The function that makes a figure's evidence, draws it, or judges a claim (named by its id)."""
    called = CLAIMS[name].name.replace("-", "_") if part == "verdict" else name
    found: Callable[..., Any] = getattr(import_module(module_of(part, name)), called)
    return found


def gather(
    figure: str,
    results: "pd.DataFrame",
    outputs: "pd.DataFrame | None" = None,
    batch: "Batch | None" = None,
) -> "pd.DataFrame":
    """A figure's evidence, with the columns of :data:`nfd.evidence.table.COLUMNS`, from tables of runs.

    ``results`` and ``outputs`` have those of ``RESULT_COLUMNS`` and ``OUTPUT_COLUMNS`` in
    :mod:`nfd.pipeline.tables`; outputs may be None: then what rests on them is not measured. Without
    ``batch``, the samples of the first step, closed forms on them are left out.
    """
    make = function("evidence", figure)
    if FIGURES[figure].batch:
        return make(results, outputs, batch)
    return make(results, outputs) if FIGURES[figure].outputs else make(results)


def caption_path(figure: str) -> Path:
    """The file with a figure's caption."""
    package = module_of("figure", figure).split(".")[-2]
    return Path(__file__).parent / package / f"{figure}.rst"
