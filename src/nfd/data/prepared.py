"""The prepared file: what every job reads, in which order, and how it is scaled.

The file keeps the values as they came, bytes for images, and how to scale them. What a network is given
is, for a sample of d numbers,

    x = (value - mean of its channel) * scale,

flattened in the order (height, width, channel). Channels are the last axis: the colours of an image, or
each feature of a vector. Means and scale come from the training samples of the file and make the mean of
|x|^2 / d over them equal to 1; so images are centred per channel, not per pixel, and the features of a
vector keep their sizes relative to each other. The test samples are scaled with the same numbers.

Samples are stored in a fixed random order in which the classes take turns, so the first n are as
balanced as n allows (until a class has no samples left), and a smaller subset is the beginning of a
larger one.
"""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nfd.data.raw import SPLITS, DataError, RawData, cause
from nfd.files import atomic_path, write_text
from nfd.seeds import generator

FORMAT = "nfd-dataset-2"
# Below this share of their mean square, values of 32 bits cannot tell a variance from rounding.
LEAST_VARIANCE = 1e-12
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Samples, labels and the scaling of one data set; ``name`` is that of its source.

    ``train_values`` and ``test_values`` are (samples, height, width, channels) or (samples, features),
    uint8 or float32; the labels are (samples,) int64, positions in ``classes``. ``channel_mean`` has the
    length of the last axis and is in units of the values, ``scale`` in one over them. ``digest`` is the
    SHA-256 of the whole source as decoded, whatever part of it is kept here. ``skipped`` says which files
    beside the data were not read, empty if none.
    """

    name: str
    classes: tuple[str, ...]
    digest: str
    skipped: str
    channel_mean: np.ndarray
    scale: float
    train_values: np.ndarray
    train_labels: np.ndarray
    test_values: np.ndarray
    test_labels: np.ndarray

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(height, width, channels) or (features,)."""
        return self.train_values.shape[1:]

    @property
    def input_dim(self) -> int:
        """d, the length of one flattened sample."""
        return int(np.prod(self.sample_shape))

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples by split."""
        return {"train": len(self.train_labels), "test": len(self.test_labels)}

    @cached_property
    def train_inputs(self) -> np.ndarray:
        """The scaled training samples, (samples, d) float32; made on first use, then kept."""
        return self._inputs(self.train_values)

    @cached_property
    def test_inputs(self) -> np.ndarray:
        """The scaled test samples, (samples, d) float32; made on first use, then kept."""
        return self._inputs(self.test_values)

    def _inputs(self, values: np.ndarray) -> np.ndarray:
        inputs = values.astype(np.float32)
        inputs -= self.channel_mean.astype(np.float32)
        inputs *= np.float32(self.scale)
        return inputs.reshape(len(values), -1)

    def subset(self, n_train: int | None = None, n_test: int | None = None) -> "PreparedData":
        """The first ``n_train`` and ``n_test`` samples (None: all); see the module on their order.

        The scaling stays that of the whole file. Raises DataError if there are fewer samples.
        """
        for split, size in zip(SPLITS, (n_train, n_test), strict=True):
            available = self.sizes[split]
            if size is not None and not 1 <= size <= available:
                raise DataError(
                    f"{split} size {size}: {self.name} has {available} {split} samples; "
                    f"ask for 1 to {available}"
                )
        return replace(
            self,
            train_values=self.train_values[:n_train],
            train_labels=self.train_labels[:n_train],
            test_values=self.test_values[:n_test],
            test_labels=self.test_labels[:n_test],
        )


# ---- order and scaling ---------------------------------------------------------------------------


def arrange(name: str, raw: RawData, sizes: Mapping[str, int]) -> PreparedData:
    """The first ``sizes[split]`` samples of each split, in balanced order, and their scaling.

    Raises DataError if there are fewer, if there is one class only, or if nothing varies.
    """
    if len(raw.classes) < 2:
        raise DataError(
            f"dataset: {name} has one class only, {raw.classes[0]!r}, so there is nothing to learn; "
            "two or more are needed"
        )
    values, labels = {}, {}
    for split in SPLITS:
        available = len(raw.labels[split])
        size = sizes.get(split, available)
        if size > available:
            raise DataError(
                f"dataset.{split}_size: {size} is more than the {available} {split} samples of {name}"
            )
        order = balanced_order(raw.labels[split], split)[:size]
        values[split] = raw.values[split][order]
        labels[split] = raw.labels[split][order].astype(np.int64)
    channel_mean, scale = scaling(values["train"])
    return PreparedData(
        name=name,
        classes=raw.classes,
        digest=raw.digest(),
        skipped=raw.skipped,
        channel_mean=channel_mean,
        scale=scale,
        train_values=values["train"],
        train_labels=labels["train"],
        test_values=values["test"],
        test_labels=labels["test"],
    )


def balanced_order(labels: np.ndarray, name: str) -> np.ndarray:
    """Indices (samples,) of a random order in which the classes take turns.

    Round r holds the r-th sample of every class that still has one, the classes in random order.
    The order depends on ``labels`` and ``name`` only.
    """
    shuffled = generator(0, "dataset", "order", name).permutation(len(labels))
    _, counts = np.unique(labels, return_counts=True)
    by_class = np.argsort(labels[shuffled], kind="stable")
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return shuffled[np.argsort(turn, kind="stable")]


def scaling(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Channel means (channels,) and the scale of training values (samples, ..., channels).

    Raises DataError if all values of a channel are the same, in every channel.
    """
    rows = values.reshape(-1, values.shape[-1])
    mean, variance = _byte_moments(rows) if values.dtype == np.uint8 else _float_moments(rows)
    if not variance.mean() > LEAST_VARIANCE * (mean**2).mean():
        raise DataError("dataset: all training samples are one and the same (a plain colour)")
    return mean, float(1 / np.sqrt(variance.mean()))


def _byte_moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance per channel, from exact integer sums."""
    total = rows.sum(axis=0, dtype=np.int64)
    squares = np.einsum("nc,nc->c", rows, rows, dtype=np.int64, casting="safe")
    mean = total / len(rows)
    return mean, squares / len(rows) - mean**2


def _float_moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance per channel in double precision, some rows at a time."""
    parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    return mean, sum(((part - mean) ** 2).sum(axis=0) for part in parts) / len(rows)


# ---- the file ------------------------------------------------------------------------------------

_FIELDS = tuple(field.name for field in fields(PreparedData))
_TEXTS = ("name", "digest", "skipped")
_NUMBERS = tuple(name for name in _FIELDS if name not in (*_TEXTS, "classes"))


def save(data: PreparedData, path: str | Path) -> None:
    """Write the prepared file (npz, no pickle) atomically: one byte per pixel and channel.

    The same data give the same bytes. Raises DataError if the file cannot be written.
    """
    stored: dict[str, Any] = {name: np.asarray(getattr(data, name)) for name in _FIELDS}
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, format=np.asarray(FORMAT), **stored)
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from error


def save_facts(data: PreparedData, path: str | Path) -> None:
    """Write what identifies the prepared data: the same data as read, the same text.

    It is small, so a workflow can compare it by content and rerun nothing when the samples turn out to be
    the same. Raises DataError if the file cannot be written.
    """
    try:
        write_text(path, json.dumps(facts(data), indent=1) + "\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {cause(error)}") from error


def facts(data: PreparedData) -> dict[str, Any]:
    """Name, sizes and digests."""
    return {
        "name": data.name,
        **data.sizes,
        "sample_shape": list(data.sample_shape),
        "classes": len(data.classes),
        "digest": data.digest,
        "contents": contents_digest(data),
    }


def contents_digest(data: PreparedData) -> str:
    """SHA-256 of all that networks see: samples, labels, their order, the scaling, the number of classes."""
    contents = hashlib.sha256(f"{len(data.classes)} classes".encode())
    for name in _NUMBERS:
        values = np.ascontiguousarray(getattr(data, name))
        contents.update(f"\n{name} {values.dtype} {values.shape}\n".encode())
        contents.update(values.tobytes())
    return contents.hexdigest()


def load(path: str | Path) -> PreparedData:
    """Read a prepared file. Raises DataError if it is missing, truncated or something else."""
    try:
        with open(path, "rb") as file:
            stored = dict(np.load(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; make it with scripts/prepare_data.py") from error
    except (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, zlib.error) as error:
        raise _not_prepared(path, cause(error)) from error
    except (zipfile.BadZipFile, struct.error) as error:
        raise _not_prepared(path, cause(error)) from error
    if str(stored.pop("format", None)) != FORMAT or set(stored) != set(_FIELDS):
        raise _not_prepared(path, f"it is not of the format {FORMAT}")
    data = PreparedData(
        **{
            **stored,
            **{name: str(stored[name]) for name in _TEXTS},
            "classes": tuple(map(str, stored["classes"])),
            "scale": float(stored["scale"]),
        }
    )
    if not _consistent(data):
        raise _not_prepared(path, "its arrays do not belong together")
    return data


def _consistent(data: PreparedData) -> bool:
    """Whether shapes and types are those PreparedData promises."""
    shape = data.train_values.shape[1:]
    return (
        len(shape) in (1, 3)
        and data.channel_mean.shape == shape[-1:]
        and data.train_values.shape == (*data.train_labels.shape, *shape)
        and data.test_values.shape == (*data.test_labels.shape, *shape)
        and data.train_values.dtype == data.test_values.dtype
        and data.train_values.dtype in (np.uint8, np.float32)
        and data.train_labels.dtype == data.test_labels.dtype == np.int64
    )


def _not_prepared(path: str | Path, reason: str) -> DataError:
    return DataError(f"{path} is not a whole prepared data set ({reason}); delete it and run again")
