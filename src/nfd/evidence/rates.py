"""Loss against learning rate: where it is least, how that moves with size, what keeping one rate costs.

'Best' is read on training loss at the last step (docs/theory.md, section 6, Statistics); a rate at which any
seed diverged is never the best.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
depth_transfer, width_transfer, depth_transfer_2, correction_exponent ('size': depth or width)
    final_train_loss, final_test_loss         network  over learning_rate, size; empty if a run diverged there
    best_learning_rate             network  over size; learning_rate: best of the grid; estimate empty if the
                                            optimum lies at the grid's edge
    best_learning_rate             fit      the line 2^(a + drift log2 size) at the sizes used
    best_train_loss, best_test_loss           network  over size: at the best rate of the grid
    drift                          fit      log2 best rate per log2 size
    grid_spacing                   fit      log2 of the ratio of neighbouring rates
    regret                         network  over size: loss at the smallest network's best rate / own best - 1
                                            (infinite if it diverges there); learning_rate: that rate
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nfd.evidence.estimates import add_diverged
from nfd.evidence.fits import drift, line, optimum, regret, rounding_sd
from nfd.evidence.intervals import interval, mean_interval, over_seeds
from nfd.evidence.selection import check_once, each, pick_last, pick_metric, seed_counts
from nfd.evidence.table import LINE, Rows


def add_transfer(rows: Rows, data: pd.DataFrame, axis: str) -> None:
    """All quantities of transfer over ``axis``, 'width' or 'depth', from networks."""
    if data.empty:
        return
    add_diverged(rows, data)
    other = "width" if axis == "depth" else "depth"
    final = pick_last(data)
    for keys, part in each(final, *LINE, other):
        curves = Curves.of(part, axis)
        if curves is not None:
            _add_curves(rows, keys, curves, axis, int(part["step"].iloc[0]))


@dataclass(frozen=True)
class Curves:
    """Final losses of one line: (seeds, sizes, rates), NaN for a rate at which any seed diverged."""

    sizes: np.ndarray
    rates: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, part: pd.DataFrame, axis: str) -> "Curves | None":
        """From the rows of the last step; only rates tried at every size. None if there is none."""
        runs = part.drop_duplicates([axis, "learning_rate", "seed"])
        tried = runs.groupby("learning_rate")[axis].nunique()
        rates = np.sort(tried.index[tried == runs[axis].nunique()].to_numpy())
        if not len(rates):
            return None
        part = part[part["learning_rate"].isin(rates)]
        sizes, seeds = np.sort(part[axis].unique()), np.sort(part["seed"].unique())
        shape = (len(seeds), len(sizes), len(rates))
        losses = {}
        for split in ("train", "test"):
            rows = pick_metric(part, "loss", split)
            check_once(rows, axis, "learning_rate", "seed")
            place = (
                np.searchsorted(seeds, rows["seed"]),
                np.searchsorted(sizes, rows[axis]),
                np.searchsorted(rates, rows["learning_rate"]),
            )
            values, lost = np.full(shape, np.nan), np.zeros(shape, bool)
            values[place], lost[place] = rows["value"], rows["lost"]
            values[:, lost.any(axis=0)] = np.nan
            losses[split] = values
        return cls(sizes, rates, losses["train"], losses["test"])


def _add_curves(rows: Rows, keys: dict[str, object], curves: Curves, axis: str, step: int) -> None:
    sizes, rates = curves.sizes, curves.rates
    log2_rates, log2_sizes = np.log2(rates), np.log2(sizes)
    seeds = len(curves.train)
    columns = {"step": step, "split": "train"}
    size_of, rate_of = (grid.ravel() for grid in np.meshgrid(sizes, rates, indexing="ij"))
    for split, values in (("train", curves.train), ("test", curves.test)):
        flat = values.reshape(seeds, -1)
        shown = {axis: size_of, "learning_rate": rate_of, "step": step, "split": split}
        rows.add(
            f"final_{split}_loss",
            keys,
            mean_interval(flat),
            seed_counts(flat),
            source="network",
            **shown,
        )
    if len(rates) < 3:
        return
    rows.add("grid_spacing", keys, np.median(np.diff(log2_rates)), seeds, source="fit", **columns)
    means = over_seeds(curves.train)[None]
    found = optimum(log2_rates, means)
    best = interval(
        lambda m: optimum(log2_rates, m).log2_rate,
        curves.train,
        names=("optimum",),
        resolution=rounding_sd(log2_rates, found)[0],
    ).map(np.exp2)
    grid_best = rates[found.index[0]]
    at_best = {**columns, axis: sizes, "learning_rate": grid_best, "source": "network"}
    rows.add("best_learning_rate", keys, best, seeds, **at_best)
    add_best_loss(rows, keys, curves, at_best)
    slope = drift(log2_rates, log2_sizes, curves.train)
    if np.isfinite(slope.estimate):
        rows.add("drift", keys, slope, seeds, source="fit", **columns)
        usable = np.isfinite(found.log2_rate[0])
        gradient, intercept = line(log2_sizes, found.log2_rate)
        fitted = np.exp2(intercept + gradient * log2_sizes[usable])
        shown = {**columns, axis: sizes[usable], "source": "fit"}
        rows.add("best_learning_rate", keys, fitted, seeds, **shown)
    # Never negative, which its symmetric interval does not know.
    excess = interval(regret, curves.train, names=("regret",)).map(lambda r: np.maximum(r, 0.0))
    transferred = {**at_best, "learning_rate": grid_best[0]}
    rows.add("regret", keys, excess, seeds, **transferred)


def add_best_loss(
    rows: Rows, keys: dict[str, object], curves: Curves, columns: Mapping[str, object]
) -> None:
    """Training loss at each size's best rate of the grid, and the test loss at that rate."""
    found = interval(least_loss, curves.train, names=("best",))
    rows.add("best_train_loss", keys, found, len(curves.train), **columns)
    index = np.argmin(np.nan_to_num(over_seeds(curves.train), nan=np.inf), axis=1)
    test = np.take_along_axis(curves.test, index[None, :, None], axis=2)[..., 0]
    shown = {**columns, "split": "test"}
    rows.add("best_test_loss", keys, mean_interval(test), seed_counts(test), **shown)


def least_loss(means: np.ndarray) -> np.ndarray:
    """Least loss over the last axis; NaN where every rate diverged."""
    least = np.where(np.isnan(means), np.inf, means).min(axis=-1)
    return np.where(np.isfinite(least), least, np.nan)
