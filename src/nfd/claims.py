"""The claims C1..C13 of docs/theory.md, section 6, and the rules that decide them.

A claim is judged on the evidence its figures draw (:mod:`nfd.evidence`), never on anything else. Each
observable of a claim gives one *finding*: an estimate with its 95 % interval, the rule, and a verdict:

* **supported**: the interval lies inside the range that the claim states,
* **contradicted**: it lies inside the range that the claim excludes,
* **inconclusive**: neither, or fewer than MIN_SEEDS seeds, or something is missing (the note says what).

So a verdict is an equivalence test: 'no drift' needs an interval that is narrow as well as one that holds 0.
Where a claim can be read in several ways each reading is a finding; ``decides`` marks those that give the
claim its verdict (:func:`overall`). Rules and thresholds stand in this file, above the code that uses them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, nan

import numpy as np
import pandas as pd

from nfd.evidence import EVIDENCE, EVIDENCE_COLUMNS

SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
CLAIM_COLUMNS = (
    "id",
    "name",
    "statement",
    "observable",
    "statistic",
    "estimate",
    "ci_low",
    "ci_high",
    "seeds",
    "rule",
    "verdict",
    "note",
    "figure",
    "decides",
)

# Fewer seeds than this give no verdict.
MIN_SEEDS = 5

# ------------------------------------------------------------------------------------------ thresholds

# Transfer. A drift of 0.1 moves the best rate by 2^0.5 = 1.4 over five doublings, less than the usual
# spacing of a grid; the drift that wrong scaling predicts is 0.5 or 1.
DRIFT = 0.1
# Loss lost by transferring the smallest network's rate: 10 %, about what a doubling of size buys.
REGRET = 0.1
# Relative output or loss gap that counts as agreement: a tenth of what training changed. The closed form for
# one sample and a small first step gives a gap of 0.2 (ReLU, T = 1), twice as much.
GAP = 0.1
# Relative error against a limit that counts as converged: a twentieth of what training changed.
LIMIT_ERROR = 0.05
# A rate O(s^-1) must show an exponent below this: three quarters of the way to -1.
FIRST_ORDER = -0.75
# 'Of higher order in depth': midway between O(1) and the L^-1/2 that the paper's mechanism gives.
HIGHER_ORDER = -0.25
# Exponents of feature changes: 0 and -1/2 are told apart, with finite-depth corrections allowed for.
EXPONENT = 0.15
COLLAPSE = -0.5
# Growth of the initial coupling with depth that still counts as uniform in L.
UNIFORM = 0.1
# Gains. Below 0.5 % of the loss per doubling there is no gain to speak of; a loss of more than 1 % between
# neighbours is one.
NO_GAIN = 0.005
SETBACK = -0.01
# Advantage in log loss below which deeper is not better: 1 %.
NO_ADVANTAGE = 0.01
# Fraction of its initial value that the least eigenvalue must keep: it loses less than a decade.
EIGENVALUE = 0.1
# The fitted limit of the loss and the simulated limit's loss agree within this fraction.
LIMIT_LOSS = 0.05


@dataclass(frozen=True)
class Rule:
    """The interval inside ``supported`` supports; else inside one of ``contradicted`` it contradicts."""

    text: str
    supported: tuple[float, float]
    contradicted: tuple[tuple[float, float], ...]

    def verdict(self, low: float, high: float) -> str:
        if _inside(low, high, self.supported):
            return SUPPORTED
        if any(_inside(low, high, bounds) for bounds in self.contradicted):
            return CONTRADICTED
        return INCONCLUSIVE


def _inside(low: float, high: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] < low and high < bounds[1]


def _within(low: float, high: float, what: str) -> Rule:
    text = f"supported if the interval lies within ({low:g}, {high:g}): {what}; contradicted if outside"
    return Rule(text, (low, high), ((-inf, low), (high, inf)))


def _below(bound: float, what: str) -> Rule:
    text = f"supported if the interval lies below {bound:g}: {what}; contradicted if above"
    return Rule(text, (-inf, bound), ((bound, inf),))


def _above(bound: float, what: str, excluded: float | None = None) -> Rule:
    excluded = bound if excluded is None else excluded
    text = (
        f"supported if the interval lies above {bound:g}: {what}; "
        f"otherwise contradicted if it lies below {excluded:g}"
    )
    return Rule(text, (bound, inf), ((-inf, excluded),))


TRANSFERS = Rule(
    f"supported if the drift's interval lies within ±{DRIFT:g} and the regret's at the largest size below "
    f"{REGRET:g}; contradicted if the drift's interval lies outside ±{DRIFT:g}",
    (-DRIFT, DRIFT),
    ((-inf, -DRIFT), (DRIFT, inf)),
)
DOES_NOT_TRANSFER = (
    f"supported if the drift's interval lies outside ±{DRIFT:g}; contradicted if it lies within and the "
    f"regret's at the largest size below {REGRET:g}"
)
SMALL_REGRET = _below(REGRET, "the smallest network's rate serves the largest")
LARGE_REGRET = _above(REGRET, "the smallest network's rate does not serve the largest")
IMPROVES = Rule(
    f"supported if the interval of the mean gain lies above 0; otherwise contradicted if it lies below "
    f"{NO_GAIN:g}; contradicted too if between neighbours the loss grows, interval below {SETBACK:g}",
    (0.0, inf),
    ((-inf, NO_GAIN),),
)
SHRINKS = _above(0.0, "a doubling gains less among the large sizes than among the small")
POWER_LAW = Rule(
    "supported if the interval lies above 0.1, the least exponent fitted (a smaller one is no saturation "
    "that these sizes can show); never contradicted by itself",
    (0.1, inf),
    (),
)
SAME_LIMIT = _within(-LIMIT_LOSS, LIMIT_LOSS, "the fitted limit is the simulated limit's loss")
CONVERGES = Rule(
    f"supported if the interval lies below {LIMIT_ERROR:g} of the output change; contradicted if above and "
    "the networks are significantly nearer to the coupled limit",
    (-inf, LIMIT_ERROR),
    ((LIMIT_ERROR, inf),),
)
CLOSE = _below(LIMIT_ERROR, "no distance to speak of")
FIRST_ORDER_RATE = _below(FIRST_ORDER, "decays as size^-1 or faster")
GAP_VANISHES = _below(GAP, "no gap to speak of is left at large depth")
LOSS_GAP_VANISHES = _within(-GAP, GAP, "no loss gap to speak of is left at large depth")
GAP_REMAINS = _above(GAP, "a gap is left at the largest depth")
OF_HIGHER_ORDER = _below(HIGHER_ORDER, "vanishes with depth")
UNIFORM_IN_DEPTH = _below(UNIFORM, "does not grow with depth")
COLLAPSES = _within(COLLAPSE - EXPONENT, COLLAPSE + EXPONENT, "falls as L^-1/2")
OF_ORDER_ONE = _within(-EXPONENT, EXPONENT, "neither falls nor grows with depth")
HAS_ADVANTAGE = _above(0.0, "lower loss than depth_mup", NO_ADVANTAGE)
STAYS_AWAY = _above(EIGENVALUE, "the least eigenvalue keeps its order of magnitude")


@dataclass(frozen=True)
class Finding:
    """One observable of a claim, judged."""

    observable: str
    statistic: str
    rule: str
    figure: str
    decides: bool = False
    estimate: float = nan
    ci_low: float = nan
    ci_high: float = nan
    seeds: float = nan
    verdict: str = INCONCLUSIVE
    note: str = ""


Frames = Mapping[str, pd.DataFrame]
Judge = Callable[[Frames], list[Finding]]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper in our words; ``figures`` hold its evidence."""

    id: str
    name: str
    statement: str
    figures: tuple[str, ...]
    judge: Judge = field(repr=False)

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments its figures need."""
        names = (name for figure in self.figures for name in EVIDENCE[figure].experiments)
        return tuple(dict.fromkeys(names))


# ------------------------------------------------------------------------------------- reading evidence


def _select(frame: pd.DataFrame, quantity: str, **columns: object) -> pd.DataFrame:
    chosen = frame[frame["quantity"] == quantity]
    for name, value in columns.items():
        chosen = chosen[chosen[name] == value]
    return chosen


def _pick(
    frame: pd.DataFrame, quantity: str, largest: tuple[str, ...] = (), **columns: object
) -> pd.Series | None:
    """The row that matches; of several the one with the largest ``largest`` (in order). None if none does."""
    chosen = _select(frame, quantity, **columns)
    if chosen.empty:
        return None
    return chosen.sort_values(list(largest)).iloc[-1] if largest else chosen.iloc[-1]


def _problem(row: pd.Series | None, figure: str, frame: pd.DataFrame, absent: str) -> str:
    """Why a row allows no verdict; empty if it does."""
    if frame.empty:
        return f"missing: experiment {', '.join(EVIDENCE[figure].experiments)}"
    if row is None or not isfinite(row["estimate"]):
        return f"missing: {absent}"
    if not row["seeds"] >= MIN_SEEDS:
        return f"{row['seeds']:g} seeds, {MIN_SEEDS} needed"
    if not (isfinite(row["ci_low"]) and isfinite(row["ci_high"])):
        return "missing: an interval (too few seeds at some size)"
    return ""


def _finding(
    frames: Frames,
    figure: str,
    row: pd.Series | None,
    rule: Rule,
    observable: str,
    statistic: str,
    *,
    decides: bool = False,
    note: str = "",
    absent: str = "",
    scale: float = 1.0,
    verdict: Callable[[float, float], str] | None = None,
    rule_text: str = "",
) -> Finding:
    """A finding from one row of evidence; ``scale`` multiplies it (positive)."""
    problem = _problem(row, figure, frames[figure], absent or f"no value of '{statistic}'")
    estimate, low, high = (
        (nan, nan, nan) if row is None else scale * row[["estimate", "ci_low", "ci_high"]]
    )
    return Finding(
        observable,
        statistic,
        rule_text or rule.text,
        figure,
        decides,
        float(estimate),
        float(low),
        float(high),
        nan if row is None else float(row["seeds"]),
        INCONCLUSIVE if problem else (verdict or rule.verdict)(low, high),
        "; ".join(part for part in (problem, note) if part),
    )


def _diverged(frame: pd.DataFrame, **columns: object) -> str:
    """How many runs diverged and were left out."""
    lost = _select(frame, "diverged_runs", **columns)["estimate"].sum()
    return f"{lost:g} diverged {'run' if lost == 1 else 'runs'} left out" if lost else ""


def _window(frame: pd.DataFrame, quantity: str, axis: str, **columns: object) -> str:
    """Over which sizes a slope was fitted: the ends of its line."""
    sizes = _select(frame, quantity, source="fit", **columns)[axis].dropna()
    if sizes.empty:
        return ""
    return f"fitted over {axis} {sizes.min():g}..{sizes.max():g}"


def _notes(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


# ----------------------------------------------------------------------------------------- C1, C2


def _scaling_trend(frames: Frames) -> list[Finding]:
    figure = "scaling_trend"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    findings = []
    for split in ("train", "test"):
        for axis in ("width", "depth"):
            quantity = f"{split}_loss_gain_{axis}"
            pairs = _select(frame, quantity, source="network", **line)
            setbacks = pairs[pairs["ci_high"] < SETBACK]
            sizes = ", ".join(f"{size:g}" for size in setbacks[axis])

            def verdict(low: float, high: float, setback: bool = bool(len(setbacks))) -> str:
                return CONTRADICTED if setback else IMPROVES.verdict(low, high)

            note = f"the loss grows on reaching {axis} {sizes}" if sizes else ""
            findings.append(
                _finding(
                    frames,
                    figure,
                    _pick(frame, f"{quantity}_mean", **line),
                    IMPROVES,
                    f"{split}ing loss over {axis}".replace("testing", "test"),
                    f"fraction of the loss a doubling of {axis} removes, mean over neighbours",
                    decides=split == "train",
                    note=_notes(note, _diverged(frame, **line)),
                    absent=f"two values of {axis} for depth_mup",
                    verdict=verdict,
                )
            )
    return findings


def _diminishing_returns(frames: Frames) -> list[Finding]:
    figure = "diminishing_returns"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    findings = []
    for axis in ("width", "depth"):
        findings.append(
            _finding(
                frames,
                figure,
                _pick(frame, f"gain_decline_{axis}", **line),
                SHRINKS,
                f"gain from {axis}",
                f"loss gained per doubling of {axis}, lower half of the sizes minus upper half",
                decides=True,
                note=_diverged(frame, **line),
                absent=f"three values of {axis} for depth_mup",
            )
        )
    for axis in ("width", "depth"):
        findings.append(
            _finding(
                frames,
                figure,
                _pick(frame, f"{axis}_exponent", **line),
                POWER_LAW,
                f"exponent of {axis}",
                "exponent in loss = limit + a n^-alpha + b L^-beta",
                absent="three widths and three depths for depth_mup",
            )
        )
    findings.append(_limit_loss(frames, figure, line))
    return findings


def _limit_loss(frames: Frames, figure: str, line: Mapping[str, object]) -> Finding:
    """Fitted limit of the loss against the simulated limit's, with the wider of all bounds."""
    fit = _pick(frames[figure], "limit_loss", source="fit", **line)
    limit = _pick(frames[figure], "limit_loss", source="limit", **line)
    row = None
    if fit is not None and limit is not None:
        row = fit.copy()
        row["estimate"] = fit["estimate"] / limit["estimate"] - 1
        row["ci_low"] = fit["ci_low"] / limit["ci_high"] - 1
        row["ci_high"] = fit["ci_high"] / limit["ci_low"] - 1
        row["seeds"] = min(fit["seeds"], limit["seeds"])
    return _finding(
        frames,
        figure,
        row,
        SAME_LIMIT,
        "limit of the loss",
        "fitted limit / loss of the coupled limit at its largest depth - 1",
        absent="the fit, or limit jobs of depth_mup in experiment scaling",
    )


# -------------------------------------------------------------------------------------------- C3


def _limit_convergence(frames: Frames) -> list[Finding]:
    figure = "limit_convergence"
    frame = frames[figure]
    nfd, coupled = {"series": "standard to NFD"}, {"series": "standard to coupled limit"}
    measured = {"parametrization": "depth_mup", "source": "network"}
    statistic = "relative rms error of the widest networks, depth extrapolated to infinity"
    to_coupled = _pick(frame, "bias_at_infinite_depth", **coupled, **measured)
    return [
        _nfd_error(frames, figure, statistic, to_coupled),
        _finding(
            frames,
            figure,
            to_coupled,
            CLOSE,
            "standard networks against the coupled limit",
            statistic,
            absent="two depths of networks and of the coupled limit",
        ),
        _finding(
            frames,
            figure,
            _pick(frame, "bias_at_infinite_depth", **{**measured, **nfd, "source": "limit"}),
            CLOSE,
            "coupled limit against NFD",
            "relative rms distance of the two limits, depth extrapolated to infinity",
            absent="limit jobs of both couplings at two depths",
        ),
        *(_depth_rate(frames, figure, series) for series in (nfd, coupled)),
        _width_rate(frames, figure),
    ]


def _nfd_error(
    frames: Frames, figure: str, statistic: str, to_coupled: pd.Series | None
) -> Finding:
    frame = frames[figure]
    nearer = _pick(frame, "squared_error_difference", parametrization="depth_mup")
    is_nearer = nearer is not None and nearer["ci_low"] > 0

    def verdict(low: float, high: float) -> str:
        found = CONVERGES.verdict(low, high)
        return INCONCLUSIVE if found == CONTRADICTED and not is_nearer else found

    note = "missing: the coupled limit to compare with"
    if nearer is not None and to_coupled is not None:
        nearer_to = (
            "nearer to the coupled limit" if is_nearer else "not nearer to the coupled limit"
        )
        note = f"{nearer_to}, whose error is {to_coupled['estimate']:.3g}"
    plateau = _pick(frame, "bias_over_depth_plateau", series="standard to NFD")
    if plateau is not None:
        note += f"; the error against NFD levels off at {plateau['estimate']:.3g} over depth"
    return _finding(
        frames,
        figure,
        _pick(
            frame,
            "bias_at_infinite_depth",
            series="standard to NFD",
            parametrization="depth_mup",
            source="network",
        ),
        CONVERGES,
        "standard networks against NFD",
        statistic,
        decides=True,
        note=_notes(note, _diverged(frame)),
        absent="two depths of networks and of NFD",
        verdict=verdict,
    )


def _depth_rate(frames: Frames, figure: str, series: Mapping[str, object]) -> Finding:
    frame = frames[figure]
    return _finding(
        frames,
        figure,
        _pick(frame, "bias_over_depth_slope", parametrization="depth_mup", **series),
        FIRST_ORDER_RATE,
        f"rate in depth, {series['series']}",
        "exponent of the error (bias) in L at the largest width",
        note=_window(frame, "bias_over_depth", "depth", **series),
        absent="three depths whose error stands above the noise floor",
    )


def _width_rate(frames: Frames, figure: str) -> Finding:
    frame = frames[figure]
    line = {"series": "standard to NFD", "parametrization": "depth_mup", "step": 0}
    row = _pick(frame, "fluctuation_over_width_slope", ("depth",), **line)
    window = {} if row is None else {"depth": row["depth"], **line}
    return _finding(
        frames,
        figure,
        row,
        FIRST_ORDER_RATE,
        "rate in width at initialisation",
        "exponent of the mean square error of the outputs in n at step 0, largest depth",
        note=_notes(
            _window(frame, "fluctuation_over_width", "width", **window) if window else "",
            "the mean square is read as the error; its root falls half as fast",
        ),
        absent="three widths",
        scale=2.0,
    )


# -------------------------------------------------------------------------------------------- C4


def _gia(frames: Frames) -> list[Finding]:
    figure = "gia_restoration"
    frame = frames[figure]
    steps = frame.loc[frame["quantity"] == "output_gap_mean", "step"]
    first, last = steps.min(), steps.max()
    line = {"series": "depth_mup", "optimizer": "sgd"}
    fitted = "c_inf in gap = c_inf + c L^-r, r >= 1/2"
    absent = "four depths with both couplings and outputs"
    exact = _pick(frame, "output_gap", ("depth",), source="closed_form")
    closed_form = ""
    if exact is not None:
        closed_form = (
            f"one sample at a small first step: exactly {exact['estimate']:.3g} at L = "
            f"{exact['depth']:g}, growing with depth"
        )
    cases = (
        ("output_gap_mean_limit", last, GAP_VANISHES, "output gap, mean over seeds", True),
        ("output_gap_limit", last, GAP_VANISHES, "output gap of single runs", False),
        ("output_gap_mean_limit", first, GAP_VANISHES, "output gap after the first step", False),
        ("loss_gap_limit", last, LOSS_GAP_VANISHES, "loss gap", False),
    )
    findings = [
        _finding(
            frames,
            figure,
            _pick(frame, quantity, ("width",), step=step, **line),
            rule,
            f"depth_mup: {observable}",
            fitted,
            decides=decides,
            note=_notes(
                closed_form if "output" in quantity else "",
                _diverged(frame, parametrization="depth_mup"),
            ),
            absent=absent,
        )
        for quantity, step, rule, observable, decides in cases
    ]
    for series in ("mup", "mup, no skip"):
        control = {"series": series, "optimizer": "sgd"}
        row = _pick(frame, "output_gap_mean", ("depth",), source="network", step=last, **control)
        depth = "" if row is None else f"at L = {row['depth']:g}"
        skip = series == "mup"
        findings.append(
            _finding(
                frames,
                figure,
                row,
                GAP_REMAINS,
                f"control {series}: output gap, mean over seeds",
                "relative gap at the largest depth that trains",
                note=_notes(depth, _diverged(frame, parametrization="mup", skip=skip)),
                absent=f"{series} with both couplings at a rate that does not diverge",
            )
        )
    return findings


# ---------------------------------------------------------------------------------------- C5, C6, C13


def _vanishing(frames: Frames) -> list[Finding]:
    figure = "vanishing_mechanism"
    frame = frames[figure]
    findings = []
    for metric, observable in (
        ("coupling_accumulated", "coupling accumulated over depth"),
        ("coupling_layer", "coupling per layer"),
    ):
        quantity = f"{metric}_created"
        rows = {
            "networks": _pick(frame, f"{quantity}_slope", series="depth_mup", optimizer="sgd"),
            "limit": _pick(frame, f"{quantity}_slope", series="depth_mup, limit", optimizer="sgd"),
        }
        # What enters the dynamics is the sum over layers: it decides, on networks if they can.
        network_usable = not _problem(rows["networks"], figure, frame, "-")
        limit_usable = not _problem(rows["limit"], figure, frame, "-")
        deciding = "limit" if limit_usable and not network_usable else "networks"
        for where, row in rows.items():
            series = "depth_mup" if where == "networks" else "depth_mup, limit"
            findings.append(
                _finding(
                    frames,
                    figure,
                    row,
                    OF_HIGHER_ORDER,
                    f"{observable}, {where}",
                    "exponent in L of the coupling that training created (rms), last step",
                    decides=metric == "coupling_accumulated" and where == deciding,
                    note=_notes(
                        _window(frame, quantity, "depth", series=series),
                        "L layers at L^-1/2, times the branch's L^-1/2, sum to O(1): see accumulated"
                        if metric == "coupling_layer"
                        else "",
                    ),
                    absent="three depths whose coupling exceeds that at step 0 (the noise floor)",
                )
            )
    return findings


def _initial_coupling(frames: Frames) -> list[Finding]:
    figure = "coupling_at_init"
    frame = frames[figure]
    line = {"series": "depth_mup", "optimizer": "sgd"}
    absent = "three widths of depth_mup with the coupling probe"
    findings = []
    for metric, name in (
        ("coupling_layer", "coupling per layer"),
        ("coupling_accumulated", "coupling accumulated over depth"),
    ):
        slopes = _select(frame, f"{metric}_square_slope", **line)
        worst = None if slopes.empty else slopes.sort_values("ci_high").iloc[-1]
        depths = ", ".join(f"{depth:g}" for depth in np.sort(slopes["depth"]))
        note = "" if worst is None else f"slowest of L = {depths}: L = {worst['depth']:g}"
        for square, what in ((True, "mean square"), (False, "root mean square")):
            findings.append(
                _finding(
                    frames,
                    figure,
                    worst,
                    FIRST_ORDER_RATE,
                    f"{name}, {what}",
                    f"exponent of the {what} in n at step 0, slowest depth",
                    decides=square and metric == "coupling_layer",
                    note=_notes(
                        note,
                        ""
                        if square
                        else "a Gaussian matrix gives -1/2: O(1/n) holds for the square",
                    ),
                    absent=absent,
                    scale=1.0 if square else 0.5,
                )
            )
        findings.append(
            _finding(
                frames,
                figure,
                _pick(frame, f"{metric}_depth_slope", **line),
                UNIFORM_IN_DEPTH,
                f"{name}, over depth",
                "exponent of the root mean square in L at the largest width, step 0",
                decides=metric == "coupling_layer",
                absent="three depths of depth_mup with the coupling probe",
            )
        )
    return findings


def _nondegenerate(frames: Frames) -> list[Finding]:
    figure = "kernel_spectrum"
    frame = frames[figure]
    ratios = _select(frame, "kernel_ratio", series="depth_mup", optimizer="sgd", source="network")
    deepest = ratios.groupby("width")["depth"].transform("max")
    ratios = ratios[ratios["depth"] == deepest].sort_values("width")
    rows = [row for _, row in ratios.iterrows()] or [None]
    limit = _pick(
        frame,
        "kernel_ratio",
        ("width", "depth"),
        series="depth_mup",
        optimizer="sgd",
        source="limit",
    )
    rows += [] if limit is None else [limit]
    widest = len(ratios) - 1 if len(ratios) else 0
    findings = []
    for index, row in enumerate(rows):
        where = "networks"
        if row is not None:
            kind = "particles" if row["source"] == "limit" else "width"
            where = f"{kind} {row['width']:g}, depth {row['depth']:g}"
        findings.append(
            _finding(
                frames,
                figure,
                row,
                STAYS_AWAY,
                f"least eigenvalue, {where}",
                "least value over training / value at initialisation",
                decides=index == widest,
                absent="the kernel probe of depth_mup",
            )
        )
    return findings


# ------------------------------------------------------------------------------- transfer: C7, C8, C10..C12


def _transfer(
    frames: Frames,
    figure: str,
    axis: str,
    series: str,
    *,
    optimizer: str = "sgd",
    transfers: bool = True,
    decides: bool = False,
    name: str = "",
) -> list[Finding]:
    """Drift and regret of one line; ``transfers`` says which way the claim states it."""
    frame = frames[figure]
    other = "width" if axis == "depth" else "depth"
    line = {"series": series, "optimizer": optimizer}
    drift = _pick(frame, "drift", (other,), **line)
    regret = _pick(frame, "regret", (other, axis), **line)
    small = regret is not None and regret["ci_high"] < REGRET

    def verdict(low: float, high: float) -> str:
        found = TRANSFERS.verdict(low, high)
        if found == SUPPORTED and not small:
            return INCONCLUSIVE
        if transfers or found == INCONCLUSIVE:
            return found
        return CONTRADICTED if found == SUPPORTED else SUPPORTED

    name = name or f"{series}, {optimizer}"
    note = _notes(
        _grid_note(frame, axis, line),
        "" if regret is None else f"regret {regret['estimate']:.3g} at {axis} {regret[axis]:g}",
        _diverged(frame, **line),
    )
    absent = f"three values of {axis} of {series} ({optimizer}) with the optimum inside the grid"
    about_regret = {
        "absent": f"{series} ({optimizer}), or its smallest network's optimum lies at the grid's edge"
    }
    if regret is not None and regret["estimate"] == inf:
        about_regret["absent"] = "a finite loss: the smallest network's rate diverges there"
    return [
        _finding(
            frames,
            figure,
            drift,
            TRANSFERS,
            f"best learning rate over {axis}: {name}",
            f"drift of log2 best rate per log2 {axis}",
            decides=decides,
            note=note,
            absent=absent,
            verdict=verdict,
            rule_text="" if transfers else DOES_NOT_TRANSFER,
        ),
        _finding(
            frames,
            figure,
            regret,
            SMALL_REGRET if transfers else LARGE_REGRET,
            f"regret over {axis}: {name}",
            f"relative excess loss of the smallest network's rate at the largest {axis}",
            **about_regret,
        ),
    ]


def _grid_note(frame: pd.DataFrame, axis: str, line: Mapping[str, object]) -> str:
    """Grid spacing, the step at which 'best' was read, and optima that are unusable."""
    best = _select(frame, "best_learning_rate", source="network", **line)
    spacing = _pick(frame, "grid_spacing", **line)
    if best.empty or spacing is None:
        return ""
    edge = ", ".join(f"{size:g}" for size in best.loc[best["estimate"].isna(), axis])
    return _notes(
        f"grid spacing {spacing['estimate']:g} in log2, read at step {best['step'].iloc[0]:g}",
        f"unusable, optimum at the grid's edge: {axis} {edge}" if edge else "",
    )


def _others(
    frames: Frames, figure: str, axis: str, done: set[tuple[str, str]], **kind: object
) -> list[Finding]:
    """Findings of all lines of a figure that no other finding covers; they never decide."""
    lines = frames[figure][["series", "optimizer"]].dropna().drop_duplicates()
    findings = []
    for series, optimizer in lines.itertuples(index=False, name=None):
        if (series, optimizer) not in done:
            findings += _transfer(frames, figure, axis, series, optimizer=optimizer, **kind)
    return findings


def _depth_transfer(frames: Frames) -> list[Finding]:
    figure = "depth_transfer"
    return [
        *_transfer(frames, figure, "depth", "depth_mup", decides=True),
        *_others(frames, figure, "depth", {("depth_mup", "sgd")}),
    ]


def _width_transfer(frames: Frames) -> list[Finding]:
    figure = "width_transfer"
    done = {("depth_mup", "sgd"), ("mup", "sgd"), ("standard", "sgd"), ("standard", "adam")}
    adam = _select(frames[figure], "drift", series="standard", optimizer="adam")
    return [
        *_transfer(frames, figure, "width", "depth_mup", decides=True),
        *_transfer(frames, figure, "width", "mup", decides=True),
        *_transfer(frames, figure, "width", "standard", transfers=False, decides=True),
        *(
            _transfer(frames, figure, "width", "standard", optimizer="adam", transfers=False)
            if len(adam)
            else []
        ),
        *_others(frames, figure, "width", done),
    ]


CORRECTED = "depth_mup_corrected p=0.5"


def _two_layer_transfer(frames: Frames) -> list[Finding]:
    figure = "depth_transfer_2"
    done = {("depth_mup", "sgd"), ("depth_mup", "adam"), (CORRECTED, "sgd")}
    findings = _transfer(frames, figure, "depth", "depth_mup", transfers=False, decides=True)
    if len(_select(frames[figure], "drift", series="depth_mup", optimizer="adam")):
        findings += _transfer(
            frames, figure, "depth", "depth_mup", optimizer="adam", transfers=False
        )
    return findings + _others(frames, figure, "depth", done)


def _change(
    frames: Frames,
    metric: str,
    series: str,
    rule: Rule,
    observable: str,
    *,
    decides: bool = False,
    note: str = "",
) -> Finding:
    figure = "internal_collapse"
    frame = frames[figure]
    last = frame.loc[frame["quantity"] == f"{metric}_slope", "step"].max()
    line = {"series": series, "optimizer": "sgd", "step": last}
    return _finding(
        frames,
        figure,
        _pick(frame, f"{metric}_slope", ("width",), **line),
        rule,
        f"{series}: {observable}",
        "exponent in L, last step",
        decides=decides,
        note=_notes(_window(frame, metric, "depth", **line), note),
        absent=f"three depths of {series}",
    )


def _collapse(frames: Frames) -> list[Finding]:
    both = (
        "the branch factor in the gradient gives L^-1/2 in either layer (docs/theory.md, section 2)"
    )
    coherent = "weights that are reused add coherently over blocks; see the decoupled networks"
    series = "depth_mup"
    return [
        _change(
            frames, "own_change_1", series, COLLAPSES, "own learned change, layer 1", decides=True
        ),
        _change(
            frames, "own_change_2", series, OF_ORDER_ONE, "own learned change, layer 2", note=both
        ),
        _change(frames, "inherited_change_1", series, OF_ORDER_ONE, "inherited change, layer 1"),
        _change(frames, "inherited_change_2", series, OF_ORDER_ONE, "inherited change, layer 2"),
        _change(
            frames, "stream_change_1", series, COLLAPSES, "stream change by layer 1", note=coherent
        ),
        _change(frames, "stream_change_2", series, OF_ORDER_ONE, "stream change by layer 2"),
        _change(
            frames,
            "stream_change_1",
            "depth_mup, decoupled",
            COLLAPSES,
            "stream change by layer 1",
        ),
    ]


def _correction(frames: Frames) -> list[Finding]:
    findings = [
        _change(
            frames,
            "own_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "own learned change, layer 1",
            decides=True,
        ),
        *_transfer(frames, "depth_transfer_2", "depth", CORRECTED, decides=True),
        _change(
            frames,
            "stream_change_1",
            CORRECTED,
            OF_ORDER_ONE,
            "stream change by layer 1",
            note="reused weights predict +1/2 (docs/theory.md, section 5)",
        ),
    ]
    figure = "correction_exponent"
    frame = frames[figure]
    for series in frame.loc[frame["quantity"] == "first_step_output_change", "series"].unique():
        line = {"series": series, "optimizer": "sgd"}
        findings.append(
            _finding(
                frames,
                figure,
                _pick(frame, "first_step_output_change_slope", ("width",), **line),
                OF_ORDER_ONE,
                f"{series}: change of the outputs by the first step",
                "exponent in L at the smallest learning rate",
                note=_window(frame, "first_step_output_change", "depth", **line),
                absent="three depths",
            )
        )
    return findings + _others(frames, figure, "depth", set())


def _deeper(frames: Frames) -> list[Finding]:
    figure = "deeper_is_better"
    frame = frames[figure]
    findings = []
    for series, decides in ((CORRECTED, True), ("complete_p", False)):
        line = {"series": series, "optimizer": "sgd"}
        row = _pick(frame, "advantage", ("width", "depth"), **line)
        if row is None and not decides:
            continue
        where = "" if row is None else f"at L = {row['depth']:g}"
        lost = _notes(
            _diverged(frame, **line), _diverged(frame, series="depth_mup", optimizer="sgd")
        )
        findings += [
            _finding(
                frames,
                figure,
                row,
                HAS_ADVANTAGE,
                f"{series}: best training loss at the largest depth",
                "log(depth_mup's best loss / its best loss), paired by seed",
                decides=decides,
                note=_notes(where, lost),
                absent=f"depth_mup and {series} at a common depth",
            ),
            _finding(
                frames,
                figure,
                _pick(frame, "advantage_mean", ("width",), **line),
                HAS_ADVANTAGE,
                f"{series}: best training loss, mean over depths",
                "log(depth_mup's best loss / its best loss), paired by seed",
                absent=f"depth_mup and {series} at common depths",
            ),
        ]
    for series in (CORRECTED, "depth_mup"):
        findings.append(
            _finding(
                frames,
                figure,
                _pick(
                    frame, "train_loss_gain_depth_mean", ("width",), series=series, optimizer="sgd"
                ),
                _above(0.0, "deeper networks reach lower loss", NO_GAIN),
                f"{series}: gain from depth",
                "fraction of the best loss a doubling of depth removes, mean",
                absent=f"two depths of {series}",
            )
        )
    return findings


# -------------------------------------------------------------------------------------------- the claims

_CLAIMS = (
    Claim(
        "C1",
        "scaling-trend",
        "Under depth_mup the loss improves with width and with depth.",
        ("scaling_trend",),
        _scaling_trend,
    ),
    Claim(
        "C2",
        "diminishing-returns",
        "The gain from a larger network shrinks as the loss approaches that of the limit.",
        ("diminishing_returns",),
        _diminishing_returns,
    ),
    Claim(
        "C3",
        "limit-convergence",
        "Finite networks converge to NFD: O(1/L) in depth, O(1/n) in width at initialisation.",
        ("limit_convergence",),
        _limit_convergence,
    ),
    Claim(
        "C4",
        "gia-restored",
        "Standard and decoupled training agree as depth grows under depth_mup, not for mup with or "
        "without skips.",
        ("gia_restoration",),
        _gia,
    ),
    Claim(
        "C5",
        "vanishing-mechanism",
        "The coupling between a matrix and its transpose that training creates is of higher order in depth.",
        ("vanishing_mechanism",),
        _vanishing,
    ),
    Claim(
        "C6",
        "coupling-at-init",
        "At initialisation that coupling is O(1/n), uniformly in depth.",
        ("coupling_at_init",),
        _initial_coupling,
    ),
    Claim(
        "C7",
        "depth-transfer-1",
        "One-layer blocks: the best learning rate transfers over depth under depth_mup.",
        ("depth_transfer",),
        _depth_transfer,
    ),
    Claim(
        "C8",
        "width-transfer",
        "The best learning rate transfers over width under mup-type scaling; under standard it does not.",
        ("width_transfer",),
        _width_transfer,
    ),
    Claim(
        "C9",
        "internal-collapse",
        "Two-layer blocks under depth_mup: the learned change of the first internal layer falls as L^-1/2.",
        ("internal_collapse",),
        _collapse,
    ),
    Claim(
        "C10",
        "transfer-fails-2",
        "Two-layer blocks: the best learning rate does not transfer over depth under depth_mup.",
        ("depth_transfer_2",),
        _two_layer_transfer,
    ),
    Claim(
        "C11",
        "correction-restores",
        "The corrected learning rate keeps the first internal layer's change O(1) and restores transfer.",
        ("internal_collapse", "depth_transfer_2", "correction_exponent"),
        _correction,
    ),
    Claim(
        "C12",
        "deeper-is-better",
        "With the correction deeper networks reach a lower loss than depth_mup's, each at its own best "
        "learning rate.",
        ("deeper_is_better",),
        _deeper,
    ),
    Claim(
        "C13",
        "nondegenerate",
        "The least eigenvalue of the feature covariance stays away from 0 during training.",
        ("kernel_spectrum",),
        _nondegenerate,
    ),
)
CLAIMS: dict[str, Claim] = {claim.id: claim for claim in _CLAIMS}


def evidence_of(
    claim: Claim, results: pd.DataFrame, outputs: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """The evidence a claim needs, made from the tables of runs."""
    return {figure: EVIDENCE[figure].function(results, outputs) for figure in claim.figures}


def judge(claim: Claim, frames: Frames) -> pd.DataFrame:
    """Findings of one claim, columns CLAIM_COLUMNS, from evidence by figure (a figure may be absent)."""
    empty = pd.DataFrame(columns=EVIDENCE_COLUMNS)
    known = {figure: frames.get(figure, empty) for figure in claim.figures}
    rows = [
        {"id": claim.id, "name": claim.name, "statement": claim.statement, **vars(finding)}
        for finding in claim.judge(known)
    ]
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def overall(findings: pd.DataFrame) -> str:
    """Verdict of one claim from its findings: all deciding ones must support, any may contradict."""
    deciding = findings.loc[findings["decides"].astype(bool), "verdict"]
    if (deciding == CONTRADICTED).any():
        return CONTRADICTED
    return SUPPORTED if (deciding == SUPPORTED).all() else INCONCLUSIVE
