"""What convergence to Neural Feature Dynamics rests on: vanishing coupling, and a kernel away from singular.

The coupling of a matrix with its transpose, per layer and accumulated over depth, as training creates it
(claim C5) and at initialisation (claim C6): docs/theory.md, section 3, 'Why equality is not obvious', and the
closed forms of section 5. The least eigenvalue of the feature covariance during training (claim C13):
section 6. All are probes; C5 and C6 read the runs of experiment limit_convergence, C13 also the longer ones
of gia_restoration.

What training creates is the mean of the signed coupling over seeds, and all of C5 is in unbiased squares of
such means (:mod:`nfd.evidence.squares`): per layer over parts of the depth and probes, and accumulated over
probes. What *reuse* adds is that of standard minus decoupled runs of the same seed, which share their forward
weights; a second reading takes fresh backward copies in place of the fixed one.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
vanishing_mechanism (largest width, and limit where its jobs log the coupling)
    coupling_accumulated           network, limit  over depth, step: rms of single runs, noise included
    <each>_square                  network, limit, fit  over depth, step; each of
                                   coupling_layer, coupling_sum: what training creates, per coupling,
                                   reuse_layer, reuse_sum: standard minus decoupled,
                                   fresh_layer, fresh_sum: standard minus fresh copies;
                                   the line is that of the exponent
    <each>_exponent                fit      of the amplitude in L, last step; a limit's is in series
                                   '..., limit'
    <each>_share_left              fit      plateau of the square over its value at the smallest depth
    <each>_before                  fit      of the sums: squares before training over those after it, means
                                   over depths
    below_layer, below_sum, neighbour_layer, neighbour_sum    closed_form  over depth: one sample's first
                                   step, what all that lies below a block adds, and block l-1 alone
    <each>_exponent                closed_form  in L, between the two largest depths
coupling_at_init (step 0)
    coupling_layer, coupling_accumulated      network, limit, fit  over width, depth
    <each>_square_slope            fit      of the mean square in log width, one row per depth
    <each>_depth_slope             fit      of the root mean square in log depth, at the largest width
kernel_spectrum (the long runs of gia_restoration; named early_kernel_... from limit_convergence)
    kernel_min_eigenvalue, early_kernel_min_eigenvalue    network, limit  over width, depth, step
    kernel, early_kernel: of each, over width and depth,
    <each>_minimum                 network, limit  least over steps
    <each>_ratio                   network, limit  least over steps / value at step 0
    <each>_moved                   network, limit  value at the last step / at step 0
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nfd.closed_form import first_step_coupling
from nfd.evidence.estimates import add_diverged, add_means, add_slope
from nfd.evidence.fits import line, loglog_slope
from nfd.evidence.intervals import interval, jackknife_interval, over_seeds
from nfd.evidence.selection import (
    at_reading_rate,
    check_once,
    each,
    grid_values,
    pick_metric,
    pick_networks,
    pick_runs,
    seed_counts,
)
from nfd.evidence.squares import amplitude_exponent, mean_square, share_left
from nfd.evidence.table import CELL, DEFAULT_TRAINABLE, LINE, NETWORK, Rows, series_label
from nfd.network.activations import ACTIVATIONS

COUPLING_METRICS = ("coupling_layer", "coupling_accumulated")
# Observable -> how the metrics begin that hold it with its sign (nfd.training.probes.signed_couplings).
SIGNED = {"layer": "coupling_part_", "sum": "coupling_sum_"}
# What is compared with the standard network, by the reading of the assumption that it stands for.
REUSE = {"reuse": "decoupled", "fresh": "fresh"}


def vanishing_mechanism(results: pd.DataFrame) -> pd.DataFrame:
    """The coupling of W with its transpose that training creates, over depth (claim C5)."""
    rows = Rows()
    data = pick_runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    widths = chosen.groupby("source")["width"].transform("max")
    chosen = chosen[(chosen["width"] == widths) & ~chosen["lost"]]
    add_means(rows, chosen, "coupling_accumulated", "coupling_accumulated", "probe")
    for name, prefix in SIGNED.items():
        signed = chosen[chosen["metric"].str.startswith(prefix)]
        for keys, part in each(signed, *NETWORK, "source", "width", "learning_rate"):
            tables = {
                coupling: _by_seed(rows_of_one)
                for coupling, rows_of_one in part.groupby("coupling")
            }
            for coupling, table in tables.items():
                _add_squares(rows, f"coupling_{name}", {**keys, "coupling": coupling}, table)
            for reading, other in REUSE.items():
                if {"standard", other} <= set(tables):
                    difference = tables["standard"] - tables[other]
                    _add_squares(rows, f"{reading}_{name}", keys, difference)
    _add_first_step(rows, chosen)
    return rows.frame()


def _by_seed(part: pd.DataFrame) -> pd.DataFrame:
    """Signed couplings of one line: one row per seed, columns (step, depth, metric)."""
    check_once(part, "step", "depth", "metric", "seed")
    return part.pivot(index="seed", columns=["step", "depth", "metric"], values="value")


def _add_squares(rows: Rows, name: str, keys: dict[str, object], table: pd.DataFrame) -> None:
    """Squares over steps and depths, and at the last step how they depend on depth.

    ``table`` as from :func:`_by_seed`, or a difference of two; seeds and cells that only one of them has
    are missing in it, and a seed that lacks anything is left out.
    """
    table = table.dropna(axis=1, how="all").dropna().sort_index(axis=1)
    if table.empty:
        return
    steps, depths = (np.sort(table.columns.unique(axis)) for axis in ("step", "depth"))
    sample = table.to_numpy(float).reshape(len(table), len(steps), len(depths), -1)
    found, seeds = jackknife_interval(mean_square, sample), len(sample)
    for place, step in enumerate(steps):
        columns = {"split": "probe", "step": step, "depth": depths}
        rows.add(f"{name}_square", keys, found.part(place), seeds, **columns)
    _add_depth_law(rows, name, keys, depths, sample[:, -1], int(steps[-1]))
    if name in ("reuse_sum", "fresh_sum") and len(steps) > 1:
        before = jackknife_interval(lambda s: _mean_share(s[:, [0, -1]]), sample)
        shown = _as_fit(keys, int(steps[-1]))
        rows.add(f"{name}_before", keys, before, seeds, **shown)


def _mean_share(sample: np.ndarray) -> np.ndarray:
    """Mean over depths of the first squares over that of the second ones, from (seeds, 2, depths, ...)."""
    first, last = mean_square(sample).mean(axis=1)
    return np.asarray(first / last)


def _add_depth_law(
    rows: Rows,
    name: str,
    keys: dict[str, object],
    depths: np.ndarray,
    sample: np.ndarray,
    step: int,
) -> None:
    """Exponent of the amplitude with the line of its square, and what is left at infinite depth."""
    if len(depths) < 3:
        return
    shown, seeds = _as_fit(keys, step), len(sample)
    exponent, kept = amplitude_exponent(depths, mean_square, sample)
    if kept.sum() >= 3:
        rows.add(f"{name}_exponent", keys, exponent, seeds, **shown)
        x = np.log(depths[kept])
        gradient, intercept = line(x, np.log(mean_square(sample)[kept])[None])
        fitted = np.exp(intercept + gradient * x)
        rows.add(f"{name}_square", keys, fitted, seeds, **shown, depth=depths[kept])
    share = share_left(depths, mean_square, sample)
    rows.add(f"{name}_share_left", keys, share, seeds, **shown)


def _as_fit(keys: Mapping[str, object], step: int) -> dict[str, object]:
    """Columns of a fit at the last step; a limit's has a series of its own."""
    series = series_label(keys) + (", limit" if keys["source"] == "limit" else "")
    return {"split": "probe", "step": step, "source": "fit", "series": series}


def _add_first_step(rows: Rows, data: pd.DataFrame) -> None:
    """Closed form of one sample's first step: what a block's coupling gets from below, by what lies there.

    Per unit of rate times loss derivative squared. Per layer: the mean over the blocks that have one below.
    """
    if data.empty or ACTIVATIONS[data["activation"].iloc[0]].energy is None:
        return
    horizon = float(data["horizon"].iloc[0])
    options = {"horizon": horizon, "activation": data["activation"].iloc[0]}
    depths = np.sort(data.loc[data["depth"] > 1, "depth"].unique())
    exact = [first_step_coupling(depth=depth, **options) for depth in depths]
    branch = np.sqrt(horizon / depths)
    sums = {
        "below": (np.array([one.features for one in exact]), depths),
        "neighbour": (np.array([one.block_below for one in exact]), depths - 1),
    }
    for name, (total, layers) in sums.items():
        for what, values in (("layer", total / branch / layers), ("sum", total)):
            shown = {"source": "closed_form", "split": "probe", "series": name}
            rows.add(f"{name}_{what}", {}, values, **shown, depth=depths)
            if len(depths) > 1:
                local = np.diff(np.log(values[-2:])) / np.diff(np.log(depths[-2:]))
                rows.add(f"{name}_{what}_exponent", {}, local, **shown)


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


# Experiment with the probe of the kernel -> how the names of its quantities begin. The runs of the first are
# long enough to move the kernel.
KERNELS = {"gia_restoration": "kernel", "limit_convergence": "early_kernel"}


def kernel_spectrum(results: pd.DataFrame) -> pd.DataFrame:
    """Least eigenvalue of the feature covariance during training, all of depth_mup trained (claim C13)."""
    rows = Rows()
    for experiment, name in KERNELS.items():
        data = pick_runs(results, experiment)
        plain = (data["parametrization"] == "depth_mup") & data["skip"].astype(bool)
        data = data[plain & (data["trainable"] == DEFAULT_TRAINABLE[1])]
        if not data.empty:
            add_diverged(rows, data)
            _add_kernels(rows, name, pick_metric(at_reading_rate(data), "kernel_min_eigenvalue"))
    return rows.frame()


def _add_kernels(rows: Rows, name: str, chosen: pd.DataFrame) -> None:
    add_means(rows, chosen, f"{name}_min_eigenvalue", "kernel_min_eigenvalue", "probe")
    for keys, part in each(chosen, *CELL):
        (_,), values = grid_values(part, "step")  # (seeds, steps)
        statistics = {
            "minimum": lambda m: m.min(axis=1),
            "ratio": lambda m: m.min(axis=1) / m[:, 0],
            "moved": lambda m: m[:, -1] / m[:, 0],
        }
        for what, statistic in statistics.items():
            found = interval(statistic, values, names=("kernel",))
            rows.add(f"{name}_{what}", keys, found, len(values), split="probe")
