"""The table of evidence: its columns, how it is filled, read and picked from, and the name of a line.

One row is one number. ``quantity`` says what it is, ``series`` which line of the figure it belongs to.
Columns that do not apply are empty. ``ci_low``, ``ci_high`` bound a 95 % interval over seeds
(:mod:`nfd.evidence.intervals`) and are empty where there is none (closed forms, counts, fewer than two
seeds). ``seeds`` is the number of seeds behind the number.

* source ``network``, ``limit``: measured; in a ``limit`` row width is the number of particles.
* source ``closed_form``: exact (docs/theory.md, section 5), no interval.
* source ``fit``: derived from the measured rows. A fitted *number* (slope, exponent, plateau, drift) has
  its own quantity. A fitted *line* repeats the measured quantity with source ``fit``; a straight line in
  log-log is given exactly at the points it was fitted to, so its ends are the window of the fit.

``series`` is the parametrization followed by whatever differs from the plain network, in this order:
``depth_mup``, ``depth_mup_corrected p=0.5``, ``mup, no skip``, ``depth_mup_corrected p=0.5, trained:
hidden_1``, ``depth_mup, decoupled`` (:func:`series_label`). The optimizer is only in its column. Rows that
compare the standard with the decoupled network have an empty ``coupling`` and the standard network's series.

A run that diverged never enters an average: it is left out and counted in a row ``diverged_runs``
(estimate: how many; seeds: out of how many; one row per shape, coupling and learning rate with any). Only in
losses over learning rates it counts, as untrained (:mod:`nfd.evidence.learning_rates`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nfd.evidence.intervals import Interval
from nfd.network.couplings import COUPLINGS
from nfd.network.parametrization import PARAMETRIZATIONS

COLUMNS: Mapping[str, str] = {
    "quantity": "string",
    "series": "string",
    "source": "string",
    "parametrization": "string",
    "correction": "float64",
    "block_layers": "float64",
    "skip": "boolean",
    "trainable": "string",
    "optimizer": "string",
    "coupling": "string",
    "width": "float64",
    "depth": "float64",
    "learning_rate": "float64",
    "step": "float64",
    "split": "string",
    "estimate": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "seeds": "float64",
}
# What one line of a figure has in common; a NETWORK is a line whatever the coupling.
NETWORK = ("parametrization", "correction", "block_layers", "skip", "trainable", "optimizer")
LINE = (*NETWORK, "coupling")
CELL = (*LINE, "source", "width", "depth", "learning_rate")
DEFAULT_TRAINABLE = {1: "input+hidden_2+output", 2: "input+hidden_1+hidden_2+output"}
# The matrices of a network with one-layer blocks, each trained alone -> as printed.
SINGLE_MATRICES = {"input": "input layer", "hidden_2": "blocks", "output": "output layer"}


class Rows:
    """Collects rows; :meth:`frame` makes them a table with the columns and types of COLUMNS."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}

    def add(
        self,
        quantity: str,
        keys: pd.DataFrame | Mapping[str, object],
        found: Interval | np.ndarray,
        seeds: object = np.nan,
        **columns: object,
    ) -> None:
        """Rows for ``found``; ``keys`` name the line (and, as a frame, one cell per row).

        ``columns`` go before ``keys``. Each value is one for all rows or an array with one per row.
        """
        if not isinstance(found, Interval):
            value = np.asarray(found, float)
            found = Interval(value, value * np.nan, value * np.nan)
        known = keys.to_dict("list") if isinstance(keys, pd.DataFrame) else dict(keys)
        values = {
            **known,
            "series": _labels(keys),
            **columns,
            "quantity": quantity,
            "estimate": np.atleast_1d(found.estimate),
            "ci_low": np.atleast_1d(found.low),
            "ci_high": np.atleast_1d(found.high),
            "seeds": seeds,
        }
        size = np.size(found.estimate)
        for name, column in self.columns.items():
            value = values.get(name, np.nan)
            many = isinstance(value, list | np.ndarray)
            column.extend(value if many else [value] * size)

    def frame(self) -> pd.DataFrame:
        return typed(pd.DataFrame(self.columns))


def _labels(keys: pd.DataFrame | Mapping[str, object]) -> str | list[str]:
    if isinstance(keys, Mapping):
        return series_label(keys) if keys else ""
    names = [name for name in LINE if name in keys]
    records = keys[names].to_dict("records")
    return [series_label(record) for record in records]


def series_label(network: Mapping[str, Any]) -> str:
    """Name of a line of a figure: the parametrization and what differs from the plain network.

    ``network`` has the columns of LINE that are known; p belongs to the name of every parametrization
    whose rates depend on it.
    """
    label = str(network["parametrization"])
    if PARAMETRIZATIONS[label].has_correction:
        label += f" p={network['correction']:g}"
    if not network.get("skip", True):
        label += ", no skip"
    trainable = network.get("trainable")
    # Which roles are 'all' depends on the block: a two-layer one without hidden_1 has W1 frozen.
    if trainable is not None and trainable != DEFAULT_TRAINABLE[network["block_layers"]]:
        label += f", trained: {trainable}"
    coupling = network.get("coupling")
    if coupling in COUPLINGS and coupling != "standard":
        label += f", {COUPLINGS[str(coupling)].printed_name}"
    return label


# --------------------------------------------------------------------------------- reading and picking


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of COLUMNS in their types; text that does not apply is empty, a number NaN.

    Raises ValueError naming the columns that are missing or hold something else.
    """
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise ValueError(f"columns of evidence are missing: {', '.join(missing)}")
    table = {}
    for name, kind in COLUMNS.items():
        try:
            column = frame[name].astype(kind)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {name} of evidence holds no {kind}: {error}") from error
        table[name] = column.fillna("") if kind == "string" else column
    return pd.DataFrame(table).reset_index(drop=True)


def empty() -> pd.DataFrame:
    """A table without a row."""
    return Rows().frame()


def read(path: str | Path) -> pd.DataFrame:
    """Read a table of evidence back from CSV. Raises ValueError naming a file that is not one."""
    try:
        return typed(pd.read_csv(path))
    except (OSError, ValueError) as error:  # pandas' errors of reading are ValueErrors
        raise ValueError(f"{path}: not a table of evidence ({error})") from error


def pick(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Rows of one quantity whose columns equal ``wanted``."""
    keep = table["quantity"] == quantity
    for column, value in wanted.items():
        keep &= (table[column] == value).fillna(False)
    return table[keep]


def of_whole_networks(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of networks that train all of their matrices, and rows that belong to no network."""
    everything = table["block_layers"].map(DEFAULT_TRAINABLE)
    return table[(table["trainable"] == "") | (table["trainable"] == everything)]


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose estimate is a finite number."""
    return table[np.isfinite(table["estimate"])]


def pick_measured(table: pd.DataFrame, quantity: str, **wanted: object) -> pd.DataFrame:
    """Usable rows of one quantity with source network or limit."""
    rows = usable(pick(table, quantity, **wanted))
    return rows[rows["source"].isin(("network", "limit"))]
