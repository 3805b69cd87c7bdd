"""Names that figures print: of lines, axes and limits, and numbers as text."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from nfd.evidence.table import DEFAULT_TRAINABLE, pick, usable
from nfd.network.couplings import COUPLINGS
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.training.optimizers import OPTIMIZERS

# In the order in which lines are listed: first what has a limit of infinite depth, then as in the table.
PARAMETRIZATION_NAMES: Mapping[str, str] = {
    row.name: row.printed_name
    for row in sorted(PARAMETRIZATIONS.values(), key=lambda row: not row.has_depth_limit)
}
OPTIMIZER_NAMES: Mapping[str, str] = {name: kind.printed_name for name, kind in OPTIMIZERS.items()}
COUPLING_NAMES: Mapping[str, str] = {
    "": "both",  # rows that compare the two
    **{name: coupling.printed_name for name, coupling in COUPLINGS.items()},
}
TRAINED: Mapping[str, tuple[str, str]] = {  # trained weights -> (text, marker)
    "hidden_1": ("only W₁ trained", "^"),
    "hidden_2": ("only W₂ trained", "v"),
    "output": ("only V trained", "s"),
    "input+hidden_2+output": ("W₁ frozen", "s"),
}
AXIS_LABELS: Mapping[str, str] = {
    "depth": "depth L (blocks)",
    "width": "width n",
    "learning_rate": "learning rate η",
    "step": "training step",
}
LIMIT_NAMES: Mapping[str, str] = {
    name: coupling.limit_name for name, coupling in COUPLINGS.items() if coupling.limit_name
}
NOT_MEASURED = "not measured in this preset"
NOT_FITTED = "too few sizes or seeds to fit"


def lines_of(table: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """The lines of a panel, (first row, rows), in the order of :func:`order_of`."""
    groups = [(rows.iloc[0], rows) for _, rows in table.groupby("series", sort=True)]
    yield from sorted(groups, key=lambda group: order_of(group[0]))


def order_of(row: pd.Series) -> tuple[object, ...]:
    """Where a line is listed: by parametrization, then what differs from the plain network."""
    place = listed(PARAMETRIZATION_NAMES, [row["parametrization"]]).index(row["parametrization"])
    trained = list(TRAINED).index(row["trainable"]) if is_control(row) else -1
    coupling = listed(COUPLING_NAMES, [row["coupling"]]).index(row["coupling"])
    return place, not row["skip"], trained, row["correction"], coupling


def is_control(row: pd.Series) -> bool:
    """Whether a network has only some of its weights trained."""
    whole = DEFAULT_TRAINABLE.get(row["block_layers"])
    return row["trainable"] != whole and row["trainable"] in TRAINED


def name_of(row: pd.Series, *, coupling: bool = True) -> str:
    """Printed name of a line."""
    name = PARAMETRIZATION_NAMES.get(row["parametrization"])
    if name is None:
        return row["series"]
    if has_exponent(row):
        name += f", p = {exponent_text(row['correction'])}"
    if not row["skip"]:
        name += ", no skip"
    if is_control(row):
        name += f", {TRAINED[row['trainable']][0]}"
    plain = not coupling or row["coupling"] not in COUPLINGS or row["coupling"] == "standard"
    return name if plain else f"{name}, {COUPLING_NAMES[row['coupling']]}"


def has_exponent(row: pd.Series) -> bool:
    """Whether the correction's exponent p enters the rates of a line's parametrization."""
    known = PARAMETRIZATIONS.get(row["parametrization"])
    return known is not None and known.has_correction


def listed(known: Mapping[str, str], found: Iterable[str]) -> list[str]:
    """``known`` names in their order, then those among ``found`` that are not known, by name."""
    return [*known, *sorted(set(found) - set(known))]


def present(known: Mapping[str, str], column: pd.Series) -> list[str]:
    """The names that occur in a column, known ones first and in their order; none is left out."""
    found = set(column) - {""}
    return [name for name in listed(known, found) if name in found]


def exponent_text(value: float) -> str:
    """p as a fraction, where it is a quarter."""
    return {0.25: "1/4", 0.5: "1/2", 0.75: "3/4"}.get(value, f"{value:g}")


def short_name(row: pd.Series) -> str:
    """A line's name for the title of a small panel."""
    return name_of(row).replace("corrected, p = ", "p = ")


def interval_text(row: pd.Series, digits: int = 2) -> str:
    """An estimate and its interval, as in '-0.98 [-1.05, -0.91]'."""
    numbers = (row[name] for name in ("estimate", "ci_low", "ci_high"))
    middle, low, high = (decimals(number, digits) for number in numbers)
    return f"{middle} [{low}, {high}]" if np.isfinite(row["ci_low"]) else middle


def decimals(value: float, digits: int = 2) -> str:
    """Fixed decimals with a true minus sign, none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def fitted_number(
    table: pd.DataFrame, quantity: str, name: str, digits: int = 2, **wanted: object
) -> str:
    """Text such as 'slope -0.98 [-1.05, -0.91]' of a fitted number; empty if there is none."""
    rows = usable(pick(table, quantity, source="fit", **wanted))
    return "" if rows.empty else f"{name} {interval_text(rows.iloc[0], digits)}"


def stack(*parts: str) -> str:
    """The parts that say something, one below the other."""
    return "\n".join(part for part in parts if part)


def diverged_note(table: pd.DataFrame, fate: str = "left out") -> str:
    """How many runs of these rows diverged, and what became of them."""
    rows = usable(pick(table, "diverged_runs"))
    runs = int(rows["estimate"].sum())
    return f"{runs} diverged run{'s' * (runs != 1)} {fate}".rstrip() if runs else ""
