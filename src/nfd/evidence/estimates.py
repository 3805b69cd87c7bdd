"""Rows that several figures have: diverged runs, means over seeds, and exponents of power laws.

Intervals and fits are those of docs/theory.md, section 6, Statistics (:mod:`nfd.evidence.intervals`,
:mod:`nfd.evidence.fits`).
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from nfd.evidence.fits import line, loglog_slope, window
from nfd.evidence.intervals import interval, mean_interval, over_seeds
from nfd.evidence.selection import cell_values, grid_values, pick_metric, seed_counts
from nfd.evidence.table import CELL, Rows, series_label

# Changes below this are float32 round-off of features of order one.
ROUND_OFF = 1e-6
LOSS_QUANTITIES = {"train_loss": ("loss", "train"), "test_loss": ("loss", "test")}


def add_diverged(rows: Rows, data: pd.DataFrame) -> None:
    """One row per cell in which runs diverged: how many, out of how many."""
    runs = data.drop_duplicates([*CELL, "seed"])
    counted = runs.groupby(list(CELL), sort=True)["lost"].agg(["sum", "count"]).reset_index()
    counted = counted[counted["sum"] > 0]
    keys = counted.drop(columns=["sum", "count"])
    rows.add("diverged_runs", keys, counted["sum"].to_numpy(float), counted["count"].to_numpy())


def add_means(rows: Rows, data: pd.DataFrame, quantity: str, metric: str, split: str) -> None:
    """Rows of means over seeds, one per cell and step."""
    chosen = pick_metric(data, metric, split)
    chosen = chosen[~chosen["lost"]]
    if not chosen.empty:
        keys, values = cell_values(chosen)
        rows.add(quantity, keys, mean_interval(values), seed_counts(values))


def add_losses(rows: Rows, data: pd.DataFrame) -> None:
    """Means of training and test loss over seeds, one per cell and step."""
    for quantity, (metric, split) in LOSS_QUANTITIES.items():
        add_means(rows, data, quantity, metric, split)


def add_change(
    rows: Rows, quantity: str, keys: dict[str, object], part: pd.DataFrame, step: int
) -> None:
    """A change over depth with its exponent."""
    (depths,), values = grid_values(part, "depth")
    columns = {"step": step, "split": "probe"}
    found = mean_interval(values)
    shown = {**columns, "depth": depths, "source": "network"}
    rows.add(quantity, keys, found, seed_counts(values), **shown)
    kept = window(found.estimate, ROUND_OFF)
    add_slope(rows, quantity, keys, "depth", depths, kept, lambda m: m, values, columns)


def add_gain_rows(
    rows: Rows,
    keys: dict[str, object],
    quantity: str,
    axis: str,
    sizes: np.ndarray,
    losses: np.ndarray,
    columns: dict[str, object],
    reduce: Callable[[np.ndarray], np.ndarray] = lambda means: means,
) -> None:
    """Gains per doubling of ``reduce(means)`` (resamples, sizes, others), averaged over the others."""
    doublings = np.diff(np.log2(sizes))

    def gains(m: np.ndarray) -> np.ndarray:
        # (resamples, pairs, others); NaN where a shape is absent
        step = -np.diff(np.log(reduce(m)), axis=1)
        present = np.isfinite(step)
        with np.errstate(invalid="ignore"):
            return np.where(present, step, 0.0).sum(axis=2) / present.sum(axis=2) / doublings

    def mean_gain(m: np.ndarray) -> np.ndarray:
        return (gains(m) * doublings).sum(axis=1) / doublings.sum()

    def fraction(log_gain: np.ndarray) -> np.ndarray:
        return -np.expm1(-log_gain)

    found = interval(gains, losses, names=(quantity,)).map(fraction)
    seeds = len(losses)
    rows.add(quantity, keys, found, seeds, source="network", **{axis: sizes[1:]}, **columns)
    average = interval(mean_gain, losses, names=(quantity,)).map(fraction)
    rows.add(f"{quantity}_mean", keys, average, seeds, source="fit", **columns)


def add_slope(
    rows: Rows,
    quantity: str,
    keys: Mapping[str, object],
    axis: str,
    sizes: np.ndarray,
    kept: np.ndarray,
    values: Callable[[np.ndarray], np.ndarray],
    group: np.ndarray,
    columns: Mapping[str, object],
    slope_name: str | None = None,
    factor: float = 1.0,
) -> None:
    """Exponent of ``values(means of group)`` over the ``kept`` sizes (times ``factor``), and the line.

    The source of a measured line goes into the series of its slope, where it is not the network.
    """
    if kept.sum() < 3:
        return
    x = np.asarray(sizes, float)[kept]
    series = series_label(keys) + (", limit" if keys.get("source") == "limit" else "")
    shown = {**columns, "source": "fit", "series": series}
    names = (quantity, slope_name or "slope")
    found = interval(lambda m: factor * loglog_slope(x, values(m)[:, kept]), group, names=names)
    rows.add(slope_name or f"{quantity}_slope", keys, found, len(group), **shown)
    gradient, intercept = line(np.log(x), np.log(values(over_seeds(group)[None])[:, kept]))
    fitted = np.exp(intercept + gradient * np.log(x))
    rows.add(quantity, keys, fitted, len(group), **{**shown, axis: x})


def root(squares: np.ndarray) -> np.ndarray:
    """Square root of a debiased square, which noise may have made negative."""
    return np.sqrt(np.maximum(squares, 0.0))
