"""Intervals over seeds, by bootstrap and by jackknife (docs/theory.md, section 6, Statistics).

**Intervals.** Every interval here is a 95 % bootstrap interval over seeds (at another level within
:func:`intervals_at`), of the form

    estimate ± t(df) * standard deviation over resamples.

The percentile bootstrap is too narrow for the five or so seeds a claim has: for the mean of five normal
numbers it covers 83 %, not 95 %, because a resample of five has too little variance (by 1 - 1/5) and
because its quantiles ignore that the spread itself is only estimated. So a resample here draws one seed
fewer than there are (which makes its variance unbiased: Rao and Wu 1988; Hesterberg, arXiv:1411.5279,
discusses the effect), and Student's t replaces the normal quantile. For a mean this is exactly the t
interval. Seeds are resampled whole, so everything that shares a seed is compared in pairs.

**Arrays.** A *statistic* is a function of means over seeds. It receives arrays whose first axis is the
resample, ``(resamples, *cells)``, and treats resamples independently, so that it runs once for all.
NaN marks a missing measurement throughout.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from nfd.seeds import generator

LEVEL = 0.95
RESAMPLES = 1000

Statistic = Callable[..., np.ndarray]
_level: ContextVar[float] = ContextVar("level", default=LEVEL)


@contextmanager
def intervals_at(level: float) -> Iterator[None]:
    """Within it all intervals are made at this two-sided level, that of a look at growing data.

    Not afterwards, by :meth:`Interval.at_level`: those that are no multiple of a standard error any more
    would be left out.
    """
    token = _level.set(level)
    try:
        yield
    finally:
        _level.reset(token)


def level_in_use() -> float:
    """95 %, or what :func:`intervals_at` says."""
    return _level.get()


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; arrays of one shape, NaN bounds where seeds are too few.

    ``df`` are the degrees of freedom of the t quantile in the interval: seeds - 1 for one group, Welch's for
    several, infinite for a spread known beforehand, and NaN where the interval is no multiple of a standard
    error (after :meth:`map`, or made otherwise). ``level`` is the two-sided level, 95 % unless at_level says
    otherwise.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    df: np.ndarray | float = np.nan
    level: float = LEVEL

    @property
    def standard_error(self) -> np.ndarray:
        """Half the width over the t quantile; NaN where ``df`` is."""
        return (self.high - self.low) / 2 / student.ppf(0.5 + self.level / 2, self.df)

    def at_level(self, level: float) -> "Interval":
        """The interval at another two-sided level than 95 %, e.g. that of a look at growing data."""
        half = student.ppf(0.5 + level / 2, self.df) * self.standard_error
        return Interval(self.estimate, self.estimate - half, self.estimate + half, self.df, level)

    def part(self, index: int | slice) -> "Interval":
        """One component, or some."""
        df = np.broadcast_to(self.df, np.shape(self.estimate))[index]
        return Interval(self.estimate[index], self.low[index], self.high[index], df, self.level)

    def where(self, kept: np.ndarray) -> "Interval":
        """The interval where ``kept``, of its shape, and NaN elsewhere."""
        estimate, low, high = (
            np.where(kept, value, np.nan) for value in (self.estimate, self.low, self.high)
        )
        return Interval(estimate, low, high, self.df, self.level)

    def map(self, increasing: Callable[[np.ndarray], np.ndarray]) -> "Interval":
        """The interval of an increasing function of the quantity (e.g. from log scale: ``np.exp``)."""
        low, high = increasing(self.low), increasing(self.high)
        return Interval(increasing(self.estimate), low, high, level=self.level)


def resample_weights(seeds: int, *names: str | int, resamples: int = RESAMPLES) -> np.ndarray:
    """Weights of the seeds in each resample, ``(resamples, seeds)``, rows sum to 1: draws of seeds - 1."""
    draws = generator(0, "bootstrap", *names).multinomial(
        seeds - 1, np.full(seeds, 1 / seeds), size=resamples
    )
    return draws / (seeds - 1)


def weighted_means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means over seeds, ``(resamples, *cells)``, of ``values`` (seeds, *cells); NaN values are left out."""
    present = np.isfinite(values)
    total = np.tensordot(weights, np.where(present, values, 0.0), axes=1)
    if present.all():
        return total
    share = np.tensordot(weights, present.astype(float), axes=1)
    return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)


def interval(
    statistic: Statistic,
    *groups: np.ndarray,
    names: Sequence[str | int] = (),
) -> Interval:
    """Bootstrap interval of a function of means over seeds.

    ``groups`` are arrays (seeds, *cells). Seeds of different groups are independent (networks and
    limit, say) and are resampled one group at a time; the variances add and Welch's formula gives the
    degrees of freedom. ``names`` address the random numbers.

    A group with one seed has no measurable spread: the bounds are NaN.
    """
    means = [over_seeds(g)[None] for g in groups]
    estimate = statistic(*means)[0]
    variances = [
        _variance(statistic, means, index, group, (*names, index))
        for index, group in enumerate(groups)
    ]
    half, df = _half_width(variances, [len(group) for group in groups])
    return Interval(estimate, estimate - half, estimate + half, df, level_in_use())


def _variance(
    statistic: Statistic,
    means: list[np.ndarray],
    index: int,
    group: np.ndarray,
    names: Sequence[str | int],
) -> np.ndarray:
    """Variance of the statistic when the seeds of one group are resampled and the others are kept."""
    if len(group) < 2:
        return np.full_like(statistic(*means)[0], np.nan)
    resampled = weighted_means(resample_weights(len(group), *names), group)
    # A cell measured at one seed only has no spread to show.
    resampled[:, np.isfinite(group).sum(axis=0) < 2] = np.nan
    inputs = [np.broadcast_to(mean, (RESAMPLES, *mean.shape[1:])) for mean in means]
    inputs[index] = resampled
    replicates = statistic(*inputs)
    replicates = np.where(np.isfinite(replicates), replicates, np.nan)
    # A statistic that half of the resamples cannot form is not usable.
    unusable = np.isnan(replicates).mean(axis=0) > 0.5
    count = np.maximum((~np.isnan(replicates)).sum(axis=0), 1)
    centre = np.nansum(replicates, axis=0) / count
    variance = np.nansum((replicates - centre) ** 2, axis=0) / count
    return np.where(unusable, np.nan, variance)


def over_seeds(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis, NaN left out (NaN where nothing is left)."""
    return weighted_means(np.full((1, len(values)), 1 / len(values)), values)[0]


def jackknife_interval(statistic: Callable[..., np.ndarray], *groups: np.ndarray) -> Interval:
    """Interval of a function of whole samples: estimate ± t(df) * jackknife standard error.

    For squared distances between mean outputs, which are not functions of means alone: taking off the
    part due to finitely many seeds needs distinct seeds, and a bootstrap resample repeats some.
    ``groups`` (seeds, ...) are independent, as in :func:`interval`; each seed is left out once. A group with
    fewer than three seeds (no variance is left when one is out) gives NaN bounds.
    """
    estimate = np.asarray(statistic(*groups), float)
    variances = []
    for index, group in enumerate(groups):
        if len(group) < 3:
            variances.append(np.full_like(estimate, np.nan))
            continue
        left_out = np.stack(
            [
                statistic(*groups[:index], np.delete(group, seed, axis=0), *groups[index + 1 :])
                for seed in range(len(group))
            ]
        )
        spread = ((left_out - left_out.mean(axis=0)) ** 2).mean(axis=0)
        variances.append((len(group) - 1) * spread)
    half, df = _half_width(variances, [len(group) for group in groups])
    return Interval(estimate, estimate - half, estimate + half, df, level_in_use())


def _half_width(
    variances: Sequence[np.ndarray], seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Half the width of an interval from variances of independent groups, and Welch's df."""
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = sum(variances)
        inverse_df = sum(v**2 / max(n - 1, 1) for v, n in zip(variances, seeds, strict=True))
        df = np.where(inverse_df > 0, variance**2 / inverse_df, np.inf)
        return student.ppf(0.5 + level_in_use() / 2, df) * np.sqrt(variance), df


def mean_interval(values: np.ndarray) -> Interval:
    """Mean over the first axis (seeds) with Student's t interval: the bootstrap above, exactly."""
    values = np.asarray(values, float)
    count = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / np.where(count > 0, count, np.nan)
        variance = np.nansum((values - mean) ** 2, axis=0) / np.where(count > 1, count - 1, np.nan)
        df = np.maximum(count - 1, 1)
        half = student.ppf(0.5 + level_in_use() / 2, df) * np.sqrt(variance / count)
    return Interval(mean, mean - half, mean + half, df, level_in_use())


# ------------------------------------------------------------------------------------ vectors of outputs


def squared_distance(sample: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Mean square over entries of the difference of two expectations (or of one), free of bias.

    ``sample`` (seeds, ..., entries) and ``other``, independent seeds, broadcast apart from the first axis.
    The square of a mean over seeds exceeds that of the expectation by variance / seeds: it is taken
    off, so the result may be negative. A sample of one seed has no measurable variance: none is taken off.
    """
    difference = sample.mean(axis=0) - (0.0 if other is None else other.mean(axis=0))
    noise = _variance_of_mean(sample) + (0.0 if other is None else _variance_of_mean(other))
    return (difference**2 - noise).mean(axis=-1)


def _variance_of_mean(sample: np.ndarray) -> np.ndarray:
    if len(sample) < 2:
        return np.zeros(sample.shape[1:])
    return sample.var(axis=0, ddof=1) / len(sample)
