"""The row of evidence: its columns, what one line of a figure has in common, and the name of that line.

:mod:`nfd.evidence` says how to read a row. It is the contract between the functions that make evidence and
:mod:`nfd.plotting` and :mod:`nfd.claims`, which read it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from nfd.scaling import Interval

EVIDENCE_COLUMNS = (
    "quantity",
    "series",
    "source",
    "parametrization",
    "correction",
    "block_layers",
    "skip",
    "trainable",
    "optimizer",
    "coupling",
    "width",
    "depth",
    "learning_rate",
    "step",
    "split",
    "estimate",
    "ci_low",
    "ci_high",
    "seeds",
)
# What one line of a figure has in common; a NETWORK is a line whatever the coupling.
NETWORK = ("parametrization", "correction", "block_layers", "skip", "trainable", "optimizer")
LINE = (*NETWORK, "coupling")
CELL = (*LINE, "source", "width", "depth", "learning_rate")
DEFAULT_TRAINABLE = {1: "input+hidden_2+output", 2: "input+hidden_1+hidden_2+output"}


class Rows:
    """Collects rows; :meth:`frame` gives them the columns of EVIDENCE_COLUMNS."""

    def __init__(self) -> None:
        self.columns: dict[str, list] = {name: [] for name in EVIDENCE_COLUMNS}

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
            found = Interval(
                *(np.asarray(v, float) for v in (found, found * np.nan, found * np.nan))
            )
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
        return pd.DataFrame(self.columns)


def _labels(keys: pd.DataFrame | Mapping[str, object]) -> str | list[str]:
    if isinstance(keys, Mapping):
        return series_label(keys) if keys else ""
    names = [name for name in LINE if name in keys]
    records = keys[names].to_dict("records")
    return [series_label(record) for record in records]


def series_label(network: Mapping[str, object]) -> str:
    """Short name of a line of a figure: the parametrization and what differs from the plain network."""
    label = str(network["parametrization"])
    if label == "depth_mup_corrected":
        label += f" p={network['correction']:g}"
    if not network.get("skip", True):
        label += ", no skip"
    trainable = network.get("trainable")
    # Which roles are 'all' depends on the block: a two-layer one without hidden_1 has W1 frozen.
    if trainable is not None and trainable != DEFAULT_TRAINABLE[int(network["block_layers"])]:
        label += f", trained: {trainable}"
    if network.get("coupling") == "decoupled":
        label += ", decoupled"
    return label


def read_evidence(path: str | Path) -> pd.DataFrame:
    """Read an evidence table back from CSV, with the columns of EVIDENCE_COLUMNS."""
    return pd.read_csv(path)[list(EVIDENCE_COLUMNS)]
