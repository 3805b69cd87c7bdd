"""Two-layer blocks: where the learned change goes (C9), and what the corrected rate buys (C11, C12).

The observables, own, inherited, total, stream and gradient change, are those of docs/theory.md, section 6;
the correction and its exponent p those of section 2; section 5 says what the first steps must show.
internal_collapse reads each network at its reading rate (:func:`nfd.evidence.selection.reading_rates`).

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
internal_collapse (the first and the last step)
    own_change_1, own_change_2, inherited_change_1, inherited_change_2, total_change_1, total_change_2,
    stream_change_1, stream_change_2, gradient_change_1, gradient_change_2, output_change
                                   network, fit  over depth
    <each>_slope                   fit      one row per series and step
    gradient_change_1              closed_form  over depth, first step, one sample: the decoupled networks'
                                            scaled to their first point; series as theirs
correction_exponent (besides the quantities of depth_transfer, in :mod:`nfd.evidence.rates`)
    first_step_output_change, first_step_output_change_slope    network and fit, fit  over depth
                                            (the smallest rate)
deeper_is_better (from experiment depth_transfer_2)
    best_train_loss, best_test_loss           network  over depth, each at its own best rate
    advantage                      network  over depth: log(depth_mup's best loss / its own), paired by seed;
                                            series as the network that is compared with depth_mup
    advantage_mean                 fit      average over depths
    train_loss_gain_depth, train_loss_gain_depth_mean           as in scaling_trend
                                            (:mod:`nfd.claims.scaling.evidence`)
"""

import numpy as np
import pandas as pd

from nfd.closed_form import learned_gradient_change
from nfd.evidence.estimates import add_change, add_diverged, add_gain_rows
from nfd.evidence.intervals import interval, over_seeds
from nfd.evidence.rates import Curves, add_best_loss, add_transfer, least_loss
from nfd.evidence.selection import (
    at_reading_rate,
    each,
    first_step,
    grid_values,
    pick_last,
    pick_metric,
    pick_networks,
    pick_runs,
)
from nfd.evidence.table import DEFAULT_TRAINABLE, LINE, Rows, series_label
from nfd.network.activations import ACTIVATIONS

CHANGES = (
    "own_change_1",
    "own_change_2",
    "inherited_change_1",
    "inherited_change_2",
    "total_change_1",
    "total_change_2",
    "stream_change_1",
    "stream_change_2",
    "gradient_change_1",
    "gradient_change_2",
    "output_change",
)


def internal_collapse(results: pd.DataFrame) -> pd.DataFrame:
    """Own, inherited and stream change of both internal layers over depth (claims C9, C11)."""
    rows = Rows()
    data = pick_networks(pick_runs(results, "internal_collapse"))
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    if chosen.empty:
        return rows.frame()
    steps = sorted({first_step(chosen), int(chosen["step"].max())})
    for metric in CHANGES:
        measured = pick_metric(chosen, metric)
        for keys, part in each(measured[measured["step"].isin(steps)], *LINE, "width", "step"):
            add_change(rows, metric, keys, part, int(keys["step"]))
    changed = pick_metric(chosen[chosen["step"] == steps[0]], "gradient_change_1")
    _add_gradient_theory(rows, changed[changed["coupling"] == "decoupled"])
    return rows.frame()


def _add_gradient_theory(rows: Rows, data: pd.DataFrame) -> None:
    """The closed form of one sample beside each line of depth_mup and its corrections, at its own scale."""
    for keys, part in each(data, *LINE, "width", "step", "activation", "horizon"):
        activation = str(keys.pop("activation"))
        horizon = float(keys.pop("horizon"))
        known = keys["parametrization"] in ("depth_mup", "depth_mup_corrected")
        (depths,), values = grid_values(part, "depth")
        if not known or not len(values) or ACTIVATIONS[activation].energy is None:
            continue
        exact = np.array(
            [
                learned_gradient_change(
                    depth=int(depth),
                    horizon=horizon,
                    activation=activation,
                    correction=float(keys["correction"]),
                )
                for depth in depths
            ]
        )
        scaled = exact / exact[0] * over_seeds(values)[0]
        shown = {"source": "closed_form", "split": "probe", "depth": depths}
        rows.add("gradient_change_1", keys, scaled, **shown)


def correction_exponent(results: pd.DataFrame) -> pd.DataFrame:
    """The correction's exponent p: first-step change of the output and transfer (claim C11)."""
    rows = Rows()
    data = pick_networks(pick_runs(results, "correction_exponent"))
    add_transfer(rows, data, "depth")
    _add_first_step_change(rows, data)
    return rows.frame()


def _add_first_step_change(rows: Rows, data: pd.DataFrame) -> None:
    """How far the first step moves the outputs, over depth, at the smallest rate (linear response)."""
    data = pick_metric(data, "output_change")
    if data.empty:
        return
    data = data[(data["learning_rate"] == data["learning_rate"].min()) & ~data["lost"]]
    if data.empty:
        return
    step = first_step(data)
    for keys, part in each(data[data["step"] == step], *LINE, "width", "learning_rate"):
        add_change(rows, "first_step_output_change", keys, part, step)


def deeper_is_better(results: pd.DataFrame) -> pd.DataFrame:
    """Best loss over depth, and the advantage over depth_mup (claim C12)."""
    rows = Rows()
    data = pick_networks(pick_runs(results, "depth_transfer_2"))
    if data.empty:
        return rows.frame()
    everything = data["block_layers"].map(DEFAULT_TRAINABLE)
    plain = (data["trainable"] == everything) & (data["coupling"] == "standard")
    data = data[plain]
    add_diverged(rows, data)
    final = pick_last(data)
    for _, group in each(final, "block_layers", "optimizer", "width"):
        lines = {series_label(keys): (keys, part) for keys, part in each(group, *LINE, "width")}
        reference = lines.get("depth_mup")
        for keys, part in lines.values():
            _add_depth_losses(rows, keys, part)
            if reference is not None and keys != reference[0]:
                _add_advantage(rows, keys, part, reference[1])
    return rows.frame()


def _add_depth_losses(rows: Rows, keys: dict[str, object], part: pd.DataFrame) -> None:
    curves = Curves.of(part, "depth")
    if curves is None:
        return
    step = int(part["step"].iloc[0])
    best = curves.rates[np.argmin(np.nan_to_num(over_seeds(curves.train), nan=np.inf), axis=1)]
    columns = {"step": step, "split": "train", "depth": curves.sizes, "learning_rate": best}
    add_best_loss(rows, keys, curves, {**columns, "source": "network"})
    if len(curves.sizes) < 2:
        return
    quantity, shown = "train_loss_gain_depth", {"step": step, "split": "train"}

    def best_loss(means: np.ndarray) -> np.ndarray:
        return least_loss(means)[..., None]

    add_gain_rows(rows, keys, quantity, "depth", curves.sizes, curves.train, shown, best_loss)


def _add_advantage(
    rows: Rows, keys: dict[str, object], part: pd.DataFrame, reference: pd.DataFrame
) -> None:
    """log(depth_mup's best loss / this network's best loss) at each depth, paired by seed."""
    both = []
    depths = np.intersect1d(part["depth"], reference["depth"])
    seeds = np.intersect1d(part["seed"], reference["seed"])
    for frame in (reference, part):
        shared = frame[frame["depth"].isin(depths) & frame["seed"].isin(seeds)]
        curves = Curves.of(shared, "depth") if len(shared) else None
        if curves is None:
            return
        both.append(curves.train)
    split = both[0].shape[2]

    def advantage(m: np.ndarray) -> np.ndarray:
        return np.log(least_loss(m[..., :split])) - np.log(least_loss(m[..., split:]))

    paired = np.concatenate(both, axis=2)  # (seeds, depths, rates of both)
    columns = {"step": int(part["step"].iloc[0]), "split": "train"}
    found = interval(advantage, paired, names=("advantage",))
    shown = {**columns, "depth": depths, "source": "network"}
    rows.add("advantage", keys, found, len(seeds), **shown)
    average = interval(lambda m: advantage(m).mean(axis=1), paired, names=("advantage",))
    rows.add("advantage_mean", keys, average, len(seeds), source="fit", **columns)
