"""The record of a run that goes into git, and the verdict tables of README and docs made from it.

``figures/<preset>/claims.csv`` and ``provenance.json`` are small copies of what a run found and of what
made it; the tables in the texts are generated from them, so that no number is typed by hand.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nfd.pipeline.config import config_digest
from nfd.reporting import ClaimSection, Finding, gather_provenance, read_claims

BEGIN, END = "<!-- verdicts: made by scripts/update_verdicts.py -->", "<!-- end of verdicts -->"


def record(config: Mapping[str, Any], paths: Iterable[str | Path]) -> str:
    """JSON text: the configuration, its digest, and what the tables at ``paths`` say made them."""
    facts, count, wall_time = gather_provenance(paths)
    kept = {
        "config_digest": config_digest(config),
        "tables": count,
        "wall_time_s_summed_over_jobs": round(wall_time, 1),
        "made_with": {fact.name: dict(fact.values) for fact in facts},
        "config": config,
    }
    return json.dumps(kept, indent=1, sort_keys=True) + "\n"


def _cell(claim: ClaimSection, folder: str) -> str:
    finding = claim.headline
    verdict = f"[{claim.verdict}]({folder}/{finding.figure}.png)"
    return f"{verdict}<br>{_estimate(finding)}" if _estimate(finding) else verdict


def _estimate(finding: Finding) -> str:
    if not finding.estimate:
        return ""
    interval = f" [{finding.interval[0]}, {finding.interval[1]}]" if finding.interval else ""
    return f"{finding.estimate}{interval}"


def verdict_table(presets: Mapping[str, str], up: str = "") -> str:
    """Markdown: one row per claim, one column per preset (title -> folder with its claims.csv)."""
    columns = {
        title: {claim.id: claim for claim in read_claims(Path(folder) / "claims.csv")}
        for title, folder in presets.items()
    }
    titles = [f"{title} ([csv]({up}{folder}/claims.csv))" for title, folder in presets.items()]
    lines = [
        "| | claim | " + " | ".join(titles) + " |",
        "|---|---|" + "---|" * len(titles),
    ]
    for identity, claim in next(iter(columns.values())).items():
        cells = [
            _cell(column[identity], up + folder)
            for column, folder in zip(columns.values(), presets.values(), strict=True)
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


def between_markers(text: str, content: str) -> str:
    """``text`` with what stands between BEGIN and END replaced. Raises ValueError without them."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the text needs the lines {BEGIN!r} and {END!r}, once and in this order")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}"


def claims_appendix(presets: Mapping[str, str]) -> str:
    """Markdown: every finding of every claim, preset by preset."""
    parts: list[str] = []
    for title, folder in presets.items():
        parts.append(f"### {title}")
        parts += _sections(read_claims(Path(folder) / "claims.csv"))
    return "\n\n".join(parts)


def _sections(claims: Sequence[ClaimSection]) -> list[str]:
    return [
        f"**{claim.id} {claim.name}: {claim.verdict}.**\n\n{findings_table(claim)}"
        for claim in claims
    ]
