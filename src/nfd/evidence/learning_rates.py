"""The best learning rate of each size, how it drifts with size, and what it costs not to follow it.

**Curves, not points.** Log loss over log2 rate, averaged over seeds, is smoothed by a local quadratic
(Fan and Gijbels 1996): at each rate a parabola is fitted by least squares to the rates within BANDWIDTH,
with weights 1 - (distance / BANDWIDTH)^2. Its linear coefficient estimates the slope of the curve, and the
best rate is where that slope passes through 0 (Müller 1985). All rates of the bowl take part, so the best
rate is known much finer than the grid, and it moves smoothly when a seed is left out, as the jackknife
over seeds needs. Seeds share their rates and sizes, so whatever a seed adds to all of them cancels.

**Diverged runs are values.** A run that diverged, or whose loss exceeds the loss before training, counts as
one that has learned nothing: its loss is that of step 0. So a rate at which one seed of ten diverged is not
dropped, it is worse by a tenth of the distance to an untrained network; the mean over seeds of such curves
is what a user risks. Near the edge of stability the curve turns up like a wall at a place that differs from
seed to seed; the jackknife sees that, so intervals widen there and still cover. Where it hardly differs it is
rounded to the grid alike for all seeds, which :func:`edge_errors` adds. On a grid coarser than FINE_GRID too
little is left to say: sizes with diverged runs in view of their best rate are not usable there.
docs/statistics.md has the simulations behind this choice.

**What is judged.** Nothing here depends on the losses being those of the last step: any array (seeds, sizes,
rates) of positive values, the less the better, will do: losses at an early step, or the number of steps
that a fixed loss takes (:func:`steps_to_reach`), where the last step stands for a run that never gets there.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import norm

from nfd.evidence.intervals import (
    Interval,
    jackknife_interval,
    level_in_use,
    mean_interval,
)

# Octaves to either side of a rate that its local parabola sees. With a factor of two between rates this
# leaves three or four of them, with a factor sqrt 2 seven.
BANDWIDTH = 2.0
# The coarsest grid, in octaves, that places an optimum in view of diverged runs.
FINE_GRID = 0.5
# Rates are written with few digits: 0.707 and 1.0 are 0.5002 octaves apart.
ROUNDED_RATES = 0.02
# What smoothing leaves uncertain, as standard deviations that seeds do not show: the place of an optimum
# between two rates, in distances of rates (it depends on where the grid lies), and the root of a regret,
# relatively (it depends on how the bowl leans). From simulated bowls that lean and have an edge.
PLACE_ERROR = 0.05
ROOT_ERROR = 0.06
# A curve that is lower than its ends by no more than this, in log loss, is flat: all runs diverged, say.
FLAT = 1e-6
# The smoothed curve is evaluated at so many points per octave.
FINENESS = 16


@dataclass(frozen=True)
class Curves:
    """Log losses (seeds, sizes, rates), diverged runs at the loss before training, and which diverged.

    ``log2_rates`` (rates,) and ``log2_sizes`` (sizes,) increase; every seed has a run at every size and rate.
    """

    log2_rates: np.ndarray
    log2_sizes: np.ndarray
    log_losses: np.ndarray
    diverged: np.ndarray

    @classmethod
    def of(
        cls, rates: np.ndarray, sizes: np.ndarray, losses: np.ndarray, untrained: np.ndarray | float
    ) -> "Curves":
        """From ``losses`` (seeds, sizes, rates), not finite where a run diverged.

        ``untrained`` is the loss at step 0, one number or an array that broadcasts against ``losses``, e.g.
        (seeds, sizes, 1). Raises ValueError if fewer than four rates are given: no bowl has less.
        """
        if len(rates) < 4:
            raise ValueError(
                f"a best rate needs four learning rates or more, not {np.asarray(rates).tolist()}"
            )
        diverged = ~np.isfinite(losses)
        capped = np.minimum(np.where(diverged, np.inf, losses), untrained)
        return cls(np.log2(rates), np.log2(sizes), np.log(capped), diverged)

    def smoother(self) -> "Smoother":
        return _smoother(tuple(self.log2_rates))

    def best(self) -> np.ndarray:
        """log2 of the best rate of each size by the mean over seeds, (sizes,); NaN where no rate is held."""
        return self.smoother().best(self.log_losses.mean(axis=0))


@dataclass(frozen=True)
class Smoother:
    """The local quadratic as matrices (points, rates): curve and derivatives at ``log2_rates`` (points,).

    ``slope`` and ``bend`` are the first and the second one.
    """

    log2_rates: np.ndarray
    curve: np.ndarray
    slope: np.ndarray
    bend: np.ndarray

    @classmethod
    def on(cls, grid: np.ndarray) -> "Smoother":
        """For curves at the log2 rates ``grid``.

        Its points end midway between the outermost rates, so that an optimum has a rate on either side, and
        a grid coarser than a factor of two widens the parabola's view to hold three rates.
        """
        first, last = (grid[0] + grid[1]) / 2, (grid[-2] + grid[-1]) / 2
        points = np.linspace(first, last, int(np.ceil((last - first) * FINENESS)) + 1)
        bandwidth = max(BANDWIDTH, 2 * np.diff(grid).max())
        distance = (grid - points[:, None]) / bandwidth
        weights = np.clip(1 - distance**2, 0.0, None)
        powers = distance[..., None] ** np.arange(3)
        gram = np.einsum("pr,pri,prj->pij", weights, powers, powers)
        coefficients = np.linalg.solve(gram, np.einsum("pr,pri->pir", weights, powers))
        curve, slope, bend = (coefficients[:, n] / bandwidth**n for n in range(3))
        return cls(points, curve, slope, 2 * bend)

    def best(self, means: np.ndarray) -> np.ndarray:
        """log2 of the best rate of curves (..., rates), NaN where the grid does not hold it.

        Of the places where the slope passes upwards through 0 the one with the least curve; NaN if there is
        none, or if the curve is no higher at an end of the grid: the optimum may lie beyond it.
        """
        curve, slope = means @ self.curve.T, means @ self.slope.T
        before, after = slope[..., :-1], slope[..., 1:]
        rising = (before < 0) & (after >= 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(rising, before / (before - after), np.nan)
        level = np.where(rising, np.minimum(curve[..., :-1], curve[..., 1:]), np.inf)
        chosen = np.argmin(level, axis=-1)[..., None]
        least = np.take_along_axis(level, chosen, axis=-1)[..., 0]
        step = np.diff(self.log2_rates)[0]
        place = np.take_along_axis(self.log2_rates[:-1] + share * step, chosen, axis=-1)[..., 0]
        ends = np.minimum(curve[..., 0], curve[..., -1])
        return np.where(least < ends - FLAT, place, np.nan)

    def rise(self, means: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """By how much curves (..., rates) rise between two log2 rates (...,): the integral of their slope.

        The integral and not the difference of the smoothed curve, which is least a little beside the place
        where the smoothed slope is 0; this one is exactly 0 and least at the best rate.
        """
        slope = means @ self.slope.T
        step = np.diff(self.log2_rates)[0]
        pieces = (slope[..., :-1] + slope[..., 1:]) / 2 * step
        integral = np.concatenate([np.zeros_like(slope[..., :1]), np.cumsum(pieces, axis=-1)], -1)
        return self._at(integral, slope, end) - self._at(integral, slope, start)

    def _at(self, integral: np.ndarray, slope: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The integral at a place between points, where the slope is taken as linear."""
        step = np.diff(self.log2_rates)[0]
        position = np.nan_to_num((place - self.log2_rates[0]) / step)
        index = np.clip(position.astype(int), 0, len(self.log2_rates) - 2)[..., None]
        share = position - index[..., 0]
        start, here, following = (
            np.take_along_axis(values, index + shift, axis=-1)[..., 0]
            for values, shift in ((integral, 0), (slope, 0), (slope, 1))
        )
        value = start + step * share * (here + share / 2 * (following - here))
        return np.where(np.isfinite(place), value, np.nan)


@lru_cache(maxsize=64)
def _smoother(grid: tuple[float, ...]) -> Smoother:
    """Many curves have the same rates."""
    return Smoother.on(np.array(grid))


def best_rates(curves: Curves) -> Interval:
    """log2 of the best rate of each size, (sizes,); NaN where the grid does not hold it (see also usable)."""
    smoother = curves.smoother()
    return jackknife_interval(lambda y: smoother.best(y.mean(axis=0)), curves.log_losses)


def held(curves: Curves) -> np.ndarray:
    """Sizes whose best rate the grid holds, (sizes,), also when any one seed is left out."""
    found = best_rates(curves)
    # Of two seeds none can be left out.
    return np.isfinite(found.high if len(curves.log_losses) > 2 else found.estimate)


def unresolved(curves: Curves) -> np.ndarray:
    """Sizes, (sizes,), with diverged runs in view of their best rate on a grid coarser than FINE_GRID."""
    coarse = np.diff(curves.log2_rates).max() > FINE_GRID + ROUNDED_RATES
    in_view = np.abs(curves.log2_rates - curves.best()[:, None]) < BANDWIDTH
    return coarse & (curves.diverged.any(axis=0) & in_view).any(axis=-1)


def usable(curves: Curves) -> np.ndarray:
    """Sizes, (sizes,), whose best rate the grid holds and resolves."""
    return held(curves) & ~unresolved(curves)


def at_best(curves: Curves, values: np.ndarray) -> np.ndarray:
    """``values`` (seeds, sizes, rates) of each seed at the best rate of all seeds, (seeds, sizes).

    Read from a curve smoothed like that of the losses. The best rate's own error changes a loss to second
    order only. NaN for sizes that are not usable.
    """
    smoother = curves.smoother()
    best = curves.best()
    smoothed = values @ smoother.curve.T
    index = np.abs(smoother.log2_rates - np.nan_to_num(best)[:, None]).argmin(axis=-1)
    chosen = np.take_along_axis(smoothed, index[None, :, None], axis=-1)[..., 0]
    return np.where(usable(curves), chosen, np.nan)


def between_rates(curves: Curves, values: np.ndarray) -> np.ndarray:
    """As :func:`at_best`, linear between two rates of the grid: for what saturates, such as accuracies."""
    best = curves.best()
    position = np.interp(best, curves.log2_rates, np.arange(len(curves.log2_rates)))
    below = np.minimum(np.nan_to_num(position).astype(int), len(curves.log2_rates) - 2)
    lower, upper = (
        np.take_along_axis(values, (below + shift)[None, :, None], axis=-1)[..., 0]
        for shift in (0, 1)
    )
    found = lower + (position - below) * (upper - lower)
    return np.where(usable(curves), found, np.nan)


def losses_at_best(curves: Curves) -> np.ndarray:
    """Log losses (seeds, sizes) of each seed at the best rate of all."""
    return at_best(curves, curves.log_losses)


def drift(curves: Curves) -> Interval:
    """Slope of log2 best rate against log2 size, least squares over the usable sizes; NaN if fewer than 3."""
    kept = usable(curves)
    if kept.sum() < 3:
        return Interval(*np.full(3, np.nan))
    smoother = curves.smoother()
    weights = influence(curves.log2_sizes[kept])
    found = jackknife_interval(
        lambda y: smoother.best(y.mean(axis=0)[kept]) @ weights, curves.log_losses
    )
    place_error = PLACE_ERROR * np.diff(curves.log2_rates).max()
    known = weights * np.hypot(place_error, edge_errors(curves)[kept])
    return widened(found, np.sqrt((known**2).sum()))


def edge_errors(curves: Curves) -> np.ndarray:
    """Standard deviations of log2 best rates, (sizes,), that seeds do not show beside an edge.

    The edge's place is rounded to the grid. If all seeds diverge at the same rate it lies anywhere within a
    distance d of rates: d / sqrt(12), or d / 3 because the errors of neighbouring sizes go together where it
    moves slowly. If their edges scatter by s they show where it is, as dithering does, and the error of the
    mean falls as exp(-2 (pi s / d)^2).
    """
    spacing = np.diff(curves.log2_rates).max()
    place = edges(curves)
    known = np.isfinite(place)
    number = known.sum(axis=0)
    mean = np.where(known, place, 0.0).sum(axis=0) / np.maximum(number, 1)
    spread = np.where(known, (place - mean) ** 2, 0.0).sum(axis=0) / np.maximum(number - 1, 1)
    # Rounding itself adds its variance to what is seen.
    scatter = np.maximum(spread / spacing**2 - 1 / 12, 0.0)
    rounding = spacing / 3 * np.exp(-2 * np.pi**2 * scatter)
    best = curves.best()
    in_view = (number > 0) & (np.abs(mean - best) < BANDWIDTH)
    return np.where(in_view, rounding, 0.0)


def influence(log2_sizes: np.ndarray) -> np.ndarray:
    """Weights, (sizes,), of the values in a least-squares slope over sizes."""
    centred = log2_sizes - log2_sizes.mean()
    weights: np.ndarray = centred / (centred**2).sum()
    return weights


def widened(found: Interval, known: np.ndarray | float) -> Interval:
    """The interval with a known standard deviation added in quadrature."""
    quantile = norm.ppf(0.5 + level_in_use() / 2)
    half = np.hypot((found.high - found.low) / 2, quantile * known)
    low, high = found.estimate - half, found.estimate + half
    return Interval(found.estimate, low, high, found.df, found.level)


# ------------------------------------------------------------------------------------------- regret


def regret_root(curves: Curves) -> Interval:
    """Signed root, (sizes,), of the log loss lost by training each size at the smallest size's best rate.

    The excess of log loss cannot be negative and is quadratic in the distance of the two best rates, so
    that near 0 its estimate is far from normal. Its root with the sign of the distance is smooth there,
    close to linear in the distance and takes a symmetric interval, as the signed root of a likelihood ratio
    does. So 'a regret below r' is tested as a root within ± sqrt(r). NaN for sizes that are not usable, and
    for all if the smallest is not.
    """
    smoother = curves.smoother()

    def root(log_losses: np.ndarray) -> np.ndarray:
        means = log_losses.mean(axis=0)
        best = smoother.best(means)
        kept = np.full_like(best, best[0])
        excess = smoother.rise(means, best, kept)
        # A curve with two valleys can fall on the way: then the kept rate costs nothing.
        return np.sign(kept - best) * np.sqrt(np.maximum(excess, 0.0))

    found = jackknife_interval(root, curves.log_losses)
    found = widened(found, np.hypot(ROOT_ERROR * np.abs(found.estimate), _root_errors(curves)))
    kept = usable(curves)
    return found.where(kept & kept[0])


def _root_errors(curves: Curves) -> np.ndarray:
    """What edges rounded to the grid leave uncertain in the roots of regrets, (sizes,): 0 for the first."""
    errors = edge_errors(curves)
    shift = np.where(np.arange(len(errors)) > 0, np.hypot(errors, errors[0]), 0.0)
    smoother = curves.smoother()
    means = curves.log_losses.mean(axis=0)
    best = smoother.best(means)
    excess = [smoother.rise(means, best, best + sign * shift) for sign in (-1, 1)]
    return np.sqrt(np.maximum(np.mean(excess, axis=0), 0.0))


def squared(root: Interval) -> Interval:
    """Interval of the square of a signed quantity: from 0 if its interval holds 0, never negative.

    It covers wherever that of the quantity does, and more often if only one sign lies far off.
    """
    ends = np.stack([root.low, root.high])
    low = np.where((root.low <= 0) & (root.high >= 0), 0.0, np.abs(ends).min(axis=0) ** 2)
    low = np.where(np.isnan(ends).any(axis=0), np.nan, low)
    return Interval(root.estimate**2, low, np.abs(ends).max(axis=0) ** 2, level=root.level)


def regret(curves: Curves) -> Interval:
    """Log loss lost, (sizes,), by training each size at the smallest size's best rate: never negative.

    The square of :func:`regret_root` with the interval's ends. Where more than half of the runs diverge at
    the kept rate, estimate and upper end are infinite, and the lower end stays that of the capped losses,
    if the size's own best rate is usable.
    """
    found = squared(regret_root(curves))
    lost = diverged_share(curves, kept_rate(curves)) > 0.5
    estimate, high = (np.where(lost, np.inf, value) for value in (found.estimate, found.high))
    low = np.where(lost & np.isnan(found.low), np.inf, found.low)
    return Interval(estimate, low, high, level=found.level)


def kept_rate(curves: Curves) -> float:
    """log2 of the smallest size's best rate; NaN where the grid does not hold it."""
    return float(curves.smoother().best(curves.log_losses[:, 0].mean(axis=0)))


# ----------------------------------------------------------------------------------------- stability


def diverged_share(curves: Curves, log2_rate: float) -> np.ndarray:
    """Share of runs of each size, (sizes,), that diverge at a rate, linear between those of the grid."""
    shares = curves.diverged.mean(axis=0)
    return np.array([np.interp(log2_rate, curves.log2_rates, share) for share in shares])


def edges(curves: Curves) -> np.ndarray:
    """log2 of the largest stable rate of each seed, (seeds, sizes): midway to the first that diverges.

    NaN where the grid does not hold it: no rate of it diverges, or the smallest does.
    """
    first = curves.diverged.argmax(axis=-1)
    inside = curves.diverged.any(axis=-1) & (first > 0)
    middles = (curves.log2_rates[1:] + curves.log2_rates[:-1]) / 2
    return np.where(inside, middles[np.maximum(first - 1, 0)], np.nan)


def edge_drift(curves: Curves) -> Interval:
    """Slope of log2 largest stable rate against log2 size, NaN if the grid holds it at fewer than 3 sizes.

    A size counts if the grid holds it for all seeds. What rounding to the grid may do widens the interval.
    """
    found = edges(curves)
    kept = np.isfinite(found).all(axis=0)
    if kept.sum() < 3:
        return Interval(*np.full(3, np.nan))
    weights = influence(curves.log2_sizes[kept])
    rounding = np.diff(curves.log2_rates).max() / np.sqrt(12)
    known = rounding * np.sqrt((weights**2).sum())
    return widened(mean_interval(found[:, kept] @ weights), known)


# ------------------------------------------------------------------------------- other observables


def steps_to_reach(steps: np.ndarray, losses: np.ndarray, level: float) -> np.ndarray:
    """Steps, not whole, until the loss first falls to ``level``; infinite if it never does.

    ``steps`` (steps,) are those recorded, ``losses`` (..., steps). Linear between records.
    """
    reached = losses <= level
    index = np.argmax(reached, axis=-1)
    before = np.maximum(index - 1, 0)
    after, start = (
        np.take_along_axis(losses, i[..., None], axis=-1)[..., 0] for i in (index, before)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(index > 0, (start - level) / (start - after), 0.0)
        found = steps[before] + share * (steps[index] - steps[before])
    return np.where(reached.any(axis=-1), found, np.inf)
