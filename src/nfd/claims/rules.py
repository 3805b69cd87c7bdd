"""Rules that decide claims, and the findings they give.

A claim is judged on the evidence its figures draw, never on anything else. Each observable of a claim gives
one *finding*: an estimate with its 95 % interval, the rule, and a verdict:

* **supported**: the interval lies inside the range that the claim states,
* **contradicted**: it lies inside the range that the claim excludes,
* **inconclusive**: neither, or fewer than MIN_SEEDS seeds, or something is missing (the note says what).

So a verdict is an equivalence test: 'no drift' needs an interval that is narrow as well as one that holds 0.
Where a claim can be read in several ways each reading is a finding; ``decides`` marks those that give the
claim its verdict (:func:`overall`). A family's rules and thresholds stand at the top of its ``verdict.py``.

**Controls.** A statistic can only speak where it could have come out otherwise. A *positive* control is a
finding on runs that are known to show the effect, a *negative* one on runs known not to, each with a rule of
its own. A finding whose controls do not all come out is inconclusive (:func:`gated`): the regime cannot show
the effect.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import inf, isfinite, nan
from textwrap import fill
from typing import Any

import pandas as pd

from nfd.claims.family import Claim
from nfd.claims.registry import CLAIMS, FIGURES, function
from nfd.evidence.table import DEFAULT_TRAINABLE, empty, pick

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
    "control",
)
POSITIVE, NEGATIVE = "positive", "negative"
# How the note of a finding begins whose control did not come out.
CANNOT_SHOW = "the regime cannot show it"
# How it begins if the preset leaves out what the finding rests on.
NOT_RUN = "missing: experiment"

# Fewer seeds than this give no verdict.
MIN_SEEDS = 5

Range = tuple[float, float]
Frames = Mapping[str, pd.DataFrame]


# ----------------------------------------------------------------------------------------------- rules


class Effect(Enum):
    """What it means for a rule that its condition on other rows holds."""

    NEEDED_TO_SUPPORT = "without it nothing is supported"
    NEEDED_TO_CONTRADICT = "without it nothing is contradicted"
    CONTRADICTS = "it contradicts by itself"


@dataclass(frozen=True)
class Condition:
    """What a rule asks of rows besides the one it judges: that the interval of one lies inside ``range``."""

    range: Range
    effect: Effect

    def holds(self, rows: Sequence[pd.Series]) -> bool:
        return any(_inside(row["ci_low"], row["ci_high"], self.range) for row in rows)


@dataclass(frozen=True)
class Rule:
    """The interval inside ``supported`` supports; else inside one of ``contradicted`` it contradicts.

    Each condition in ``also`` may take part of that back, or contradict by itself. A ``negated`` rule states
    the opposite: what would support contradicts, and the other way round. With ``half_widths`` nothing is
    supported unless the middle of the interval is so many of its half widths away from 0. ``text`` says all
    of it in a sentence.
    """

    text: str
    supported: Range
    contradicted: tuple[Range, ...]
    also: tuple[Condition, ...] = ()
    negated: bool = False
    half_widths: float = 0.0

    def verdict(self, low: float, high: float, others: Sequence[pd.Series] = ()) -> str:
        """The verdict on an interval; ``others`` are the rows that ``also`` is about."""
        found = INCONCLUSIVE
        resolved = abs(high + low) >= self.half_widths * (high - low)
        if resolved and _inside(low, high, self.supported):
            found = SUPPORTED
        elif any(_inside(low, high, bounds) for bounds in self.contradicted):
            found = CONTRADICTED
        for condition in self.also:
            found = _with_condition(found, condition.effect, condition.holds(others))
        return _OPPOSITE[found] if self.negated else found

    def negation(self, text: str) -> "Rule":
        """The rule of a claim that states the opposite."""
        return replace(self, text=text, negated=not self.negated)


_OPPOSITE = {
    SUPPORTED: CONTRADICTED,
    CONTRADICTED: SUPPORTED,
    INCONCLUSIVE: INCONCLUSIVE,
}


def _with_condition(found: str, effect: Effect, holds: bool) -> str:
    if effect is Effect.CONTRADICTS:
        return CONTRADICTED if holds else found
    needed_for = SUPPORTED if effect is Effect.NEEDED_TO_SUPPORT else CONTRADICTED
    return INCONCLUSIVE if found == needed_for and not holds else found


def _inside(low: float, high: float, bounds: Range) -> bool:
    return bounds[0] < low and (high < bounds[1] or high == bounds[1] == inf)


def within(low: float, high: float, what: str) -> Rule:
    """The interval must lie between ``low`` and ``high``; ``what`` says in words what that means."""
    text = f"supported if the interval lies within ({low:g}, {high:g}): {what}; contradicted if outside"
    return Rule(text, (low, high), ((-inf, low), (high, inf)))


def below(bound: float, what: str) -> Rule:
    """The interval must lie below ``bound``; above it contradicts."""
    text = f"supported if the interval lies below {bound:g}: {what}; contradicted if above"
    return Rule(text, (-inf, bound), ((bound, inf),))


def outside(low: float, high: float, what: str) -> Rule:
    """The interval must lie beyond ``low`` or ``high``; between them it contradicts."""
    text = f"supported if the interval lies outside ({low:g}, {high:g}): {what}; contradicted if within"
    return replace(within(low, high, what), text=text, negated=True)


def above(bound: float, what: str, excluded: float | None = None) -> Rule:
    """The interval must lie above ``bound``; below ``excluded`` (by default the same) contradicts."""
    if excluded is None:
        text = f"supported if the interval lies above {bound:g}: {what}; contradicted if below"
        return Rule(text, (bound, inf), ((-inf, bound),))
    text = (
        f"supported if the interval lies above {bound:g}: {what}; "
        f"otherwise contradicted if it lies below {excluded:g}"
    )
    return Rule(text, (bound, inf), ((-inf, excluded),))


# What several families ask.

# A relative gap or error of outputs that counts as agreement (C3, C4): a tenth of what training changed.
# It is judged in squares.
AGREEMENT = 0.1

# A rate O(s^-1) must show an exponent below this: three quarters of the way to -1.
FIRST_ORDER = -0.75
FIRST_ORDER_RATE = below(FIRST_ORDER, "decays as size^-1 or faster")


# -------------------------------------------------------------------------------------------- findings


@dataclass(frozen=True)
class Finding:
    """One observable of a claim, judged; ``control`` is POSITIVE or NEGATIVE, or empty if it is none."""

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
    control: str = ""


def finding(
    frames: Frames,
    figure: str,
    row: pd.Series | None,
    rule: Rule,
    observable: str,
    statistic: str,
    *,
    others: Sequence[pd.Series] = (),
    decides: bool = False,
    note: str = "",
    absent: str = "",
    scale: float = 1.0,
    control: str = "",
) -> Finding:
    """A finding from one row of a figure's evidence; ``scale`` multiplies it (positive).

    ``others`` are rows that the rule's conditions are about; ``absent`` says what is missing without ``row``.
    """
    problem = problem_of(row, figure, frames[figure], absent or f"no value of '{statistic}'")
    estimate, low, high = (
        (nan, nan, nan) if row is None else scale * row[["estimate", "ci_low", "ci_high"]]
    )
    return Finding(
        observable,
        statistic,
        rule.text,
        figure,
        decides,
        float(estimate),
        float(low),
        float(high),
        nan if row is None else float(row["seeds"]),
        INCONCLUSIVE if problem else rule.verdict(low, high, others),
        notes(problem, note),
        control,
    )


def gated(found: Finding, controls: Iterable[Finding]) -> Finding:
    """The finding, or inconclusive with the reason if one of its controls is not supported.

    A finding without an interval keeps its own note: what is missing matters more than what it could show.
    """
    failed = [control for control in controls if control.verdict != SUPPORTED]
    if not failed or not (isfinite(found.ci_low) and isfinite(found.ci_high)):
        return found
    reason = ", ".join(f"{control.observable} is {control.verdict}" for control in failed)
    return replace(found, verdict=INCONCLUSIVE, note=notes(f"{CANNOT_SHOW}: {reason}", found.note))


def agreeing(readings: Sequence[Finding], what: str) -> list[Finding]:
    """The readings of one statement, inconclusive with the reason unless all have the same verdict.

    For a verdict that turns with the place where it is read; ``what`` names the places, in order.
    """
    verdicts = [found.verdict for found in readings]
    if len(set(verdicts)) == 1:
        return list(readings)
    reason = f"{what} do not agree: read alone {' and '.join(verdicts)}"
    return [
        replace(found, verdict=INCONCLUSIVE, note=notes(reason, found.note)) for found in readings
    ]


def problem_of(row: pd.Series | None, figure: str, frame: pd.DataFrame, absent: str) -> str:
    """Why a row allows no verdict; empty if it does."""
    if frame.empty:
        return f"{NOT_RUN} {', '.join(FIGURES[figure].experiments)}"
    if row is None or not isfinite(row["estimate"]):
        return f"missing: {absent}"
    if not row["seeds"] >= MIN_SEEDS:
        return f"{row['seeds']:g} seeds, {MIN_SEEDS} needed"
    if row["ci_low"] == -inf and row["ci_high"] == inf:
        return "the interval is unbounded: what is divided by is not told from 0"
    if not (isfinite(row["ci_low"]) and isfinite(row["ci_high"])):
        return "missing: an interval (too few seeds at some size)"
    return ""


# The network that most claims are about; experiments may hold others beside it.
PLAIN_NETWORK: Mapping[str, Any] = {
    "parametrization": "depth_mup",
    "optimizer": "sgd",
    "trainable": DEFAULT_TRAINABLE[1],
}


def pick_row(
    frame: pd.DataFrame, quantity: str, largest: Sequence[str] = (), **columns: object
) -> pd.Series | None:
    """The row that matches; of several the one with the largest ``largest`` (in order). None if none does."""
    chosen = pick(frame, quantity, **columns)
    if chosen.empty:
        return None
    return chosen.sort_values(list(largest)).iloc[-1] if largest else chosen.iloc[-1]


def rows_of(frame: pd.DataFrame) -> list[pd.Series]:
    """A table's rows, one by one."""
    return [row for _, row in frame.iterrows()]


def diverged(frame: pd.DataFrame, **columns: object) -> str:
    """How many runs diverged and were left out."""
    lost = pick(frame, "diverged_runs", **columns)["estimate"].sum()
    return f"{lost:g} diverged {'run' if lost == 1 else 'runs'} left out" if lost else ""


def window_of(frame: pd.DataFrame, quantity: str, axis: str, **columns: object) -> str:
    """Over which sizes a slope was fitted: the ends of its line."""
    sizes = pick(frame, quantity, source="fit", **columns)[axis].dropna()
    if sizes.empty:
        return ""
    return f"fitted over {axis} {sizes.min():g}..{sizes.max():g}"


def notes(*parts: str) -> str:
    """The parts that say something, as one note."""
    return "; ".join(part for part in parts if part)


# --------------------------------------------------------------------------------------------- verdicts


def judge(claim: Claim, frames: Frames) -> pd.DataFrame:
    """Findings of one claim, columns CLAIM_COLUMNS, from evidence by figure (a figure may be absent)."""
    known = {figure: frames.get(figure, empty()) for figure in claim.figures}
    rows = [
        {"id": claim.id, "name": claim.name, "statement": claim.statement, **vars(found)}
        for found in function("verdict", claim.id)(known)
    ]
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def overall(findings: pd.DataFrame) -> str:
    """Verdict of one claim from its findings: all deciding ones must support, any may contradict."""
    deciding = findings.loc[findings["decides"].astype(bool), "verdict"]
    if (deciding == CONTRADICTED).any():
        return CONTRADICTED
    return SUPPORTED if (deciding == SUPPORTED).all() else INCONCLUSIVE


# ---------------------------------------------------------------------------------------- rules as text


def rule_text(claim: Claim) -> str:
    """Markdown: the rules of the findings that decide a claim."""
    found = judge(claim, {})
    deciding = found[found["decides"].astype(bool)]
    by_rule = deciding.groupby("rule", sort=False)["observable"].agg("; ".join)
    if len(by_rule) == 1:
        return _wrapped(f"**Rule:** {by_rule.index[0]}.")
    parts = [_wrapped(f"* {what}: {rule}.", "  ") for rule, what in by_rule.items()]
    return "\n".join(["**Rules:**", "", *parts])


def controls_table() -> str:
    """Markdown: of each claim what decides it, by which rule and threshold, and its controls."""
    lines = [
        "| claim | decides | rule and threshold | positive control | negative control |",
        "|---|---|---|---|---|",
    ]
    for claim in CLAIMS.values():
        found = judge(claim, {})
        controls = [_controls(found, kind) for kind in (POSITIVE, NEGATIVE)]
        deciding = found[found["decides"].astype(bool)]
        for place, row in enumerate(deciding.itertuples(index=False)):
            named = (claim.id, *controls) if place == 0 else ("", "as above", "as above")
            lines.append(
                f"| {named[0]} | {row.observable} | {row.rule} | {named[1]} | {named[2]} |"
            )
    return "\n".join(lines)


def _controls(found: pd.DataFrame, kind: str) -> str:
    chosen = found[found["control"] == kind]
    named = [f"{row.observable} ({row.rule})" for row in chosen.itertuples(index=False)]
    return "; ".join(named) or "none in these presets"


def _wrapped(text: str, indent: str = "") -> str:
    return fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def with_rules(text: str) -> str:
    """``text`` with the rules renewed between ``<!-- rule of C1 -->`` and ``<!-- end of rule -->``.

    So for every claim that it marks; ValueError names one that does not exist. The table of controls is
    renewed between ``<!-- controls -->`` and ``<!-- end of controls -->``.
    """
    text = re.sub(
        r"(<!-- controls -->\n\n).*?(\n\n<!-- end of controls -->)",
        lambda found: found[1] + controls_table() + found[2],
        text,
        flags=re.DOTALL,
    )
    return re.sub(
        r"(<!-- rule of (\w+) -->\n\n).*?(\n\n<!-- end of rule -->)",
        lambda found: found[1] + rule_text(_claim(found[2])) + found[3],
        text,
        flags=re.DOTALL,
    )


def _claim(name: str) -> Claim:
    if name not in CLAIMS:
        raise ValueError(
            f"rule of {name}: no claim has this name; accepted are {', '.join(CLAIMS)}"
        )
    return CLAIMS[name]
