"""What is lost by training with independent backward weights, over steps, progress and depth (claim C4).

Standard, decoupled and fresh training are those of docs/theory.md, section 3; the closed forms of the first
step are in section 5. Each network is read at its reading rate
(:func:`nfd.evidence.selection.reading_rates`).

Gaps are squares: of the gap between mean outputs over seeds, relative to the square of the standard
networks' mean change, both unbiased (:mod:`nfd.evidence.squares`), so what finite width adds as noise is not
in them and they may be negative. 'At p %' is where the standard networks' training loss, averaged over seeds,
has first fallen by p % of all that it falls: the square is interpolated between the recorded steps, with
weights that are not resampled.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
gia_restoration (series: the network, compared with its decoupled twin; '<network>, fresh copies': with
fresh copies)
    train_loss, test_loss          network  over depth, step; one series per network and coupling
    gap_square                     network  over depth, step
    gap_square_at_10, gap_square_at_25, gap_square_at_50, gap_square_at_75
                                   network  over depth, at 10 % ... of progress; step: where that is
    single_gap_square              network  over depth, step: of single runs, with the noise of their width
    loss_gap                       network  over depth, step: (decoupled - standard training loss) / what the
                                            standard one has lost so far
    <each>                         fit      curve c + b / L over depth
    <each>_plateau                 fit      c; one row per series and step
    gap_square                     closed_form  over depth, step 1, small rate: series 'one sample', and per
                                            network the gap on the very batch that was learned first
response_by_layer (steps at a rate so small that they add up)
    response_ratio                 network  over depth, step: rms of the mean output change, standard over
                                            decoupled; one series per layer that is trained, and for all
    response_ratio                 closed_form  over depth, step 1: the same series on the very batch, and
                                            'one sample: <layer>'
    first_gap_square               network  after the first step at the middle depth; series '<activation>,
                                            T = <T>'
    first_gap_square               closed_form  the same on the very batch, and 'one sample, <the same>'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nfd.closed_form import (
    Batch,
    batch_gap,
    batch_response_ratio,
    first_step_gap,
    response_ratio,
)
from nfd.evidence.estimates import add_diverged, add_losses
from nfd.evidence.first_order import first_order_curve, first_order_weights
from nfd.evidence.intervals import Interval, jackknife_interval
from nfd.evidence.selection import (
    at_reading_rate,
    check_once,
    each,
    first_step,
    grid_values,
    pick_metric,
    pick_networks,
    pick_runs,
    pick_vectors,
)
from nfd.evidence.squares import Squares, plateau, ratio_of_squares
from nfd.evidence.table import CELL, DEFAULT_TRAINABLE, NETWORK, Rows
from nfd.network.activations import ACTIVATIONS
from nfd.network.parametrization import FEATURE_LEARNING

# Per cent of the fall of the training loss at which gaps are read.
PROGRESS = (10, 25, 50, 75)
# Couplings compared with the standard one, and the coupling in the rows that do so.
COMPARED = {"decoupled": "", "fresh": "fresh"}
# The experiment in which each layer is trained alone, and those at another T or activation.
RESPONSES = (
    "response_by_layer",
    "response_at_small_horizon",
    "response_at_large_horizon",
    "response_of_tanh",
)
HORIZONS = (0.1, 0.141, 0.2, 0.3, 0.424, 0.6, 1.0, 1.41, 2.0, 3.0)


def gia_restoration(
    results: pd.DataFrame, outputs: pd.DataFrame | None, batch: Batch | None = None
) -> pd.DataFrame:
    """Standard training against decoupled and fresh over depth (claim C4); ``batch``: the first one."""
    rows = Rows()
    data = pick_runs(results, "gia_restoration")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    add_losses(rows, chosen)
    vectors = pick_vectors(outputs, chosen)
    for network, part in each(chosen, *NETWORK, "width"):
        for other, label in COMPARED.items():
            twins = part[part["coupling"].isin(["standard", other])]
            if twins["coupling"].nunique() == 2:
                line = _Line(rows, {**network, "coupling": label} if label else network, twins)
                _add_output_gaps(line, twins, _matching(vectors, network), other)
                _add_loss_gap(line, twins, other)
    _add_closed_forms(rows, data, batch)
    return rows.frame()


def _matching(vectors: pd.DataFrame, line: Mapping[str, object]) -> pd.DataFrame:
    mask = np.ones(len(vectors), bool)
    for column, value in {"source": "network", **line}.items():
        mask &= (vectors[column] == value).to_numpy(bool)
    return vectors[mask]


class _Line:
    """Where the rows of one network and comparison go, with the rate at which each depth is read."""

    def __init__(self, rows: Rows, keys: Mapping[str, object], part: pd.DataFrame):
        self.rows, self.keys = rows, keys
        self.rates = part.groupby("depth")["learning_rate"].first()

    def add(
        self,
        quantity: str,
        depths: np.ndarray,
        squares: Squares,
        sample: np.ndarray,
        step: float | np.ndarray,
        split: str = "probe",
    ) -> None:
        """``squares(sample)`` (depths,) at each depth, their plateau c of c + b / L, and the curve.

        ``step`` is one for all depths, or one for each.
        """
        seeds, rates = len(sample), self.rates.loc[depths].to_numpy()
        columns = {"split": split, "source": "network", "depth": depths, "learning_rate": rates}
        found = jackknife_interval(squares, sample)
        self.rows.add(quantity, self.keys, found, seeds, step=step, **columns)
        if len(depths) < 3:  # two give any pair of values a plateau
            return
        fitted: dict[str, object] = {"split": split, "source": "fit"}
        if np.ndim(step) == 0:
            fitted["step"] = step
        level = plateau(depths, squares, sample)
        self.rows.add(f"{quantity}_plateau", self.keys, level, seeds, **fitted)
        shown, curve = first_order_curve(depths, *first_order_weights(depths) @ found.estimate)
        self.rows.add(quantity, self.keys, curve, seeds, depth=shown, **fitted)


# --------------------------------------------------------------------------------------------- outputs


@dataclass(frozen=True)
class _Twins:
    """``sample`` (seeds, [gap, change], depths, steps, entries) of outputs paired by seed."""

    depths: np.ndarray
    steps: np.ndarray  # those after step 0
    sample: np.ndarray


def _paired(vectors: pd.DataFrame, other: str) -> _Twins | None:
    """Outputs of the seeds that have both couplings at all steps and depths; None for fewer than two."""
    check_once(vectors, "coupling", "depth", "step", "seed")
    wide = vectors.set_index(["coupling", "depth", "step", "seed"])["vector"]
    standard, twin = (
        wide[wide.index.get_level_values("coupling") == name].droplevel("coupling")
        for name in ("standard", other)
    )
    both = standard.index.intersection(twin.index)
    counts = both.to_frame(index=False).groupby(["depth", "seed"])["step"].nunique()
    complete = counts[counts == counts.max()].reset_index() if len(counts) else pd.DataFrame()
    if complete.empty:
        return None
    by_depth = complete.groupby("depth")["seed"].agg(set)
    by_depth = by_depth[by_depth.map(len) >= 2]
    seeds = sorted(set.intersection(*by_depth)) if len(by_depth) else []
    steps = np.sort(both.get_level_values("step").unique())
    if len(seeds) < 2 or len(steps) < 2:
        return None

    def grid(of: pd.Series) -> np.ndarray:
        return np.array([[[of[L, k, s] for k in steps] for L in by_depth.index] for s in seeds])

    real, independent = grid(standard), grid(twin)
    gap, change = real - independent, real - real[:, :, :1]
    sample = np.stack([gap, change], axis=1)[:, :, :, 1:]
    return _Twins(by_depth.index.to_numpy(), steps[1:], sample)


def _relative(sample: np.ndarray) -> np.ndarray:
    """Squares (depths, steps) of the mean gap over those of the mean change."""
    return ratio_of_squares(sample[:, 0], sample[:, 1])


def _relative_single(sample: np.ndarray) -> np.ndarray:
    """The same of single runs."""
    gap, change = (sample**2).mean(axis=(0, -1))
    return gap / change


def _add_output_gaps(line: _Line, part: pd.DataFrame, vectors: pd.DataFrame, other: str) -> None:
    twins = _paired(vectors, other)
    if twins is None:
        return
    for place, step in enumerate(twins.steps):
        at = twins.sample[..., place : place + 1, :]
        line.add("gap_square", twins.depths, lambda s: _relative(s)[:, 0], at, step)
        line.add("single_gap_square", twins.depths, lambda s: _relative_single(s)[:, 0], at, step)
    progress = _progress(part, twins)
    for percent in PROGRESS:
        weights = progress_weights(progress, percent / 100)

        def at_progress(sample: np.ndarray, weights: np.ndarray = weights) -> np.ndarray:
            return (_relative(sample) * weights).sum(axis=1)

        step = weights @ twins.steps
        line.add(f"gap_square_at_{percent}", twins.depths, at_progress, twins.sample, step)


def _progress(part: pd.DataFrame, twins: _Twins) -> np.ndarray:
    """Share (depths, steps) of the fall of the standard networks' mean training loss that is behind them."""
    losses = pick_metric(pick_networks(part), "loss", "train")
    losses = losses[(losses["coupling"] == "standard") & losses["depth"].isin(twins.depths)]
    _, values = grid_values(losses[losses["step"].isin([0, *twins.steps])], "depth", "step")
    mean = np.nanmean(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        fallen: np.ndarray = (mean[:, :1] - mean[:, 1:]) / (mean[:, :1] - mean[:, -1:])
    return fallen


def progress_weights(progress: np.ndarray, share: float) -> np.ndarray:
    """Weights (depths, steps) of the recorded steps around the first at which ``progress`` reaches ``share``.

    Linear in progress between the two. What is reached within the first step is read after it.
    """
    weights = np.zeros_like(progress)
    for row, reached in zip(weights, progress, strict=True):
        after = int(np.argmax(reached >= share))
        row[after] = 1.0
        if after > 0:
            before = reached[after - 1]
            row[after] = (share - before) / (reached[after] - before)
            row[after - 1] = 1 - row[after]
    return weights


# ---------------------------------------------------------------------------------------------- losses


def _add_loss_gap(line: _Line, part: pd.DataFrame, other: str) -> None:
    losses = pick_metric(pick_networks(part), "loss", "train")
    (couplings, depths, steps), values = grid_values(losses, "coupling", "depth", "step")
    complete = values[np.isfinite(values).all(axis=(1, 2, 3))]
    if len(complete) < 2 or len(steps) < 2:
        return
    standard, twin = (list(couplings).index(name) for name in ("standard", other))
    for place in range(1, len(steps)):

        def gap(sample: np.ndarray, place: int = place) -> np.ndarray:
            mean = sample.mean(axis=0)
            apart = mean[twin, :, place] - mean[standard, :, place]
            shares: np.ndarray = apart / (mean[standard, :, 0] - mean[standard, :, place])
            return shares

        line.add("loss_gap", depths, gap, complete, steps[place], "train")


# ---------------------------------------------------------------------------------------- closed forms


def _add_closed_forms(rows: Rows, data: pd.DataFrame, batch: Batch | None) -> None:
    """Exact squares of the first small step: of one sample, and of the batch that was learned."""
    run = data.iloc[0]
    setting: dict[str, Any] = {
        "horizon": float(run["horizon"]),
        "activation": str(run["activation"]),
    }
    columns = {"source": "closed_form", "step": first_step(data), "split": "probe"}
    if ACTIVATIONS[run["activation"]].energy is not None:
        depths = np.sort(data["depth"].unique())
        exact = np.array([first_step_gap(depth=float(L), **setting) for L in depths])
        rows.add("gap_square", {}, exact**2, series="one sample", depth=depths, **columns)
    if batch is None or ACTIVATIONS[run["activation"]].kernel is None:
        return
    networks = pick_networks(data)
    wide = networks[
        networks["parametrization"].isin(FEATURE_LEARNING)
    ]  # those with a finite kernel
    for network, part in each(wide, *NETWORK):
        depths = np.sort(part["depth"].unique())
        options = {**setting, **network_options(network, str(run["loss"]))}
        exact = np.array([batch_gap(*batch, depth=int(L), **options) for L in depths])
        rows.add("gap_square", network, exact**2, depth=depths, **columns)


def network_options(network: Mapping[str, Any], loss: str) -> dict[str, Any]:
    """A network (NETWORK) as options of :func:`nfd.closed_form.first_step_change`."""
    return {
        "parametrization": network["parametrization"],
        "correction": network["correction"],
        "block_layers": network["block_layers"],
        "skip": bool(network["skip"]),
        "trainable": tuple(network["trainable"].split("+")),
        "loss": loss,
    }


# ------------------------------------------------------------------------------------ response by layer


def response_by_layer(
    results: pd.DataFrame, outputs: pd.DataFrame | None, batch: Batch | None = None
) -> pd.DataFrame:
    """How outputs answer the first steps at a small rate: by layer, over T and the activation (C4)."""
    rows = Rows()
    runs = {name: pick_networks(pick_runs(results, name)) for name in RESPONSES}
    add_diverged(rows, pd.concat(runs.values(), ignore_index=True))
    curves = set()  # activations whose exact gap over T is there
    for experiment, data in runs.items():
        if data.empty:
            continue
        check_once(data, *CELL, "step", "split", "metric", "seed")
        vectors = pick_vectors(outputs, data)
        for network, part in each(data, *NETWORK, "width"):
            twins = _paired(_matching(vectors, network), "decoupled")
            if twins is None:
                continue
            if experiment == RESPONSES[0]:
                _add_ratios(_Line(rows, network, part), twins)
            if network["trainable"] == DEFAULT_TRAINABLE[1]:
                _add_over_horizon(rows, part, twins)
        if experiment == RESPONSES[0]:
            _add_exact_ratios(rows, data, batch)
        if data["activation"].iloc[0] not in curves:
            _add_exact_over_horizon(rows, data, batch)
            curves.add(data["activation"].iloc[0])
    return rows.frame()


def _add_ratios(line: _Line, twins: _Twins) -> None:
    def ratio(sample: np.ndarray) -> np.ndarray:
        gap, change = sample.swapaxes(0, 1)
        return np.sqrt(ratio_of_squares(change, change - gap))

    found = jackknife_interval(ratio, twins.sample)  # (depths, steps)
    for place, step in enumerate(twins.steps):
        columns = {"step": step, "split": "probe", "source": "network", "depth": twins.depths}
        at = Interval(found.estimate[:, place], found.low[:, place], found.high[:, place])
        line.rows.add("response_ratio", line.keys, at, len(twins.sample), **columns)


def _add_exact_ratios(rows: Rows, data: pd.DataFrame, batch: Batch | None) -> None:
    run = data.iloc[0]
    setting: dict[str, Any] = {
        "horizon": float(run["horizon"]),
        "activation": str(run["activation"]),
    }
    depths = np.unique(np.geomspace(data["depth"].min(), data["depth"].max(), 7).round())
    columns = {"source": "closed_form", "step": 1, "split": "probe", "depth": depths}
    for network, _ in each(data[data["coupling"] == "standard"], *NETWORK):
        role = network["trainable"]
        if role in ("input", "hidden_2", "output"):
            exact = np.array([response_ratio(role, depth=float(L), **setting) for L in depths])
            rows.add("response_ratio", {}, exact, series=f"one sample: {role}", **columns)
        if batch is None:
            continue
        options = {**setting, **network_options(network, str(run["loss"]))}
        exact = np.array([batch_response_ratio(*batch, depth=int(L), **options) for L in depths])
        rows.add("response_ratio", network, exact, **columns)


def _middle_depth(data: pd.DataFrame) -> int:
    """The depth at which gaps are compared over T."""
    depths = np.sort(data["depth"].unique())
    return int(depths[len(depths) // 2])


def _add_over_horizon(rows: Rows, part: pd.DataFrame, twins: _Twins) -> None:
    """The squared gap after the first step at one depth."""
    depth = _middle_depth(part)
    sample = twins.sample[:, :, twins.depths == depth, :1]
    if not sample.shape[2]:
        return
    found = jackknife_interval(lambda s: _relative(s)[:, 0], sample)
    run = part.iloc[0]
    series = _horizon_series(run["activation"], run["horizon"])
    columns = {"series": series, "depth": depth, "width": run["width"], "source": "network"}
    at = {"step": twins.steps[0], "split": "probe"}
    rows.add("first_gap_square", {}, found, len(sample), **columns, **at)


def _add_exact_over_horizon(rows: Rows, data: pd.DataFrame, batch: Batch | None) -> None:
    """The exact squares over T: of one sample, and of the batch that was learned."""
    run, depth = data.iloc[0], _middle_depth(data)
    activation = str(run["activation"])
    columns = {"source": "closed_form", "step": 1, "split": "probe", "depth": depth}
    for horizon in HORIZONS:
        series = _horizon_series(activation, horizon)
        if batch is not None and ACTIVATIONS[activation].kernel is not None:
            options: dict[str, Any] = {
                "activation": activation,
                "loss": str(run["loss"]),
                "horizon": horizon,
            }
            exact = np.array([batch_gap(*batch, depth=depth, **options) ** 2])
            rows.add("first_gap_square", {}, exact, series=series, **columns)
        if ACTIVATIONS[activation].energy is not None:
            gap = first_step_gap(depth=depth, horizon=horizon, activation=activation)
            label = f"one sample, {series}"
            rows.add("first_gap_square", {}, np.array([gap**2]), series=label, **columns)


def _horizon_series(activation: str, horizon: float) -> str:
    return f"{activation}, T = {horizon:.3g}"
