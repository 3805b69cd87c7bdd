"""What a verdict costs: with all seeds of a preset at once, and by rounds that stop at the look that decides.

Nothing is trained: a finished run holds the networks of every earlier look, for the seeds of a look are the
first ones. A look's evidence is made from them alone, at the look's level (:mod:`nfd.evidence.significance`).
What counts are the experiments of a claim's deciding observables and of their controls, and no others are
asked. Judging itself, some seconds a round, is left out on both sides.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.timing import of_job
from nfd.claims.registry import CLAIMS, FIGURES, gather
from nfd.claims.rules import INCONCLUSIVE, judge, overall
from nfd.data import prepared
from nfd.evidence.intervals import intervals_at
from nfd.evidence.significance import LOOKS, Look
from nfd.pipeline import tables
from nfd.pipeline.config import config_digest
from nfd.pipeline.cost import START_S
from nfd.pipeline.first_batch import first_batch
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand, seed_list
from nfd.pipeline.provenance import code_version
from nfd.report.record import gather_provenance, read_description

Row = dict[str, Any]
Job = TrainingJob | LimitJob
Config = Mapping[str, Any]
UNDECIDED = "not decided at any look"


def of_run(results: Path) -> dict[str, Any]:
    """The line of a finished run, from ``results/<preset>`` and the ``figures/<preset>`` beside ``results``.

    Raises ReportError if there is no provenance.json, which a run writes last.
    """
    preset, home = results.resolve().name, results.resolve().parents[1]
    config = read_description(home / "figures" / preset)["config"]
    return verdict_line(results, config)


def verdict_line(results: Path, config: Config) -> dict[str, Any]:
    """One row per claim, and what made the networks."""
    run = Run(results, config)
    rows = [run.row(claim) for claim in CLAIMS]
    rounds = sum(row["rounds decide"] != UNDECIDED for row in rows)
    facts, _ = gather_provenance(run.path(job) for job in run.jobs)
    return {
        "what": f"claims of the preset {config['preset']} that are decided by all its seeds",
        "against": "rounds that stop at the look that decides",
        "target": "",
        "value": {
            "median": sum(row["verdict"] != INCONCLUSIVE for row in rows),
            "repeats": 1,
        },
        "unit": f"of {len(rows)}; by rounds {rounds}",
        "met": None,
        "rows": rows,
        "made with": {fact.name: dict(fact.values) for fact in facts},
        "configuration": config_digest(config),
        "judged with": code_version(),
        "estimated jobs": sum(run.seconds(job) is None for job in run.jobs),
        "jobs": len(run.jobs),
    }


def counted(claim: str) -> tuple[str, ...]:
    """Figures of a claim's deciding observables and of their controls."""
    found = judge(CLAIMS[claim], {})
    needed = found[found["decides"].astype(bool) | (found["control"] != "")]
    return tuple(needed["figure"].drop_duplicates())


def experiments_of(figures: Iterable[str]) -> tuple[str, ...]:
    """The experiments that some figures rest on, each once."""
    return tuple(dict.fromkeys(name for figure in figures for name in FIGURES[figure].experiments))


def reached(settings: Config, look: int) -> int:
    """Seeds that an experiment has at a look of :data:`LOOKS`, 0 before the first.

    One with fewer seeds than the look asks for stays at the last look that it reached.
    """
    available = min(look, len(seed_list(settings["seeds"])))
    return max((seeds for seeds in LOOKS if seeds <= available), default=0)


def at_look(config: Config, experiments: Sequence[str], look: int) -> dict[str, Any]:
    """A checked configuration of these experiments as they are at a look; seeds of limits in proportion."""
    cut = {}
    for name in experiments:
        settings = config["experiments"][name]
        seeds = seed_list(settings["seeds"])
        share = reached(settings, look) / len(seeds)
        cut[name] = {**settings, "seeds": list(seeds[: reached(settings, look)])}
        if settings["limit"] is not None and "seeds" in settings["limit"]:
            own = seed_list(settings["limit"]["seeds"])
            kept = list(own[: ceil(share * len(own))])
            cut[name]["limit"] = {**settings["limit"], "seeds": kept}
    return {**config, "experiments": cut}


def _place(job: Job) -> Path:
    """Where what belongs to a job lies, in the folders of tables, logs and times alike; without a suffix."""
    kind = "runs" if isinstance(job, TrainingJob) else "limits"
    return Path(kind, job.experiment, job.name)


def _parts(job: Job) -> int:
    """Networks or simulations of a job."""
    return job.members if isinstance(job, TrainingJob) else job.settings.simulations


@dataclass
class Run:
    """A finished run: the folder of its ``results`` and its checked configuration."""

    results: Path
    config: Config
    _tables: dict[Path, pd.DataFrame] = field(default_factory=dict)
    _evidence: dict[tuple[Any, ...], pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def jobs(self) -> list[Job]:
        training, limits = expand(self.config)
        return [*training, *limits]

    @cached_property
    def findings(self) -> pd.DataFrame:
        """The run's own table of claims."""
        return pd.read_csv(self.results / "claims.csv")

    @property
    def logs(self) -> Path:
        return self.results.resolve().parents[1] / "logs" / self.results.resolve().name

    def path(self, job: Job) -> Path:
        """A job's table."""
        return self.results / _place(job).with_suffix(".parquet")

    # ---- what it took

    def seconds(self, job: Job) -> float | None:
        """Measured seconds of a job; None if the store had some of it, or nothing was measured."""
        log = self.logs / _place(job).with_suffix(".log")
        said = log.read_text(encoding="utf-8") if log.exists() else ""
        kept = re.findall(r"(\d+) from the store(?:, (\d+) continued)?", said)
        if kept and any(int(number or 0) for number in kept[-1]):
            return None
        measured = self.results / "benchmarks" / _place(job).with_suffix(".tsv")
        return of_job(measured)["s"] if measured.exists() else None

    def cost(self, experiments: Sequence[str], look: int | None = None) -> tuple[float, float]:
        """(core seconds, operations) of these experiments: with all seeds, or by rounds up to a look.

        Rounds train each seed once; each round starts its jobs anew. A job that was not measured whole
        counts by its estimate.
        """
        whole = {(job.experiment, job.name): job for job in self.jobs}
        training, limits = expand(at_look(self.config, experiments, look) if look else self.config)
        seconds = operations = 0.0
        for part in [*training, *limits]:
            if part.experiment not in experiments:
                continue
            job = whole[part.experiment, part.name]
            took = self.seconds(job) or job.cost.estimate_s
            starts = 1
            if look:
                settings = self.config["experiments"][job.experiment]
                starts = sum(n <= reached(settings, look) for n in LOOKS)
            share = _parts(part) / _parts(job)
            seconds += starts * START_S + max(0.0, took - START_S) * share
            operations += part.cost.flops
        return seconds, operations

    # ---- what it says

    def decided(self, claim: str) -> tuple[int, str] | None:
        """(look, verdict) of the first look that decides a claim; None if none of those reached does."""
        figures = counted(claim)
        experiments = experiments_of(figures)
        if not set(experiments) <= self.config["experiments"].keys():
            return None
        for look in self.looks(experiments):
            frames = {figure: self.evidence(figure, look) for figure in figures}
            verdict = overall(judge(CLAIMS[claim], frames))
            if verdict != INCONCLUSIVE:
                return look, verdict
        return None

    def looks(self, experiments: Iterable[str]) -> list[int]:
        """Looks at which all of these experiments have seeds, and some of them new ones."""
        has = [self.config["experiments"][name] for name in experiments]
        return [
            look
            for look in LOOKS
            if all(reached(settings, look) for settings in has)
            and any(reached(settings, look) == look for settings in has)
        ]

    def evidence(self, figure: str, look: int) -> pd.DataFrame:
        """A figure's evidence from the seeds of a look, at the level of its least advanced experiment."""
        experiments = FIGURES[figure].experiments
        seeds = tuple(reached(self.config["experiments"][name], look) for name in experiments)
        if (figure, seeds) not in self._evidence:
            training, limits = expand(at_look(self.config, experiments, look))
            jobs = [*training, *limits]
            results = pd.concat([self._rows(job, ".parquet") for job in jobs])
            outputs = pd.concat([self._rows(job, ".outputs.parquet") for job in jobs])
            batch = None
            if FIGURES[figure].batch:
                data = prepared.load(self.results / "data.npz")
                batch = first_batch(jobs[0].settings, data)
            with intervals_at(Look(min(seeds), LOOKS).level()):
                frame = gather(figure, _anew(results), _anew(outputs), batch)
            self._evidence[figure, seeds] = frame
        return self._evidence[figure, seeds]

    def _rows(self, job: Job, suffix: str) -> pd.DataFrame:
        """Of a job's table, what belongs to the seeds that it has here."""
        path = self.path(job).with_suffix(suffix)
        if path not in self._tables:
            self._tables[path] = tables.read(path)
        frame = self._tables[path]
        return frame[frame["seed"].isin(job.settings.seeds)]

    def row(self, claim: str) -> Row:
        """What a claim's verdict costs both ways. Claims share experiments, so costs do not add up."""
        experiments = [
            name for name in experiments_of(counted(claim)) if name in self.config["experiments"]
        ]
        own = [len(seed_list(self.config["experiments"][name]["seeds"])) for name in experiments]
        seconds, operations = self.cost(experiments)
        row = {
            "claim": f"{claim} {CLAIMS[claim].name}",
            "verdict": overall(self.findings[self.findings["id"] == claim]),
            "seeds": "-".join(str(n) for n in sorted({min(own), max(own)})) if own else "",
            "core minutes": _three(seconds / 60),
            "10^12 operations": _three(operations / 1e12),
        }
        found = self.decided(claim)
        if found is None:
            return {**row, "rounds decide": UNDECIDED, "experiments": ", ".join(experiments)}
        look, verdict = found
        seconds, operations = self.cost(experiments, look)
        return {
            **row,
            "rounds decide": f"{verdict} at {look} seeds",
            "core minutes by rounds": _three(seconds / 60),
            "10^12 operations by rounds": _three(operations / 1e12),
            "experiments": ", ".join(experiments),
        }


def _three(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")


def _anew(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index(drop=True)
