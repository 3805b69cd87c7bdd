"""What is not science: process starts, imports, Snakemake; and the preset as a whole."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml

from benchmarks.timing import interleave, of_job, summary
from benchmarks.verdicts import of_run
from nfd.pipeline import config_files
from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand

Line = dict[str, Any]
ROOT = Path(__file__).parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
IMPORTS = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "torch",
    "nfd.pipeline.command",
    "nfd.evidence.rates",
    "nfd.drawing.page",
)
NULL_WORKFLOW = """
rule all:
    input: expand("out/{i}", i=range(int(config["jobs"])))
rule one:
    output: "out/{i}"
    shell: "touch {output}"
"""


# Compiled modules of this session's processes, so that they start as on a machine where Python may write
# them (`make setup` compiles them at once), whatever this environment says.
COMPILED = tempfile.TemporaryDirectory(prefix="benchmark-modules-")


def environment(compiled: bool = True, **more: str) -> dict[str, str]:
    """Environment of a measured process."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    where = {"PYTHONPYCACHEPREFIX": COMPILED.name}
    nowhere = {"PYTHONPYCACHEPREFIX": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **(where if compiled else nowhere), **more}


def imports_line(*, repeats: int = 5) -> Line:
    """Seconds of a process that only imports."""
    modules = ["", *IMPORTS]

    def run(module: str, compiled: bool) -> float:
        code = f"import {module}" if module else ""
        return _seconds([sys.executable, "-c", code], env=environment(compiled))[0]

    samples = interleave({m: lambda m=m: run(m, True) for m in modules}, repeats)
    plain = interleave({m: lambda m=m: run(m, False) for m in modules}, repeats)
    rows = [
        {
            "import": module or "(nothing)",
            "seconds": summary(samples[module]),
            "seconds, modules not compiled": summary(plain[module]),
        }
        for module in modules
    ]
    return {
        "what": "start of a process that imports what a training job needs (nfd.pipeline.command)",
        "against": "",
        "target": "",
        "value": summary(samples["nfd.pipeline.command"]),
        "unit": "s",
        "met": None,
        "rows": rows,
    }


def snakemake_line(*, jobs: int = 40, repeats: int = 5) -> Line:
    """Snakemake's own time: to start, and per job that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(NULL_WORKFLOW)

        def run(number: int) -> float:
            for old in Path(folder).glob("out/*"):
                old.unlink()
            command = [*SNAKEMAKE, "--cores", "2", "--quiet", "all", "--config", f"jobs={number}"]
            return _seconds(command, folder)[0]

        samples = interleave({"one": lambda: run(1), "many": lambda: run(1 + jobs)}, repeats)
    per_job = [(b - a) / jobs for a, b in zip(samples["one"], samples["many"], strict=True)]
    return {
        "what": "Snakemake's own seconds per job, two cores, jobs that do nothing",
        "against": "",
        "target": "",
        "value": summary(per_job),
        "unit": "s",
        "met": None,
        "rows": [
            {"part": "start, and one job", "seconds": summary(samples["one"])},
            {"part": "each further job", "seconds": summary(per_job)},
        ],
    }


def dry_run_line(config: str, *, target: float = 5.0, repeats: int = 3) -> Line:
    """Seconds of `snakemake -n` of a configuration file."""

    def run() -> float:
        # In a folder without results, so that every job is planned.
        with tempfile.TemporaryDirectory() as folder:
            _link_workflow(Path(folder))
            command = [*SNAKEMAKE, "-n", "--quiet", "rules", "--configfile", config]
            seconds, _ = _seconds(command, folder)
            return seconds

    samples = interleave({"dry run": run}, repeats)
    value = summary(samples["dry run"])
    return {
        "what": f"dry run of {Path(config).name}: {count_jobs(config)} training and limit jobs",
        "against": "wall clock",
        "target": f"<= {target:g} s",
        "value": value,
        "unit": "s",
        "met": value["median"] <= target,
        "rows": [],
    }


def many_shapes_config(folder: Path, shapes: int) -> str:
    """A configuration file with ``shapes`` shapes (a square number), all in one experiment."""
    side = round(shapes**0.5)
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config: dict[str, Any] = {"preset": "many", "experiments": dict.fromkeys(base["experiments"])}
    config["experiments"]["scaling"] = {
        "grids": [
            {"widths": list(range(8, 8 + side)), "depths": list(range(1, 1 + side))},
        ]
    }
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def many_shapes_line(shapes: int = 10_000, *, repeats: int = 3) -> Line:
    """Dry run of a sweep with many shapes."""
    with tempfile.TemporaryDirectory() as folder:
        line = dry_run_line(many_shapes_config(Path(folder), shapes), target=60, repeats=repeats)
    return {**line, "what": f"dry run of a sweep with {shapes} shapes, one job each"}


def preset_line(
    start_s: float, per_job_s: float, snakemake_start_s: float, *, config: str, cores: int
) -> Line:
    """`snakemake` on a clean copy of the committed tree: wall clock, and what of it is overhead.

    ``start_s``: process start and imports of a job; ``per_job_s``, ``snakemake_start_s``: Snakemake's.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        command = [*SNAKEMAKE, "--cores", str(cores), "--quiet", "all", "--configfile", config]
        wall, processor = _seconds(command, str(clone), environment(PYTHONPATH=str(clone / "src")))
        jobs = job_times(clone / "results")
        costs = of_run(clone / "results" / load(config)["preset"])
    busy = sum(row["s"] for rows in jobs.values() for row in rows)
    number = sum(map(len, jobs.values()))
    overhead = number * (start_s + per_job_s) / cores + snakemake_start_s
    rows = [
        {
            "rule": rule,
            "jobs": len(found),
            "seconds, all jobs": round(sum(row["s"] for row in found), 1),
            "longest, s": round(max(row["s"] for row in found), 1),
            "peak memory, MiB": round(max(row["max_rss"] for row in found)),
        }
        for rule, found in sorted(jobs.items())
    ]
    share = overhead / wall
    return {
        "what": f"{Path(config).name} from a clean copy on {cores} cores: wall clock in minutes",
        "against": "Snakemake and imports <= 20 % of it",
        "target": "a few minutes",
        "value": {"median": round(wall / 60, 2), "repeats": 1},
        "unit": f"min, {100 * share:.0f} % Snakemake and imports",
        "met": share <= 0.2,
        "rows": rows,
        "floor": {
            "jobs": number,
            "seconds in jobs": round(busy, 1),
            "processor seconds": round(processor, 1),
            "seconds of Snakemake and imports, wall clock": round(overhead, 1),
        },
        "verdicts": costs,
    }


def job_times(results: Path) -> dict[str, list[dict[str, float]]]:
    """Seconds and peak memory (MiB) of every job, by rule, from Snakemake's benchmark files."""
    jobs: dict[str, list[dict[str, float]]] = {}
    for path in sorted(results.glob("*/benchmarks/**/*.tsv")):
        parts = path.relative_to(results).parts[2:-1]
        rule = "/".join(parts) or path.stem
        jobs.setdefault(rule, []).append(of_job(path))
    return jobs


def _link_workflow(folder: Path) -> None:
    for name in ("Snakefile", "workflow", "config", "profiles", "scripts", "src", "envs"):
        (folder / name).symlink_to(ROOT / name)


def load(config: str) -> dict[str, Any]:
    """A checked configuration, laid over config/config.yaml as Snakemake does it."""
    return check(config_files.load([ROOT / "config" / "config.yaml", ROOT / config]))


def count_jobs(config: str) -> int:
    """Training and limit jobs of a configuration file."""
    return sum(map(len, expand(load(config))))


def _seconds(
    command: Sequence[str], folder: str | None = None, env: dict[str, str] | None = None
) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command; raises RuntimeError with its last words."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=env or environment(), capture_output=True, text=True, check=False
    )
    seconds = perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command[:4])} failed: {last}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used
