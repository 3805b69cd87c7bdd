"""The shape of loss over rates: how narrow the bowl is, how much the rate matters, whether transfer is fast.

All are read from the smooth curves of :mod:`nfd.evidence.learning_rates` with intervals by jackknife over
seeds, and none of them decides a claim.

**Fast transfer** (arXiv:2512.22768): what it costs to take the best rate from a network of size s falls
faster with s than what the finite size itself costs, the loss minus its limit. Both limits are out of reach
of a grid. The loss at the best rate is fitted by c + c' s^-a. The cost is the regret at the largest size of
the best rate of size s; its signed root is to leading order an affine function of that rate, so c + c' s^-b
is fitted to it, and c takes off that the largest size is not the limit. The regret falls as s^-2b.
An exponent is given only where something is seen to fall and the fit holds it inside PLATEAU_EXPONENTS, also
when any one seed is left out: a few sizes do not determine a slower decay.
"""

from collections.abc import Callable

import numpy as np

from nfd.evidence.fits import PLATEAU_EXPONENTS, fit_plateau
from nfd.evidence.intervals import Interval, jackknife_interval
from nfd.evidence.learning_rates import (
    PLACE_ERROR,
    ROOT_ERROR,
    Curves,
    Smoother,
    diverged_share,
    edge_errors,
    influence,
    regret_root,
    squared,
    usable,
    widened,
)

# Sizes that a fit of three numbers needs.
FEWEST_SIZES = 4
# What the spacing of the exponents tried leaves uncertain, as a standard deviation.
_ROUNDING = float(np.diff(PLATEAU_EXPONENTS).max() / np.sqrt(12))

# From log losses (seeds, sizes, rates) to a number for each size.
_OfSizes = Callable[[np.ndarray], np.ndarray]


# ------------------------------------------------------------------------------------ one size at a time


def curvatures(curves: Curves) -> Interval:
    """Second derivative of log loss in log2 rate at each size's best rate, (sizes,); NaN if not usable.

    That of the local parabola, which sees two octaves to either side: in a bowl that is not a parabola, and
    beside an edge of stability, it is a mean over these.
    """
    found = jackknife_interval(_curvature(curves.smoother()), curves.log_losses)
    return found.where(usable(curves))


def sensitivities(curves: Curves) -> Interval:
    """Mean over rates, even in log rate, of min(loss, untrained loss) minus the least of them, (sizes,).

    The learning-rate sensitivity of arXiv:2309.14322, between the ends of the grid, of means over seeds:
    grids of other ends give other numbers. NaN where no rate trains.
    """
    found = jackknife_interval(_sensitivity(curves.log2_rates), curves.log_losses)
    return found.where(found.estimate > 0)


def curvature_exponent(curves: Curves) -> Interval:
    """Exponent of the curvature as a power of size, over the usable sizes; NaN if fewer than 3."""
    return _exponent(curves, _curvature(curves.smoother()), usable(curves))


def sensitivity_exponent(curves: Curves) -> Interval:
    """Exponent of the sensitivity as a power of size; NaN if there are fewer than 3."""
    return _exponent(curves, _sensitivity(curves.log2_rates), np.ones(len(curves.log2_sizes), bool))


def _curvature(smoother: Smoother) -> _OfSizes:
    def statistic(log_losses: np.ndarray) -> np.ndarray:
        means = log_losses.mean(axis=0)
        return _nearest(smoother, means @ smoother.bend.T, smoother.best(means))

    return statistic


def _sensitivity(log2_rates: np.ndarray) -> _OfSizes:
    gaps = np.diff(log2_rates)
    weights = (np.append(gaps, 0.0) + np.append(0.0, gaps)) / 2 / gaps.sum()

    def statistic(log_losses: np.ndarray) -> np.ndarray:
        losses = np.exp(log_losses).mean(axis=0)
        excess: np.ndarray = losses @ weights - losses.min(axis=-1)
        return excess

    return statistic


def _exponent(curves: Curves, statistic: _OfSizes, kept: np.ndarray) -> Interval:
    """Least-squares slope of the log of a statistic (sizes,) over log size, from the ``kept`` sizes."""
    if kept.sum() < 3:
        return Interval(*np.full(3, np.nan))
    weights = influence(curves.log2_sizes[kept])

    def slope(log_losses: np.ndarray) -> np.ndarray:
        values = statistic(log_losses)[kept]
        return np.log2(np.where(values > 0, values, np.nan)) @ weights

    return jackknife_interval(slope, curves.log_losses)


# ------------------------------------------------------------------------------------------ fast transfer


def regret_at_largest(curves: Curves) -> Interval:
    """Log loss lost, (sizes,), by training the largest usable size at each size's best rate.

    Its interval is that of the signed root, as in :func:`nfd.evidence.learning_rates.regret`. Infinite where
    more than half of the runs diverge, NaN for sizes that are not usable.
    """
    kept = usable(curves)
    if not kept.any():
        return Interval(*np.full((3, len(kept)), np.nan))
    part = _at_sizes(curves, kept)
    smoother, errors = part.smoother(), _place_errors(part)
    found = jackknife_interval(lambda y: _roots(smoother, y), part.log_losses)
    moved = _roots(smoother, part.log_losses, errors) - found.estimate
    # At the largest size itself there is nothing to lose, whatever its best rate is.
    known = np.where(np.arange(len(errors)) < len(errors) - 1, moved, 0.0)
    found = squared(widened(found, np.hypot(ROOT_ERROR * found.estimate, known)))
    lost = _share_lost(part) > 0.5
    whole = np.full((3, len(kept)), np.nan)
    whole[0, kept], whole[2, kept] = (
        np.where(lost, np.inf, v) for v in (found.estimate, found.high)
    )
    whole[1, kept] = found.low
    estimate, low, high = whole
    return Interval(estimate, low, high, level=found.level)


def transfer_speed(curves: Curves) -> Interval:
    """Exponents in size of the loss minus its limit and of the regret, and the second minus the first, (3,).

    Negative where they fall; transfer is fast if the third is. NaN where one cannot be had: fewer than
    FEWEST_SIZES usable sizes, no difference between the smallest and the largest that seeds resolve, most
    runs of the largest diverge at a rate carried over, or an exponent that the fit does not hold.
    """
    kept = usable(curves)
    unknown = Interval(*np.full((3, 3), np.nan))
    if kept.sum() < FEWEST_SIZES:
        return unknown
    part = _at_sizes(curves, kept)
    falls = np.array([_differs(_loss_gained(part)), _differs(regret_root(part).part(-1))])
    falls[1] &= not (_share_lost(part) > 0.5).any()
    smoother, sizes = part.smoother(), np.exp2(part.log2_sizes)

    def exponents(log_losses: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
        losses = np.exp(_best_losses(smoother, log_losses))
        loss_gap, regret = (
            _decay(sizes, losses),
            2 * _decay(sizes, _roots(smoother, log_losses, shift)),
        )
        return np.array([-loss_gap, -regret, loss_gap - regret])

    found = jackknife_interval(exponents, part.log_losses)
    shifts = np.diag(_place_errors(part))
    moved = np.array([exponents(part.log_losses, shift) for shift in shifts]) - found.estimate
    rounding = _ROUNDING * np.array([1.0, 2.0, np.sqrt(5.0)])
    found = widened(found, np.sqrt((moved**2).sum(axis=0) + rounding**2))
    return found.where(np.isfinite(found.low) & np.append(falls, falls.all()))


def _decay(sizes: np.ndarray, values: np.ndarray) -> float:
    """r of values (sizes,) = c + c' size^-r; NaN at the ends of the exponents that are tried."""
    if not np.isfinite(values).all():
        return np.nan
    r = float(fit_plateau(sizes, values[None])[0, 2])
    return r if PLATEAU_EXPONENTS[0] < r < PLATEAU_EXPONENTS[-1] else np.nan


def _best_losses(smoother: Smoother, log_losses: np.ndarray) -> np.ndarray:
    """Log loss of each size at its best rate, (sizes,)."""
    means = log_losses.mean(axis=0)
    return _nearest(smoother, means @ smoother.curve.T, smoother.best(means))


def _loss_gained(curves: Curves) -> Interval:
    """By how much log loss at the best rate is less at the largest size than at the smallest."""
    smoother = curves.smoother()
    return jackknife_interval(
        lambda y: -np.diff(_best_losses(smoother, y)[[0, -1]])[0], curves.log_losses
    )


def _roots(
    smoother: Smoother, log_losses: np.ndarray, shift: np.ndarray | float = 0.0
) -> np.ndarray:
    """Signed roots, (sizes,), of the regrets at the largest size of each size's best rate plus ``shift``."""
    means = log_losses.mean(axis=0)
    best = smoother.best(means)
    own = np.full_like(best, best[-1])
    excess = smoother.rise(np.broadcast_to(means[-1], means.shape), own, best + shift)
    return np.sign(best + shift - own) * np.sqrt(np.maximum(excess, 0.0))


def _place_errors(curves: Curves) -> np.ndarray:
    """Standard deviations of log2 best rates, (sizes,), that seeds do not show."""
    return np.hypot(PLACE_ERROR * np.diff(curves.log2_rates).max(), edge_errors(curves))


def _share_lost(curves: Curves) -> np.ndarray:
    """Share of runs of the largest size, (sizes,), that diverge at each size's best rate."""
    best = curves.best()
    return np.array([diverged_share(curves, float(rate))[-1] for rate in best])


# ------------------------------------------------------------------------------------------------- tools


def _at_sizes(curves: Curves, kept: np.ndarray) -> Curves:
    """The curves of the ``kept`` sizes."""
    log_losses, diverged = curves.log_losses[:, kept], curves.diverged[:, kept]
    return Curves(curves.log2_rates, curves.log2_sizes[kept], log_losses, diverged)


def _nearest(smoother: Smoother, values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Of values (..., points) those at the points nearest to log2 rates (...,); NaN where those are."""
    index = np.abs(smoother.log2_rates - np.nan_to_num(place)[..., None]).argmin(axis=-1)
    chosen = np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
    return np.where(np.isfinite(place), chosen, np.nan)


def _differs(found: Interval) -> bool:
    """Whether an interval excludes 0."""
    return bool(found.low > 0 or found.high < 0)
