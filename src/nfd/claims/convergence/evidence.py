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
            _add_limits_apart(rows, runs, couplings)
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


# A cell of outputs: coupling, width (of a limit its particles), depth.
OutputCell = tuple[str, int, float]
INFINITE = float("inf")


class _Outputs:
    """Output vectors of one network and its limits at one learning rate.

    Of the largest size there are also those of depth INFINITE, extrapolated seed by seed as limit + b / L.
    """

    def __init__(self, keys: dict[str, object], networks: pd.DataFrame, limits: pd.DataFrame):
        self.keys = keys
        self.last = int(networks["step"].max())
        # If limits were run with several numbers of particles, the most are the limit.
        self.largest = {
            "network": int(networks["width"].max()),
            "limit": int(limits["width"].max()),
        }
        # (source, step, coupling, width, depth) -> seed -> outputs
        self.vectors: dict[tuple[Any, ...], dict[int, np.ndarray]] = {}
        rows = pd.concat([networks, limits])
        names = ["source", "step", "coupling", "width", "depth", "seed", "vector"]
        check_once(rows, *names[:-1])
        for *cell, seed, vector in rows[names].itertuples(index=False, name=None):
            self.vectors.setdefault(tuple(cell), {})[seed] = vector
        for source, coupling in sorted({(cell[0], cell[2]) for cell in self.vectors}):
            self._extrapolate(source, coupling)

    def _extrapolate(self, source: str, coupling: str) -> None:
        """Add outputs of infinite depth, of the seeds that all depths from FROM_DEPTH on have."""
        depths = self.depths(source, coupling)
        depths = depths[depths >= FROM_DEPTH]
        if len(depths) < 2:
            return
        size, weights = self.largest[source], first_order_weights(depths)[0]
        for step in (0, self.last):
            by_depth = [
                self.vectors.get((source, step, coupling, size, depth), {}) for depth in depths
            ]
            self.vectors[source, step, coupling, size, INFINITE] = {
                seed: np.tensordot(weights, [vectors[seed] for vectors in by_depth], 1)
                for seed in set.intersection(*map(set, by_depth))
            }

    def widths(self, coupling: str, depth: int) -> np.ndarray:
        """Widths of the networks of this depth, with outputs of at least two seeds."""
        return self._sizes("network", coupling, lambda n, L: n if depth == L else None)

    def depths(self, source: str, coupling: str) -> np.ndarray:
        """Depths at the largest width of networks, or number of particles of limits."""
        size = self.largest[source]
        return self._sizes(source, coupling, lambda n, L: L if size == n else None)

    def _sizes(
        self, source: str, coupling: str, pick: Callable[[int, float], float | None]
    ) -> np.ndarray:
        shapes = [
            cell[3:]
            for cell, seeds in self.vectors.items()
            if cell[:3] == (source, self.last, coupling) and len(seeds) >= 2
        ]
        found = {size for n, L in shapes if L < INFINITE and (size := pick(n, L)) is not None}
        return np.array(sorted(found), dtype=int)

    def sample(self, source: str, step: int, cells: Sequence[OutputCell]) -> np.ndarray:
        """Outputs (seeds, cells, entries) of the seeds that all ``cells`` have; perhaps of none."""
        by_cell = [self.vectors.get((source, step, *cell), {}) for cell in cells]
        common = sorted(set.intersection(*map(set, by_cell)))
        if not common:
            return np.empty((0, len(cells), 0))
        return np.array([[vectors[seed] for vectors in by_cell] for seed in common])

    def change(self, source: str, cells: Sequence[OutputCell]) -> np.ndarray:
        """The same of the change of the outputs from step 0 to the last step."""
        return self.sample(source, self.last, cells) - self.sample(source, 0, cells)

    def at_infinite_depth(self, source: str, coupling: str) -> OutputCell:
        """The cell of the largest size at infinite depth."""
        return coupling, self.largest[source], INFINITE


def _add_over_width(rows: Rows, runs: _Outputs, couplings: tuple[str, str], depth: int) -> None:
    """Error and fluctuation over width against the limit of the same depth."""
    network, limit = couplings
    widths = runs.widths(network, depth)
    target_cell = [(limit, runs.largest["limit"], int(depth))]
    target = runs.sample("limit", runs.last, target_cell)[:, 0]
    if len(widths) < 2 or len(target) < 2:
        return
    cells = [(network, int(width), int(depth)) for width in widths]
    sample = runs.sample("network", runs.last, cells)
    start = runs.sample("network", 0, cells)
    if len(sample) < 2:
        return
    scale = mean_square(runs.change("limit", target_cell)[:, 0])
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
    """Errors of networks over depth, and of infinite depth, against the limit of infinite depth."""
    network, limit = couplings
    goal = [runs.at_infinite_depth("limit", limit)]
    target = runs.sample("limit", runs.last, goal)
    depths = runs.depths("network", network)
    if len(target) < 2 or not len(depths):
        return
    scale = mean_square(runs.change("limit", goal)[:, 0])

    def error(networks: np.ndarray, limits: np.ndarray) -> np.ndarray:
        square: np.ndarray = mean_square(networks, limits) / scale
        return square

    columns = _columns(runs, couplings, "network")
    last = runs.sample("network", runs.last, [runs.at_infinite_depth("network", network)])
    if len(last) >= 2:
        found = jackknife_interval(error, last, target)
        rows.add("error_square_at_infinite_depth", runs.keys, found, len(last), **columns)
    cells = [(network, runs.largest["network"], depth) for depth in depths]
    sample = runs.sample("network", runs.last, cells)
    if len(sample) < 2:
        return
    found = jackknife_interval(error, sample, target)
    rows.add("error_square_over_depth", runs.keys, found, len(sample), **columns, depth=depths)
    noise = root(sample.var(axis=0, ddof=1).mean(axis=-1) / scale)
    rows.add("fluctuation_over_depth", runs.keys, noise, len(sample), **columns, depth=depths)


def _add_limits_apart(rows: Rows, runs: _Outputs, couplings: tuple[str, str]) -> None:
    """One limit over depth, and of infinite depth, against another of infinite depth.

    Limits of one seed share their draws, so the squares are those of differences by seed. Taken for
    independent, the square would come out too small by what the two share.
    """
    one, other = couplings
    if one == other:
        return  # a limit's distance to its own extrapolation is zero by construction
    goal, size = runs.at_infinite_depth("limit", other), runs.largest["limit"]
    depths = runs.depths("limit", one)
    cells = [runs.at_infinite_depth("limit", one), *((one, size, depth) for depth in depths)]
    sample = runs.sample("limit", runs.last, [goal, *cells])
    if len(sample) < 2:
        return
    scale = mean_square(runs.change("limit", [goal])[:, 0])
    found = jackknife_interval(lambda d: mean_square(d) / scale, sample[:, 1:] - sample[:, :1])
    columns, seeds = _columns(runs, couplings, "limit"), len(sample)
    rows.add("error_square_at_infinite_depth", runs.keys, found.part(0), seeds, **columns)
    over_depth = found.part(slice(1, None))
    rows.add("error_square_over_depth", runs.keys, over_depth, seeds, **columns, depth=depths)


def _columns(runs: _Outputs, couplings: tuple[str, str], source: str) -> dict[str, Any]:
    """What rows of a comparison over depth have in common."""
    return {
        "series": COMPARISONS[couplings],
        "coupling": couplings[0],
        "split": "probe",
        "step": runs.last,
        "width": runs.largest[source],
        "source": source,
    }


def _add_nearer(rows: Rows, runs: _Outputs, coupling: str) -> None:
    """Squared error to one kind of NFD minus that to the coupled limit, both at infinite depth.

    Of the widest standard networks; both relative to the coupled limit's output change. Positive: the
    networks are nearer to the coupled limit.
    """
    networks = runs.sample("network", runs.last, [runs.at_infinite_depth("network", "standard")])
    # The two limits share their seeds.
    cells = [runs.at_infinite_depth("limit", name) for name in (coupling, "standard")]
    limits = runs.sample("limit", runs.last, cells)
    if min(map(len, (networks, limits))) < 2:
        return
    scale = mean_square(runs.change("limit", cells[1:])[:, 0])

    def nearer(networks: np.ndarray, limits: np.ndarray) -> np.ndarray:
        to_nfd, to_coupled = mean_square(networks, limits) / scale
        return np.asarray(to_nfd - to_coupled)

    found = jackknife_interval(nearer, networks, limits)
    series = f"{COUPLINGS[coupling].limit_name} minus coupled limit"
    columns = {"series": series, "coupling": "standard", "split": "probe", "source": "fit"}
    sizes = {"width": runs.largest["network"], "step": runs.last}
    seeds = len(networks)
    rows.add("squared_error_difference", runs.keys, found, seeds, **columns, **sizes)


def _add_itself(rows: Rows, runs: _Outputs, coupling: str) -> None:
    """A limit against itself: one half of its seeds against the other, where no distance can be."""
    cells = [runs.at_infinite_depth("limit", coupling)]
    last = runs.sample("limit", runs.last, cells)[:, 0]
    halves = last[::2], last[1::2]
    if min(map(len, halves)) < 2:
        return
    scale = mean_square(runs.change("limit", cells)[:, 0])
    found = jackknife_interval(lambda a, b: mean_square(a, b) / scale, *halves)
    columns = {
        "series": f"{COUPLINGS[coupling].limit_name} to itself",
        "coupling": coupling,
        "split": "probe",
        "source": "limit",
    }
    sizes = {"width": runs.largest["limit"], "step": runs.last}
    rows.add("error_square_at_infinite_depth", runs.keys, found, len(last), **columns, **sizes)
