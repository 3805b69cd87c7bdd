"""Error of finite networks against Neural Feature Dynamics and against the coupled limit (claim C3).

The limits are those of docs/theory.md, section 3. A mean over seeds is compared with the mean over the
limit's seeds, and the squares of their distance are unbiased (:mod:`nfd.evidence.squares`): no noise floor,
and negative about half of the time where there is no distance. Outputs of infinite depth are those of
limit + b / L, fitted from FROM_DEPTH blocks on. Networks are read at their reading rate
(:func:`nfd.evidence.selection.reading_rates`), against limits at the same rate.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
limit_convergence (errors are squares over probe samples and classes relative to the square of the limit's
mean output change; the last step, and step 0 for fluctuation_over_width, there relative to the change at the
last step; series of COMPARISONS)
    error_square_over_width        network  over width, depth: limit of the same depth
    fluctuation_over_width         network  over width, depth: rms over seeds, relative to that change
    error_square_over_depth        network, limit  over depth at the largest width: limit of infinite depth
    fluctuation_over_depth         network  the same of the fluctuation
    error_square_at_infinite_depth network, limit  one row per series; for limits also 'NFD to itself' and
                                            'coupled limit to itself', halves of the seeds of one
    squared_error_difference       fit      squared error to NFD (or NFD, fresh copies) minus that to the
                                            coupled limit
    fluctuation_over_width, fluctuation_over_width_slope        fit  log-log line and its slope
    train_loss                     network (largest width), limit  over depth, step
    train_loss                     fit      of limits, the curve loss + b / L at the last step
    loss_at_infinite_depth         fit      that loss, one row per limit
    loss_exponent                  fit      r of loss + b L^-r with r free, as -r
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nfd.evidence.estimates import add_diverged, add_means, root
from nfd.evidence.first_order import (
    diminishing_ratio,
    first_order_curve,
    first_order_weights,
    fit_first_order,
)
from nfd.evidence.fits import line, loglog_slope
from nfd.evidence.intervals import jackknife_interval
from nfd.evidence.selection import (
    at_reading_rate,
    check_once,
    each,
    grid_values,
    pick_last,
    pick_metric,
    pick_networks,
    pick_runs,
    pick_vectors,
)
from nfd.evidence.squares import mean_square
from nfd.evidence.table import LINE, NETWORK, Rows
from nfd.network.couplings import COUPLINGS

# (network's coupling, limit's coupling) -> series
COMPARISONS = {
    ("standard", "decoupled"): "standard to NFD",
    ("standard", "standard"): "standard to coupled limit",
    ("decoupled", "decoupled"): "decoupled to NFD",
    ("standard", "fresh"): "standard to NFD, fresh copies",
    ("fresh", "fresh"): "fresh copies to NFD, fresh copies",
}
# Shallower networks are left out of extrapolations: there the next term, in 1/L^2, counts.
FROM_DEPTH = 4


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
    _add_loss_over_depth(rows, chosen)
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
        for coupling in ("decoupled", "fresh"):
            _add_nearer(rows, runs, coupling)
        for coupling in ("standard", "decoupled"):
            _add_itself(rows, runs, coupling)
    return rows.frame()


# ---------------------------------------------------------------------------------------------- losses


def _add_loss_over_depth(rows: Rows, data: pd.DataFrame) -> None:
    """How the loss of each limit goes to that of infinite depth; its depths share their noise, by seed."""
    last = pick_last(pick_metric(data[data["source"] == "limit"], "loss", "train"))
    for keys, part in each(last, *LINE, "width", "step"):
        (depths,), values = grid_values(part, "depth")
        values = values[np.isfinite(values).all(axis=1)]
        if len(values) < 2 or len(depths) < 3:
            continue
        columns = {"source": "fit", "split": "train", "width": keys["width"], "step": keys["step"]}
        network, seeds = {name: keys[name] for name in LINE}, len(values)
        fit = fit_first_order(depths, values)
        rows.add("loss_at_infinite_depth", network, fit.part(0), seeds, **columns)
        shown, curve = first_order_curve(depths, *fit.estimate)
        rows.add("train_loss", network, curve, seeds, depth=shown, **columns)
        if np.allclose(np.diff(np.log2(depths)), 1):
            # With doublings each gain is 2^-r of the one before.
            with np.errstate(invalid="ignore", divide="ignore"):
                exponent = diminishing_ratio(depths, values).map(np.log2)
            rows.add("loss_exponent", network, exponent, seeds, **columns)


# --------------------------------------------------------------------------------------------- outputs


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

    def at_infinite_depth(self, source: str, coupling: str) -> tuple[np.ndarray, np.ndarray]:
        """Outputs of the largest size extrapolated to infinite depth, (seeds, entries), and their change.

        No seeds where there are fewer than two depths.
        """
        size = self.widest if source == "network" else self.particles
        depths = self.depths(source, coupling, size)
        depths = depths[depths >= FROM_DEPTH]
        if len(depths) < 2:
            return np.empty((0, 0)), np.empty((0, 0))
        shapes = [(size, int(depth)) for depth in depths]
        weights = first_order_weights(depths)[0]
        last = np.tensordot(self.sample(source, coupling, self.last, shapes), weights, (1, 0))
        return last, np.tensordot(self.change(source, coupling, shapes), weights, (1, 0))


def _add_over_width(rows: Rows, runs: _Outputs, couplings: tuple[str, str], depth: int) -> None:
    """Error and fluctuation over width against the limit of the same depth."""
    network, limit = couplings
    widths = runs.widths(network, depth)
    target_shape = [(runs.particles, int(depth))]
    target = runs.sample("limit", limit, runs.last, target_shape)[:, 0]
    if len(widths) < 2 or len(target) < 2:
        return
    shapes = [(int(width), int(depth)) for width in widths]
    sample = runs.sample("network", network, runs.last, shapes)
    start = runs.sample("network", network, 0, shapes)
    if len(sample) < 2:
        return
    scale = mean_square(runs.change("limit", limit, target_shape)[:, 0])
    columns = {
        "series": COMPARISONS[couplings],
        "coupling": network,
        "depth": depth,
        "split": "probe",
    }

    def error(networks: np.ndarray, limits: np.ndarray) -> np.ndarray:
        square: np.ndarray = mean_square(networks, limits[:, None]) / scale
        return square

    found = jackknife_interval(error, sample, target)
    shown = {**columns, "width": widths, "source": "network"}
    rows.add("error_square_over_width", runs.keys, found, len(sample), step=runs.last, **shown)

    def fluctuation(networks: np.ndarray) -> np.ndarray:
        spread: np.ndarray = np.sqrt(networks.var(axis=0, ddof=1).mean(axis=-1) / scale)
        return spread

    for step, values in ((runs.last, sample), (0, start)):
        spread = jackknife_interval(fluctuation, values)
        rows.add("fluctuation_over_width", runs.keys, spread, len(values), step=step, **shown)
        _add_slope(rows, runs.keys, widths, fluctuation, values, {**columns, "step": step})


def _add_slope(
    rows: Rows,
    keys: dict[str, object],
    widths: np.ndarray,
    spread: Callable[[np.ndarray], np.ndarray],
    sample: np.ndarray,
    columns: dict[str, Any],
) -> None:
    """Exponent of a fluctuation in the width, and its line."""
    if len(widths) < 3:
        return
    fitted, x = {**columns, "source": "fit"}, widths.astype(float)
    slope = jackknife_interval(lambda s: loglog_slope(x, spread(s)[None])[0], sample)
    rows.add("fluctuation_over_width_slope", keys, slope, len(sample), **fitted)
    gradient, intercept = line(np.log(x), np.log(spread(sample))[None])
    curve = np.exp(intercept + gradient * np.log(x))
    rows.add("fluctuation_over_width", keys, curve, len(sample), width=x, **fitted)


def _add_over_depth(rows: Rows, runs: _Outputs, couplings: tuple[str, str]) -> None:
    """Errors over depth, and of infinite depth, against the limit of infinite depth."""
    network, limit = couplings
    target, change = runs.at_infinite_depth("limit", limit)
    if len(target) < 2:
        return
    scale = mean_square(change)

    def error(sample: np.ndarray, limits: np.ndarray) -> np.ndarray:
        square: np.ndarray = mean_square(sample, limits[:, None]) / scale
        return square

    for source, width in (("network", runs.widest), ("limit", runs.particles)):
        if source == "limit" and network == limit:
            continue  # a limit's distance to its own extrapolation is zero by construction
        columns = {
            "series": COMPARISONS[couplings],
            "coupling": network,
            "split": "probe",
            "step": runs.last,
            "width": width,
            "source": source,
        }
        last, _ = runs.at_infinite_depth(source, network)
        if len(last) >= 2:
            found = jackknife_interval(error, last[:, None], target)
            rows.add("error_square_at_infinite_depth", runs.keys, found, len(last), **columns)
        depths = runs.depths(source, network, width)
        shapes = [(width, int(depth)) for depth in depths]
        sample = runs.sample(source, network, runs.last, shapes) if shapes else np.empty((0,))
        if len(sample) < 2:
            continue
        found = jackknife_interval(error, sample, target)
        shown = {**columns, "depth": depths}
        rows.add("error_square_over_depth", runs.keys, found, len(sample), **shown)
        if source == "network":
            noise = root(sample.var(axis=0, ddof=1).mean(axis=-1) / scale)
            rows.add("fluctuation_over_depth", runs.keys, noise, len(sample), **shown)


def _add_nearer(rows: Rows, runs: _Outputs, coupling: str) -> None:
    """Squared error to one kind of NFD minus that to the coupled limit, both at infinite depth.

    Of the widest standard networks; both relative to the coupled limit's output change. Positive: the
    networks are nearer to the coupled limit.
    """
    networks, _ = runs.at_infinite_depth("network", "standard")
    nfd, _ = runs.at_infinite_depth("limit", coupling)
    coupled, change = runs.at_infinite_depth("limit", "standard")
    if min(map(len, (networks, nfd, coupled))) < 2:
        return
    scale = mean_square(change)

    def nearer(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        difference: np.ndarray = (mean_square(a, b) - mean_square(a, c)) / scale
        return difference

    found = jackknife_interval(nearer, networks, nfd, coupled)
    series = f"{COUPLINGS[coupling].limit_name} minus coupled limit"
    columns = {"series": series, "coupling": "standard", "split": "probe", "source": "fit"}
    sizes = {"width": runs.widest, "step": runs.last}
    seeds = len(networks)
    rows.add("squared_error_difference", runs.keys, found, seeds, **columns, **sizes)


def _add_itself(rows: Rows, runs: _Outputs, coupling: str) -> None:
    """A limit against itself: one half of its seeds against the other, where no distance can be."""
    last, change = runs.at_infinite_depth("limit", coupling)
    halves = last[::2], last[1::2]
    if min(map(len, halves)) < 2:
        return
    scale = mean_square(change)
    found = jackknife_interval(lambda a, b: mean_square(a, b) / scale, *halves)
    columns = {
        "series": f"{COUPLINGS[coupling].limit_name} to itself",
        "coupling": coupling,
        "split": "probe",
        "source": "limit",
    }
    sizes = {"width": runs.particles, "step": runs.last}
    rows.add("error_square_at_infinite_depth", runs.keys, found, len(last), **columns, **sizes)
