"""Tables that another code wrote: read for the judge, and checked where they would be misread.

docs/tables.md explains the columns. What is wrong is told in one sentence that names file, column and value.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from nfd.choices import check_choice
from nfd.network.roles import ROLES, hidden_roles
from nfd.pipeline import tables
from nfd.pipeline.tables import OUTPUT_COLUMNS, RESULT_COLUMNS, TableError
from nfd.pipeline.vocabulary import VOCABULARY

# Metrics, with any number written as <i>; docs/tables.md says what each is.
METRICS: tuple[str, ...] = (
    "loss",
    "accuracy",
    "output_change",
    *(f"{kind}_change_<i>" for kind in ("own", "inherited", "total", "stream", "gradient")),
    "coupling_layer",
    "coupling_accumulated",
    "coupling_part_<i>_<i>",
    "coupling_sum_<i>",
    "kernel_min_eigenvalue",
    "flops",
)
# What a text may be; `experiment` comes from the caller, who knows the claims.
TEXTS: Mapping[str, Collection[object]] = {
    "block_layers": (1, 2),
    "source": ("network", "limit"),
    "split": ("train", "test", "probe", "batch", "none"),
    "metric": METRICS,
    **{
        name: VOCABULARY[name]
        for name in ("parametrization", "activation", "loss", "optimizer", "coupling")
    },
}
# What a column of a kind must hold, and what some numbers must be besides.
WANTED: Mapping[str, str] = {
    "int64": "a whole number",
    "float64": "a number",
    "bool": "True or False",
}
LEAST: Mapping[str, int] = {"width": 1, "depth": 1, "seed": 0, "step": 0}
POSITIVE = ("horizon", "learning_rate")


def read_results(paths: Sequence[str | Path], experiments: Collection[str]) -> pd.DataFrame:
    """Tables of results, Parquet or CSV, with the columns of ``RESULT_COLUMNS``, one after the other.

    Raises TableError.
    """
    return _read(paths, RESULT_COLUMNS, experiments)


def read_outputs(paths: Sequence[str | Path], experiments: Collection[str]) -> pd.DataFrame:
    """The same of tables of network outputs, Parquet only, with the columns of ``OUTPUT_COLUMNS``."""
    return _read(paths, OUTPUT_COLUMNS, experiments)


def _read(
    paths: Sequence[str | Path], columns: Mapping[str, str], experiments: Collection[str]
) -> pd.DataFrame:
    frames = []
    for path in paths:
        frame = _read_file(path)
        try:
            _check(frame, columns, {**TEXTS, "experiment": experiments})
            frames.append(tables.checked(frame, columns))
        except ValueError as error:
            raise TableError(f"{path}: {error}") from error
    tables.check_one_data_set(
        {path: tables.read_provenance(path) for path in paths if not _is_csv(path)}
    )
    return pd.concat(frames, ignore_index=True)


def _is_csv(path: str | Path) -> bool:
    return Path(path).suffix == ".csv"


def _read_file(path: str | Path) -> pd.DataFrame:
    if not _is_csv(path):
        return tables.read(path)
    try:
        return pd.read_csv(path, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' errors of reading are ValueErrors
        raise TableError(f"{path}: not a readable CSV table ({error})") from error


def _check(
    frame: pd.DataFrame, columns: Mapping[str, str], names: Mapping[str, Collection[object]]
) -> None:
    """Raise ValueError naming the first column, and a value in it, that the judge would misread."""
    for column, kind in columns.items():
        if column not in frame:
            continue  # named with the other missing ones
        if column in names:
            for value in frame[column].drop_duplicates().tolist():
                name = re.sub(r"\d+", "<i>", str(value)) if column == "metric" else value
                check_choice(f"column {column}", name, names[column])
        elif kind in WANTED:
            right = _is_right(frame[column], column, kind)
            if not right.all():
                wrong = frame.loc[~right, column].tolist()[0]
                raise ValueError(f"column {column}: {wrong!r} is not {_wanted(column, kind)}")
    if {"trainable", "block_layers"} <= set(frame):
        for trained, layers in frame[["trainable", "block_layers"]].drop_duplicates().to_numpy():
            _check_roles(str(trained), layers)


def _is_right(values: pd.Series, column: str, kind: str) -> pd.Series:
    if kind == "bool":
        return values.isin(
            [True, False, "True", "False"]
        )  # text where a CSV column has other text too
    numbers = pd.to_numeric(values, errors="coerce")
    right = numbers.notna() | (values.isna() & (column == "value"))
    if kind == "int64":
        right &= numbers % 1 == 0
    if column in LEAST:
        right &= numbers >= LEAST[column]
    return right & (numbers > 0) if column in POSITIVE else right


def _wanted(column: str, kind: str) -> str:
    if column in LEAST:
        return f"{WANTED[kind]} from {LEAST[column]}"
    return f"{WANTED[kind]} above 0" if column in POSITIVE else WANTED[kind]


def _check_roles(trained: str, block_layers: int) -> None:
    known = ("input", *hidden_roles(block_layers), "output")
    roles = trained.split("+")
    for role in roles:
        check_choice("column trainable", role, known)
    if roles != [role for role in ROLES if role in roles]:
        raise ValueError(f"column trainable: {trained!r} is not in the order {'+'.join(known)}")
