"""What every reader of a data set gives, and the error it raises."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "test")


class DataError(ValueError):
    """A data set that cannot be had; one sentence that names the key or file and what to do."""


@dataclass(frozen=True)
class SampleShape:
    """What a network's first and last layer know of a data set: d = ``inputs`` numbers, C = ``classes``."""

    inputs: int
    classes: int


# Taken for data that nobody has read yet: a colour image of 32 x 32 pixels and ten classes.
UNREAD_SHAPE = SampleShape(3072, 10)


@dataclass(frozen=True)
class RawData:
    """A whole data set as it comes, ``values`` and ``labels`` by split.

    Values are uint8 or float32, (samples, height, width, channels) or (samples, features); labels are
    integers (samples,), positions in ``classes``. ``skipped`` says in words which files beside the data
    were not read, empty if none.
    """

    classes: tuple[str, ...]
    values: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    skipped: str = ""

    def digest(self) -> str:
        """SHA-256 over the class names and, per split, the shape, the values and the labels."""
        sha = hashlib.sha256("\n".join(self.classes).encode())
        for split in SPLITS:
            values = np.ascontiguousarray(self.values[split])
            # Bytes are what a shape alone has always meant here.
            kind = "" if values.dtype == np.uint8 else f" {values.dtype}"
            sha.update(f"\n{split} {values.shape}{kind}\n".encode())
            sha.update(np.ascontiguousarray(values).data)
            sha.update(self.labels[split].astype("<i8").tobytes())
        return sha.hexdigest()


def cause(error: BaseException) -> str:
    """The reason of an exception as part of a sentence, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(getattr(error, "reason", None) or error) or type(error).__name__
    return " ".join(shown(text).split())


def shown(path: str | os.PathLike[str]) -> str:
    """A path as it can be printed anywhere: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
