"""What is lost by training with independent backward weights, over depth (claim C4).

Standard and decoupled training are those of docs/theory.md, section 3; the closed forms of the first step
are in section 5. Each network is read at its reading rate
(:func:`nfd.evidence.selection.reading_rates`).

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
gia_restoration
    train_loss, test_loss          network  over depth, step; one series per network and coupling
    output_gap                     network  over depth, at the first and last step: rms |f_std - f_dec| over
                                            rms |f_std - f^0|, rms over seeds too
    output_gap_mean                network  the same for outputs averaged over seeds, gap and change both
                                            (debiased): what is left at infinite width
    loss_gap                       network  (decoupled - standard training loss) / standard's decrease
    output_gap, output_gap_mean, loss_gap                       fit  curve c_inf + c L^-r over depth
    <each>_limit, <each>_exponent                               fit  c_inf and r; one row per series and step
    output_gap                     closed_form  over depth, step 1: one sample, small rate;
                                            series 'closed form'
    first_step_change              closed_form  over depth; series 'hidden, standard', 'hidden, decoupled',
                                            'input, standard', 'input, decoupled', 'output, both'
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nfd.closed_form import first_step_response
from nfd.evidence.estimates import add_diverged, add_losses, root
from nfd.evidence.fits import fit_plateau
from nfd.evidence.intervals import Interval, interval, jackknife_interval, squared_distance
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
    seed_counts,
)
from nfd.evidence.table import NETWORK, Rows
from nfd.network.activations import ACTIVATIONS

CURVE_POINTS = 30
# Activations with a closed form.


def gia_restoration(results: pd.DataFrame, outputs: pd.DataFrame | None) -> pd.DataFrame:
    """Standard against decoupled training over depth (claim C4)."""
    rows = Rows()
    data = pick_runs(results, "gia_restoration")
    if data.empty:
        return rows.frame()
    add_diverged(rows, data)
    chosen = at_reading_rate(data)
    add_losses(rows, chosen)
    vectors = pick_vectors(outputs, chosen)
    compared = chosen[chosen["coupling"].isin(["standard", "decoupled"])]
    for network, part in each(compared, *NETWORK, "width"):
        if part["coupling"].nunique() == 2:
            _add_output_gaps(rows, network, part, vectors)
            _add_loss_gap(rows, network, part)
    activation = data["activation"].iloc[0]
    if ACTIVATIONS[activation].energy is not None:
        horizon = float(data["horizon"].iloc[0])
        _add_first_step(rows, np.sort(data["depth"].unique()), activation, horizon)
    return rows.frame()


# Outputs of networks by coupling, value of an axis, step and seed.
Vectors = dict[tuple[Any, ...], np.ndarray]


def _stack(frame: pd.DataFrame, axis: str) -> tuple[np.ndarray, Vectors]:
    """Values of ``axis`` and the vectors of one line by (coupling, axis value, step, seed)."""
    check_once(frame, "coupling", axis, "step", "seed")
    keys = zip(frame["coupling"], frame[axis], frame["step"], frame["seed"], strict=True)
    return np.sort(frame[axis].unique()), dict(zip(keys, frame["vector"], strict=True))


def _matching(vectors: pd.DataFrame, line: Mapping[str, object]) -> pd.DataFrame:
    mask = np.ones(len(vectors), bool)
    for column, value in line.items():
        mask &= (vectors[column] == value).to_numpy(bool)
    return vectors[mask]


def _add_output_gaps(
    rows: Rows, network: dict[str, object], part: pd.DataFrame, vectors: pd.DataFrame
) -> None:
    mine = _matching(vectors, {"source": "network", **network})
    if mine.empty:
        return
    rates = part.groupby("depth")["learning_rate"].first()
    depths, vector = _stack(mine, "depth")
    for step in sorted({first_step(mine), int(mine["step"].max())}):
        seeds = _paired_seeds(vector, depths, step)
        kept = [depth for depth in depths if len(seeds[depth]) >= 2]
        if not kept:
            continue
        everyone = sorted(set().union(*(seeds[depth] for depth in kept)))
        size = len(next(iter(vector.values())))
        gap = np.full((len(everyone), len(kept), size), np.nan)
        change = np.full_like(gap, np.nan)
        for j, depth in enumerate(kept):
            for i, seed in enumerate(everyone):
                if seed in seeds[depth]:
                    standard = vector["standard", depth, step, seed]
                    gap[i, j] = standard - vector["decoupled", depth, step, seed]
                    change[i, j] = standard - vector["standard", depth, 0, seed]
        columns = {"coupling": pd.NA, "step": step, "split": "probe", "source": "network"}
        _add_gap(rows, network, np.array(kept), rates, gap, change, columns)
        _add_mean_gap(rows, network, np.array(kept), rates, gap, change, columns)


def _paired_seeds(vector: Vectors, depths: np.ndarray, step: int) -> dict[int, set[int]]:
    """By depth, the seeds with standard (also at step 0) and decoupled outputs at ``step``."""
    found: dict[int, set[int]] = {depth: set() for depth in depths}
    for coupling, depth, at, seed in vector:
        twin = ("decoupled", depth, step, seed) in vector
        if (
            coupling == "standard"
            and at == step
            and twin
            and ("standard", depth, 0, seed) in vector
        ):
            found[depth].add(seed)
    return found


def _add_gap(
    rows: Rows,
    network: Mapping[str, object],
    depths: np.ndarray,
    rates: pd.Series,
    gap: np.ndarray,
    change: np.ndarray,
    columns: Mapping[str, object],
) -> None:
    """Gap in root mean square over seeds too: what a single run sees."""
    squares = np.stack([(gap**2).mean(-1), (change**2).mean(-1)], axis=-1)  # (seeds, depths, 2)

    def ratio(means: np.ndarray) -> np.ndarray:
        return np.sqrt(means[..., 0] / means[..., 1])

    found = interval(ratio, squares, names=("output_gap",))
    seeds = seed_counts(squares[..., 0])
    learning_rate = rates.loc[depths].to_numpy()
    shown = {"depth": depths, "learning_rate": learning_rate, **columns}
    rows.add("output_gap", network, found, seeds, **shown)
    fit = interval(lambda m: fit_plateau(depths, ratio(m)), squares, names=("output_gap",))
    _add_plateau(rows, "output_gap", network, depths, fit, len(squares), columns)


def _add_mean_gap(
    rows: Rows,
    network: Mapping[str, object],
    depths: np.ndarray,
    rates: pd.Series,
    gap: np.ndarray,
    change: np.ndarray,
    columns: Mapping[str, object],
) -> None:
    """Gap of the outputs averaged over seeds, debiased: what is left when width takes the noise away.

    Gap and change are both those of the averages. If seeds differ in their batches too, the average is
    over batches as well, and gaps that depend on the batches may cancel in it.
    """
    complete = np.isfinite(gap).all(axis=(1, 2))
    if complete.sum() < 2:
        return
    gap, change = gap[complete], change[complete]

    def squares(sample: np.ndarray) -> np.ndarray:
        gaps, changes = sample.swapaxes(0, 1)
        moved = squared_distance(changes)
        return squared_distance(gaps) / np.where(moved > 0, moved, np.nan)

    def fitted(sample: np.ndarray) -> np.ndarray:
        return fit_plateau(depths, root(squares(sample))[None])[0]

    paired = np.stack([gap, change], axis=1)  # (seeds, 2, depths, entries)
    found = jackknife_interval(squares, paired).map(root)
    seeds = len(gap)
    shown = {"depth": depths, "learning_rate": rates.loc[depths].to_numpy(), **columns}
    rows.add("output_gap_mean", network, found, seeds, **shown)
    fit = jackknife_interval(fitted, paired)
    _add_plateau(rows, "output_gap_mean", network, depths, fit, seeds, columns)


def _add_loss_gap(rows: Rows, network: dict[str, object], part: pd.DataFrame) -> None:
    losses = pick_metric(pick_networks(part), "loss", "train")
    step = int(losses["step"].max())
    losses = losses[losses["step"].isin([0, step])]
    (couplings, depths, steps), values = grid_values(losses, "coupling", "depth", "step")
    if len(couplings) < 2 or len(steps) < 2:
        return
    paired = np.moveaxis(values, 2, 1)  # (seeds, depths, [decoupled, standard], [first, last])

    def gap(m: np.ndarray) -> np.ndarray:
        decoupled, standard = m[:, :, 0], m[:, :, 1]
        return (decoupled[..., 1] - standard[..., 1]) / (standard[..., 0] - standard[..., 1])

    found = interval(gap, paired, names=("loss_gap",))
    columns = {"coupling": pd.NA, "step": step, "split": "train", "source": "network"}
    rates = part.groupby("depth")["learning_rate"].first()
    shown = {"depth": depths, "learning_rate": rates.loc[depths].to_numpy(), **columns}
    seeds = np.isfinite(paired).all(axis=(2, 3)).sum(axis=0)
    rows.add("loss_gap", network, found, seeds, **shown)
    fit = interval(lambda m: fit_plateau(depths, gap(m)), paired, names=("loss_gap",))
    _add_plateau(rows, "loss_gap", network, depths, fit, len(paired), columns)


def _add_plateau(
    rows: Rows,
    quantity: str,
    network: Mapping[str, object],
    depths: np.ndarray,
    fit: Interval,
    seeds: int,
    columns: Mapping[str, object],
) -> None:
    """The fitted limit and exponent as numbers, and the curve c_inf + c L^-r."""
    if not np.isfinite(fit.estimate).all():
        return
    fitted = {**columns, "source": "fit"}
    for index, name in ((0, "limit"), (2, "exponent")):
        rows.add(f"{quantity}_{name}", network, fit.part(index), seeds, **fitted)
    limit, amplitude, exponent = fit.estimate
    shown = np.geomspace(depths.min(), depths.max(), CURVE_POINTS)
    curve = limit + amplitude * shown**-exponent
    rows.add(quantity, network, curve, seeds, depth=shown, **fitted)


def _add_first_step(rows: Rows, depths: np.ndarray, activation: str, horizon: float) -> None:
    """Exact first-step changes of the output (docs/theory.md, section 5) and their gap."""
    columns = {"source": "closed_form", "parametrization": "depth_mup", "step": 1, "depth": depths}

    def change(coupling: str, *roles: str) -> np.ndarray:
        response = partial(
            first_step_response, activation=activation, coupling=coupling, trainable=roles
        )
        return np.array([response(depth=float(L), horizon=horizon) for L in depths])

    for role in ("hidden", "input"):
        for coupling in ("standard", "decoupled"):
            series = f"{role}, {coupling}"
            rows.add("first_step_change", {}, change(coupling, role), series=series, **columns)
    output = change("standard", "output")
    rows.add("first_step_change", {}, output, series="output, both", **columns)
    everything = ("input", "hidden", "output")
    gap = 1 - change("decoupled", *everything) / change("standard", *everything)
    rows.add("output_gap", {}, gap, series="closed form", **columns)
