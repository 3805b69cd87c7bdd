"""The verdict tables of README and docs, made from the record, so that no number is typed by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nfd.claims.registry import CLAIMS, FIGURES
from nfd.claims.rules import CANNOT_SHOW, INCONCLUSIVE, NOT_RUN
from nfd.report.findings import ClaimSection, FindingText, read_claims
from nfd.report.record import CLAIMS_TABLE, read_description

BEGIN, END = "<!-- verdicts: made by scripts/update_verdicts.py -->", "<!-- end of verdicts -->"
NEEDS = "<!-- needs: made by scripts/update_verdicts.py -->", "<!-- end of needs -->"
# The preset of `make reproduce`, shown first.
BASE_PRESET = "laptop"


@dataclass(frozen=True)
class Recorded:
    """The record of a preset: its name, how its data set is called, and its folder."""

    preset: str
    data: str
    folder: str


def recorded(folder: str | Path) -> list[Recorded]:
    """The records in ``folder``, that of the laptop preset first, then by name."""
    found = [_recorded(path.parent) for path in Path(folder).glob(f"*/{CLAIMS_TABLE}")]
    return sorted(found, key=lambda record: (record.preset != BASE_PRESET, record.preset))


def _recorded(folder: Path) -> Recorded:
    data = read_description(folder)["config"]["dataset"]
    return Recorded(folder.name, data.get("label") or data["name"], folder.as_posix())


def _cell(claim: ClaimSection, folder: str) -> str:
    finding = claim.headline
    if finding is None:
        return claim.verdict
    if all(found.note.startswith(NOT_RUN) for found in claim.deciding):
        return "not run"
    verdict = f"[{claim.verdict}]({folder}/{finding.figure}.png)"
    unseen = any(CANNOT_SHOW in found.note for found in claim.deciding)
    if claim.verdict == INCONCLUSIVE and unseen:
        verdict += f": {CANNOT_SHOW}"
    return f"{verdict}<br>{_estimate(finding)}" if _estimate(finding) else verdict


def _estimate(finding: FindingText) -> str:
    if not finding.estimate:
        return ""
    interval = f" [{finding.interval[0]}, {finding.interval[1]}]" if finding.interval else ""
    return f"{finding.estimate}{interval}"


def verdict_table(records: Sequence[Recorded]) -> str:
    """Markdown: one row per claim, one column per record."""
    columns = [
        {claim.id: claim for claim in read_claims(Path(record.folder, CLAIMS_TABLE))}
        for record in records
    ]
    titles = [
        f"{record.data} ([{record.preset}]({record.folder}/{CLAIMS_TABLE}))" for record in records
    ]
    lines = [
        "| | claim | " + " | ".join(titles) + " |",
        "|---|---|" + "---|" * len(titles),
    ]
    known = {identity: claim for column in reversed(columns) for identity, claim in column.items()}
    for identity, claim in known.items():
        cells = [
            _cell(column[identity], record.folder) if identity in column else "not judged"
            for column, record in zip(columns, records, strict=True)
        ]
        statement = f"**{claim.name}**: {claim.statement}"
        lines.append(f"| {identity} | {statement} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def findings_table(claim: ClaimSection) -> str:
    """Markdown: all findings of one claim."""
    lines = ["| observable | estimate [95 % interval] | verdict | note |", "|---|---|---|---|"]
    for finding in claim.findings:
        name = f"**{finding.observable}**" if finding.decides else finding.observable
        lines.append(f"| {name} | {_estimate(finding)} | {finding.verdict} | {finding.note} |")
    return "\n".join(lines)


def needs_table() -> str:
    """Markdown: the experiments whose tables each claim is judged from."""
    lines = ["| claim | experiments | network outputs |", "|---|---|---|"]
    for claim in CLAIMS.values():
        figures = [FIGURES[name] for name in claim.figures]
        experiments = dict.fromkeys(name for figure in figures for name in figure.experiments)
        cell = ", ".join(f"`{name}`" for name in experiments)
        outputs = "yes" if any(figure.outputs for figure in figures) else "no"
        lines.append(f"| {claim.id} {claim.name} | {cell} | {outputs} |")
    return "\n".join(lines)


def between_markers(text: str, content: str, begin: str = BEGIN, end: str = END) -> str:
    """``text`` with what stands between the two lines replaced. Raises ValueError without them."""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the text needs the lines {begin!r} and {end!r}, once and in this order")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.split(end)[1]}"


def claims_appendix(records: Iterable[Recorded]) -> str:
    """Markdown: every finding of every claim, record by record."""
    parts: list[str] = []
    for record in records:
        parts.append(f"### {record.data}, preset {record.preset}")
        parts += _sections(read_claims(Path(record.folder, CLAIMS_TABLE)))
    return "\n\n".join(parts)


def _sections(claims: Sequence[ClaimSection]) -> list[str]:
    return [
        f"**{claim.id} {claim.name}: {claim.verdict}.**\n\n{findings_table(claim)}"
        for claim in claims
    ]
