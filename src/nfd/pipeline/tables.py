"""The tidy-table contract.

Every result is a Parquet file in long form: one row per number, with the columns of
:data:`IDENTITY` saying which run it belongs to. Writing checks the contract, and the file's metadata
carries the provenance (:mod:`nfd.pipeline.provenance`).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nfd.files import atomic_path

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


def checked(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with its columns in order and of their types. Raises TableError naming the column."""
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
    # Here and below pyarrow gets an open file: a path must be UTF-8 for it, and folders may have other names.
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pq.write_table(table, file, compression="zstd")


def write_results(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, str]) -> None:
    """Write a table with the columns of :data:`RESULT_COLUMNS`, atomically, with provenance ``facts``.

    Raises TableError if a column is missing, unknown, of the wrong type or has holes ('value' may).
    """
    _write(checked(frame, RESULT_COLUMNS), path, facts)


def write_outputs(frame: pd.DataFrame, path: str | Path, facts: Mapping[str, str]) -> None:
    """Write network outputs on the probe samples (:data:`OUTPUT_COLUMNS`), atomically."""
    _write(checked(frame, OUTPUT_COLUMNS), path, facts)


def read(paths: str | Path | list[str | Path]) -> pd.DataFrame:
    """Read and concatenate tables written here.

    Raises TableError naming a file that is none, or two that come from different data.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    frames = [_read_one(path) for path in paths]
    check_one_data_set({path: read_provenance(path) for path in paths})
    return pd.concat(frames, ignore_index=True)


def check_one_data_set(provenances: Mapping[str | Path, Mapping[str, str]]) -> None:
    """Raise TableError if tables, path -> provenance, were made from data of more than one digest."""
    first: dict[str, str | Path] = {}
    for path, facts in provenances.items():
        if "dataset_digest" in facts:
            first.setdefault(facts["dataset_digest"], path)
    if len(first) > 1:
        (digest, path), (other, other_path) = list(first.items())[:2]
        raise TableError(
            f"{path} was made from the data {digest[:12]} and {other_path} from {other[:12]}; tables of "
            "one preset need the same data: delete those of the data you no longer use and run again, "
            "or give the other data a preset of their own"
        )


def _read_one(path: str | Path) -> pd.DataFrame:
    try:
        with open(path, "rb") as file:
            return pq.ParquetFile(file).read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"{path}: not a readable Parquet table ({error}); delete it and run again"
        ) from error


def read_provenance(path: str | Path) -> dict[str, str]:
    """The provenance stored in a table's metadata."""
    with open(path, "rb") as file:
        metadata = pq.ParquetFile(file).schema_arrow.metadata or {}
    stored: dict[str, str] = json.loads(metadata.get(b"nfd", b"{}"))
    return stored
