"""Times: of repeats, interleaved so that what else the machine does hits all alike, and of jobs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

Samples = dict[str, list[float]]


def interleave(
    candidates: Mapping[str, Callable[[], float]], repeats: int, warm_up: bool = True
) -> Samples:
    """Each candidate returns the seconds it took; one of each per round, after one round to warm up."""
    if warm_up:
        for measure in candidates.values():
            measure()
    samples: Samples = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, measure in candidates.items():
            samples[name].append(measure())
    return samples


def summary(values: list[float]) -> dict[str, Any]:
    """Median, and the smallest and largest value as the spread."""
    return {
        "median": _rounded(median(values)),
        "low": _rounded(min(values)),
        "high": _rounded(max(values)),
        "repeats": len(values),
    }


def ratio(samples: Samples, slow: str, fast: str) -> dict[str, Any]:
    """How many times longer ``slow`` takes than ``fast``, round by round."""
    return summary([a / b for a, b in zip(samples[slow], samples[fast], strict=True)])


def of_job(path: Path) -> dict[str, float]:
    """Wall-clock seconds, ``s``, and peak memory in MiB, ``max_rss``, from a benchmark file of Snakemake."""
    names, *lines = [line.split("\t") for line in path.read_text().splitlines()]
    row = dict(zip(names, lines[-1], strict=True))
    # Snakemake writes NA for jobs too short to be sampled.
    return {key: 0.0 if row[key] in ("NA", "-") else float(row[key]) for key in ("s", "max_rss")}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
