"""Loss against width and depth: what larger networks gain (C1), how fast that ends, and in which limit (C2).

The law is loss = limit + a / n over width and limit + b / L over depth, with the exponents known
(:mod:`nfd.evidence.first_order`), fitted for each seed. All shapes of 'scaling' are read at one *fixed* rate,
which is what transfer is about: that of the smallest network with the least final training loss, among those
at which no run diverged at any shape. No loss of a larger network is looked at to choose it. What decides is
the *batch loss*: the mean over the last stretch between two log points of the loss of each batch before its
step, whose interval is mostly several times narrower than that of the loss of one step.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
scaling_trend (rates: the fixed one, but for what ends in _own_rate: each shape's best)
    train_loss, test_loss          network  over width, depth, step
    final_batch_loss, final_test_loss, final_test_accuracy      network  over width, depth
    flops                          network  over width, depth: training operations up to the last step
    width_coefficient, depth_coefficient      fit  a, b, mean over the other size; split batch, train, test
    <each>_own_rate                fit      the same of batch losses at each shape's own rate
    <each>_at_rate                 fit      the same at every rate of the grid, over learning_rate
    width_gain_at_start, depth_gain_at_start  fit  share of the loss at step 0 that the largest size has less
                                            than the least
    width_gain, depth_gain         network  batch loss that a doubling removes; over width (depth): the larger
                                            of the two
diminishing_returns (batch losses at the fixed rate)
    final_batch_loss, width_gain, depth_gain  network  as above
    fitted_over_width, fitted_over_depth      fit  limit + a / n at each depth, limit + b / L at each width
    width_gain_ratio, depth_gain_ratio        fit  gain of a later doubling over that of the one before it
limit_training (the *run loss* is the mean over the log points after step 0, whose gains have intervals fifty
times narrower than those of the last step; series names which limit it is about)
    train_loss, test_loss          network, limit  over width (limit: particles), depth, step
    loss_at_infinite_width         fit      limit of limit + a / n over depth, step
    width_coefficient              fit      a of the run loss over depth
    loss_difference                fit      networks, extrapolated to as many neurons as a limit has
                                            particles, minus it, relative to their loss lost; over depth, step
    loss_distance                  fit      mean square of the difference over the log points after step 0,
                                            relative to that of the loss lost; over depth
    loss_distance_difference       fit      loss_distance to NFD minus that to the coupled limit; over depth
    width_exponent                 fit      exponent in n of what a doubling gains of the run loss; over depth
    depth_gain                     limit, fit  run loss that a doubling of the depth removes, by seed (fit:
                                            networks, extrapolated); over depth: the larger
    depth_gain_total, depth_gain_ratio        limit, fit  from least depth to largest; later over earlier
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nfd.evidence.estimates import add_diverged, add_losses, add_means
from nfd.evidence.first_order import (
    diminishing_ratio,
    doubling_gains,
    first_order_weights,
    fit_first_order,
)
from nfd.evidence.fits import loglog_slope
from nfd.evidence.intervals import jackknife_interval, mean_interval
from nfd.evidence.selection import (
    at_reading_rate,
    best_rates,
    each,
    grid_values,
    pick_last,
    pick_metric,
    pick_networks,
    pick_runs,
)
from nfd.evidence.squares import mean_square
from nfd.evidence.table import LINE, NETWORK, Rows

Keys = Mapping[str, object]

SHAPE = (*LINE, "width", "depth")
AXES = {"width": "depth", "depth": "width"}  # axis -> the other
# Coupling of a limit -> series of networks compared with it.
COMPARED_LIMITS = {"standard": "networks to coupled limit", "decoupled": "networks to NFD"}


# ------------------------------------------------------------------------------------------- scaling


def fixed_rates(data: pd.DataFrame) -> pd.DataFrame:
    """The fixed rate of each line (module docstring); none for a line that diverges at all of them."""
    networks = pick_networks(data)
    lost = networks.groupby([*LINE, "learning_rate"])["lost"].transform("any")
    shape = networks["width"] * (networks["depth"].max() + 1) + networks["depth"]
    smallest = shape == shape.groupby([networks[name] for name in LINE]).transform("min")
    return best_rates(networks[smallest & ~lost], LINE)


def _at_fixed_rate(data: pd.DataFrame) -> pd.DataFrame:
    return pick_networks(data).merge(fixed_rates(data), on=[*LINE, "learning_rate"])


def scaling_trend(results: pd.DataFrame) -> pd.DataFrame:
    """Loss against width and depth at one rate for all shapes (claim C1)."""
    rows = Rows()
    data = pick_runs(results, "scaling")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = _at_fixed_rate(data)
    add_losses(rows, chosen)
    final = pick_last(chosen)
    add_means(rows, final, "final_batch_loss", "loss", "batch")
    add_means(rows, final, "final_test_loss", "loss", "test")
    add_means(rows, final, "final_test_accuracy", "accuracy", "test")
    add_means(rows, final, "flops", "flops", "none")
    for split in ("batch", "train", "test"):
        for keys, part in each(pick_metric(final, "loss", split), *LINE):
            for axis in AXES:
                _add_trend(rows, {**keys, "split": split}, part, axis)
    start = pick_metric(chosen[chosen["step"] == 0], "loss", "train")
    for keys, part in each(start, *LINE):
        for axis in AXES:
            _add_start(rows, {**keys, "split": "train", "step": 0}, part, axis)
    everything = pick_last(pick_metric(pick_networks(data), "loss", "batch"))
    for keys, part in each(everything, *LINE, "learning_rate"):
        for axis in AXES:
            sizes, losses = _over(axis, part)
            _add_coefficient(rows, f"{axis}_coefficient_at_rate", keys | _last(part), sizes, losses)
    own = pick_networks(data).merge(
        best_rates(pick_networks(data), SHAPE), on=[*SHAPE, "learning_rate"]
    )
    for keys, part in each(pick_last(pick_metric(own, "loss", "batch")), *LINE):
        for axis in AXES:
            sizes, losses = _over(axis, part)
            _add_coefficient(
                rows, f"{axis}_coefficient_own_rate", keys | _last(part), sizes, losses
            )
    return rows.frame()


def _over(axis: str, part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Sizes along ``axis`` and values (seeds, sizes), averaged over the other sizes that have them all."""
    (sizes, _), values = grid_values(part, axis, AXES[axis])
    complete = np.isfinite(values).any(axis=0).all(axis=0)
    if not complete.any():
        return sizes[:0], np.empty((len(values), 0))
    means = values[:, :, complete].mean(axis=2)
    return sizes, means[np.isfinite(means).all(axis=1)]


def _last(part: pd.DataFrame) -> dict[str, object]:
    """Columns of what is read of one split at the last step."""
    return {"split": part["split"].iloc[0], "step": int(part["step"].max())}


def _add_coefficient(
    rows: Rows, quantity: str, keys: Keys, sizes: np.ndarray, values: np.ndarray
) -> None:
    if len(sizes) > 1:
        found = fit_first_order(sizes, values).part(1)
        rows.add(quantity, keys, found, len(values), source="fit")


def _add_trend(rows: Rows, keys: Keys, part: pd.DataFrame, axis: str) -> None:
    """Coefficient of 1 / size, and of batch losses the gains of single doublings."""
    sizes, values = _over(axis, part)
    keys = {**keys, **_last(part)}
    _add_coefficient(rows, f"{axis}_coefficient", keys, sizes, values)
    if keys["split"] == "batch":
        _add_gains(rows, keys, axis, sizes, values)


def _add_gains(rows: Rows, keys: Keys, axis: str, sizes: np.ndarray, values: np.ndarray) -> None:
    if len(sizes) > 1:
        shown = {axis: sizes[1:], "source": "network"}
        rows.add(f"{axis}_gain", keys, doubling_gains(values), len(values), **shown)


def _add_start(rows: Rows, keys: Keys, part: pd.DataFrame, axis: str) -> None:
    """What sizes differ by before training."""
    sizes, values = _over(axis, part)
    if len(sizes) > 1:
        gain = mean_interval((values[:, 0] - values[:, -1]) / values[:, 0].mean())
        rows.add(f"{axis}_gain_at_start", keys, gain, len(values), source="fit")


def diminishing_returns(results: pd.DataFrame) -> pd.DataFrame:
    """How fast the gains from width and depth shrink (claim C2)."""
    rows = Rows()
    data = pick_runs(results, "scaling")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    final = pick_metric(pick_last(_at_fixed_rate(data)), "loss", "batch")
    add_means(rows, final, "final_batch_loss", "loss", "batch")
    for keys, part in each(final, *LINE):
        columns = _last(part)
        for axis, other in AXES.items():
            for _, cell in part.groupby(other):
                _add_fitted(rows, keys, cell, axis, {**columns, other: cell[other].iloc[0]})
            sizes, values = _over(axis, part)
            _add_gains(rows, {**keys, **columns}, axis, sizes, values)
            _add_ratio(
                rows, f"{axis}_gain_ratio", keys, sizes, values, {**columns, "source": "fit"}
            )
    return rows.frame()


def _add_fitted(rows: Rows, keys: Keys, cell: pd.DataFrame, axis: str, columns: Keys) -> None:
    """The line limit + coefficient / size through the means of one cell."""
    (sizes,), values = grid_values(cell, axis)
    values = values[np.isfinite(values).all(axis=1)]
    if len(sizes) > 1 and len(values):
        limit, coefficient = first_order_weights(sizes) @ values.mean(axis=0)
        shown = {**columns, axis: sizes, "source": "fit"}
        rows.add(f"fitted_over_{axis}", keys, limit + coefficient / sizes, len(values), **shown)


def _add_ratio(
    rows: Rows, quantity: str, keys: Keys, sizes: np.ndarray, values: np.ndarray, columns: Keys
) -> None:
    """Later over earlier gains, where the sizes are three or more with a common ratio."""
    steps = np.diff(np.log(sizes))
    if len(sizes) > 2 and len(values) > 1 and np.allclose(steps, steps[0], rtol=1e-3):
        rows.add(quantity, keys, diminishing_ratio(sizes, values), len(values), **columns)


# ------------------------------------------------------------------------------------ limit_training


def limit_training(results: pd.DataFrame) -> pd.DataFrame:
    """Loss of networks and of both limits over a whole training run (claim C2)."""
    rows = Rows()
    data = pick_runs(results, "limit_training")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    add_losses(rows, chosen)
    for keys, part in each(pick_metric(chosen, "loss", "train"), *NETWORK):
        _add_run(rows, {**keys, "coupling": "standard"}, part)
    return rows.frame()


def _add_run(rows: Rows, keys: Keys, part: pd.DataFrame) -> None:
    """All comparisons of one kind of network, trained with its own weights, with its limits."""
    networks = pick_networks(part[part["coupling"] == "standard"])
    limits = part[part["source"] == "limit"]
    limits = limits[limits["width"] == limits["width"].max()]
    extrapolated: dict[int, np.ndarray] = {}
    for depth, cell in networks.groupby("depth"):
        (widths, steps), losses = grid_values(cell, "width", "step")
        losses = losses[np.isfinite(losses).all(axis=(1, 2))]
        if len(widths) < 2 or len(losses) < 2:
            continue
        at = {**keys, "depth": depth, "split": "train", "source": "fit"}
        _add_over_width(rows, at, widths, steps, losses)
        # To as many neurons as the limits have particles: their 1/n is then in both, and cancels.
        limit, coefficient = first_order_weights(widths)
        weights = limit + coefficient / (limits["width"].max() if len(limits) else np.inf)
        extrapolated[depth] = np.tensordot(losses, weights, axes=(1, 0))
        _add_differences(rows, at, extrapolated[depth], limits[limits["depth"] == depth], steps)
    _add_over_depth(rows, keys, limits, extrapolated)


def _add_over_width(
    rows: Rows, keys: Keys, widths: np.ndarray, steps: np.ndarray, losses: np.ndarray
) -> None:
    """Laws in 1/n at one depth, of losses (seeds, widths, steps)."""
    limit = fit_first_order(widths, losses).part(0)
    rows.add("loss_at_infinite_width", keys, limit, len(losses), step=steps)
    last = {**keys, "step": int(steps[-1])}
    run_loss = _run_loss(losses)
    _add_coefficient(rows, "width_coefficient", last, widths, run_loss)

    def exponent(sample: np.ndarray) -> np.ndarray:
        gains = -np.diff(sample.mean(axis=0))
        return loglog_slope(widths[1:], gains[None])[0]

    if len(widths) > 3:
        found = jackknife_interval(exponent, run_loss)
        rows.add("width_exponent", last, found, len(losses))


def _add_over_depth(
    rows: Rows, keys: Keys, limits: pd.DataFrame, networks: Mapping[int, np.ndarray]
) -> None:
    """What depth gains of the run loss: of each limit, and of networks (depth -> (seeds, steps))."""
    for coupling, cell in limits.groupby("coupling"):
        (depths, _), values = grid_values(cell, "depth", "step")
        of_limit = {**keys, **_last(cell), "source": "limit", "coupling": coupling}
        _add_depth_gains(rows, of_limit, depths, _run_loss(values))
    if len(networks) > 1:
        seeds = min(map(len, networks.values()))
        values = np.stack([sample[:seeds] for sample in networks.values()], axis=1)
        of_networks = {**keys, "split": "train", "source": "fit"}
        _add_depth_gains(rows, of_networks, np.array(list(networks)), _run_loss(values))


def _curves(part: pd.DataFrame) -> np.ndarray:
    """Losses of one limit, (seeds, steps); no seeds if it was not run."""
    if part.empty or part["lost"].all():
        return np.empty((0, 0))
    _, values = grid_values(part, "step")
    return values[np.isfinite(values).all(axis=1)]


def _run_loss(losses: np.ndarray) -> np.ndarray:
    """Mean over the log points after step 0 of losses (..., steps)."""
    return losses[..., 1:].mean(axis=-1)


def _lost(curves: np.ndarray) -> np.ndarray:
    """Mean loss lost since step 0 at each later step, (steps - 1,)."""
    return (curves[:, :1] - curves[:, 1:]).mean(axis=0)


def _distance(networks: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Mean square of the difference of two mean curves after step 0, relative to that of the loss lost."""
    return mean_square(networks[:, 1:], limit[:, 1:]) / (_lost(networks) ** 2).mean()


def _add_differences(
    rows: Rows, keys: Keys, networks: np.ndarray, limits: pd.DataFrame, steps: np.ndarray
) -> None:
    """What parts extrapolated networks (seeds, steps) from each limit, and from which one less."""
    curves = {name: _curves(limits[limits["coupling"] == name]) for name in COMPARED_LIMITS}

    def relative(sample: np.ndarray, limit: np.ndarray) -> np.ndarray:
        return (sample.mean(axis=0) - limit.mean(axis=0))[1:] / _lost(sample)

    last = {**keys, "step": int(steps[-1])}
    for coupling, series in COMPARED_LIMITS.items():
        limit = curves[coupling]
        if len(limit) < 2:
            continue
        seeds = min(len(networks), len(limit))
        found = jackknife_interval(relative, networks, limit)
        rows.add("loss_difference", {**keys, "step": steps[1:]}, found, seeds, series=series)
        found = jackknife_interval(_distance, networks, limit)
        rows.add("loss_distance", last, found, seeds, series=series)
    if all(len(limit) > 1 for limit in curves.values()):

        def nearer(sample: np.ndarray, coupled: np.ndarray, nfd: np.ndarray) -> np.ndarray:
            return _distance(sample, nfd) - _distance(sample, coupled)

        found = jackknife_interval(nearer, networks, *curves.values())
        seeds = min(len(networks), *map(len, curves.values()))
        rows.add("loss_distance_difference", last, found, seeds)


def _add_depth_gains(rows: Rows, keys: Keys, depths: np.ndarray, values: np.ndarray) -> None:
    """Gains over depth of losses (seeds, depths) that share their seeds."""
    values = values[np.isfinite(values).all(axis=1)]
    if len(depths) < 2 or not len(values):
        return
    rows.add("depth_gain", keys, doubling_gains(values), len(values), depth=depths[1:])
    total = mean_interval(values[:, 0] - values[:, -1])
    rows.add("depth_gain_total", keys, total, len(values))
    _add_ratio(rows, "depth_gain_ratio", keys, depths, values, {})
