"""How strongly an interval speaks: its level, many verdicts at once, and repeated looks.

**Level.** A verdict needs the whole 95 % interval inside a range, which is a pair of one-sided tests at
2.5 % each (two one-sided tests, Schuirmann 1987). The usual equivalence test has 5 % on either side, that is
a 90 % interval, and decides earlier. The stricter level is kept: the same interval is then the one that is
drawn and the one that decides, and 'inside' and 'outside' have the same error.

**Many verdicts.** :func:`holm` adjusts p-values so that the probability of any wrong verdict among all is
at most the level (Holm 1979), whatever their dependence.

**Looks.** Whoever adds seeds until an interval decides, looks at it several times. :func:`sequential_level`
is the level that each look may use, so that all intervals of the schedule hold at once with 95 % (repeated
confidence intervals: Jennison and Turnbull 1989).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from nfd.evidence.intervals import LEVEL

# Numbers of seeds at which a growing sweep is judged.
LOOKS = (5, 8, 13, 21, 34, 55)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (Holm 1979), in the given order.

    NaN, a verdict that could not be tested, stays NaN and still counts: which of the claims turn out to be
    testable must not make it easier for the others.
    """
    order = sorted(p_values, key=lambda name: (np.isnan(p_values[name]), p_values[name]))
    adjusted, least = {}, 0.0
    for rank, name in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p_values[name]))
        adjusted[name] = np.nan if np.isnan(p_values[name]) else least
    return {name: adjusted[name] for name in p_values}


# --------------------------------------------------------------------------------------- repeated looks


def quantile(level: float, seeds: np.ndarray) -> np.ndarray:
    """Student's t quantile of a two-sided interval from so many seeds."""
    return student.ppf(0.5 + level / 2, np.maximum(seeds - 1, 1))


@dataclass(frozen=True)
class Look:
    """A look at a growing sweep: when it has ``seeds`` seeds, one of the ``schedule``."""

    seeds: int
    schedule: tuple[int, ...]

    def level(self, overall: float = LEVEL) -> float:
        """Two-sided level of its intervals, so that those of all looks hold at once with ``overall``."""
        return sequential_level(self.seeds, self.schedule, overall)


def sequential_level(seeds: int, looks: Sequence[int] = LOOKS, overall: float = LEVEL) -> float:
    """Two-sided level of the interval at the look with so many seeds, of a schedule of ``looks``.

    The error a = 1 - ``overall`` is spent as a * ln(1 + (e - 1) t) at the share t = seeds / looks[-1] of the
    data, which allows nearly the same level at every look, as Pocock's boundaries do (Lan and DeMets 1983).
    The spending of O'Brien and Fleming's kind would leave less than one in a million for five of 55 seeds.
    With Interval.at_level it gives t intervals of the same level (Jennison and Turnbull 2000, section 4.4).
    Raises ValueError for a number of seeds that the schedule does not hold.
    """
    if seeds not in looks:
        raise ValueError(f"{seeds} seeds are no look of the schedule {list(looks)}")
    return _levels(tuple(looks), overall)[list(looks).index(seeds)]


@lru_cache
def _levels(looks: tuple[int, ...], overall: float) -> tuple[float, ...]:
    found = boundaries(np.array(looks) / looks[-1], overall)
    return tuple(float(2 * norm.cdf(z) - 1) for z in found)


def boundaries(shares: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Normal boundaries z_k, two-sided, with P(|Z_j| > z_j for a j <= k) = error spent up to look k.

    ``shares`` (looks,), increasing, are the shares of the data at the looks, so Z_k = B(t_k) / sqrt(t_k)
    with Brownian motion B. The density of the B that have not crossed yet is carried from look to look on a
    grid (Armitage, McPherson and Rowe 1969).
    """
    spent = (1 - level) * np.log(1 + (np.e - 1) * shares)
    steps = np.diff(spent, prepend=0.0)
    grid = np.linspace(-6.0, 6.0, 4001)
    width = grid[1] - grid[0]
    found = [norm.isf(steps[0] / 2)]
    # The grid is in units of B(1); inside the boundary the first density is normal.
    alive = norm.pdf(grid, scale=np.sqrt(shares[0]))
    for k in range(1, len(shares)):
        alive = np.where(np.abs(grid) <= found[-1] * np.sqrt(shares[k - 1]), alive, 0.0)
        step = norm.pdf(grid, scale=np.sqrt(shares[k] - shares[k - 1]))
        alive = np.convolve(alive, step, mode="same") * width
        cumulative = np.cumsum(alive) * width

        def crossing(z: float, k: int = k, cumulative: np.ndarray = cumulative) -> float:
            bound = z * np.sqrt(shares[k])
            inside = np.interp(bound, grid, cumulative) - np.interp(-bound, grid, cumulative)
            return cumulative[-1] - inside - steps[k]

        found.append(brentq(crossing, 0.0, 6.0 / np.sqrt(shares[k])))
    return np.array(found)
