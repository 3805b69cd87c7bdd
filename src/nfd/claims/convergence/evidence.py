"""Error of finite networks against Neural Feature Dynamics and against the coupled limit (claim C3).

The two limits are those of docs/theory.md, section 3. A mean over seeds is compared with the mean over the
limit's seeds and the squared distance is debiased, so that a bias is what is left of the error when noise
is taken away. Networks are read at their reading rate (:func:`nfd.evidence.selection.reading_rates`),
against limits at the same rate.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
limit_convergence (series 'standard to NFD', 'standard to coupled limit', 'decoupled to NFD'; errors are
rms over probe samples and classes relative to the limit's rms output change; the last step, and step 0
for fluctuation_over_width, there relative to the limit's output change at the last step)
    bias_over_width, fluctuation_over_width    network  over width, depth: limit of the same depth
    bias_over_depth, fluctuation_over_depth    network  over depth at the largest width: limit extrapolated
                                            to infinite depth; bias_over_depth also for source limit
    <each bias>_floor              network, limit  same rows: the value below which it is noise
    <each>                         fit      log-log line over the window
    <each>_slope                   fit      one row per series, depth and step
    bias_at_infinite_depth         network, limit  one row per series: the two deepest extrapolated
    squared_error_difference       fit      squared error to NFD minus that to the coupled limit
    bias_over_depth_plateau, bias_over_depth_exponent           fit  c_inf and r of c_inf + c L^-r
    train_loss                     network (largest width), limit  over depth, step
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nfd.evidence.estimates import add_diverged, add_means, root
from nfd.evidence.fits import extrapolation_weights, fit_plateau, line, loglog_slope, window
from nfd.evidence.intervals import Interval, jackknife_interval, squared_distance
from nfd.evidence.selection import (
    at_reading_rate,
    check_once,
    each,
    pick_networks,
    pick_runs,
    pick_vectors,
)
from nfd.evidence.table import NETWORK, Rows

# (network's coupling, limit's coupling) -> series
COMPARISONS = {
    ("standard", "decoupled"): "standard to NFD",
    ("standard", "standard"): "standard to coupled limit",
    ("decoupled", "decoupled"): "decoupled to NFD",
}


def limit_convergence(results: pd.DataFrame, outputs: pd.DataFrame | None) -> pd.DataFrame:
    """Error of finite networks against NFD and against the coupled limit (claim C3)."""
    rows = Rows()
    data = pick_runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    widest = chosen["width"] == pick_networks(chosen)["width"].max()
    add_means(rows, chosen[widest | (chosen["source"] == "limit")], "train_loss", "loss", "train")
    vectors = pick_vectors(outputs, chosen)
    for network, part in each(vectors, *NETWORK, "learning_rate"):
        limits = part[part["source"] == "limit"]
        networks = part[part["source"] == "network"]
        if limits.empty or networks.empty:
            continue
        runs = _Outputs(network, networks, limits)
        for depth in np.intersect1d(networks["depth"], limits["depth"]):
            for couplings in COMPARISONS:
                _add_over_width(rows, runs, couplings, depth)
        for couplings in COMPARISONS:
            _add_over_depth(rows, runs, couplings)
        _add_nearer(rows, runs)
    return rows.frame()


class _Outputs:
    """Output vectors of one network and its limits at one learning rate."""

    def __init__(self, keys: dict[str, object], networks: pd.DataFrame, limits: pd.DataFrame):
        self.keys = keys
        self.last = int(networks["step"].max())
        self.widest = int(networks["width"].max())
        # If limits were run with several numbers of particles, the most are the limit.
        self.particles = int(limits["width"].max())
        # (source, coupling, step, width, depth) -> seed -> outputs
        self.vectors: dict[tuple[Any, ...], dict[int, np.ndarray]] = {}
        rows = pd.concat([networks, limits])
        names = ["source", "coupling", "step", "width", "depth", "seed", "vector"]
        check_once(rows, *names[:-1])
        for *cell, seed, vector in rows[names].itertuples(index=False, name=None):
            self.vectors.setdefault(tuple(cell), {})[seed] = vector

    def widths(self, coupling: str, depth: int) -> np.ndarray:
        """Widths of the networks of this depth, with outputs of at least two seeds."""
        return self._sizes("network", coupling, lambda n, L: n if depth == L else None)

    def depths(self, source: str, coupling: str, width: int) -> np.ndarray:
        """Depths at this width (of networks) or number of particles (of limits)."""
        return self._sizes(source, coupling, lambda n, L: L if width == n else None)

    def _sizes(
        self, source: str, coupling: str, pick: Callable[[int, int], int | None]
    ) -> np.ndarray:
        shapes = [
            cell[3:]
            for cell, seeds in self.vectors.items()
            if cell[:3] == (source, coupling, self.last) and len(seeds) >= 2
        ]
        found = {size for shape in shapes if (size := pick(*shape)) is not None}
        return np.array(sorted(found), dtype=int)

    def sample(
        self, source: str, coupling: str, step: int, shapes: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Outputs (seeds, shapes, entries) of the seeds that all (width, depth) ``shapes`` have."""
        by_shape = [
            self.vectors.get((source, coupling, step, int(width), int(depth)), {})
            for width, depth in shapes
        ]
        common = sorted(set.intersection(*(set(vectors) for vectors in by_shape)))
        if not common:
            return np.empty((0, len(shapes), 0))
        return np.array([[vectors[seed] for vectors in by_shape] for seed in common])

    def change(self, source: str, coupling: str, shapes: Sequence[tuple[int, int]]) -> np.ndarray:
        """The same of the change of the outputs from step 0 to the last step."""
        return self.sample(source, coupling, self.last, shapes) - self.sample(
            source, coupling, 0, shapes
        )


def _power(change: np.ndarray) -> float:
    """Mean square of a limit's output change (seeds, entries), averaged over its seeds first."""
    return float((change.mean(axis=0) ** 2).mean())


def _add_over_width(rows: Rows, runs: _Outputs, couplings: tuple[str, str], depth: int) -> None:
    """Bias and fluctuation over width against the limit of the same depth."""
    network, limit = couplings
    widths = runs.widths(network, depth)
    target_shape = [(runs.particles, int(depth))]
    target = runs.sample("limit", limit, runs.last, target_shape)[:, 0]
    if len(widths) < 2 or len(target) < 1:
        return
    shapes = [(int(width), int(depth)) for width in widths]
    sample = runs.sample("network", network, runs.last, shapes)
    start = runs.sample("network", network, 0, shapes)
    if len(sample) < 2:
        return
    scale = _power(runs.change("limit", limit, target_shape)[:, 0])
    columns = {
        "series": COMPARISONS[couplings],
        "coupling": network,
        "depth": depth,
        "split": "probe",
        "step": runs.last,
    }

    def bias(networks: np.ndarray, limits: np.ndarray) -> np.ndarray:
        return squared_distance(networks, limits[:, None]) / scale

    def spread(networks: np.ndarray) -> np.ndarray:
        return networks.var(axis=0, ddof=1).mean(axis=-1) / scale

    found = jackknife_interval(bias, sample, target)
    _add_error(rows, "bias_over_width", runs.keys, widths, found, len(sample), "width", columns)
    kept = window(root(found.estimate), _floor(found))
    _add_loglog(
        rows, "bias_over_width", runs.keys, "width", widths, kept, bias, (sample, target), columns
    )
    everything = np.ones(len(widths), bool)
    for step, values in ((runs.last, sample), (0, start)):
        columns = {**columns, "step": step}
        found = jackknife_interval(spread, values).map(root)
        shown = {**columns, "width": widths, "source": "network"}
        rows.add("fluctuation_over_width", runs.keys, found, len(values), **shown)
        _add_loglog(
            rows,
            "fluctuation_over_width",
            runs.keys,
            "width",
            widths,
            everything,
            spread,
            (values,),
            columns,
        )


def _floor(squared: Interval) -> np.ndarray:
    """The error that the interval of the squared error cannot tell from zero."""
    return np.sqrt((squared.high - squared.low) / 2)


def _add_error(
    rows: Rows,
    quantity: str,
    keys: Mapping[str, object],
    sizes: np.ndarray,
    squared: Interval,
    seeds: int,
    axis: str,
    columns: Mapping[str, object],
    source: str = "network",
) -> None:
    """The root of a squared error over ``axis``, and the floor below which it is noise."""
    shown = {**columns, axis: sizes, "source": source}
    rows.add(quantity, keys, squared.map(root), seeds, **shown)
    rows.add(f"{quantity}_floor", keys, _floor(squared), seeds, **shown)


def _add_loglog(
    rows: Rows,
    quantity: str,
    keys: Mapping[str, object],
    axis: str,
    sizes: np.ndarray,
    kept: np.ndarray,
    squares: Callable[..., np.ndarray],
    groups: Sequence[np.ndarray],
    columns: Mapping[str, object],
) -> None:
    """Slope of the root of ``squares(*groups)`` over the ``kept`` sizes, and its line there."""
    if kept.sum() < 3:
        return
    x = np.asarray(sizes, float)[kept]

    def slope(*samples: np.ndarray) -> np.ndarray:
        return loglog_slope(x, root(squares(*samples))[None, kept])[0]

    fitted = {**columns, "source": "fit"}
    seeds = len(groups[0])
    rows.add(f"{quantity}_slope", keys, jackknife_interval(slope, *groups), seeds, **fitted)
    y = np.log(root(squares(*groups))[kept])
    gradient, intercept = line(np.log(x), y[None])
    rows.add(quantity, keys, np.exp(intercept + gradient * np.log(x)), seeds, **{**fitted, axis: x})


def _extrapolated(
    runs: _Outputs, source: str, coupling: str, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs extrapolated to infinite depth, (seeds, entries), their change, and the depths used.

    No seeds where there are fewer than two depths.
    """
    depths = runs.depths(source, coupling, width)
    if len(depths) < 2:
        return np.empty((0, 0)), np.empty((0, 0)), depths
    pair = [(width, int(depth)) for depth in depths[-2:]]
    weights = extrapolation_weights(depths[-2:].astype(float))
    last = np.tensordot(runs.sample(source, coupling, runs.last, pair), weights, (1, 0))
    change = np.tensordot(runs.change(source, coupling, pair), weights, (1, 0))
    return last, change, depths


def _add_over_depth(rows: Rows, runs: _Outputs, couplings: tuple[str, str]) -> None:
    """Errors over depth against the limit extrapolated to infinite depth."""
    network, limit = couplings
    target, change, _ = _extrapolated(runs, "limit", limit, runs.particles)
    if not len(target):
        return
    scale = _power(change)

    def bias(sample: np.ndarray, limits: np.ndarray) -> np.ndarray:
        return squared_distance(sample, limits[:, None]) / scale

    for source, width in (("network", runs.widest), ("limit", runs.particles)):
        columns = {
            "series": COMPARISONS[couplings],
            "coupling": network,
            "split": "probe",
            "step": runs.last,
            "width": width,
        }
        last, _, depths = _extrapolated(runs, source, network, width)
        # A limit's distance to its own extrapolation is zero by construction.
        if last is not None and len(last) >= 2 and (source == "network" or network != limit):
            found = jackknife_interval(bias, last[:, None], target).map(root)
            shown = {**columns, "source": source}
            rows.add("bias_at_infinite_depth", runs.keys, found, len(last), **shown)
        if source == "limit":
            # The two deepest gave the extrapolation: their distance to it is not a measurement.
            depths = depths[:-2]
        shapes = [(width, int(depth)) for depth in depths]
        sample = runs.sample(source, network, runs.last, shapes) if shapes else np.empty((0,))
        if len(sample) >= 2:
            _add_depth_errors(rows, runs.keys, depths, bias, (sample, target), source, columns)
            if source == "network":
                noise = np.sqrt(sample.var(axis=0, ddof=1).mean(axis=-1) / scale)
                shown = {**columns, "source": source, "depth": depths}
                rows.add("fluctuation_over_depth", runs.keys, noise, len(sample), **shown)


def _add_depth_errors(
    rows: Rows,
    keys: dict[str, object],
    depths: np.ndarray,
    bias: Callable[..., np.ndarray],
    groups: tuple[np.ndarray, np.ndarray],
    source: str,
    columns: dict[str, object],
) -> None:
    """Bias at each depth; for networks also its slope above the noise floor and its plateau."""
    quantity, seeds = "bias_over_depth", len(groups[0])
    found = jackknife_interval(bias, *groups)
    _add_error(rows, quantity, keys, depths, found, seeds, "depth", columns, source)
    if source == "limit":
        return
    kept = window(root(found.estimate), _floor(found))
    _add_loglog(rows, quantity, keys, "depth", depths, kept, bias, groups, columns)
    sizes = depths.astype(float)

    def plateau(*samples: np.ndarray) -> np.ndarray:
        return fit_plateau(sizes, root(bias(*samples))[None])[0]

    fit = jackknife_interval(plateau, *groups)
    if np.isfinite(fit.estimate).all():
        for index, name in ((0, "plateau"), (2, "exponent")):
            rows.add(f"{quantity}_{name}", keys, fit.part(index), seeds, **columns, source="fit")


def _add_nearer(rows: Rows, runs: _Outputs) -> None:
    """Squared error to NFD minus squared error to the coupled limit, both at infinite depth.

    Of the widest standard networks; both relative to the coupled limit's output change. Positive: the
    networks are nearer to the coupled limit.
    """
    networks, _, _ = _extrapolated(runs, "network", "standard", runs.widest)
    nfd, _, _ = _extrapolated(runs, "limit", "decoupled", runs.particles)
    coupled, change, _ = _extrapolated(runs, "limit", "standard", runs.particles)
    if not all(len(sample) for sample in (networks, nfd, coupled)):
        return
    scale = _power(change)

    def nearer(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (squared_distance(a, b) - squared_distance(a, c)) / scale

    found = jackknife_interval(nearer, networks, nfd, coupled)
    columns = {"series": "NFD minus coupled limit", "coupling": "standard", "split": "probe"}
    sizes = {"width": runs.widest, "step": runs.last}
    rows.add(
        "squared_error_difference",
        runs.keys,
        found,
        len(networks),
        **columns,
        **sizes,
        source="fit",
    )
