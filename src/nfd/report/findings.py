"""The table of claims, read as text: one section per claim, one line per finding."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nfd.claims.certainty import CERTAINTY_COLUMNS, LOOK_COLUMNS, wrong_decisions
from nfd.claims.rules import CLAIM_COLUMNS, CONTRADICTED, INCONCLUSIVE, SUPPORTED, overall
from nfd.report import ReportError
from nfd.report.text import number

VERDICTS = (SUPPORTED, CONTRADICTED, INCONCLUSIVE)


@dataclass(frozen=True)
class FindingText:
    """One row of claims.csv as text."""

    observable: str
    statistic: str
    estimate: str
    interval: tuple[str, str] | None
    rule: str
    verdict: str
    note: str
    figure: str
    decides: bool


@dataclass(frozen=True)
class ClaimSection:
    """One claim with its findings; ``figures`` are those its findings rest on."""

    id: str
    name: str
    statement: str
    verdict: str
    findings: tuple[FindingText, ...]
    order: int

    @property
    def anchor(self) -> str:
        return re.sub(r"[^A-Za-z0-9-]+", "-", f"claim-{self.id}")

    @property
    def deciding(self) -> list[FindingText]:
        return [finding for finding in self.findings if finding.decides]

    @property
    def others(self) -> list[FindingText]:
        return [finding for finding in self.findings if not finding.decides]

    @property
    def headline(self) -> FindingText | None:
        """The deciding finding that made the verdict what it is."""
        agreeing = [finding for finding in self.deciding if finding.verdict == self.verdict]
        return next(iter([*agreeing, *self.deciding, *self.findings]), None)

    @property
    def verdict_order(self) -> int:
        return VERDICTS.index(self.verdict)


NUMBERS = ("estimate", "ci_low", "ci_high", "seeds")
# Not in tables of earlier versions, or only in those judged at a look.
OPTIONAL_NUMBERS = (*CERTAINTY_COLUMNS, *LOOK_COLUMNS)
# Verdicts that hold together: the probability of a wrong one among them is at most this.
JOINT_ERROR = 0.05


def read_findings(path: str | Path) -> pd.DataFrame:
    """The rows of claims.csv. Raises ReportError naming a missing column or odd verdict."""
    text = [name for name in CLAIM_COLUMNS if name not in NUMBERS]
    try:
        table = pd.read_csv(
            path, dtype=dict.fromkeys(text, str), keep_default_na=False, encoding="utf-8"
        )
    except (OSError, ValueError) as error:  # pandas' errors of reading are ValueErrors
        raise ReportError(f"{path}: not a readable table of claims ({error})") from error
    missing = [name for name in CLAIM_COLUMNS if name not in table]
    if missing:
        raise ReportError(f"{path}: columns {', '.join(missing)} are missing")
    odd = sorted(set(table["verdict"]) - set(VERDICTS))
    if odd:
        raise ReportError(f"{path}: verdict {odd[0]!r} is not one of {', '.join(VERDICTS)}")
    for name in (*NUMBERS, *(name for name in OPTIONAL_NUMBERS if name in table)):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table["decides"] = table["decides"].str.lower() == "true"
    return table


def read_claims(path: str | Path) -> list[ClaimSection]:
    """Claims in the order of claims.csv. Raises ReportError as :func:`read_findings` does."""
    groups = read_findings(path).groupby("id", sort=False)
    return [_claim(rows, order) for order, (_, rows) in enumerate(groups)]


def _claim(rows: pd.DataFrame, order: int) -> ClaimSection:
    first = rows.iloc[0]
    findings = tuple(_finding(row) for _, row in rows.iterrows())
    return ClaimSection(
        first["id"], first["name"], first["statement"], overall(rows), findings, order
    )


def _finding(row: pd.Series) -> FindingText:
    low, high = number(row["ci_low"]), number(row["ci_high"])
    look = row.get("look", math.nan)
    at_look = (
        "" if math.isnan(look) else f"{100 * row['level']:.3g} % interval, look at {look:g} seeds"
    )
    return FindingText(
        row["observable"],
        row["statistic"],
        number(row["estimate"]),
        (low, high) if low and high else None,
        row["rule"],
        row["verdict"],
        "; ".join(filter(None, [row["note"], at_look])),
        row["figure"],
        row["decides"],
    )


def certainty_sentences(findings: pd.DataFrame) -> list[str]:
    """How sure the verdicts of a table of claims are, all together; empty for tables of earlier versions."""
    if not set(CERTAINTY_COLUMNS) <= set(findings):
        return []
    claims = findings.groupby("id", sort=False)[list(CERTAINTY_COLUMNS)].first()
    decided = claims[claims["p_value"].notna()]
    joint = decided[decided["p_holm"] <= JOINT_ERROR]
    holding = f"{len(joint)} of the {len(decided)} verdicts that decide a claim hold together"
    names = f" ({', '.join(joint.index)})" if len(joint) < len(decided) and len(joint) else ""
    sentences = [
        "A deciding measurement falls on the wrong side in at most 2.5 % of runs, so that of the "
        f"{len(claims)} verdicts at most {number(wrong_decisions(findings))} are to be expected wrong.",
        f"{holding}{names}: the probability that any of them is wrong is at most "
        f"{100 * JOINT_ERROR:g} % (Holm).",
    ]
    if set(LOOK_COLUMNS) <= set(findings):
        looks = findings.dropna(subset="look").drop_duplicates("figure")
        levels = looks.groupby("look")["level"].max()
        read = ", ".join(f"{look:g} seeds ({100 * level:.3g} %)" for look, level in levels.items())
        sentences.append(
            "This run was looked at while it grew; its intervals are made at the level of the look, so that "
            f"those of all looks hold at once with 95 %: {read}."
        )
    return sentences
