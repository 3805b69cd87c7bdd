"""Arrays of numbers: any data set without code.

``root`` is one .npz file that holds the four arrays of :data:`NAMES`, or a folder with one .npy file for
each (``train_inputs.npy``, ...). Inputs are (samples, features), (samples, height, width) or (samples,
height, width, channels); bytes stay bytes, other real numbers are kept in 32 bits. Labels are (samples,)
integers, any: each value is a class. Nothing in the files is run: arrays of Python objects are refused.
"""

import hashlib
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from nfd.data.raw import SPLITS, DataError, RawData, cause

NAMES = tuple(f"{split}_{part}" for split in SPLITS for part in ("inputs", "labels"))


def check(root: Path) -> None:
    """DataError if the file or folder is missing or lacks an array; no array is read."""
    lacking = [name for name in NAMES if name not in _names(root)]
    if lacking:
        raise DataError(
            f"dataset.root: {root} has no array {lacking[0]}; needed are {', '.join(NAMES)}"
        )


def fingerprint(root: Path) -> str:
    """Digest over names, sizes and times of the files."""
    paths = [root / f"{name}.npy" for name in NAMES] if root.is_dir() else [root]
    status = [path.stat() for path in paths]
    facts = [(path.name, s.st_size, s.st_mtime_ns) for path, s in zip(paths, status, strict=True)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def read(root: Path) -> RawData:
    """Read the four arrays and check that they belong together."""
    found = _load(root)
    values = {split: _inputs(root, f"{split}_inputs", found) for split in SPLITS}
    labels = {split: _labels(root, f"{split}_labels", found) for split in SPLITS}
    for split in SPLITS:
        if len(values[split]) != len(labels[split]):
            raise DataError(
                f"dataset.root: {root} has {len(values[split])} {split}_inputs but "
                f"{len(labels[split])} {split}_labels; each sample needs one label"
            )
    train, test = (values[split].shape[1:] for split in SPLITS)
    if train != test:
        raise DataError(
            f"dataset.root: in {root} one of train_inputs has the shape {train} but one of test_inputs "
            f"{test}; both need the same"
        )
    kinds = {values[split].dtype for split in SPLITS}
    if len(kinds) > 1:  # bytes in one, other numbers in the other
        values = {split: values[split].astype(np.float32) for split in SPLITS}
    classes = _classes(root, labels)
    return RawData(
        classes=tuple(map(str, classes)),
        values=values,
        labels={split: np.searchsorted(classes, labels[split]) for split in SPLITS},
    )


def _names(root: Path) -> list[str]:
    try:
        if root.is_dir():
            return [path.stem for path in root.iterdir() if path.suffix == ".npy"]
        with zipfile.ZipFile(root) as archive:
            return [Path(name).stem for name in archive.namelist() if name.endswith(".npy")]
    except FileNotFoundError:
        raise DataError(f"dataset.root: there is no file or folder {root}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"dataset.root: {root} is not a whole .npz file: {cause(error)}") from error


def _load(root: Path) -> dict[str, np.ndarray]:
    try:
        if root.is_dir():
            return {name: np.load(root / f"{name}.npy", allow_pickle=False) for name in NAMES}
        with np.load(root, allow_pickle=False) as stored:
            return {name: stored[name] for name in NAMES}
    except MemoryError:
        raise DataError(f"dataset.root: the arrays of {root} do not fit the memory") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zlib.error) as error:
        raise _unreadable(root, error) from error
    except (zipfile.BadZipFile, struct.error) as error:
        raise _unreadable(root, error) from error


def _unreadable(root: Path, error: Exception) -> DataError:
    if "allow_pickle" in str(error):
        return DataError(
            f"dataset.root: {root} holds Python objects, which are not read; save arrays of numbers"
        )
    return DataError(f"dataset.root: cannot read the arrays of {root}: {cause(error)}")


def _inputs(root: Path, name: str, found: dict[str, np.ndarray]) -> np.ndarray:
    """Bytes or float32, (samples, features) or (samples, height, width, channels)."""
    array = found[name]
    if array.dtype.kind not in "buif":
        raise DataError(f"dataset.root: {name} of {root} is {array.dtype}; real numbers are needed")
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise DataError(
            f"dataset.root: {name} of {root} has the shape {array.shape}; accepted are (samples, "
            "features), (samples, height, width) and (samples, height, width, channels), none of them 0"
        )
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array.reshape(len(array), -1)).all(axis=1)))
            raise DataError(
                f"dataset.root: {name} of {root} has a value in row {row} that is not finite (NaN, "
                "infinite, or too large for 32 bits)"
            )
    return array[..., None] if array.ndim == 3 else array


def _labels(root: Path, name: str, found: dict[str, np.ndarray]) -> np.ndarray:
    array = found[name]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"dataset.root: {name} of {root} is {array.dtype} of the shape {array.shape}; one integer "
            "per sample is needed"
        )
    return array


def _classes(root: Path, labels: dict[str, np.ndarray]) -> np.ndarray:
    """The sorted labels; both splits must have the same."""
    train, test = (np.unique(labels[split]) for split in SPLITS)
    odd = np.setxor1d(train, test)
    if odd.size:
        here, missing = SPLITS if odd[0] in train else SPLITS[::-1]
        raise DataError(
            f"dataset.root: in {root} label {odd[0]} is among {here}_labels but not among "
            f"{missing}_labels; both need the same classes"
        )
    return train
