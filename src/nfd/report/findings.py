"""The table of claims, read as text: one section per claim, one line per finding."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

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
    for name in NUMBERS:
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
    return FindingText(
        row["observable"],
        row["statistic"],
        number(row["estimate"]),
        (low, high) if low and high else None,
        row["rule"],
        row["verdict"],
        row["note"],
        row["figure"],
        row["decides"],
    )
