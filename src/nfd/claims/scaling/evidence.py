"""Loss against width and depth: what a doubling gains (claim C1) and how fast that shrinks (claim C2).

Each shape is read at its own best rate: lowest final training loss, no run diverged. Statistics of
docs/theory.md, section 6.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
scaling_trend
    train_loss, test_loss          network, limit  over width, depth, step
    final_train_loss, final_test_loss, final_test_accuracy      network, limit  over width, depth
    flops                          network  over width, depth: training operations up to the last step
    train_loss_gain_width, train_loss_gain_depth, test_loss_gain_width, test_loss_gain_depth
                                   network  fraction of the loss that one doubling removes, between
                                            neighbours, averaged over the other size; over width (depth):
                                            the larger of the two
    <each>_mean                    fit      average over all neighbours: one row per series
diminishing_returns
    final_train_loss               network, limit, fit  over width, depth; fit: limit + a n^-alpha + b L^-beta
    excess_train_loss              network  over width, depth: final training loss minus the fitted limit
    limit_loss                     fit, limit  one row per series
    width_exponent, depth_exponent, width_amplitude, depth_amplitude      fit  one row per series
    gain_decline_width, gain_decline_depth    fit  gain per doubling in the lower half minus upper half
"""

import numpy as np
import pandas as pd

from nfd.evidence.estimates import add_diverged, add_gain_rows, add_losses, add_means
from nfd.evidence.fits import fit_limit
from nfd.evidence.intervals import interval, mean_interval
from nfd.evidence.selection import (
    best_rates,
    cell_values,
    each,
    grid_values,
    pick_last,
    pick_metric,
    pick_networks,
    pick_runs,
    seed_counts,
)
from nfd.evidence.table import LINE, Rows


def _scaling_runs(results: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs of 'scaling', and those at each shape's best rate."""
    data = pick_runs(results, "scaling")
    shape = [*LINE, "source", "width", "depth"]
    if data.empty:
        return data, data
    return data, data.merge(best_rates(data, shape), on=[*shape, "learning_rate"])


def scaling_trend(results: pd.DataFrame) -> pd.DataFrame:
    """Loss against width and depth, each shape at its own best rate (claim C1)."""
    rows = Rows()
    data, chosen = _scaling_runs(results)
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    add_losses(rows, chosen)
    final = pick_last(chosen)
    add_means(rows, final, "final_train_loss", "loss", "train")
    add_means(rows, final, "final_test_loss", "loss", "test")
    add_means(rows, final, "final_test_accuracy", "accuracy", "test")
    add_means(rows, final, "flops", "flops", "none")
    for split in ("train", "test"):
        for keys, part in each(pick_metric(pick_networks(final), "loss", split), *LINE):
            _add_gains(rows, keys, part, split, "width")
            _add_gains(rows, keys, part, split, "depth")
    return rows.frame()


def _add_gains(
    rows: Rows, keys: dict[str, object], part: pd.DataFrame, split: str, axis: str
) -> None:
    """Fraction of the loss that a doubling of ``axis`` removes, between neighbours, paired by seed."""
    other = "depth" if axis == "width" else "width"
    (sizes, _), losses = grid_values(part, axis, other)
    if len(sizes) < 2:
        return
    columns = {"split": split, "step": int(part["step"].iloc[0])}
    add_gain_rows(rows, keys, f"{split}_loss_gain_{axis}", axis, sizes, losses, columns)


def diminishing_returns(results: pd.DataFrame) -> pd.DataFrame:
    """How fast the gains from width and depth shrink towards a limit (claim C2)."""
    rows = Rows()
    data, chosen = _scaling_runs(results)
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    final = pick_metric(pick_last(chosen), "loss", "train")
    add_means(rows, final, "final_train_loss", "loss", "train")
    for keys, part in each(pick_networks(final), *LINE):
        _add_limit_fit(rows, keys, part)
        for axis in ("width", "depth"):
            _add_gain_decline(rows, keys, part, axis)
    limits = final[(final["source"] == "limit") & ~final["lost"]]
    for keys, part in each(limits, *LINE):
        deepest, values = cell_values(part[part["depth"] == part["depth"].max()])
        rows.add("limit_loss", deepest, mean_interval(values), seed_counts(values), **keys)
    return rows.frame()


def _add_limit_fit(rows: Rows, keys: dict[str, object], part: pd.DataFrame) -> None:
    """Fit loss = limit + a n^-alpha + b L^-beta over all shapes of one line."""
    cells, values = cell_values(part)
    widths, depths = cells["width"].to_numpy(float), cells["depth"].to_numpy(float)
    fit = interval(lambda m: fit_limit(widths, depths, m), values, names=("limit_fit",))
    if not np.isfinite(fit.estimate).all():
        return
    seeds = len(values)
    columns = {"split": "train", "step": int(part["step"].iloc[0])}
    names = ("limit_loss", "width_amplitude", "width_exponent", "depth_amplitude", "depth_exponent")
    for index, name in enumerate(names):
        rows.add(name, keys, fit.part(index), seeds, source="fit", **columns)
    limit, a, alpha, b, beta = fit.estimate
    fitted = limit + a * widths**-alpha + b * depths**-beta
    shown = {"width": widths, "depth": depths, **columns}
    rows.add("final_train_loss", keys, fitted, seeds, source="fit", **shown)

    def excess(m: np.ndarray) -> np.ndarray:
        return m - fit_limit(widths, depths, m)[:, :1]

    found = interval(excess, values, names=("limit_fit",))
    rows.add("excess_train_loss", cells, found, seed_counts(values))


def _add_gain_decline(rows: Rows, keys: dict[str, object], part: pd.DataFrame, axis: str) -> None:
    """Loss gained per doubling in the lower half of the sizes minus that in the upper half."""
    other = "depth" if axis == "width" else "width"
    (sizes, _), losses = grid_values(part, axis, other)
    losses = losses[:, :, np.isfinite(losses).all(axis=(0, 1))]
    if len(sizes) < 3 or not losses.size:
        return
    log2_sizes = np.log2(sizes)
    middle = len(sizes) // 2 if len(sizes) % 2 else len(sizes) // 2 - 1

    def decline(m: np.ndarray) -> np.ndarray:
        loss = m.mean(axis=2)
        lower = (loss[:, 0] - loss[:, middle]) / (log2_sizes[middle] - log2_sizes[0])
        start = len(sizes) - 1 - middle
        upper = (loss[:, start] - loss[:, -1]) / (log2_sizes[-1] - log2_sizes[start])
        return lower - upper

    found = interval(decline, losses, names=("decline",))
    columns = {"split": "train", "step": int(part["step"].iloc[0]), "source": "fit"}
    rows.add(f"gain_decline_{axis}", keys, found, len(losses), **columns)
