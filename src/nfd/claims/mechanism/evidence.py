"""What convergence to Neural Feature Dynamics rests on: vanishing coupling, and a kernel away from singular.

The coupling of a matrix with its transpose, per layer and accumulated over depth, as training creates it
(claim C5) and at initialisation (claim C6): docs/theory.md, section 3, 'Why equality is not obvious'. The
least eigenvalue of the feature covariance during training (claim C13): section 6. All are probes of the
runs of experiment limit_convergence.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
vanishing_mechanism (largest width, and limit where its jobs log the coupling)
    coupling_layer, coupling_accumulated                network, limit  over depth, step
    coupling_layer_created, coupling_accumulated_created    network, limit, fit  over depth, last step:
                                            root of the squares' increase since step 0
    <each created>_floor           network, limit  the same at step 0
    <each created>_slope           fit      in log depth; series of a limit's slope and line: '..., limit'
coupling_at_init (step 0)
    coupling_layer, coupling_accumulated      network, limit, fit  over width, depth
    <each>_square_slope            fit      of the mean square in log width, one row per depth
    <each>_depth_slope             fit      of the root mean square in log depth, at the largest width
kernel_spectrum
    kernel_min_eigenvalue          network, limit  over width, depth, step
    kernel_minimum                 network, limit  over width, depth: least over steps
    kernel_ratio                   network, limit  over width, depth: least over steps / value at step 0
"""

import numpy as np
import pandas as pd

from nfd.evidence.estimates import add_diverged, add_means, add_slope, root
from nfd.evidence.fits import loglog_slope, window
from nfd.evidence.intervals import interval, over_seeds
from nfd.evidence.selection import (
    at_reading_rate,
    each,
    grid_values,
    pick_metric,
    pick_networks,
    pick_runs,
    seed_counts,
)
from nfd.evidence.table import CELL, LINE, Rows

COUPLING_METRICS = ("coupling_layer", "coupling_accumulated")


def vanishing_mechanism(results: pd.DataFrame) -> pd.DataFrame:
    """The coupling of W with its transpose that training creates, over depth (claim C5)."""
    rows = Rows()
    data = pick_runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    widths = chosen.groupby("source")["width"].transform("max")
    chosen = chosen[chosen["width"] == widths]
    for metric in COUPLING_METRICS:
        add_means(rows, chosen, metric, metric, "probe")
        for keys, part in each(
            pick_metric(chosen, metric), *LINE, "source", "width", "learning_rate"
        ):
            _add_created(rows, metric, keys, part)
    return rows.frame()


def _add_created(rows: Rows, metric: str, keys: dict[str, object], part: pd.DataFrame) -> None:
    """What training added to the coupling, in quadrature: sqrt(c_K^2 - c_0^2).

    The coupling at step 0 is noise of the initial weights, O(1/sqrt n) and independent of what training
    adds, so squares add. But the noise does not stay what it was: in the recorded runs that of the last
    step is 1.1 to 1.8 times that of step 0 in the mean square, so a positive constant stays, the created
    part is overestimated, most where it is small, and its slope over depth is too flat. What decides the
    claim does not use it: :mod:`nfd.claims.mechanism.reuse`. Points below the coupling at step 0 are under
    the noise floor and leave the slope.
    """
    step = int(part["step"].max())
    (depths, steps), values = grid_values(part[part["step"].isin([0, step])], "depth", "step")
    if len(steps) < 2:
        return
    squares = values**2  # (seeds, depths, [first, last])

    def created(m: np.ndarray) -> np.ndarray:
        return m[..., 1] - m[..., 0]

    quantity = f"{metric}_created"
    seeds = seed_counts(squares[..., 1])
    columns = {"split": "probe", "step": step}
    found = interval(created, squares, names=(quantity,)).map(root)
    rows.add(quantity, keys, found, seeds, depth=depths, **columns)
    floor = np.sqrt(over_seeds(squares)[..., 0])
    rows.add(f"{quantity}_floor", keys, floor, seeds, depth=depths, **columns)
    kept = window(found.estimate, floor)
    add_slope(
        rows, quantity, keys, "depth", depths, kept, lambda m: root(created(m)), squares, columns
    )


def coupling_at_init(results: pd.DataFrame) -> pd.DataFrame:
    """The coupling at step 0 over width, for several depths (claim C6)."""
    rows = Rows()
    data = pick_networks(pick_runs(results, "limit_convergence"))
    # At step 0 the learning rate has no effect: one rate holds all there is, and none diverged yet.
    data = data[(data["step"] == 0) & (data["coupling"] == "standard")].assign(lost=False)
    if data.empty:
        return rows.frame()
    data = data[data["learning_rate"] == data["learning_rate"].min()]
    for metric in COUPLING_METRICS:
        for keys, part in each(pick_metric(data, metric), *LINE):
            _add_initial_coupling(rows, metric, keys, part)
    return rows.frame()


def _add_initial_coupling(
    rows: Rows, metric: str, keys: dict[str, object], part: pd.DataFrame
) -> None:
    (widths, depths), values = grid_values(part, "width", "depth")
    squares = values**2
    columns = {"split": "probe", "step": 0}
    slope = f"{metric}_square_slope"
    for j, depth in enumerate(depths):
        group = squares[:, :, j]
        kept = np.isfinite(over_seeds(group))
        group = group[:, kept]
        found = interval(np.sqrt, group, names=(metric,))
        shown = {**columns, "depth": depth, "source": "network"}
        rows.add(metric, keys, found, seed_counts(group), width=widths[kept], **shown)
        everything = np.ones(kept.sum(), bool)
        add_slope(
            rows,
            metric,
            keys,
            "width",
            widths[kept],
            everything,
            np.sqrt,
            group,
            shown,
            slope,
            2.0,
        )
    widest = squares[:, -1]
    kept = np.isfinite(over_seeds(widest))
    if kept.sum() >= 3:
        x = depths[kept].astype(float)
        found = interval(
            lambda m: loglog_slope(x, np.sqrt(m[:, kept])), widest, names=(metric, "depth")
        )
        shown = {**columns, "width": widths[-1], "source": "fit"}
        rows.add(f"{metric}_depth_slope", keys, found, len(widest), **shown)


def kernel_spectrum(results: pd.DataFrame) -> pd.DataFrame:
    """Least eigenvalue of the feature covariance during training (claim C13)."""
    rows = Rows()
    data = pick_runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = pick_metric(at_reading_rate(data), "kernel_min_eigenvalue")
    add_means(rows, chosen, "kernel_min_eigenvalue", "kernel_min_eigenvalue", "probe")
    for keys, part in each(chosen, *CELL):
        (_,), values = grid_values(part, "step")  # (seeds, steps)
        columns = {"split": "probe"}
        seeds = len(values)
        least = interval(lambda m: m.min(axis=1), values, names=("kernel",))
        rows.add("kernel_minimum", keys, least, seeds, **columns)
        ratio = interval(lambda m: m.min(axis=1) / m[:, 0], values, names=("kernel",))
        rows.add("kernel_ratio", keys, ratio, seeds, **columns)
    return rows.frame()
