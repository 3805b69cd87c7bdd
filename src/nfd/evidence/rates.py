"""Loss against learning rate: where it is least, how that moves with size, what keeping one rate costs.

The estimators are those of :mod:`nfd.evidence.learning_rates`; here they become rows. A run that diverged
counts as an untrained one, with the loss of step 0 (docs/statistics.md, Estimators that waste less).

**Length of training.** The same runs are read at the recorded steps nearest to 1/16, 1/4 and all of training
(:data:`READ_AT`); a verdict is about the last. 'Best' is also read at a fixed loss, as the rate that reaches
it in the fewest steps: the loss that every size has reached, at its best rate, after a quarter of training.

Quantities (:mod:`nfd.evidence.table` says how to read them)
------------------------------------------------------------
depth_transfer, width_transfer, depth_transfer_2, correction_exponent ('size': depth or width)
    final_train_loss, final_test_loss         network  over learning_rate, size: geometric mean, with diverged
                                            runs at the loss before training
    best_learning_rate             network  over size; learning_rate: best of the grid; estimate empty if the
                                            grid does not hold the optimum or does not resolve it
    best_learning_rate             fit      the line 2^(a + drift log2 size) at the sizes used
    unresolved_learning_rate       network  over size: an optimum with diverged runs within two octaves on a
                                            grid coarser than half an octave; not used
    best_train_loss, best_test_loss           network  over size: at the best rate, which is in learning_rate
    drift                          fit      log2 best rate per log2 size; one row per step read
    drift_at_loss                  fit      the same of the rate that reaches ``reached_loss`` first
    reached_loss                   fit      that loss
    grid_spacing                   fit      log2 of the ratio of neighbouring rates, the coarsest
    regret                         network  over size: loss at the smallest network's best rate / own best - 1
                                            (infinite if most runs diverge there); learning_rate: that rate;
                                            at earlier steps than the last for the largest usable size only
    diverged_share                 network  over size: share of runs that diverge at the smallest network's
                                            best rate, which is in learning_rate
    stable_rate                    network  over size: geometric mean over seeds of the largest stable rate;
                                            empty if the grid does not hold it
    stable_rate_drift              fit      log2 largest stable rate per log2 size
    curvature                      network  over size: second derivative of log loss in log2 rate at the best
    curvature_exponent             fit      of the curvature as a power of size
    rate_sensitivity               network  over size: mean over the grid of min(loss, untrained) - least
    rate_sensitivity_exponent      fit      of that as a power of size
    regret_at_largest              network  over size: loss of the largest usable size at this one's best rate
                                            (in learning_rate) / own best - 1
    loss_gap_exponent              fit      of the best loss minus its limit as a power of size
    regret_exponent                fit      of the regret of carrying a best rate over, as a power of its size
    regret_exponent_excess         fit      the second minus the first: transfer is fast if it is negative
                                            (all three empty where they cannot be had, nfd.evidence.bowls)
depth_transfer_2
    freezing_cost                  network  over depth: log(best training loss with W1 frozen / own), paired
                                            by seed; one row per step read
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nfd.evidence import bowls, learning_rates
from nfd.evidence.estimates import add_diverged
from nfd.evidence.intervals import Interval, mean_interval
from nfd.evidence.learning_rates import Curves
from nfd.evidence.selection import check_once, each, pick_metric
from nfd.evidence.table import LINE, Rows

# Shares of training after which transfer and advantages are read.
READ_AT = (1 / 16, 1 / 4, 1.0)
# A bowl has no fewer learning rates.
FEWEST_RATES = 4
# The parts of :func:`nfd.evidence.bowls.transfer_speed`.
SPEEDS = ("loss_gap_exponent", "regret_exponent", "regret_exponent_excess")


@dataclass(frozen=True)
class Sweep:
    """All runs of one line over one size, on a full grid of seeds, sizes and rates.

    ``values`` maps (metric, split) to an array (seeds, sizes, rates, steps), NaN from where a run diverged.
    """

    seeds: np.ndarray
    sizes: np.ndarray
    rates: np.ndarray
    steps: np.ndarray
    values: dict[tuple[str, str], np.ndarray]

    @classmethod
    def of(cls, part: pd.DataFrame, axis: str) -> "Sweep | None":
        """From the rows of one line; only rates tried at every size with every seed. None without any."""
        runs = part.drop_duplicates([axis, "learning_rate", "seed"])
        tried = runs.groupby("learning_rate").size()
        complete = tried == runs[axis].nunique() * runs["seed"].nunique()
        part = part[part["learning_rate"].isin(tried.index[complete])]
        if part.empty:
            return None
        names = ("seed", axis, "learning_rate", "step")
        levels = [np.sort(part[name].unique()) for name in names]
        values = {}
        for metric, split in (("loss", "train"), ("loss", "test"), ("accuracy", "test")):
            rows = pick_metric(part, metric, split)
            check_once(rows, *names)
            array = np.full([len(level) for level in levels], np.nan)
            place = [
                np.searchsorted(level, rows[name])
                for level, name in zip(levels, names, strict=True)
            ]
            array[tuple(place)] = np.where(rows["diverged"], np.nan, rows["value"])
            values[metric, split] = array
        seeds, sizes, rates, steps = levels
        return cls(seeds, sizes, rates, steps, values)

    @property
    def read_at(self) -> list[int]:
        """Places in ``steps`` of those nearest, in ratio, to READ_AT of training."""
        later = np.log(self.steps[1:])
        wanted = np.log(READ_AT) + later[-1]
        return sorted({1 + int(np.abs(later - step).argmin()) for step in wanted})

    def curves(self, place: int = -1, split: str = "train") -> Curves:
        """Losses at the step of that ``place`` as curves over the rate, those of step 0 for diverged runs."""
        losses = self.values["loss", split]
        return Curves.of(self.rates, self.sizes, losses[..., place], losses[..., 0])

    def accuracies(self, place: int = -1) -> np.ndarray:
        """Test accuracies (seeds, sizes, rates), those of step 0 for diverged runs."""
        values = self.values["accuracy", "test"]
        return np.where(np.isfinite(values[..., place]), values[..., place], values[..., 0])

    def curves_to_loss(self) -> tuple[float, Curves]:
        """A loss, and the steps to it as curves over the rate; all steps for runs that never get there."""
        losses = self.values["loss", "train"]
        quarter = self.read_at[-2] if len(self.read_at) > 1 else -1
        level = float(np.exp(self.curves(quarter).log_losses.mean(axis=0).min(axis=-1).max()))
        steps = learning_rates.steps_to_reach(self.steps, losses, level)
        # Before the first recorded step nothing is known.
        steps = np.maximum(steps, self.steps[1])
        return level, Curves.of(self.rates, self.sizes, steps, self.steps[-1])


def sweeps(
    data: pd.DataFrame, axis: str, fewest_rates: int = 1
) -> list[tuple[dict[str, object], Sweep]]:
    """All lines of an experiment over one size with that many rates, and what names each."""
    other = "width" if axis == "depth" else "depth"
    found = [(keys, Sweep.of(part, axis)) for keys, part in each(data, *LINE, other)]
    return [
        (keys, sweep)
        for keys, sweep in found
        if sweep is not None and len(sweep.steps) > 1 and len(sweep.rates) >= fewest_rates
    ]


def add_transfer(rows: Rows, data: pd.DataFrame, axis: str) -> None:
    """All quantities of transfer over ``axis``, 'width' or 'depth', from networks."""
    if data.empty:
        return
    add_diverged(rows, data)
    for keys, sweep in sweeps(data, axis):
        _add_losses(rows, keys, sweep, axis)
        if len(sweep.rates) < FEWEST_RATES:
            continue
        _add_best(rows, keys, sweep, axis)
        add_best_losses(rows, keys, sweep, axis)
        for place in sweep.read_at:
            _add_transfer_at(rows, keys, sweep, axis, place)
        _add_drift_at_loss(rows, keys, sweep)
        _add_stability(rows, keys, sweep, axis)
        _add_shape(rows, keys, sweep, axis)


def _add_losses(rows: Rows, keys: dict[str, object], sweep: Sweep, axis: str) -> None:
    size_of, rate_of = (
        grid.ravel() for grid in np.meshgrid(sweep.sizes, sweep.rates, indexing="ij")
    )
    for split in ("train", "test"):
        losses = sweep.values["loss", split]
        capped = np.fmin(losses[..., -1], losses[..., 0])
        found = mean_interval(np.log(capped.reshape(len(sweep.seeds), -1))).map(np.exp)
        shown = {axis: size_of, "learning_rate": rate_of, "step": sweep.steps[-1], "split": split}
        rows.add(f"final_{split}_loss", keys, found, len(sweep.seeds), source="network", **shown)


def _add_best(rows: Rows, keys: dict[str, object], sweep: Sweep, axis: str) -> None:
    """The best rate of each size, and the line through those that are usable."""
    curves, seeds = sweep.curves(), len(sweep.seeds)
    columns = {"step": sweep.steps[-1], "split": "train"}
    found = learning_rates.best_rates(curves)
    kept = learning_rates.usable(curves)
    grid_best = sweep.rates[curves.log_losses.mean(axis=0).argmin(axis=-1)]
    shown = {**columns, axis: sweep.sizes, "learning_rate": grid_best, "source": "network"}
    rows.add("best_learning_rate", keys, found.map(np.exp2).where(kept), seeds, **shown)
    left_out = learning_rates.held(curves) & ~kept
    if left_out.any():
        shown = {**columns, axis: sweep.sizes[left_out], "source": "network"}
        estimates = np.exp2(found.estimate[left_out])
        rows.add("unresolved_learning_rate", keys, estimates, seeds, **shown)
    spacing = np.diff(curves.log2_rates).max()
    rows.add("grid_spacing", keys, spacing, seeds, source="fit", **columns)
    slope = learning_rates.drift(curves).estimate
    if np.isfinite(slope):
        x = curves.log2_sizes[kept]
        fitted = np.exp2(found.estimate[kept].mean() + slope * (x - x.mean()))
        shown = {**columns, axis: sweep.sizes[kept], "source": "fit"}
        rows.add("best_learning_rate", keys, fitted, seeds, **shown)


def add_best_losses(rows: Rows, keys: dict[str, object], sweep: Sweep, axis: str) -> None:
    """Training loss of each size at its best rate, and test loss at that rate."""
    curves = sweep.curves()
    best = np.exp2(learning_rates.best_rates(curves).estimate)
    shown = {axis: sweep.sizes, "learning_rate": best, "step": sweep.steps[-1], "source": "network"}
    for split in ("train", "test"):
        values = learning_rates.at_best(curves, sweep.curves(split=split).log_losses)
        found = mean_interval(values).map(np.exp)
        rows.add(f"best_{split}_loss", keys, found, len(sweep.seeds), split=split, **shown)


def _add_transfer_at(
    rows: Rows, keys: dict[str, object], sweep: Sweep, axis: str, place: int
) -> None:
    """Drift and regret at one step."""
    curves, seeds = sweep.curves(place), len(sweep.seeds)
    columns = {"step": sweep.steps[place], "split": "train"}
    drift = learning_rates.drift(curves)
    if np.isfinite(drift.estimate):
        rows.add("drift", keys, drift, seeds, source="fit", **columns)
    found = learning_rates.regret(curves).map(np.expm1)
    shown = np.arange(len(sweep.sizes))
    if place < len(sweep.steps) - 1:
        shown = np.flatnonzero(~np.isnan(found.estimate))[-1:]
    kept_rate = np.exp2(learning_rates.kept_rate(curves))
    where = {**columns, axis: sweep.sizes[shown], "learning_rate": kept_rate, "source": "network"}
    found = Interval(found.estimate[shown], found.low[shown], found.high[shown])
    rows.add("regret", keys, found, seeds, **where)


def _add_drift_at_loss(rows: Rows, keys: dict[str, object], sweep: Sweep) -> None:
    level, curves = sweep.curves_to_loss()
    drift = learning_rates.drift(curves)
    if np.isfinite(drift.estimate):
        rows.add("drift_at_loss", keys, drift, len(sweep.seeds), source="fit", split="train")
        rows.add(
            "reached_loss", keys, np.array(level), len(sweep.seeds), source="fit", split="train"
        )


def _add_stability(rows: Rows, keys: dict[str, object], sweep: Sweep, axis: str) -> None:
    """Where training diverges: at the kept rate, and from which rate on."""
    curves, seeds = sweep.curves(), len(sweep.seeds)
    columns = {"step": sweep.steps[-1], "split": "train"}
    kept = learning_rates.kept_rate(curves)
    shown = {**columns, axis: sweep.sizes, "source": "network"}
    share = learning_rates.diverged_share(curves, kept)
    if np.isfinite(kept):
        rows.add("diverged_share", keys, share, seeds, learning_rate=np.exp2(kept), **shown)
    edges = learning_rates.edges(curves)
    found = mean_interval(edges).map(np.exp2)
    known = np.isfinite(edges).all(axis=0)
    if known.any():
        rows.add("stable_rate", keys, found.where(known), seeds, **shown)
    drift = learning_rates.edge_drift(curves)
    if np.isfinite(drift.estimate):
        rows.add("stable_rate_drift", keys, drift, seeds, source="fit", **columns)


def _add_shape(rows: Rows, keys: dict[str, object], sweep: Sweep, axis: str) -> None:
    """How narrow the bowls are, how much the rate matters, and how fast its transfer gets better."""
    curves, seeds = sweep.curves(), len(sweep.seeds)
    columns = {"step": sweep.steps[-1], "split": "train"}
    shown = {**columns, axis: sweep.sizes, "source": "network"}
    rows.add("curvature", keys, bowls.curvatures(curves), seeds, **shown)
    rows.add("rate_sensitivity", keys, bowls.sensitivities(curves), seeds, **shown)
    best = np.exp2(learning_rates.best_rates(curves).estimate)
    carried = bowls.regret_at_largest(curves).map(np.expm1)
    rows.add("regret_at_largest", keys, carried, seeds, learning_rate=best, **shown)
    columns["source"] = "fit"
    for quantity, found in (
        ("curvature_exponent", bowls.curvature_exponent(curves)),
        ("rate_sensitivity_exponent", bowls.sensitivity_exponent(curves)),
    ):
        if np.isfinite(found.estimate):
            rows.add(quantity, keys, found, seeds, **columns)
    speed = bowls.transfer_speed(curves)
    for place, quantity in enumerate(SPEEDS):
        rows.add(quantity, keys, speed.part(place), seeds, **columns)


# ------------------------------------------------------------------------------------ two lines compared


def excess_at_best(
    one: Sweep, other: Sweep, place: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """How much more ``one`` has than ``other`` at the step of that ``place``, each at its own best rate.

    The sizes that both have, and the differences of what :func:`at_best_rates` gives, paired by seed.
    """
    sizes, *at = np.intersect1d(one.sizes, other.sizes, return_indices=True)
    _, *of = np.intersect1d(one.seeds, other.seeds, return_indices=True)
    first, second = (
        {
            name: values[np.ix_(seeds, shapes)]
            for name, values in at_best_rates(sweep, place).items()
        }
        for sweep, seeds, shapes in zip((one, other), of, at, strict=True)
    )
    return sizes, {name: first[name] - second[name] for name in first}


def at_best_rates(sweep: Sweep, place: int) -> dict[str, np.ndarray]:
    """Log ``train`` and ``test`` loss and test ``accuracy``, (seeds, sizes), at the rates best at that step.

    The best rate is that of the training loss. ``train, grid`` and ``test, grid`` are losses at the best rate
    of the grid, without smoothing.
    """
    curves, test = sweep.curves(place), sweep.curves(place, "test")
    least = curves.log_losses.mean(axis=0).argmin(axis=-1)[None, :, None]
    return {
        "train": learning_rates.losses_at_best(curves),
        "test": learning_rates.at_best(curves, test.log_losses),
        "accuracy": learning_rates.between_rates(curves, sweep.accuracies(place)),
        "train, grid": np.take_along_axis(curves.log_losses, least, axis=-1)[..., 0],
        "test, grid": np.take_along_axis(test.log_losses, least, axis=-1)[..., 0],
    }


def add_excess(
    rows: Rows,
    quantity: str,
    keys: dict[str, object],
    sizes: np.ndarray,
    values: np.ndarray,
    axis: str,
    step: int,
    split: str,
    on_grid: np.ndarray | None = None,
) -> None:
    """Rows of means over seeds of differences (seeds, sizes), where there is one.

    With those of the same read ``on_grid`` intervals also hold what the two readings differ by.
    """
    known = np.isfinite(values).all(axis=0)
    if known.any():
        shown = {axis: sizes[known], "step": step, "split": split, "source": "network"}
        found = mean_interval(values[:, known])
        if on_grid is not None:
            found = with_both_readings(found, on_grid[:, known].mean(axis=0))
        rows.add(quantity, keys, found, len(values), **shown)


def with_both_readings(found: Interval, other: np.ndarray) -> Interval:
    """The interval widened, in quadrature, by how far another reading of the same lies from its estimate."""
    half = np.hypot((found.high - found.low) / 2, other - found.estimate)
    low, high = found.estimate - half, found.estimate + half
    return Interval(found.estimate, low, high, found.df, found.level)
