"""The tidy-table contract, atomic writes and provenance.

Every result is a Parquet file in long form: one row per number, with the columns of
:data:`IDENTITY` saying which run it belongs to. Writing checks the contract, and the file's metadata
carries the provenance (:func:`provenance`). A file exists under its name only when it is whole.
"""

import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

# What identifies a run, whether of a network or of the limit (there, width = number of particles).
IDENTITY: dict[str, str] = {
    "experiment": "string",
    "source": "string",  # "network" (real matrices) or "limit" (matrix-free particles)
    "parametrization": "string",
    "correction": "float64",  # the exponent p; 0 where the parametrization has none
    "block_layers": "int64",
    "skip": "bool",
    "activation": "string",
    "horizon": "float64",
    "loss": "string",
    "optimizer": "string",
    "trainable": "string",  # roles joined by "+", in the order of parametrization.ROLES
    "coupling": "string",
    "width": "int64",
    "depth": "int64",
    "learning_rate": "float64",
    "seed": "int64",
}
RESULT_COLUMNS: dict[str, str] = {
    **IDENTITY,
    "step": "int64",  # value before this step; the last is the trained network
    "split": "string",  # "train", "test", "probe", or "none" for what has no split
    "metric": "string",
    "value": "float64",
    "diverged": "bool",  # true from the step at which the run was found diverged
}
# Outputs on the probe samples, one row per run and step; ``outputs`` is the flattened (samples, classes).
OUTPUT_COLUMNS: dict[str, str] = {**IDENTITY, "step": "int64", "outputs": "list"}


class TableError(ValueError):
    """A table that breaks the contract; the message names the column or file."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
    )
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


# What numbers depend on, relative to this file. Not the figures: the run itself renews those in git.
_CODE = ("..", *(f"../../../{name}" for name in ("scripts", "workflow", "Snakefile")))


def code_version() -> str:
    """Commit of the code, with '-dirty' if it was changed since; 'unknown' outside a git checkout."""
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    commands = (
        [*git, "describe", "--always", "--abbrev=12"],
        [*git, "status", "--porcelain", "--", *_CODE],
    )
    try:
        commit, changes = (
            subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
            for command in commands
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.strip() + ("-dirty" if changes.strip() else "")


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def provenance(**facts: Any) -> dict[str, str]:
    """What produced a file: code version, Python, package versions, machine, and the given ``facts``.

    Typical facts: config_digest, device, dtype, tf32, wall_time_s, dataset.
    """
    versions = {name: _installed(name) for name in ("torch", "numpy", "pandas", "scikit-learn")}
    base = {
        "code_version": code_version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        **versions,
    }
    return {**base, **{key: str(value) for key, value in facts.items()}}


def _checked(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    missing = [name for name in columns if name not in frame]
    unknown = [name for name in frame if name not in columns]
    if missing or unknown:
        raise TableError(f"table columns: missing {missing}, unknown {unknown}")
    frame = frame[list(columns)]
    plain = {name: kind for name, kind in columns.items() if kind != "list"}
    if frame[list(plain)].drop(columns="value", errors="ignore").isna().any().any():
        holes = [name for name in plain if name != "value" and frame[name].isna().any()]
        raise TableError(f"table columns {holes}: missing values; only 'value' may be NaN")
    try:
        typed = frame.astype(plain)
    except (TypeError, ValueError) as error:
        raise TableError(f"table columns have the wrong type: {error}") from error
    # pandas cuts 0.5 to the integer 0 and takes any text for True without a word.
    exact = [name for name, kind in plain.items() if kind in ("int64", "bool")]
    changed = [name for name in exact if not (typed[name] == frame[name]).all()]
    if changed:
        kinds = {name: plain[name] for name in changed}
        raise TableError(f"table columns have the wrong type: expected {kinds}")
    return typed


def _write(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, str]) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), b"nfd": json.dumps(dict(facts)).encode()}
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_results(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, str]) -> None:
    """Write a table with the columns of :data:`RESULT_COLUMNS`, atomically, with provenance ``facts``.

    Raises TableError if a column is missing, unknown, of the wrong type or has holes ('value' may).
    """
    _write(_checked(frame, RESULT_COLUMNS), path, facts)


def write_outputs(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, str]) -> None:
    """Write network outputs on the probe samples (:data:`OUTPUT_COLUMNS`), atomically."""
    _write(_checked(frame, OUTPUT_COLUMNS), path, facts)


def read(paths: str | Path | list[str | Path]) -> pd.DataFrame:
    """Read and concatenate tables written here. Raises TableError naming a file that is not one."""
    paths = [paths] if isinstance(paths, str | Path) else paths
    return pd.concat([_read_one(path) for path in paths], ignore_index=True)


def _read_one(path: str | Path) -> pd.DataFrame:
    try:
        return pq.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"{path}: not a readable Parquet table ({error}); delete it and run again"
        ) from error


def read_provenance(path: str | Path) -> dict[str, str]:
    """The provenance stored in a table's metadata."""
    metadata = pq.ParquetFile(path).schema_arrow.metadata or {}
    stored: dict[str, str] = json.loads(metadata.get(b"nfd", b"{}"))
    return stored
