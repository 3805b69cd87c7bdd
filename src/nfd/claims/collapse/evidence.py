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
deeper_is_better (from experiment depth_transfer_2; every network and depth at its own best rate)
    best_train_loss, best_test_loss           network  over depth
    advantage, advantage_test      network  over depth, at the steps read: log(depth_mup's best loss / own),
                                            training and test, paired by seed; series as the network that is
                                            compared with depth_mup
    advantage_accuracy             network  the same of test accuracies: its own - depth_mup's
    advantage_mean                 fit      advantage averaged over depths
    train_loss_gain_depth, test_loss_gain_depth, train_loss_gain_depth_mean, test_loss_gain_depth_mean
                                   network, fit  as in scaling_trend (:mod:`nfd.claims.scaling.evidence`)
    accuracy_gain_depth_mean       fit      test accuracy that a doubling of depth gains, mean
"""

import numpy as np
import pandas as pd

from nfd.closed_form import learned_gradient_change
from nfd.evidence.estimates import add_change, add_diverged, add_gain_rows
from nfd.evidence.intervals import mean_interval, over_seeds
from nfd.evidence.rates import (
    FEWEST_RATES,
    Sweep,
    add_best_losses,
    add_excess,
    add_transfer,
    at_best_rates,
    excess_at_best,
    sweeps,
    with_both_readings,
)
from nfd.evidence.selection import (
    at_reading_rate,
    each,
    first_step,
    grid_values,
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
    for _, group in each(data, "block_layers", "optimizer", "width"):
        lines = {
            series_label(keys): (keys, sweep)
            for keys, sweep in sweeps(group, "depth", FEWEST_RATES)
        }
        reference = lines.get("depth_mup")
        for keys, sweep in lines.values():
            add_best_losses(rows, keys, sweep, "depth")
            _add_gains(rows, keys, sweep)
            if reference is not None and keys != reference[0]:
                _add_advantages(rows, keys, sweep, reference[1])
    return rows.frame()


def _add_gains(rows: Rows, keys: dict[str, object], sweep: Sweep) -> None:
    """What a doubling of depth gains, each depth at its own best rate, at the last step."""
    found = at_best_rates(sweep, -1)
    usable = np.isfinite(found["train"]).all(axis=0)
    if usable.sum() < 2:
        return
    depths, step = sweep.sizes[usable], int(sweep.steps[-1])
    for split in ("train", "test"):
        losses = np.exp(found[split][:, usable])[..., None]
        add_gain_rows(
            rows,
            keys,
            f"{split}_loss_gain_depth",
            "depth",
            depths,
            losses,
            {"step": step, "split": split},
        )
    accuracies = found["accuracy"][:, usable]
    if np.isfinite(accuracies).all():
        per_doubling = (accuracies[:, -1] - accuracies[:, 0]) / np.log2(depths[-1] / depths[0])
        columns = {"step": step, "split": "test", "source": "fit"}
        rows.add(
            "accuracy_gain_depth_mean",
            keys,
            mean_interval(per_doubling),
            len(accuracies),
            **columns,
        )


def _add_advantages(rows: Rows, keys: dict[str, object], sweep: Sweep, reference: Sweep) -> None:
    """By what this network is better than depth_mup, each at its own best rate, at the steps read."""
    for place in sweep.read_at:
        depths, excess = excess_at_best(reference, sweep, place)
        step = int(sweep.steps[place])
        better = {
            "advantage": ("train", excess["train"], excess["train, grid"]),
            "advantage_test": ("test", excess["test"], excess["test, grid"]),
            "advantage_accuracy": ("test", -excess["accuracy"], None),
        }
        for quantity, (split, values, on_grid) in better.items():
            add_excess(rows, quantity, keys, depths, values, "depth", step, split, on_grid)
    last = {"step": int(sweep.steps[-1]), "split": "train"}
    depths, excess = excess_at_best(reference, sweep, -1)
    known = np.isfinite(excess["train"]).all(axis=0)
    if known.any():
        average = with_both_readings(
            mean_interval(excess["train"][:, known].mean(axis=1)),
            excess["train, grid"][:, known].mean(),
        )
        rows.add("advantage_mean", keys, average, len(excess["train"]), source="fit", **last)
