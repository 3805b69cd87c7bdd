"""What the rules cost, from the benchmark files that Snakemake writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nfd.report import ReportError


@dataclass(frozen=True)
class Cost:
    """What a rule cost, over all its jobs: wall and CPU time in seconds, memory in MiB."""

    rule: str
    what: str
    jobs: int
    wall_s: float
    longest_s: float
    cpu_s: float
    peak_mb: float


# Folder or file under benchmarks/ -> (rule, whether its subfolders are experiments).
RULES: Mapping[str, str] = {
    "prepare_data": "prepare_data",
    "runs": "train_networks",
    "limits": "simulate_limit",
    "evidence": "gather_evidence",
    "claims": "judge_claims",
    "figures": "draw_figure",
}


def read_costs(folder: str | Path, jobs: Iterable[tuple[str, str]] | None = None) -> list[Cost]:
    """Cost per rule, and per experiment for runs and limits, from Snakemake's benchmark files.

    ``jobs``, pairs (experiment, name), restricts runs and limits to those of a configuration; files of
    earlier configurations may lie beside them.
    """
    folder = Path(folder)
    wanted = None if jobs is None else set(jobs)
    groups: dict[tuple[str, str], list[pd.Series]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        parts = path.relative_to(folder).with_suffix("").parts
        experiment = parts[1] if len(parts) == 3 else ""
        if parts[0] not in RULES or (
            experiment and wanted is not None and (experiment, parts[2]) not in wanted
        ):
            continue
        groups.setdefault((RULES[parts[0]], experiment), []).append(_benchmark(path))
    order = {rule: place for place, rule in enumerate(RULES.values())}
    return [
        _cost(*key, pd.DataFrame(rows))
        for key, rows in sorted(groups.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    ]


def _benchmark(path: Path) -> pd.Series:
    """The last measurement of a job; Snakemake writes '-' or NA for what it could not measure."""
    try:
        row = pd.read_csv(path, sep="\t", dtype=str).iloc[-1]
    except (pd.errors.ParserError, pd.errors.EmptyDataError, IndexError) as error:
        raise ReportError(f"{path}: not a benchmark file of Snakemake ({error})") from error
    return pd.to_numeric(row.reindex(["s", "cpu_time", "max_rss"]), errors="coerce")


def _cost(rule: str, what: str, rows: pd.DataFrame) -> Cost:
    wall, cpu, peak = rows["s"], rows["cpu_time"], rows["max_rss"]
    return Cost(rule, what, len(rows), wall.sum(), wall.max(), cpu.sum(), peak.max())
