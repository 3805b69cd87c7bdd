"""What each figure shows: from tidy tables of runs to tables of estimates with intervals.

One function per figure takes ``(results, outputs)``, tables with the columns of
:data:`nfd.tables.RESULT_COLUMNS` and :data:`nfd.tables.OUTPUT_COLUMNS` (``outputs`` may be None where
:data:`EVIDENCE` says so), and returns a frame with the columns :data:`EVIDENCE_COLUMNS`, one row per
number. Plots draw these rows and claims are judged on them, so that what is drawn is what is judged.

Reading a row
-------------
``quantity`` says what the number is, ``series`` which line of the figure it belongs to. Columns that do
not apply are empty. ``ci_low``, ``ci_high`` bound a 95 % interval over seeds (:mod:`nfd.scaling`) and
are empty where there is none (closed forms, counts, fewer than two seeds). ``seeds`` is the number of
seeds behind the number.

* source ``network``, ``limit``: measured; in a ``limit`` row width is the number of particles.
* source ``closed_form``: exact (docs/theory.md, section 5), no interval.
* source ``fit``: derived from the measured rows. A fitted *number* (slope, exponent, plateau, drift) has
  its own quantity. A fitted *line* repeats the measured quantity with source ``fit``; a straight line in
  log-log is given exactly at the points it was fitted to, so its ends are the window of the fit.

``series`` is the parametrization followed by whatever differs from the plain network, in this order:
``depth_mup``, ``depth_mup_corrected p=0.5``, ``mup, no skip``, ``depth_mup_corrected p=0.5, trained:
hidden_1``, ``depth_mup, decoupled``. The optimizer is only in its column. Rows that compare the standard
with the decoupled network have an empty ``coupling`` and the standard network's series.

A run that diverged never enters an average: it is left out and counted in a row ``diverged_runs``
(estimate: how many; seeds: out of how many; one row per shape, coupling and learning rate with any).

Quantities by figure ('over': the columns that vary within one series)
----------------------------------------------------------------------
gia_restoration (each network at its reading rate, :func:`reading_rates`)
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
scaling_trend (each shape at its own best rate: lowest final training loss, no run diverged)
    train_loss, test_loss          network, limit  over width, depth, step
    final_train_loss, final_test_loss, final_test_accuracy      network, limit  over width, depth
    flops                          network  over width, depth: training operations up to the last step
    train_loss_gain_width, train_loss_gain_depth, test_loss_gain_width, test_loss_gain_depth
                                   network  fraction of the loss that one doubling removes, between
                                            neighbours, averaged over the other size; over width (depth):
                                            the larger of the two
    <each>_mean                    fit      average over all neighbours: one row per series
diminishing_returns
    final_train_loss               network, limit, fit  over width, depth; fit: limit + a n^-alpha + b L^-beta
    excess_train_loss              network  over width, depth: final training loss minus the fitted limit
    limit_loss                     fit, limit  one row per series
    width_exponent, depth_exponent, width_amplitude, depth_amplitude      fit  one row per series
    gain_decline_width, gain_decline_depth    fit  gain per doubling in the lower half minus upper half
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
depth_transfer, width_transfer, depth_transfer_2, correction_exponent ('size': depth or width)
    final_train_loss, final_test_loss         network  over learning_rate, size; empty if a run diverged there
    best_learning_rate             network  over size; learning_rate: best of the grid; estimate empty if the
                                            optimum lies at the grid's edge
    best_learning_rate             fit      the line 2^(a + drift log2 size) at the sizes used
    best_train_loss, best_test_loss           network  over size: at the best rate of the grid
    drift                          fit      log2 best rate per log2 size
    grid_spacing                   fit      log2 of the ratio of neighbouring rates
    regret                         network  over size: loss at the smallest network's best rate / own best - 1
                                            (infinite if it diverges there); learning_rate: that rate
    first_step_output_change, first_step_output_change_slope    network and fit, fit  over depth
                                            (correction_exponent only; the smallest rate)
internal_collapse (each network at its reading rate; the first and the last step)
    own_change_1, own_change_2, inherited_change_1, inherited_change_2, stream_change_1, stream_change_2,
    output_change                  network, fit  over depth
    <each>_slope                   fit      one row per series and step
deeper_is_better (from depth_transfer_2)
    best_train_loss, best_test_loss           network  over depth, each at its own best rate
    advantage                      network  over depth: log(depth_mup's best loss / its own), paired by seed;
                                            series as the network that is compared with depth_mup
    advantage_mean                 fit      average over depths
    train_loss_gain_depth, train_loss_gain_depth_mean           as in scaling_trend
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nfd.catalogue import FIGURES
from nfd.closed_form import first_step_response
from nfd.parametrization import PARAMETRIZATIONS
from nfd.scaling import (
    Interval,
    drift,
    extrapolation_weights,
    fit_limit,
    fit_plateau,
    interval,
    jackknife_interval,
    line,
    loglog_slope,
    mean_interval,
    optimum,
    over_seeds,
    regret,
    rounding_sd,
    squared_distance,
    window,
)

EVIDENCE_COLUMNS = (
    "quantity",
    "series",
    "source",
    "parametrization",
    "correction",
    "block_layers",
    "skip",
    "trainable",
    "optimizer",
    "coupling",
    "width",
    "depth",
    "learning_rate",
    "step",
    "split",
    "estimate",
    "ci_low",
    "ci_high",
    "seeds",
)
# What one line of a figure has in common; a NETWORK is a line whatever the coupling.
NETWORK = ("parametrization", "correction", "block_layers", "skip", "trainable", "optimizer")
LINE = (*NETWORK, "coupling")
CELL = (*LINE, "source", "width", "depth", "learning_rate")
DEFAULT_TRAINABLE = {1: "input+hidden_2+output", 2: "input+hidden_1+hidden_2+output"}
# Parametrizations that have a limit of infinite depth at a fixed learning rate.
DEPTH_SCALED = tuple(name for name, row in PARAMETRIZATIONS.items() if row.has_depth_limit)
# Changes below this are float32 round-off of features of order one.
ROUND_OFF = 1e-6
CURVE_POINTS = 30

LOSSES = {"train_loss": ("loss", "train"), "test_loss": ("loss", "test")}
CHANGES = (
    "own_change_1",
    "own_change_2",
    "inherited_change_1",
    "inherited_change_2",
    "stream_change_1",
    "stream_change_2",
    "output_change",
)


# ---------------------------------------------------------------------------------- rows of evidence


class _Rows:
    """Collects rows; :meth:`frame` gives them the columns of EVIDENCE_COLUMNS."""

    def __init__(self) -> None:
        self.columns: dict[str, list] = {name: [] for name in EVIDENCE_COLUMNS}

    def add(
        self,
        quantity: str,
        keys: pd.DataFrame | Mapping[str, object],
        found: Interval | np.ndarray,
        seeds: object = np.nan,
        **columns: object,
    ) -> None:
        """Rows for ``found``; ``keys`` name the line (and, as a frame, one cell per row).

        ``columns`` go before ``keys``. Each value is one for all rows or an array with one per row.
        """
        if not isinstance(found, Interval):
            found = Interval(
                *(np.asarray(v, float) for v in (found, found * np.nan, found * np.nan))
            )
        known = keys.to_dict("list") if isinstance(keys, pd.DataFrame) else dict(keys)
        values = {
            **known,
            "series": _labels(keys),
            **columns,
            "quantity": quantity,
            "estimate": np.atleast_1d(found.estimate),
            "ci_low": np.atleast_1d(found.low),
            "ci_high": np.atleast_1d(found.high),
            "seeds": seeds,
        }
        size = np.size(found.estimate)
        for name, column in self.columns.items():
            value = values.get(name, np.nan)
            many = isinstance(value, list | np.ndarray)
            column.extend(value if many else [value] * size)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.columns)


def _labels(keys: pd.DataFrame | Mapping[str, object]) -> str | list[str]:
    if isinstance(keys, Mapping):
        return series_label(keys) if keys else ""
    names = [name for name in LINE if name in keys]
    records = keys[names].to_dict("records")
    return [series_label(record) for record in records]


def series_label(network: Mapping[str, object]) -> str:
    """Short name of a line of a figure: the parametrization and what differs from the plain network."""
    label = str(network["parametrization"])
    if label == "depth_mup_corrected":
        label += f" p={network['correction']:g}"
    if not network.get("skip", True):
        label += ", no skip"
    trainable = network.get("trainable")
    # Which roles are 'all' depends on the block: a two-layer one without hidden_1 has W1 frozen.
    if trainable is not None and trainable != DEFAULT_TRAINABLE[int(network["block_layers"])]:
        label += f", trained: {trainable}"
    if network.get("coupling") == "decoupled":
        label += ", decoupled"
    return label


def read_evidence(path: str | Path) -> pd.DataFrame:
    """Read an evidence table back from CSV, with the columns of EVIDENCE_COLUMNS."""
    return pd.read_csv(path)[list(EVIDENCE_COLUMNS)]


# ------------------------------------------------------------------------------------ runs and cells


def _runs(results: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """One experiment's rows with a column ``lost``: the run diverged at some step."""
    data = results[results["experiment"] == experiment].reset_index(drop=True)
    if data.empty:
        return data.assign(lost=pd.Series(dtype=bool))
    for column in ("activation", "loss", "horizon"):
        if data[column].nunique() > 1:
            values = sorted(data[column].unique())
            raise ValueError(f"experiment {experiment}: column {column} mixes {values}; use one")
    run = data.groupby([*CELL, "seed"], sort=False).ngroup()
    evaluated = (data["metric"] == "loss") & data["split"].isin(["train", "test"])
    failed = data["diverged"].astype(bool) | (evaluated & ~np.isfinite(data["value"]))
    return data.assign(lost=failed.groupby(run).transform("any").to_numpy())


def _networks(data: pd.DataFrame) -> pd.DataFrame:
    return data[data["source"] == "network"]


def _metric(data: pd.DataFrame, metric: str, split: str = "probe") -> pd.DataFrame:
    return data[(data["metric"] == metric) & (data["split"] == split)]


def _last(data: pd.DataFrame) -> pd.DataFrame:
    return data[data["step"] == data["step"].max()]


def _first_step(data: pd.DataFrame) -> int:
    """The first recorded step after initialisation."""
    return int(data.loc[data["step"] > 0, "step"].min())


def _cells(data: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Cells (all but the seed) and their values (seeds, cells); NaN where a seed is absent or lost."""
    live = data[~data["lost"]]
    wide = live.set_index([*CELL, "step", "split", "seed"])["value"].unstack("seed")
    return wide.index.to_frame(index=False), wide.to_numpy(float).T


def _seed_counts(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values).sum(axis=0)


def _grid(data: pd.DataFrame, *axes: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Values of one line on a grid: the axes' values and an array (seeds, *axes)."""
    live = data[~data["lost"]]
    levels = [np.sort(live[axis].unique()) for axis in axes]
    seeds = np.sort(live["seed"].unique())
    array = np.full((len(seeds), *(len(level) for level in levels)), np.nan)
    places = [np.searchsorted(seeds, live["seed"])]
    places += [np.searchsorted(level, live[axis]) for axis, level in zip(axes, levels, strict=True)]
    array[tuple(places)] = live["value"]
    return levels, array


def _each(data: pd.DataFrame, *columns: str) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """Groups of equal ``columns`` as (dict of them, rows)."""
    for key, part in data.groupby(list(columns), sort=True):
        yield dict(zip(columns, key, strict=True)), part


def _add_diverged(rows: _Rows, data: pd.DataFrame) -> None:
    runs = data.drop_duplicates([*CELL, "seed"])
    counted = runs.groupby(list(CELL), sort=True)["lost"].agg(["sum", "count"]).reset_index()
    counted = counted[counted["sum"] > 0]
    keys = counted.drop(columns=["sum", "count"])
    rows.add("diverged_runs", keys, counted["sum"].to_numpy(float), counted["count"].to_numpy())


def _add_means(rows: _Rows, data: pd.DataFrame, quantity: str, metric: str, split: str) -> None:
    """Rows of means over seeds, one per cell and step."""
    chosen = _metric(data, metric, split)
    chosen = chosen[~chosen["lost"]]
    if not chosen.empty:
        keys, values = _cells(chosen)
        rows.add(quantity, keys, mean_interval(values), _seed_counts(values))


def _add_losses(rows: _Rows, data: pd.DataFrame) -> None:
    for quantity, (metric, split) in LOSSES.items():
        _add_means(rows, data, quantity, metric, split)


# -------------------------------------------------------------------------------------- reading rates


def _best_rates(data: pd.DataFrame, per: Sequence[str]) -> pd.DataFrame:
    """The learning rate of each group of equal ``per``: least final training loss, nothing diverged.

    Only rates at which every run of the group was tried and none diverged compete. The loss is that of the
    standard networks where there are any, averaged over seeds and then over the group's shapes.
    """
    key = [*per, "learning_rate"]
    runs = data.drop_duplicates([*CELL, "seed"])
    tried = runs.groupby(key)["lost"].agg(["any", "size"]).reset_index()
    complete = tried["size"] == tried.groupby(list(per))["size"].transform("max")
    candidates = tried.loc[complete & ~tried["any"], key]
    final = _last(_metric(data, "loss", "train")).merge(candidates, on=key)
    standard = (final["coupling"] == "standard").groupby([final[c] for c in per]).transform("any")
    final = final[(final["coupling"] == "standard") | ~standard]
    if final.empty:
        return pd.DataFrame(columns=key)
    by_cell = final.groupby(list(CELL))["value"].mean().reset_index()
    scores = by_cell.groupby(key)["value"].mean().reset_index()
    return scores.loc[scores.groupby(list(per))["value"].idxmin(), key]


def reading_rates(networks: pd.DataFrame) -> pd.DataFrame:
    """At which learning rate each network and shape is read, where an experiment has several.

    Fixed in advance, on training loss alone: a parametrization with a limit of infinite depth at fixed
    rate (DEPTH_SCALED, with skips) is read at one rate for all its shapes and couplings; any other network,
    whose stable rates shrink with depth, at each shape's own. Either way the rate with the least final
    training loss of the standard networks among those at which no run diverged. If no common rate
    survives, the former fall back on the latter; a shape without any rate is left out.
    """
    shape = [*NETWORK, "width", "depth"]
    shapes = networks[shape].drop_duplicates()
    own = shapes.merge(_best_rates(networks, shape), on=shape, how="left")
    common = shapes.merge(_best_rates(networks, NETWORK), on=list(NETWORK), how="left")
    scaled = shapes["parametrization"].isin(DEPTH_SCALED).to_numpy() & shapes["skip"].to_numpy(bool)
    chosen = np.where(
        scaled & common["learning_rate"].notna(), common["learning_rate"], own["learning_rate"]
    )
    return own.assign(learning_rate=chosen.astype(float)).dropna(subset="learning_rate")


def _at_reading_rate(data: pd.DataFrame) -> pd.DataFrame:
    """Networks at their reading rate, and the limits that were simulated at it."""
    rates = reading_rates(_networks(data))
    networks = _networks(data).merge(rates, on=list(rates.columns))
    common = rates[[*NETWORK, "learning_rate"]].drop_duplicates()
    limits = data[data["source"] == "limit"].merge(common, on=list(common.columns))
    return pd.concat([networks, limits], ignore_index=True)


# ----------------------------------------------------------------------------------- gia_restoration


def gia_restoration(results: pd.DataFrame, outputs: pd.DataFrame | None) -> pd.DataFrame:
    """Standard against decoupled training over depth (claim C4)."""
    rows = _Rows()
    data = _runs(results, "gia_restoration")
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    chosen = _at_reading_rate(data)
    _add_losses(rows, chosen)
    vectors = _vectors(outputs, chosen)
    for network, part in _each(chosen, *NETWORK, "width"):
        if part["coupling"].nunique() == 2:
            _add_output_gaps(rows, network, part, vectors)
            _add_loss_gap(rows, network, part)
    activation = data["activation"].iloc[0]
    if activation in _EXACT:
        horizon = float(data["horizon"].iloc[0])
        _add_first_step(rows, np.sort(data["depth"].unique()), activation, horizon)
    return rows.frame()


def _vectors(outputs: pd.DataFrame | None, runs: pd.DataFrame) -> pd.DataFrame:
    """Output rows of the live runs among ``runs``, with a column ``vector`` of float arrays."""
    key = ["experiment", *CELL, "seed"]
    live = runs.loc[~runs["lost"], key].drop_duplicates()
    if outputs is None:
        return live.iloc[:0].assign(step=[], vector=[])
    found = outputs.merge(live, on=key)
    vectors = [np.asarray(v, float) for v in found["outputs"]]
    finite = np.array([np.isfinite(v).all() for v in vectors], bool)
    return found.drop(columns="outputs").assign(vector=vectors)[finite]


def _stack(frame: pd.DataFrame, axis: str) -> tuple[np.ndarray, dict[tuple, np.ndarray]]:
    """Values of ``axis`` and the vectors of one line by (coupling, axis value, step, seed)."""
    keys = zip(frame["coupling"], frame[axis], frame["step"], frame["seed"], strict=True)
    return np.sort(frame[axis].unique()), dict(zip(keys, frame["vector"], strict=True))


def _matching(vectors: pd.DataFrame, line: Mapping[str, object]) -> pd.DataFrame:
    mask = np.ones(len(vectors), bool)
    for column, value in line.items():
        mask &= (vectors[column] == value).to_numpy(bool)
    return vectors[mask]


def _add_output_gaps(
    rows: _Rows, network: dict[str, object], part: pd.DataFrame, vectors: pd.DataFrame
) -> None:
    mine = _matching(vectors, {"source": "network", **network})
    if mine.empty:
        return
    rates = part.groupby("depth")["learning_rate"].first()
    depths, vector = _stack(mine, "depth")
    for step in sorted({_first_step(mine), int(mine["step"].max())}):
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


def _paired_seeds(vector: dict[tuple, np.ndarray], depths: np.ndarray, step: int) -> dict:
    """By depth, the seeds with standard (also at step 0) and decoupled outputs at ``step``."""
    found = {depth: set() for depth in depths}
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


def _add_gap(rows, network, depths, rates, gap, change, columns) -> None:
    """Gap in root mean square over seeds too: what a single run sees."""
    squares = np.stack([(gap**2).mean(-1), (change**2).mean(-1)], axis=-1)  # (seeds, depths, 2)

    def ratio(means: np.ndarray) -> np.ndarray:
        return np.sqrt(means[..., 0] / means[..., 1])

    found = interval(ratio, squares, names=("output_gap",))
    seeds = _seed_counts(squares[..., 0])
    learning_rate = rates.loc[depths].to_numpy()
    shown = {"depth": depths, "learning_rate": learning_rate, **columns}
    rows.add("output_gap", network, found, seeds, **shown)
    fit = interval(lambda m: fit_plateau(depths, ratio(m)), squares, names=("output_gap",))
    _add_plateau(rows, "output_gap", network, depths, fit, len(squares), columns)


def _add_mean_gap(rows, network, depths, rates, gap, change, columns) -> None:
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
        return fit_plateau(depths, _root(squares(sample))[None])[0]

    paired = np.stack([gap, change], axis=1)  # (seeds, 2, depths, entries)
    found = jackknife_interval(squares, paired).map(_root)
    seeds = len(gap)
    shown = {"depth": depths, "learning_rate": rates.loc[depths].to_numpy(), **columns}
    rows.add("output_gap_mean", network, found, seeds, **shown)
    fit = jackknife_interval(fitted, paired)
    _add_plateau(rows, "output_gap_mean", network, depths, fit, seeds, columns)


def _root(squares: np.ndarray) -> np.ndarray:
    """Square root of a debiased square, which noise may have made negative."""
    return np.sqrt(np.maximum(squares, 0.0))


def _add_plateau(rows, quantity, network, depths, fit: Interval, seeds, columns) -> None:
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


def _add_loss_gap(rows: _Rows, network: dict[str, object], part: pd.DataFrame) -> None:
    losses = _metric(_networks(part), "loss", "train")
    step = int(losses["step"].max())
    losses = losses[losses["step"].isin([0, step])]
    (couplings, depths, steps), values = _grid(losses, "coupling", "depth", "step")
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


# Activations with a closed form.
_EXACT = ("relu", "linear")


def _add_first_step(rows: _Rows, depths: np.ndarray, activation: str, horizon: float) -> None:
    """Exact first-step changes of the output (docs/theory.md, section 5) and their gap."""
    columns = {"source": "closed_form", "parametrization": "depth_mup", "step": 1, "depth": depths}

    def change(coupling: str, *roles: str) -> np.ndarray:
        settings = {"activation": activation, "coupling": coupling, "trainable": roles}
        return np.array(
            [first_step_response(depth=float(L), horizon=horizon, **settings) for L in depths]
        )

    for role in ("hidden", "input"):
        for coupling in ("standard", "decoupled"):
            series = f"{role}, {coupling}"
            rows.add("first_step_change", {}, change(coupling, role), series=series, **columns)
    output = change("standard", "output")
    rows.add("first_step_change", {}, output, series="output, both", **columns)
    everything = ("input", "hidden", "output")
    gap = 1 - change("decoupled", *everything) / change("standard", *everything)
    rows.add("output_gap", {}, gap, series="closed form", **columns)


# ------------------------------------------------------------------ scaling_trend, diminishing_returns


def _scaling_runs(results: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs of 'scaling', and those at each shape's best rate."""
    data = _runs(results, "scaling")
    shape = [*LINE, "source", "width", "depth"]
    if data.empty:
        return data, data
    return data, data.merge(_best_rates(data, shape), on=[*shape, "learning_rate"])


def scaling_trend(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Loss against width and depth, each shape at its own best rate (claim C1)."""
    rows = _Rows()
    data, chosen = _scaling_runs(results)
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    _add_losses(rows, chosen)
    final = _last(chosen)
    _add_means(rows, final, "final_train_loss", "loss", "train")
    _add_means(rows, final, "final_test_loss", "loss", "test")
    _add_means(rows, final, "final_test_accuracy", "accuracy", "test")
    _add_means(rows, final, "flops", "flops", "none")
    for split in ("train", "test"):
        for keys, part in _each(_metric(_networks(final), "loss", split), *LINE):
            _add_gains(rows, keys, part, split, "width")
            _add_gains(rows, keys, part, split, "depth")
    return rows.frame()


def _add_gains(
    rows: _Rows, keys: dict[str, object], part: pd.DataFrame, split: str, axis: str
) -> None:
    """Fraction of the loss that a doubling of ``axis`` removes, between neighbours, paired by seed."""
    other = "depth" if axis == "width" else "width"
    (sizes, _), losses = _grid(part, axis, other)
    if len(sizes) < 2:
        return
    columns = {"split": split, "step": int(part["step"].iloc[0])}
    _add_gain_rows(rows, keys, f"{split}_loss_gain_{axis}", axis, sizes, losses, columns)


def _add_gain_rows(
    rows: _Rows,
    keys: dict[str, object],
    quantity: str,
    axis: str,
    sizes: np.ndarray,
    losses: np.ndarray,
    columns: dict[str, object],
    reduce: Callable[[np.ndarray], np.ndarray] = lambda means: means,
) -> None:
    """Gains per doubling of ``reduce(means)`` (resamples, sizes, others), averaged over the others."""
    doublings = np.diff(np.log2(sizes))

    def gains(m: np.ndarray) -> np.ndarray:
        step = -np.diff(
            np.log(reduce(m)), axis=1
        )  # (resamples, pairs, others); NaN where a shape is absent
        present = np.isfinite(step)
        with np.errstate(invalid="ignore"):
            return np.where(present, step, 0.0).sum(axis=2) / present.sum(axis=2) / doublings

    def mean_gain(m: np.ndarray) -> np.ndarray:
        return (gains(m) * doublings).sum(axis=1) / doublings.sum()

    def fraction(log_gain: np.ndarray) -> np.ndarray:
        return -np.expm1(-log_gain)

    found = interval(gains, losses, names=(quantity,)).map(fraction)
    seeds = len(losses)
    rows.add(quantity, keys, found, seeds, source="network", **{axis: sizes[1:]}, **columns)
    average = interval(mean_gain, losses, names=(quantity,)).map(fraction)
    rows.add(f"{quantity}_mean", keys, average, seeds, source="fit", **columns)


def diminishing_returns(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """How fast the gains from width and depth shrink towards a limit (claim C2)."""
    rows = _Rows()
    data, chosen = _scaling_runs(results)
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    final = _metric(_last(chosen), "loss", "train")
    _add_means(rows, final, "final_train_loss", "loss", "train")
    for keys, part in _each(_networks(final), *LINE):
        _add_limit_fit(rows, keys, part)
        for axis in ("width", "depth"):
            _add_gain_decline(rows, keys, part, axis)
    limits = final[(final["source"] == "limit") & ~final["lost"]]
    for keys, part in _each(limits, *LINE):
        deepest, values = _cells(part[part["depth"] == part["depth"].max()])
        rows.add("limit_loss", deepest, mean_interval(values), _seed_counts(values), **keys)
    return rows.frame()


def _add_limit_fit(rows: _Rows, keys: dict[str, object], part: pd.DataFrame) -> None:
    """Fit loss = limit + a n^-alpha + b L^-beta over all shapes of one line."""
    cells, values = _cells(part)
    widths, depths = cells["width"].to_numpy(float), cells["depth"].to_numpy(float)
    fit = interval(lambda m: fit_limit(widths, depths, m), values, names=("limit_fit",))
    if not np.isfinite(fit.estimate).all():
        return
    seeds = len(values)
    columns = {"split": "train", "step": int(part["step"].iloc[0])}
    names = ("limit_loss", "width_amplitude", "width_exponent", "depth_amplitude", "depth_exponent")
    for index, name in enumerate(names):
        rows.add(name, keys, fit.part(index), seeds, source="fit", **columns)
    limit, a, alpha, b, beta = fit.estimate
    fitted = limit + a * widths**-alpha + b * depths**-beta
    shown = {"width": widths, "depth": depths, **columns}
    rows.add("final_train_loss", keys, fitted, seeds, source="fit", **shown)

    def excess(m: np.ndarray) -> np.ndarray:
        return m - fit_limit(widths, depths, m)[:, :1]

    found = interval(excess, values, names=("limit_fit",))
    rows.add("excess_train_loss", cells, found, _seed_counts(values))


def _add_gain_decline(rows: _Rows, keys: dict[str, object], part: pd.DataFrame, axis: str) -> None:
    """Loss gained per doubling in the lower half of the sizes minus that in the upper half."""
    other = "depth" if axis == "width" else "width"
    (sizes, _), losses = _grid(part, axis, other)
    losses = losses[:, :, np.isfinite(losses).all(axis=(0, 1))]
    if len(sizes) < 3 or not losses.size:
        return
    log2_sizes = np.log2(sizes)
    middle = len(sizes) // 2 if len(sizes) % 2 else len(sizes) // 2 - 1

    def decline(m: np.ndarray) -> np.ndarray:
        loss = m.mean(axis=2)
        lower = (loss[:, 0] - loss[:, middle]) / (log2_sizes[middle] - log2_sizes[0])
        start = len(sizes) - 1 - middle
        upper = (loss[:, start] - loss[:, -1]) / (log2_sizes[-1] - log2_sizes[start])
        return lower - upper

    found = interval(decline, losses, names=("decline",))
    columns = {"split": "train", "step": int(part["step"].iloc[0]), "source": "fit"}
    rows.add(f"gain_decline_{axis}", keys, found, len(losses), **columns)


# ---------------------------------------------------------------------------------- limit_convergence

# (network's coupling, limit's coupling) -> series
COMPARISONS = {
    ("standard", "decoupled"): "standard to NFD",
    ("standard", "standard"): "standard to coupled limit",
    ("decoupled", "decoupled"): "decoupled to NFD",
}


def limit_convergence(results: pd.DataFrame, outputs: pd.DataFrame | None) -> pd.DataFrame:
    """Error of finite networks against NFD and against the coupled limit (claim C3)."""
    rows = _Rows()
    data = _runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    chosen = _at_reading_rate(data)
    widest = chosen["width"] == _networks(chosen)["width"].max()
    _add_means(rows, chosen[widest | (chosen["source"] == "limit")], "train_loss", "loss", "train")
    vectors = _vectors(outputs, chosen)
    for network, part in _each(vectors, *NETWORK, "learning_rate"):
        limits = part[part["source"] == "limit"]
        networks = part[part["source"] == "network"]
        if limits.empty or networks.empty:
            continue
        bundle = _Bundle(network, networks, limits)
        for depth in np.intersect1d(networks["depth"], limits["depth"]):
            for couplings in COMPARISONS:
                _add_over_width(rows, bundle, couplings, depth)
        for couplings in COMPARISONS:
            _add_over_depth(rows, bundle, couplings)
        _add_nearer(rows, bundle)
    return rows.frame()


class _Bundle:
    """Output vectors of one network and its limits at one learning rate."""

    def __init__(self, keys: dict[str, object], networks: pd.DataFrame, limits: pd.DataFrame):
        self.keys = keys
        self.last = int(networks["step"].max())
        self.widest = int(networks["width"].max())
        # If limits were run with several numbers of particles, the most are the limit.
        self.particles = int(limits["width"].max())
        # (source, coupling, step, width, depth) -> seed -> outputs
        self.vectors: dict[tuple, dict[int, np.ndarray]] = {}
        rows = pd.concat([networks, limits])
        names = ["source", "coupling", "step", "width", "depth", "seed", "vector"]
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
        found = {pick(*shape) for shape in shapes} - {None}
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


def _add_over_width(rows: _Rows, bundle: _Bundle, couplings: tuple[str, str], depth: int) -> None:
    """Bias and fluctuation over width against the limit of the same depth."""
    network, limit = couplings
    widths = bundle.widths(network, depth)
    target_shape = [(bundle.particles, int(depth))]
    target = bundle.sample("limit", limit, bundle.last, target_shape)[:, 0]
    if len(widths) < 2 or len(target) < 1:
        return
    shapes = [(int(width), int(depth)) for width in widths]
    sample = bundle.sample("network", network, bundle.last, shapes)
    start = bundle.sample("network", network, 0, shapes)
    if len(sample) < 2:
        return
    scale = _power(bundle.change("limit", limit, target_shape)[:, 0])
    columns = {
        "series": COMPARISONS[couplings],
        "coupling": network,
        "depth": depth,
        "split": "probe",
        "step": bundle.last,
    }

    def bias(networks: np.ndarray, limits: np.ndarray) -> np.ndarray:
        return squared_distance(networks, limits[:, None]) / scale

    def spread(networks: np.ndarray) -> np.ndarray:
        return networks.var(axis=0, ddof=1).mean(axis=-1) / scale

    found = jackknife_interval(bias, sample, target)
    _add_error(rows, "bias_over_width", bundle.keys, widths, found, len(sample), "width", columns)
    kept = window(_root(found.estimate), _floor(found))
    _add_loglog(
        rows, "bias_over_width", bundle.keys, "width", widths, kept, bias, (sample, target), columns
    )
    everything = np.ones(len(widths), bool)
    for step, values in ((bundle.last, sample), (0, start)):
        columns = {**columns, "step": step}
        found = jackknife_interval(spread, values).map(_root)
        shown = {**columns, "width": widths, "source": "network"}
        rows.add("fluctuation_over_width", bundle.keys, found, len(values), **shown)
        _add_loglog(
            rows,
            "fluctuation_over_width",
            bundle.keys,
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


def _add_error(rows, quantity, keys, sizes, squared, seeds, axis, columns, source="network"):
    shown = {**columns, axis: sizes, "source": source}
    rows.add(quantity, keys, squared.map(_root), seeds, **shown)
    rows.add(f"{quantity}_floor", keys, _floor(squared), seeds, **shown)


def _add_loglog(rows, quantity, keys, axis, sizes, kept, squares, groups, columns) -> None:
    """Slope of the root of ``squares(*groups)`` over the ``kept`` sizes, and its line there."""
    if kept.sum() < 3:
        return
    x = np.asarray(sizes, float)[kept]

    def slope(*samples: np.ndarray) -> np.ndarray:
        return loglog_slope(x, _root(squares(*samples))[None, kept])[0]

    fitted = {**columns, "source": "fit"}
    seeds = len(groups[0])
    rows.add(f"{quantity}_slope", keys, jackknife_interval(slope, *groups), seeds, **fitted)
    y = np.log(_root(squares(*groups))[kept])
    gradient, intercept = line(np.log(x), y[None])
    rows.add(quantity, keys, np.exp(intercept + gradient * np.log(x)), seeds, **{**fitted, axis: x})


def _extrapolated(bundle: _Bundle, source: str, coupling: str, width: int) -> tuple:
    """Outputs extrapolated to infinite depth, (seeds, entries), their change, and the depths used."""
    depths = bundle.depths(source, coupling, width)
    if len(depths) < 2:
        return None, None, depths
    pair = [(width, int(depth)) for depth in depths[-2:]]
    weights = extrapolation_weights(depths[-2:].astype(float))
    last = np.tensordot(bundle.sample(source, coupling, bundle.last, pair), weights, (1, 0))
    change = np.tensordot(bundle.change(source, coupling, pair), weights, (1, 0))
    return last, change, depths


def _add_over_depth(rows: _Rows, bundle: _Bundle, couplings: tuple[str, str]) -> None:
    """Errors over depth against the limit extrapolated to infinite depth."""
    network, limit = couplings
    target, change, _ = _extrapolated(bundle, "limit", limit, bundle.particles)
    if target is None or not len(target):
        return
    scale = _power(change)

    def bias(sample: np.ndarray, limits: np.ndarray) -> np.ndarray:
        return squared_distance(sample, limits[:, None]) / scale

    for source, width in (("network", bundle.widest), ("limit", bundle.particles)):
        columns = {
            "series": COMPARISONS[couplings],
            "coupling": network,
            "split": "probe",
            "step": bundle.last,
            "width": width,
        }
        last, _, depths = _extrapolated(bundle, source, network, width)
        # A limit's distance to its own extrapolation is zero by construction.
        if last is not None and len(last) >= 2 and (source == "network" or network != limit):
            found = jackknife_interval(bias, last[:, None], target).map(_root)
            shown = {**columns, "source": source}
            rows.add("bias_at_infinite_depth", bundle.keys, found, len(last), **shown)
        if source == "limit":
            # The two deepest gave the extrapolation: their distance to it is not a measurement.
            depths = depths[:-2]
        shapes = [(width, int(depth)) for depth in depths]
        sample = bundle.sample(source, network, bundle.last, shapes) if shapes else np.empty((0,))
        if len(sample) >= 2:
            _add_depth_errors(rows, bundle.keys, depths, bias, (sample, target), source, columns)
            if source == "network":
                noise = np.sqrt(sample.var(axis=0, ddof=1).mean(axis=-1) / scale)
                shown = {**columns, "source": source, "depth": depths}
                rows.add("fluctuation_over_depth", bundle.keys, noise, len(sample), **shown)


def _add_depth_errors(
    rows: _Rows,
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
    kept = window(_root(found.estimate), _floor(found))
    _add_loglog(rows, quantity, keys, "depth", depths, kept, bias, groups, columns)
    sizes = depths.astype(float)

    def plateau(*samples: np.ndarray) -> np.ndarray:
        return fit_plateau(sizes, _root(bias(*samples))[None])[0]

    fit = jackknife_interval(plateau, *groups)
    if np.isfinite(fit.estimate).all():
        for index, name in ((0, "plateau"), (2, "exponent")):
            rows.add(f"{quantity}_{name}", keys, fit.part(index), seeds, **columns, source="fit")


def _add_nearer(rows: _Rows, bundle: _Bundle) -> None:
    """Squared error to NFD minus squared error to the coupled limit, both at infinite depth.

    Of the widest standard networks; both relative to the coupled limit's output change. Positive: the
    networks are nearer to the coupled limit.
    """
    networks, _, _ = _extrapolated(bundle, "network", "standard", bundle.widest)
    nfd, _, _ = _extrapolated(bundle, "limit", "decoupled", bundle.particles)
    coupled, change, _ = _extrapolated(bundle, "limit", "standard", bundle.particles)
    if any(sample is None or not len(sample) for sample in (networks, nfd, coupled)):
        return
    scale = _power(change)

    def nearer(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return (squared_distance(a, b) - squared_distance(a, c)) / scale

    found = jackknife_interval(nearer, networks, nfd, coupled)
    columns = {"series": "NFD minus coupled limit", "coupling": "standard", "split": "probe"}
    columns |= {"width": bundle.widest, "step": bundle.last, "source": "fit"}
    rows.add("squared_error_difference", bundle.keys, found, len(networks), **columns)


# --------------------------------------------- vanishing_mechanism, coupling_at_init, kernel_spectrum

COUPLINGS = ("coupling_layer", "coupling_accumulated")


def vanishing_mechanism(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The coupling of W with its transpose that training creates, over depth (claim C5)."""
    rows = _Rows()
    data = _runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    chosen = _at_reading_rate(data)
    widths = chosen.groupby("source")["width"].transform("max")
    chosen = chosen[chosen["width"] == widths]
    for metric in COUPLINGS:
        _add_means(rows, chosen, metric, metric, "probe")
        for keys, part in _each(_metric(chosen, metric), *LINE, "source", "width", "learning_rate"):
            _add_created(rows, metric, keys, part)
    return rows.frame()


def _add_created(rows: _Rows, metric: str, keys: dict[str, object], part: pd.DataFrame) -> None:
    """What training added to the coupling, in quadrature: sqrt(c_K^2 - c_0^2).

    The coupling at step 0 is noise of the initial weights, O(1/sqrt n) and independent of what training
    adds, so squares add. The noise scales with the loss derivative, which shrinks in training: the true
    created part lies between this value and the coupling itself. Points below the coupling at step 0,
    where the two differ much, are under the noise floor and leave the slope.
    """
    step = int(part["step"].max())
    (depths, steps), values = _grid(part[part["step"].isin([0, step])], "depth", "step")
    if len(steps) < 2:
        return
    squares = values**2  # (seeds, depths, [first, last])

    def created(m: np.ndarray) -> np.ndarray:
        return m[..., 1] - m[..., 0]

    quantity = f"{metric}_created"
    seeds = _seed_counts(squares[..., 1])
    columns = {"split": "probe", "step": step}
    found = interval(created, squares, names=(quantity,)).map(_root)
    rows.add(quantity, keys, found, seeds, depth=depths, **columns)
    floor = np.sqrt(over_seeds(squares)[..., 0])
    rows.add(f"{quantity}_floor", keys, floor, seeds, depth=depths, **columns)
    kept = window(found.estimate, floor)
    _add_slope(
        rows, quantity, keys, "depth", depths, kept, lambda m: _root(created(m)), squares, columns
    )


def _add_slope(
    rows: _Rows,
    quantity: str,
    keys: Mapping[str, object],
    axis: str,
    sizes: np.ndarray,
    kept: np.ndarray,
    values: Callable[[np.ndarray], np.ndarray],
    group: np.ndarray,
    columns: Mapping[str, object],
    slope_name: str | None = None,
    factor: float = 1.0,
) -> None:
    """Exponent of ``values(means of group)`` over the ``kept`` sizes (times ``factor``), and the line.

    The source of a measured line goes into the series of its slope, where it is not the network.
    """
    if kept.sum() < 3:
        return
    x = np.asarray(sizes, float)[kept]
    series = series_label(keys) + (", limit" if keys.get("source") == "limit" else "")
    shown = {**columns, "source": "fit", "series": series}
    names = (quantity, slope_name or "slope")
    found = interval(lambda m: factor * loglog_slope(x, values(m)[:, kept]), group, names=names)
    rows.add(slope_name or f"{quantity}_slope", keys, found, len(group), **shown)
    gradient, intercept = line(np.log(x), np.log(values(over_seeds(group)[None])[:, kept]))
    fitted = np.exp(intercept + gradient * np.log(x))
    rows.add(quantity, keys, fitted, len(group), **{**shown, axis: x})


def coupling_at_init(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The coupling at step 0 over width, for several depths (claim C6)."""
    rows = _Rows()
    data = _networks(_runs(results, "limit_convergence"))
    # At step 0 the learning rate has no effect: one rate holds all there is, and none diverged yet.
    data = data[(data["step"] == 0) & (data["coupling"] == "standard")].assign(lost=False)
    if data.empty:
        return rows.frame()
    data = data[data["learning_rate"] == data["learning_rate"].min()]
    for metric in COUPLINGS:
        for keys, part in _each(_metric(data, metric), *LINE):
            _add_initial_coupling(rows, metric, keys, part)
    return rows.frame()


def _add_initial_coupling(
    rows: _Rows, metric: str, keys: dict[str, object], part: pd.DataFrame
) -> None:
    (widths, depths), values = _grid(part, "width", "depth")
    squares = values**2
    columns = {"split": "probe", "step": 0}
    slope = f"{metric}_square_slope"
    for j, depth in enumerate(depths):
        group = squares[:, :, j]
        kept = np.isfinite(over_seeds(group))
        group = group[:, kept]
        found = interval(np.sqrt, group, names=(metric,))
        shown = {**columns, "depth": depth, "source": "network"}
        rows.add(metric, keys, found, _seed_counts(group), width=widths[kept], **shown)
        everything = np.ones(kept.sum(), bool)
        _add_slope(
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


def kernel_spectrum(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Least eigenvalue of the feature covariance during training (claim C13)."""
    rows = _Rows()
    data = _runs(results, "limit_convergence")
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    chosen = _metric(_at_reading_rate(data), "kernel_min_eigenvalue")
    _add_means(rows, chosen, "kernel_min_eigenvalue", "kernel_min_eigenvalue", "probe")
    for keys, part in _each(chosen, *CELL):
        (_,), values = _grid(part, "step")  # (seeds, steps)
        columns = {"split": "probe"}
        seeds = len(values)
        least = interval(lambda m: m.min(axis=1), values, names=("kernel",))
        rows.add("kernel_minimum", keys, least, seeds, **columns)
        ratio = interval(lambda m: m.min(axis=1) / m[:, 0], values, names=("kernel",))
        rows.add("kernel_ratio", keys, ratio, seeds, **columns)
    return rows.frame()


# -------------------------------------------------------------------------------------------- transfer


def depth_transfer(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The best learning rate over depth, one-layer blocks (claim C7)."""
    rows = _Rows()
    _add_transfer(rows, _networks(_runs(results, "depth_transfer")), "depth")
    return rows.frame()


def width_transfer(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The best learning rate over width (claim C8)."""
    rows = _Rows()
    _add_transfer(rows, _networks(_runs(results, "width_transfer")), "width")
    return rows.frame()


def depth_transfer_2(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The best learning rate over depth, two-layer blocks and controls (claims C10, C11)."""
    rows = _Rows()
    _add_transfer(rows, _networks(_runs(results, "depth_transfer_2")), "depth")
    return rows.frame()


def correction_exponent(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The correction's exponent p: first-step change of the output and transfer (claim C11)."""
    rows = _Rows()
    data = _networks(_runs(results, "correction_exponent"))
    _add_transfer(rows, data, "depth")
    _add_first_step_change(rows, data)
    return rows.frame()


def _add_transfer(rows: _Rows, data: pd.DataFrame, axis: str) -> None:
    if data.empty:
        return
    _add_diverged(rows, data)
    other = "width" if axis == "depth" else "depth"
    final = _last(data)
    for keys, part in _each(final, *LINE, other):
        curves = _Curves.of(part, axis)
        if curves is not None:
            _add_curves(rows, keys, curves, axis, int(part["step"].iloc[0]))


@dataclass(frozen=True)
class _Curves:
    """Final losses of one line: (seeds, sizes, rates), NaN for a rate at which any seed diverged."""

    sizes: np.ndarray
    rates: np.ndarray
    train: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, part: pd.DataFrame, axis: str) -> "_Curves | None":
        """From the rows of the last step; only rates tried at every size. None if there is none."""
        runs = part.drop_duplicates([axis, "learning_rate", "seed"])
        tried = runs.groupby("learning_rate")[axis].nunique()
        rates = np.sort(tried.index[tried == runs[axis].nunique()].to_numpy())
        if not len(rates):
            return None
        part = part[part["learning_rate"].isin(rates)]
        sizes, seeds = np.sort(part[axis].unique()), np.sort(part["seed"].unique())
        shape = (len(seeds), len(sizes), len(rates))
        losses = {}
        for split in ("train", "test"):
            rows = _metric(part, "loss", split)
            place = (
                np.searchsorted(seeds, rows["seed"]),
                np.searchsorted(sizes, rows[axis]),
                np.searchsorted(rates, rows["learning_rate"]),
            )
            values, lost = np.full(shape, np.nan), np.zeros(shape, bool)
            values[place], lost[place] = rows["value"], rows["lost"]
            values[:, lost.any(axis=0)] = np.nan
            losses[split] = values
        return cls(sizes, rates, losses["train"], losses["test"])


def _add_curves(
    rows: _Rows, keys: dict[str, object], curves: _Curves, axis: str, step: int
) -> None:
    sizes, rates = curves.sizes, curves.rates
    log2_rates, log2_sizes = np.log2(rates), np.log2(sizes)
    seeds = len(curves.train)
    columns = {"step": step, "split": "train"}
    size_of, rate_of = (grid.ravel() for grid in np.meshgrid(sizes, rates, indexing="ij"))
    for split, values in (("train", curves.train), ("test", curves.test)):
        flat = values.reshape(seeds, -1)
        shown = {axis: size_of, "learning_rate": rate_of, "step": step, "split": split}
        rows.add(
            f"final_{split}_loss",
            keys,
            mean_interval(flat),
            _seed_counts(flat),
            source="network",
            **shown,
        )
    if len(rates) < 3:
        return
    rows.add("grid_spacing", keys, np.median(np.diff(log2_rates)), seeds, source="fit", **columns)
    means = over_seeds(curves.train)[None]
    found = optimum(log2_rates, means)
    best = interval(
        lambda m: optimum(log2_rates, m).log2_rate,
        curves.train,
        names=("optimum",),
        resolution=rounding_sd(log2_rates, found)[0],
    ).map(np.exp2)
    grid_best = rates[found.index[0]]
    at_best = {**columns, axis: sizes, "learning_rate": grid_best, "source": "network"}
    rows.add("best_learning_rate", keys, best, seeds, **at_best)
    _add_best_loss(rows, keys, curves, at_best)
    slope = drift(log2_rates, log2_sizes, curves.train)
    if np.isfinite(slope.estimate):
        rows.add("drift", keys, slope, seeds, source="fit", **columns)
        usable = np.isfinite(found.log2_rate[0])
        gradient, intercept = line(log2_sizes, found.log2_rate)
        fitted = np.exp2(intercept + gradient * log2_sizes[usable])
        shown = {**columns, axis: sizes[usable], "source": "fit"}
        rows.add("best_learning_rate", keys, fitted, seeds, **shown)
    # Never negative, which its symmetric interval does not know.
    excess = interval(regret, curves.train, names=("regret",)).map(lambda r: np.maximum(r, 0.0))
    transferred = {**at_best, "learning_rate": grid_best[0]}
    rows.add("regret", keys, excess, seeds, **transferred)


def _add_best_loss(
    rows: _Rows, keys: dict[str, object], curves: _Curves, columns: Mapping[str, object]
) -> None:
    """Training loss at each size's best rate of the grid, and the test loss at that rate."""
    found = interval(_least, curves.train, names=("best",))
    rows.add("best_train_loss", keys, found, len(curves.train), **columns)
    index = np.argmin(np.nan_to_num(over_seeds(curves.train), nan=np.inf), axis=1)
    test = np.take_along_axis(curves.test, index[None, :, None], axis=2)[..., 0]
    shown = {**columns, "split": "test"}
    rows.add("best_test_loss", keys, mean_interval(test), _seed_counts(test), **shown)


def _least(means: np.ndarray) -> np.ndarray:
    """Least loss over the last axis; NaN where every rate diverged."""
    least = np.where(np.isnan(means), np.inf, means).min(axis=-1)
    return np.where(np.isfinite(least), least, np.nan)


def _add_first_step_change(rows: _Rows, data: pd.DataFrame) -> None:
    """How far the first step moves the outputs, over depth, at the smallest rate (linear response)."""
    data = _metric(data, "output_change")
    if data.empty:
        return
    data = data[(data["learning_rate"] == data["learning_rate"].min()) & ~data["lost"]]
    if data.empty:
        return
    step = _first_step(data)
    for keys, part in _each(data[data["step"] == step], *LINE, "width", "learning_rate"):
        _add_change(rows, "first_step_output_change", keys, part, step)


def _add_change(
    rows: _Rows, quantity: str, keys: dict[str, object], part: pd.DataFrame, step: int
) -> None:
    """A change over depth with its exponent."""
    (depths,), values = _grid(part, "depth")
    columns = {"step": step, "split": "probe"}
    found = mean_interval(values)
    shown = {**columns, "depth": depths, "source": "network"}
    rows.add(quantity, keys, found, _seed_counts(values), **shown)
    kept = window(found.estimate, ROUND_OFF)
    _add_slope(rows, quantity, keys, "depth", depths, kept, lambda m: m, values, columns)


# ------------------------------------------------------------------- internal_collapse, deeper_is_better


def internal_collapse(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Own, inherited and stream change of both internal layers over depth (claims C9, C11)."""
    rows = _Rows()
    data = _networks(_runs(results, "internal_collapse"))
    if data.empty:
        return rows.frame()
    _add_diverged(rows, data)
    chosen = _at_reading_rate(data)
    if chosen.empty:
        return rows.frame()
    steps = sorted({_first_step(chosen), int(chosen["step"].max())})
    for metric in CHANGES:
        measured = _metric(chosen, metric)
        for keys, part in _each(measured[measured["step"].isin(steps)], *LINE, "width", "step"):
            _add_change(rows, metric, keys, part, int(keys["step"]))
    return rows.frame()


def deeper_is_better(results: pd.DataFrame, outputs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Best loss over depth, and the advantage over depth_mup (claim C12)."""
    rows = _Rows()
    data = _networks(_runs(results, "depth_transfer_2"))
    if data.empty:
        return rows.frame()
    everything = data["block_layers"].map(DEFAULT_TRAINABLE)
    plain = (data["trainable"] == everything) & (data["coupling"] == "standard")
    data = data[plain]
    _add_diverged(rows, data)
    final = _last(data)
    for _, group in _each(final, "block_layers", "optimizer", "width"):
        lines = {series_label(keys): (keys, part) for keys, part in _each(group, *LINE, "width")}
        reference = lines.get("depth_mup")
        for keys, part in lines.values():
            _add_depth_losses(rows, keys, part)
            if reference is not None and keys != reference[0]:
                _add_advantage(rows, keys, part, reference[1])
    return rows.frame()


def _add_depth_losses(rows: _Rows, keys: dict[str, object], part: pd.DataFrame) -> None:
    curves = _Curves.of(part, "depth")
    if curves is None:
        return
    step = int(part["step"].iloc[0])
    best = curves.rates[np.argmin(np.nan_to_num(over_seeds(curves.train), nan=np.inf), axis=1)]
    columns = {"step": step, "split": "train", "depth": curves.sizes, "learning_rate": best}
    _add_best_loss(rows, keys, curves, {**columns, "source": "network"})
    if len(curves.sizes) < 2:
        return
    quantity, shown = "train_loss_gain_depth", {"step": step, "split": "train"}

    def best_loss(means: np.ndarray) -> np.ndarray:
        return _least(means)[..., None]

    _add_gain_rows(rows, keys, quantity, "depth", curves.sizes, curves.train, shown, best_loss)


def _add_advantage(
    rows: _Rows, keys: dict[str, object], part: pd.DataFrame, reference: pd.DataFrame
) -> None:
    """log(depth_mup's best loss / this network's best loss) at each depth, paired by seed."""
    both = []
    depths = np.intersect1d(part["depth"], reference["depth"])
    seeds = np.intersect1d(part["seed"], reference["seed"])
    for frame in (reference, part):
        shared = frame[frame["depth"].isin(depths) & frame["seed"].isin(seeds)]
        curves = _Curves.of(shared, "depth") if len(shared) else None
        if curves is None:
            return
        both.append(curves.train)
    split = both[0].shape[2]

    def advantage(m: np.ndarray) -> np.ndarray:
        return np.log(_least(m[..., :split])) - np.log(_least(m[..., split:]))

    paired = np.concatenate(both, axis=2)  # (seeds, depths, rates of both)
    columns = {"step": int(part["step"].iloc[0]), "split": "train"}
    found = interval(advantage, paired, names=("advantage",))
    shown = {**columns, "depth": depths, "source": "network"}
    rows.add("advantage", keys, found, len(seeds), **shown)
    average = interval(lambda m: advantage(m).mean(axis=1), paired, names=("advantage",))
    rows.add("advantage_mean", keys, average, len(seeds), source="fit", **columns)


# ------------------------------------------------------------------------------------------- catalogue


@dataclass(frozen=True)
class Evidence:
    """How a figure's evidence is made: from which experiments, by which function."""

    experiments: tuple[str, ...]
    function: Callable[[pd.DataFrame, pd.DataFrame | None], pd.DataFrame]
    needs_outputs: bool


_FUNCTIONS = (
    gia_restoration,
    scaling_trend,
    diminishing_returns,
    limit_convergence,
    vanishing_mechanism,
    coupling_at_init,
    kernel_spectrum,
    depth_transfer,
    width_transfer,
    internal_collapse,
    depth_transfer_2,
    deeper_is_better,
    correction_exponent,
)
_NEED_OUTPUTS = ("gia_restoration", "limit_convergence")

EVIDENCE: dict[str, Evidence] = {
    function.__name__: Evidence(
        FIGURES[function.__name__].experiments, function, function.__name__ in _NEED_OUTPUTS
    )
    for function in _FUNCTIONS
}
