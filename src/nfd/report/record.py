"""What made a run, and the record: the runs that are published, one folder per preset.

A run leaves its figures, the tables behind them, ``claims.csv`` and ``provenance.json`` (:func:`describe`) in
``figures/<preset>/``, which git ignores. :func:`keep` promotes a finished run to
``figures/record/<preset>/``; nothing else writes there, and the numbers in README and docs are those of the
record alone.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nfd.claims.registry import CLAIMS
from nfd.pipeline.config import config_digest
from nfd.pipeline.progress import duration
from nfd.pipeline.provenance import code_version
from nfd.pipeline.tables import check_one_data_set, read_provenance
from nfd.report import ReportError
from nfd.report.figures import drawn_figures
from nfd.report.findings import read_claims

RECORDS = Path("figures/record")
CLAIMS_TABLE, PROVENANCE = "claims.csv", "provenance.json"
# What the tables say about themselves, in the order in which the report shows it.
PROVENANCE_NAMES: Mapping[str, str] = {
    "code_version": "Code version",
    "dataset": "Data set",
    "dataset_digest": "Data digest",
    "dataset_not_read": "Files not read",
    "device": "Device",
    "precision": "Precision",
    "tf32": "TF32",
    "machine": "Machine",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "scikit-learn",
}


@dataclass(frozen=True)
class Fact:
    """A property of the tables: each value with the number of tables that have it."""

    name: str
    values: list[tuple[str, int]]


@dataclass(frozen=True)
class Making:
    """What tables took: their number, seconds of wall time, networks and simulations computed for them,
    those that the store had, whose time was spent before, and of these the ones that other code trained."""

    tables: int
    wall_time_s: float
    computed: int
    from_store: int
    adopted: int

    def __str__(self) -> str:
        counts = f"{self.computed:,} networks and simulations computed, {self.from_store:,} from the store"
        if self.adopted:
            counts += f", of which {self.adopted:,} adopted from other code"
        return f"{self.tables}, made in {duration(self.wall_time_s)} of wall time; {counts}"


def gather_provenance(paths: Iterable[str | Path]) -> tuple[list[Fact], Making]:
    """What made the tables of runs at ``paths``, and what they took.

    Raises TableError if they come from different data.
    """
    by_path = {path: read_provenance(path) for path in paths}
    check_one_data_set(by_path)
    stored = list(by_path.values())
    facts = []
    for key, name in PROVENANCE_NAMES.items():
        counts = Counter(table.get(key, "unknown") for table in stored)
        facts.append(Fact(name, counts.most_common()))
    seconds, *numbers = (
        sum(float(table.get(key, 0)) for table in stored)
        for key in ("wall_time_s", "computed", "from_store", "adopted")
    )
    return facts, Making(len(stored), seconds, *map(int, numbers))


def provenance_warnings(facts: Sequence[Fact]) -> list[str]:
    """Sentences on what a careful reader should know about the tables."""
    values = {fact.name: [value for value, _ in fact.values] for fact in facts}
    found = []
    versions = values.get("Code version", [])
    if len(versions) > 1:
        found.append(
            f"The tables come from {len(versions)} versions of the code. Snakemake reruns a job when a "
            "source file it depends on changes, so the versions agree in what these jobs use."
        )
    if any(version.endswith("-dirty") for version in versions):
        found.append(
            "A version that ends in '-dirty' had changes that were not committed when the table was made."
        )
    if len(values.get("Device", [])) > 1:
        found.append("The tables were made on several devices, whose last digits differ.")
    return found


def describe(config: Mapping[str, Any], tables: Iterable[str | Path], folder: str | Path) -> str:
    """JSON text for ``folder``/provenance.json: the configuration, and what made the ``tables`` of runs.

    The digests of the csv files in ``folder`` show :func:`keep` that all of them come from one finished run.
    """
    facts, making = gather_provenance(tables)
    names = [CLAIMS_TABLE, *(f"{name}.csv" for name in drawn_figures(config))]
    described = {
        "config_digest": config_digest(config),
        "tables": making.tables,
        "wall_time_s_summed_over_jobs": round(making.wall_time_s, 1),
        "computed": making.computed,
        "from_store": making.from_store,
        "adopted": making.adopted,
        "made_with": {fact.name: dict(fact.values) for fact in facts},
        "judged_with": code_version(),
        "files": {name: _digest(Path(folder, name)) for name in names},
        "config": config,
    }
    return json.dumps(described, indent=1, sort_keys=True) + "\n"


def read_description(folder: str | Path) -> dict[str, Any]:
    """The provenance.json of a run's folder. Raises ReportError naming the file if there is none to read."""
    path = Path(folder, PROVENANCE)
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(
            f"{folder}: no finished run is here ({PROVENANCE} is missing); make reproduce makes one"
        ) from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: cannot be read ({error})") from error
    if not isinstance(described, dict) or not {"config", "made_with"} <= described.keys():
        raise ReportError(f"{path}: needs the keys config and made_with")
    return described


def keep(run: str | Path, config: Mapping[str, Any], records: str | Path = RECORDS) -> Path:
    """Put a finished run in the place of its preset's record, whole or not at all; returns that place.

    ``run`` is the folder of a preset's figures, ``config`` the checked configuration it should be of. Raises
    ReportError in one sentence if the run is of another configuration, unfinished, or of code in no commit.
    """
    run, records = Path(run), Path(records)
    _refuse_unfit(run, config)
    drawn = [f"{name}.{kind}" for name in drawn_figures(config) for kind in ("csv", "png")]
    place: Path = records / config["preset"]
    records.mkdir(parents=True, exist_ok=True)
    # Beside the records, not among them: git ignores what a killed command leaves there.
    with TemporaryDirectory(dir=records.parent, prefix=".record-") as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir()
        for name in (CLAIMS_TABLE, PROVENANCE, *drawn):
            shutil.copyfile(run / name, new / name)
        if place.exists():
            place.rename(old)
        try:
            new.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    return place


def _refuse_unfit(run: Path, config: Mapping[str, Any]) -> None:
    described = read_description(run)
    wanted, found = config_digest(config), described.get("config_digest")
    if wanted != found:
        raise ReportError(
            f"{run}: made with configuration {found}, but the one to record is {wanted}; "
            "make reproduce brings it up to date"
        )
    _refuse_code(run, described)
    _refuse_incomplete(run, config)
    for name, digest in described.get("files", {}).items():
        if _digest(run / name) != digest:
            raise ReportError(
                f"{run / name}: not the file that {PROVENANCE} describes; "
                "make reproduce brings both up to date"
            )


def _refuse_code(run: Path, described: Mapping[str, Any]) -> None:
    versions = sorted(described["made_with"]["Code version"])
    for version in (*versions, described.get("judged_with", "unknown")):
        if version.endswith("-dirty") or version.startswith(("unknown", "content-")):
            raise ReportError(
                f"{run}: code version {version} is no commit; commit the code and make the results anew"
            )
    if len(versions) > 1:
        raise ReportError(
            f"{run}: the tables come from {len(versions)} versions of the code "
            f"({', '.join(versions)}), but a record has one; remove the older tables and run again"
        )


def _refuse_incomplete(run: Path, config: Mapping[str, Any]) -> None:
    drawn = drawn_figures(config)
    for claim in CLAIMS.values():
        for figure in claim.figures:
            if figure not in drawn:
                raise ReportError(
                    f"{run}: claim {claim.id} needs figure {figure}, "
                    "but this configuration switches off an experiment it draws"
                )
    judged = {claim.id for claim in read_claims(run / CLAIMS_TABLE)}
    unjudged = [claim for claim in CLAIMS if claim not in judged]
    if unjudged:
        raise ReportError(f"{run / CLAIMS_TABLE}: claims {', '.join(unjudged)} are not judged")
    for name in (f"{figure}.{kind}" for figure in drawn for kind in ("csv", "png")):
        if not (run / name).is_file():
            raise ReportError(f"{run / name}: this figure is missing; make reproduce draws it")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
