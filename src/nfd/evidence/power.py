"""How often verdicts are right and wrong: the estimators on simulated experiments of known truth.

A *case* is an estimator with the range that a verdict asks for, a law of which the truth is known, and
noise of the kind and size that the recorded runs show. :func:`fixed_seeds` repeats it at a fixed number of
seeds: how often the interval covers the truth, and how often either verdict comes out. :func:`growing_seeds`
looks at it again and again while seeds are added, and stops at the first verdict. docs/statistics.md holds
the tables; ``python scripts/simulate_rules.py`` renews them.

Noise. Losses scatter by 0.6 % from run to run on CIFAR-10, where training is short and the bowl of loss
over rate is shallow, and by 30 % on digits, where it is deep; the edge of stability lies at a rate that
scatters by 0.3 octaves, half of its variance shared by a seed's sizes. Where the grid lies relative to the
optimum is random, except that all sizes share it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, log, sqrt

import numpy as np
import pandas as pd
from scipy.stats import norm

from nfd.evidence import fits, learning_rates
from nfd.evidence.first_order import diminishing_ratio, fit_first_order
from nfd.evidence.intervals import LEVEL, Interval, jackknife_interval, mean_interval
from nfd.evidence.significance import LOOKS, sequential_level
from nfd.evidence.squares import amplitude_exponent, mean_square, plateau
from nfd.seeds import generator

SEEDS = (5, 8, 10, 20)
SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"

DrawRuns = Callable[[np.random.Generator, int], np.ndarray]  # (random, seeds) -> data, seeds first
Estimate = Callable[[np.ndarray], Interval]


@dataclass(frozen=True)
class Case:
    """An estimator with the range (low, high) that supports, and experiments in which ``truth`` holds.

    ``control`` marks an estimator that is here for comparison only.
    """

    rule: str
    setting: str
    estimate: Estimate
    low: float
    high: float
    truth: float
    draw: DrawRuns
    control: bool = False

    def verdict(self, found: Interval) -> str:
        """Supported if the interval lies inside the range, contradicted if it lies outside."""
        if found.low > self.low and found.high < self.high:
            return SUPPORTED
        if found.high < self.low or found.low > self.high:
            return CONTRADICTED
        return INCONCLUSIVE

    def wrong(self, verdict: str) -> bool:
        """A truth at an end of the range makes any verdict wrong: the rule can be nowhere more in error."""
        inside = self.low < self.truth < self.high
        outside = self.truth < self.low or self.truth > self.high
        return (verdict == SUPPORTED and not inside) or (verdict == CONTRADICTED and not outside)


# ------------------------------------------------------------------------------- loss over learning rate

DEPTHS = np.array([4.0, 8, 16, 32, 64])
DRIFT, REGRET = 0.1, log(1.1)
ASYMMETRY = 0.3
EDGE_SCATTER = 0.3  # octaves


@dataclass(frozen=True)
class Bowl:
    """Log loss over rate: curvature d^2 at d octaves from the best rate, steeper by 0.3 d above it.

    ``noise`` is that of log loss from run to run, ``edge`` how many octaves above the best rate runs diverge,
    with a ``scatter`` of so many, ``untrained`` the loss at step 0.
    """

    name: str
    loss: float
    curvature: float
    noise: float
    edge: float
    untrained: float = 2.3
    spacing: float = 0.5
    scatter: float = EDGE_SCATTER

    @property
    def rates(self) -> np.ndarray:
        """Eight octaves, (rates,), with so many octaves between neighbours."""
        return 2.0 ** np.arange(-4, 4.01, self.spacing)

    def law(self, distance: np.ndarray) -> np.ndarray:
        """Log loss at so many octaves from the best rate, above that at the best rate."""
        return self.curvature * distance**2 * (1 + ASYMMETRY * np.maximum(distance, 0.0))

    def draw(self, random: np.random.Generator, seeds: int, drift: float) -> np.ndarray:
        """Losses (seeds, depths, rates) whose best rate drifts by ``drift`` octaves per doubling."""
        centre = random.uniform(-0.5, 0.5) * self.spacing + drift * np.log2(DEPTHS / 16)
        distance = np.log2(self.rates) - centre[:, None]
        law = self.law(distance)
        by_seed = random.normal(size=(seeds, 1, 1))
        own = random.normal(size=(seeds, *law.shape))
        log_loss = log(self.loss) + law + 2 * self.noise * by_seed + self.noise * own
        scatter = random.normal(size=(seeds, 1, 1)) + random.normal(size=(seeds, len(DEPTHS), 1))
        diverged = distance > self.edge + self.scatter / sqrt(2) * scatter
        return np.where(diverged, np.nan, np.exp(log_loss))

    def curves(self, losses: np.ndarray) -> learning_rates.Curves:
        return learning_rates.Curves.of(self.rates, DEPTHS, losses, self.untrained)

    def drift(self, losses: np.ndarray) -> Interval:
        return learning_rates.drift(self.curves(losses))

    def regret_root(self, losses: np.ndarray) -> Interval:
        return learning_rates.regret_root(self.curves(losses)).part(-1)

    def true_root(self, drift: float) -> float:
        """Signed root of the largest size's regret in mean log loss, diverged runs at the untrained one's."""
        distance = np.linspace(-4, 4, 8001)
        untrained = log(self.untrained / self.loss)
        diverged = norm.cdf((distance - self.edge) / self.scatter)
        alive = np.minimum(self.law(distance), untrained)
        mean = alive + diverged * (untrained - alive)
        kept = distance[mean.argmin()] - drift * np.log2(DEPTHS[-1] / DEPTHS[0])
        excess = np.interp(kept, distance, mean) - mean.min()
        return float(np.sign(-drift) * sqrt(excess)) + 0.0  # not -0.0

    def survivors_drift(self, losses: np.ndarray) -> Interval:
        """The control: diverged runs are left out, that is they count as the mean of those that survive."""
        alive = np.isfinite(losses)
        total = np.where(alive, losses, 0.0).sum(axis=0)
        survivors = np.divide(
            total, alive.sum(axis=0), out=np.full_like(total, np.nan), where=total > 0
        )
        return self.drift(np.where(alive, losses, survivors))


SHALLOW = Bowl("shallow bowl (CIFAR-10), edge far", 1.66, 0.02, 0.006, edge=9.0)
SHALLOW_EDGE = Bowl("shallow bowl, edge 1.5 octaves above", 1.66, 0.02, 0.006, edge=1.5)
SHALLOW_CLOSE = Bowl("shallow bowl, edge 0.5 octaves above", 1.66, 0.02, 0.006, edge=0.5)
SHALLOW_COARSE = Bowl(
    "shallow bowl, edge far, grid of octaves", 1.66, 0.02, 0.006, 9.0, spacing=1.0
)
DEEP = Bowl("deep bowl (digits), edge far", 0.14, 0.4, 0.3, edge=9.0)
DEEP_EDGE = Bowl("deep bowl, edge 1.5 octaves above", 0.14, 0.4, 0.3, edge=1.5)
DEEP_CLOSE = Bowl("deep bowl, edge 0.5 octaves above", 0.14, 0.4, 0.3, edge=0.5)
DEEP_COARSE = Bowl("deep bowl, edge far, grid of octaves", 0.14, 0.4, 0.3, 9.0, spacing=1.0)


def transfer_cases() -> list[Case]:
    """Drift within ± DRIFT, and regret at the largest size below REGRET, tested on its signed root."""
    bowls = (
        SHALLOW,
        SHALLOW_EDGE,
        SHALLOW_CLOSE,
        SHALLOW_COARSE,
        DEEP,
        DEEP_EDGE,
        DEEP_CLOSE,
        DEEP_COARSE,
    )
    cases = [
        Case(
            "drift of the best rate",
            bowl.name,
            bowl.drift,
            -DRIFT,
            DRIFT,
            true,
            partial(bowl.draw, drift=true),
        )
        for bowl in bowls
        for true in (0.0, -DRIFT, -0.25)
    ]
    cases += [
        Case(
            "drift, diverged runs left out",
            bowl.name,
            bowl.survivors_drift,
            -DRIFT,
            DRIFT,
            true,
            partial(bowl.draw, drift=true),
            control=True,
        )
        for bowl in (SHALLOW_CLOSE, DEEP_CLOSE)
        for true in (0.0, -DRIFT)
    ]
    bound = sqrt(REGRET)
    cases += [
        Case(
            "regret of keeping the rate (root)",
            bowl.name,
            bowl.regret_root,
            -bound,
            bound,
            bowl.true_root(drift),
            partial(bowl.draw, drift=drift),
        )
        for bowl, drifts in (
            (SHALLOW, (0.0, 0.65)),
            (SHALLOW_CLOSE, (0.0, -0.1)),
            (DEEP, (0.0, 0.122, 0.25)),
            (DEEP_CLOSE, (0.0, -0.1)),
        )
        for drift in drifts
    ]
    return cases


# ----------------------------------------------------------------------------------- squares over depth

SIMULATED_GAP = 0.1  # an amplitude; its square is what is judged
SIMULATED_EXPONENT = 0.15
GAP_DEPTHS = np.array([2.0, 4, 8, 16, 32, 64])
COMPONENTS = 160  # 16 probes, 10 outputs


def gaps(random: np.random.Generator, seeds: int, squares: np.ndarray, noise: float) -> np.ndarray:
    """Relative gaps (seeds, depths, components): a direction common to seeds, and the noise of finite width.

    The noise has components of its own size per seed, like that of networks initialised apart.
    """
    direction = random.normal(size=COMPONENTS)
    direction /= sqrt(np.mean(direction**2))
    size = noise * np.exp(0.3 * random.normal(size=(seeds, 1, 1)))
    return np.sqrt(squares)[:, None] * direction + size * random.normal(
        size=(seeds, len(squares), COMPONENTS)
    )


def plateau_of_squares(data: np.ndarray) -> Interval:
    return plateau(GAP_DEPTHS, mean_square, data)


def plateau_of_roots(data: np.ndarray) -> Interval:
    """The control: roots of clipped squares, fitted with a free exponent; squared again to compare."""

    def root(sample: np.ndarray) -> np.ndarray:
        amplitudes = np.sqrt(np.maximum(mean_square(sample), 0.0))
        return fits.fit_plateau(GAP_DEPTHS, amplitudes[None])[0, 0]

    found = jackknife_interval(root, data)
    return found.map(lambda amplitude: np.sign(amplitude) * amplitude**2)


def square_cases() -> list[Case]:
    """A plateau below SIMULATED_GAP in squares; an exponent within SIMULATED_EXPONENT of -1/2."""
    cases = []
    for noise, name in ((0.3, "noise 0.3 per component"), (0.6, "noise 0.6 per component")):
        for amplitude in (0.0, SIMULATED_GAP, 0.2):
            square = amplitude**2
            draw = partial(gaps, squares=square + 0.05 / GAP_DEPTHS, noise=noise)
            for rule, estimate, control in (
                ("plateau in squares", plateau_of_squares, False),
                ("plateau of roots, free exponent", plateau_of_roots, True),
            ):
                cases.append(
                    Case(rule, name, estimate, -inf, SIMULATED_GAP**2, square, draw, control)
                )
        for exponent in (-0.5, -0.5 + SIMULATED_EXPONENT, 0.0):
            squares = 0.3 * GAP_DEPTHS ** (2 * exponent)
            cases.append(
                Case(
                    "exponent of an amplitude",
                    name,
                    lambda data: amplitude_exponent(GAP_DEPTHS, mean_square, data)[0],
                    -0.5 - SIMULATED_EXPONENT,
                    -0.5 + SIMULATED_EXPONENT,
                    exponent,
                    partial(gaps, squares=squares, noise=noise),
                )
            )
    return cases


# ------------------------------------------------------------------------------------ losses over size


def losses_over_depth(
    random: np.random.Generator, seeds: int, gain: float, noise: float, share: float = 0.5
) -> np.ndarray:
    """Log losses (seeds, depths): gain / depth, noise of which ``share`` of the variance is a seed's own."""
    by_seed = random.normal(size=(seeds, 1))
    by_run = random.normal(size=(seeds, len(DEPTHS)))
    return gain / DEPTHS + noise * (sqrt(1 - share) * by_seed + sqrt(share) * by_run)


def log_losses_over_depth(random: np.random.Generator, seeds: int, noise: float) -> np.ndarray:
    """Losses that gain the same at each doubling: nothing diminishes."""
    steady = -0.02 * np.log2(DEPTHS)
    return steady + losses_over_depth(random, seeds, 0.0, noise)


def advantages(
    random: np.random.Generator, seeds: int, advantage: float, noise: float
) -> np.ndarray:
    """Log loss ratios (seeds, 1) of pairs of networks."""
    return advantage + noise * random.normal(size=(seeds, 1))


def size_cases() -> list[Case]:
    """Gains from size above 0, gains that halve, and an advantage of one network above 1 %."""
    cases = [
        Case(
            "gain with depth, limit + b/L",
            f"noise {noise:.1%}",
            lambda data: fit_first_order(DEPTHS, data).part(1),
            0.0,
            inf,
            gain,
            partial(losses_over_depth, gain=gain, noise=noise),
        )
        for noise in (0.006, 0.03)
        for gain in (0.0, 0.1)
    ]
    cases += [
        Case(
            "gains diminish (ratio below 3/4)",
            f"noise {noise:.1%}",
            partial(diminishing_ratio, DEPTHS),
            -inf,
            0.75,
            truth,
            draw,
        )
        for noise in (0.001, 0.006)
        for truth, draw in (
            (0.5, partial(losses_over_depth, gain=0.2, noise=noise)),
            (1.0, partial(log_losses_over_depth, noise=noise)),
        )
    ]
    cases += [
        Case(
            "advantage above 1 %",
            f"noise {noise:.1%}",
            lambda data: mean_interval(data).part(0),
            0.01,
            inf,
            advantage,
            partial(advantages, advantage=advantage, noise=noise),
        )
        for noise in (0.01, 0.1)
        for advantage in (0.03, 0.01, 0.0)
    ]
    return cases


def all_cases() -> list[Case]:
    return transfer_cases() + square_cases() + size_cases()


# ------------------------------------------------------------------------------------------ simulations


def fixed_seeds(case: Case, seeds: int, experiments: int) -> dict[str, object]:
    """Shares of ``experiments`` in which the interval covers, and in which each verdict comes out.

    Experiments without an interval (an optimum that the grid does not hold, say) have no verdict and are
    left out of the coverage.
    """
    random = generator(0, "power", case.rule, case.setting, repr(case.truth), seeds)
    found = [case.estimate(case.draw(random, seeds)) for _ in range(experiments)]
    verdicts = [case.verdict(f) for f in found]
    judged = [f for f in found if not np.isnan(f.low)]
    covered = [bool(f.low <= case.truth <= f.high) for f in judged]
    return {
        "rule": case.rule,
        "control": case.control,
        "setting": case.setting,
        "truth": case.truth,
        "seeds": seeds,
        "experiments": experiments,
        "judged": len(judged) / experiments,
        "coverage": np.mean(covered) if judged else np.nan,
        "supported": np.mean([v == SUPPORTED for v in verdicts]),
        "contradicted": np.mean([v == CONTRADICTED for v in verdicts]),
        "wrong": np.mean([case.wrong(v) for v in verdicts]),
    }


def growing_seeds(
    case: Case, experiments: int, looks: Sequence[int] = LOOKS, spent: bool = True
) -> dict[str, object]:
    """Sweeps that add seeds until a verdict comes out: how often it is wrong, and how many seeds it takes.

    ``spent``: every look has the level of :func:`sequential_level`; otherwise 95 %, the control.
    """
    random = generator(0, "looks", case.rule, case.setting, repr(case.truth))
    verdicts, taken = [], []
    for _ in range(experiments):
        data = case.draw(random, looks[-1])
        for seeds in looks:
            level = sequential_level(seeds, looks) if spent else LEVEL
            verdict = case.verdict(case.estimate(data[:seeds]).at_level(level))
            if verdict != INCONCLUSIVE:
                break
        verdicts.append(verdict)
        taken.append(seeds)
    return {
        "rule": case.rule,
        "setting": case.setting,
        "truth": case.truth,
        "level": "spent over the looks" if spent else "95 % at every look",
        "experiments": experiments,
        "wrong": np.mean([case.wrong(v) for v in verdicts]),
        "decided": np.mean([v != INCONCLUSIVE for v in verdicts]),
        "median_seeds": np.median(taken),
    }


def peeking_cases() -> list[Case]:
    """Of three kinds, a truth at an end of the range, where peeking harms most, and one well inside."""
    wanted = {
        ("drift of the best rate", DEEP.name, 0.0),
        ("drift of the best rate", DEEP.name, -DRIFT),
        ("plateau in squares", "noise 0.6 per component", 0.0),
        ("plateau in squares", "noise 0.6 per component", SIMULATED_GAP**2),
        ("advantage above 1 %", "noise 10.0%", 0.03),
        ("advantage above 1 %", "noise 10.0%", 0.01),
    }
    return [case for case in all_cases() if (case.rule, case.setting, case.truth) in wanted]


# ----------------------------------------------------------------------------------------------- tables


def fixed_seeds_table(results: pd.DataFrame) -> str:
    """Markdown: a row per rule, setting and truth; per number of seeds coverage and both verdicts, in %."""
    numbers = sorted(results["seeds"].unique())
    lines = [
        "| rule | setting | truth | " + " | ".join(f"{n} seeds" for n in numbers) + " |",
        "|---|---|---|" + "---|" * len(numbers),
    ]
    for (rule, setting, truth), part in results.groupby(["rule", "setting", "truth"], sort=False):
        rows = part.set_index("seeds")
        cells = [_cell(rows.loc[n]) for n in numbers]
        name = f"*{rule}*" if part["control"].all() else rule
        lines.append(f"| {name} | {setting} | {truth:.3g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: pd.Series) -> str:
    return " / ".join(
        "-" if np.isnan(row[c]) else f"{100 * row[c]:.0f}"
        for c in ("coverage", "supported", "contradicted")
    )


def growing_seeds_table(results: pd.DataFrame) -> str:
    """Markdown: a row per case; wrong and decided sweeps in %, and the median number of seeds, per level."""
    lines = [
        "| rule | setting | truth | level | wrong, % | decided, % | median seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results.itertuples():
        lines.append(
            f"| {row.rule} | {row.setting} | {row.truth:.3g} | {row.level} | {100 * row.wrong:.1f} "
            f"| {100 * row.decided:.0f} | {row.median_seeds:.0f} |"
        )
    return "\n".join(lines)
