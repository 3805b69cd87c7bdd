"""Data sets: from a name in the config to one prepared file, and from that file to arrays.

Three kinds of source are known:

* ``digits``: scikit-learn's 1,797 real images of 8x8 pixels; nothing is downloaded. It has no split
  of its own, so 36 images of each class (360) are drawn as test set and 1,437 are left to train on.
* ``cifar10``, ``cifar100``, ``fashion_mnist``, ``mnist``, ``svhn``: torchvision's sets, with its
  addresses and checksums. Files already under ``root``, laid out as torchvision lays them out, are
  used as they are. Nothing is read whose checksum is wrong: CIFAR's files are pickles, and reading
  an altered one would run whatever it contains.
* ``image_folder``: ``train/<class>/*`` and ``test/<class>/*``, PNG or JPEG.

The prepared file keeps the pixels as bytes, and how to scale them. What a network is given is, for
an image of d = height * width * channels numbers,

    x = (pixel - mean of its channel) * scale,

flattened in the order (height, width, channel). Means and scale come from the training images of
the file and make the mean of |x|^2 / d over them equal to 1; so the inputs are centred per channel,
not per pixel. The test images are scaled with the same numbers.

Samples are stored in a fixed random order in which the classes take turns, so the first n are as
balanced as n allows (until a class has no images left), and a smaller subset is the beginning of a
larger one.

Heavy packages are imported where they are used: a workflow calls :func:`check_settings` before it
starts.
"""

import gzip
import hashlib
import http.client
import os
import shutil
import socket
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nfd.seeds import generator

_TORCHVISION_CLASSES = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "fashion_mnist": "FashionMNIST",
    "mnist": "MNIST",
    "svhn": "SVHN",
}
_LABELS = {
    "digits": "digits (8x8)",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "svhn": "SVHN",
}
NAMES: tuple[str, ...] = (*_LABELS, "image_folder")
SPLITS = ("train", "test")

# Keys of the config's `dataset` section: type, and what is accepted. null counts as absent.
SETTINGS: dict[str, tuple[type, str]] = {
    "name": (str, "one of " + ", ".join(NAMES)),
    "root": (str, "a folder"),
    "download": (bool, "true or false"),
    "image_size": (int, "a positive number of pixels"),
    "grayscale": (bool, "true or false"),
    "train_size": (int, "a positive number of images"),
    "test_size": (int, "a positive number of images"),
    "label": (str, "a text"),
}
_IMAGE_FOLDER_KEYS = ("image_size", "grayscale")

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_DIGITS_TEST_SIZE = 360
_STALLED_AFTER_S = 60.0
_FORMAT = "nfd-dataset-1"


class DataError(ValueError):
    """A data set that cannot be had; one sentence that names the key or file and what to do."""


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Images, labels and the scaling of one data set.

    ``train_pixels`` and ``test_pixels`` are (samples, height, width, channels) uint8; the labels are
    (samples,) int64, positions in ``classes``. ``channel_mean`` (channels,) is in units of the pixel
    values, ``scale`` in one over them. ``digest`` is the SHA-256 of the whole source as decoded,
    whatever part of it is kept here.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    digest: str
    channel_mean: np.ndarray
    scale: float
    train_pixels: np.ndarray
    train_labels: np.ndarray
    test_pixels: np.ndarray
    test_labels: np.ndarray

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train_pixels.shape[1:]

    @property
    def input_dim(self) -> int:
        """d, the length of one flattened image."""
        return int(np.prod(self.image_shape))

    @cached_property
    def train_inputs(self) -> np.ndarray:
        """The scaled training images, (samples, d) float32; made on first use, then kept."""
        return self._inputs(self.train_pixels)

    @cached_property
    def test_inputs(self) -> np.ndarray:
        """The scaled test images, (samples, d) float32; made on first use, then kept."""
        return self._inputs(self.test_pixels)

    def _inputs(self, pixels: np.ndarray) -> np.ndarray:
        inputs = pixels.astype(np.float32)
        inputs -= self.channel_mean.astype(np.float32)
        inputs *= np.float32(self.scale)
        return inputs.reshape(len(pixels), -1)

    def subset(self, n_train: int | None = None, n_test: int | None = None) -> "PreparedData":
        """The first ``n_train`` and ``n_test`` samples (None: all); see the module on their order.

        The scaling stays that of the whole file. Raises DataError if there are fewer samples.
        """
        for split, size in zip(SPLITS, (n_train, n_test), strict=True):
            available = len(getattr(self, f"{split}_labels"))
            if size is not None and not 1 <= size <= available:
                raise DataError(
                    f"{split} size {size}: {self.label} has {available} {split} images; "
                    f"ask for 1 to {available}"
                )
        return replace(
            self,
            train_pixels=self.train_pixels[:n_train],
            train_labels=self.train_labels[:n_train],
            test_pixels=self.test_pixels[:n_test],
            test_labels=self.test_labels[:n_test],
        )


# ---- settings ------------------------------------------------------------------------------------


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the ``dataset`` section as far as that costs nothing: no download, no image is opened.

    Raises DataError: an unknown key, a wrong value, an unknown name, or an image folder in which a
    folder or a class is missing.
    """
    settings = _present(settings)
    for key, value in settings.items():
        _check_setting(key, value)
    name = settings.get("name")
    if name not in NAMES:
        raise DataError(f"dataset.name: {name!r} is unknown; choose {SETTINGS['name'][1]}")
    if name == "image_folder":
        if "root" not in settings:
            raise DataError(
                "dataset.root: missing; name the folder that holds train/<class>/ and test/<class>/"
            )
        _folder_classes(Path(settings["root"]).expanduser())
        return
    for key in _IMAGE_FOLDER_KEYS:
        if key in settings:
            raise DataError(f"dataset.{key}: only image_folder takes it, {name} does not")
    root = _root(settings)
    if name in _TORCHVISION_CLASSES and not settings.get("download", True) and not root.is_dir():
        raise DataError(
            f"dataset.root: there is no folder {root}; name the one that holds {name}, "
            "or set download to true"
        )


def _check_setting(key: str, value: Any) -> None:
    if key not in SETTINGS:
        raise DataError(f"dataset.{key}: unknown key; known are {', '.join(SETTINGS)}")
    kind, accepted = SETTINGS[key]
    # In Python true is an int, and "3" is not.
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is int and value < 1):
        raise DataError(f"dataset.{key}: {value!r} is not {accepted}")


def _present(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _root(settings: Mapping[str, Any]) -> Path:
    return Path(settings.get("root", f"data/{settings['name']}")).expanduser()


def _folder_classes(root: Path) -> tuple[str, ...]:
    """Sorted class names of an image folder; DataError where folders are missing or differ."""
    found = {}
    for split in SPLITS:
        folder = root / split
        if not folder.is_dir():
            raise DataError(f"dataset.root: there is no folder {folder}, with one folder per class")
        found[split] = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
        )
        if not found[split]:
            raise DataError(f"dataset.root: {folder} has no class folders")
    odd = sorted(set(found["train"]) ^ set(found["test"]))
    if odd:
        here, missing = SPLITS if odd[0] in found["train"] else SPLITS[::-1]
        raise DataError(
            f"dataset.root: class {odd[0]!r} is in {root / here} but not in {root / missing}; "
            "both need the same classes"
        )
    for split in SPLITS:
        for name in found[split]:
            if next(_image_files(root / split / name), None) is None:
                raise DataError(
                    f"dataset.root: {root / split / name} holds no .png, .jpg or .jpeg file"
                )
    return tuple(found["train"])


def _image_files(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] != "." and entry.name.lower().endswith(_IMAGE_SUFFIXES):
                yield entry.path


# ---- preparing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A whole data set as it comes, ``pixels`` and ``labels`` by split, shaped as PreparedData's."""

    classes: tuple[str, ...]
    pixels: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]

    def digest(self) -> str:
        """SHA-256 over the class names and, per split, the shape, the pixels and the labels."""
        sha = hashlib.sha256("\n".join(self.classes).encode())
        for split in SPLITS:
            sha.update(f"\n{split} {self.pixels[split].shape}\n".encode())
            sha.update(np.ascontiguousarray(self.pixels[split]))
            sha.update(self.labels[split].astype("<i8").tobytes())
        return sha.hexdigest()


def prepare(settings: Mapping[str, Any]) -> PreparedData:
    """Read the data set that the ``dataset`` section names, downloading it if need be.

    Raises DataError for wrong settings, and for a source that is missing, damaged or unreachable.
    """
    check_settings(settings)
    settings = _present(settings)
    name = settings["name"]
    source = _read_source(settings)
    pixels, labels = {}, {}
    for split in SPLITS:
        size = _size(settings, split, len(source.labels[split]))
        order = balanced_order(source.labels[split], split)[:size]
        pixels[split] = source.pixels[split][order]
        labels[split] = source.labels[split][order].astype(np.int64)
    channel_mean, scale = _scaling(pixels["train"])
    return PreparedData(
        name=name,
        label=settings.get("label") or _LABELS.get(name) or _root(settings).resolve().name,
        classes=source.classes,
        digest=source.digest(),
        channel_mean=channel_mean,
        scale=scale,
        train_pixels=pixels["train"],
        train_labels=labels["train"],
        test_pixels=pixels["test"],
        test_labels=labels["test"],
    )


def _size(settings: Mapping[str, Any], split: str, available: int) -> int:
    size = settings.get(f"{split}_size", available)
    if size > available:
        raise DataError(
            f"dataset.{split}_size: {size} is more than the {available} {split} images of "
            f"{settings['name']}"
        )
    return size


def balanced_order(labels: np.ndarray, name: str) -> np.ndarray:
    """Indices (samples,) of a random order in which the classes take turns.

    Round r holds the r-th image of every class that still has one, the classes in random order.
    The order depends on ``labels`` and ``name`` only.
    """
    shuffled = generator(0, "dataset", "order", name).permutation(len(labels))
    _, counts = np.unique(labels, return_counts=True)
    by_class = np.argsort(labels[shuffled], kind="stable")
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return shuffled[np.argsort(turn, kind="stable")]


def _scaling(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """Channel means (channels,) and the scale, from exact integer sums over the training pixels."""
    per_channel = pixels[..., 0].size
    total = pixels.sum(axis=(0, 1, 2), dtype=np.int64)
    squares = np.einsum("nhwc,nhwc->c", pixels, pixels, dtype=np.int64, casting="safe")
    mean = total / per_channel
    variance = squares / per_channel - mean**2
    if not variance.mean() > 1e-9:
        raise DataError("dataset: all training images are one and the same plain colour")
    return mean, float(1 / np.sqrt(variance.mean()))


def _read_source(settings: Mapping[str, Any]) -> _Source:
    name = settings["name"]
    if name == "digits":
        return _read_digits()
    if name == "image_folder":
        size, grayscale = settings.get("image_size"), settings.get("grayscale", False)
        return _read_image_folder(_root(settings), size, grayscale)
    return _read_torchvision(name, _root(settings), settings.get("download", True))


def _read_digits() -> _Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = digits.images.astype(np.uint8)[..., None]  # whole numbers, 0 to 16
    labels = digits.target.astype(np.int64)
    order = balanced_order(labels, "digits")
    # Whole rounds of balanced_order: every class gives 36 images to the test set.
    part = {"test": np.sort(order[:_DIGITS_TEST_SIZE]), "train": np.sort(order[_DIGITS_TEST_SIZE:])}
    return _Source(
        classes=tuple(map(str, digits.target_names)),
        pixels={split: pixels[part[split]] for split in SPLITS},
        labels={split: labels[part[split]] for split in SPLITS},
    )


# ---- image folders -------------------------------------------------------------------------------


def _read_image_folder(root: Path, size: int | None, grayscale: bool) -> _Source:
    """Decode every image, in the order of class name and file name."""
    classes = _folder_classes(root)
    pixels, labels = {}, {}
    first = min(_image_files(root / "train" / classes[0]))
    shape = _decode(first, size, grayscale).shape
    for split in SPLITS:
        folders = [sorted(_image_files(root / split / name)) for name in classes]
        paths = [path for folder in folders for path in folder]
        labels[split] = np.repeat(np.arange(len(classes)), [len(folder) for folder in folders])
        pixels[split] = np.empty((len(paths), *shape), dtype=np.uint8)
        for row, path in zip(pixels[split], paths, strict=True):
            image = _decode(path, size, grayscale)
            if image.shape != shape:
                raise DataError(
                    f"{path} has {_by(image.shape)} pixels but {first} has {_by(shape)}; "
                    "set dataset.image_size to resize all images"
                )
            row[...] = image
    return _Source(classes, pixels, labels)


def _decode(path: str, size: int | None, grayscale: bool) -> np.ndarray:
    """Pixels (height, width, channels) uint8 of one image; ``size``: resize to size x size."""
    from PIL import Image

    try:
        # Only these two: Pillow goes by content, and for some formats it starts other programs.
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            image.load()
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        raise DataError(f"{path} is not a whole PNG or JPEG image: {_cause(error)}") from error
    if image.mode[0] in "IF":
        raise DataError(f"{path} has more than 8 bits per channel; convert it to 8 bits")
    image = image.convert("L" if grayscale else "RGB")
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if grayscale else pixels


def _by(shape: tuple[int, ...]) -> str:
    """An image's shape as people write it, width x height."""
    return f"{shape[1]}x{shape[0]}"


def _cause(error: BaseException) -> str:
    """The reason of an exception as part of a sentence, on one line."""
    return " ".join(str(getattr(error, "reason", None) or error or type(error).__name__).split())


# ---- torchvision's sets --------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A file of a torchvision set: its path under the root, its MD5 sum, and where to get it."""

    path: str
    md5: str
    urls: tuple[str, ...] = ()


def _read_torchvision(name: str, root: Path, download: bool) -> _Source:
    from torchvision import datasets

    kind = getattr(datasets, _TORCHVISION_CLASSES[name])
    if name in ("cifar10", "cifar100"):
        return _read_cifar(kind, name, root, download)
    if name == "svhn":
        return _read_svhn(kind, name, root, download)
    return _read_mnist(kind, name, root, download)


def _read_cifar(kind: Any, name: str, root: Path, download: bool) -> _Source:
    batches = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    files = [_File(f"{kind.base_folder}/{file}", md5) for file, md5 in batches]
    if _missing(name, root, files):
        archive = _File(kind.filename, kind.tgz_md5, (kind.url,))
        _obtain(name, root, [archive], download)
        _unpack(name, root, archive, {file.path for file in files})
    # torchvision compares each file's checksum once more before it unpickles it.
    parts = {split: kind(root, train=split == "train") for split in SPLITS}
    return _Source(
        classes=tuple(parts["train"].classes),
        pixels={split: np.ascontiguousarray(part.data) for split, part in parts.items()},
        labels={split: np.asarray(part.targets) for split, part in parts.items()},
    )


def _read_mnist(kind: Any, name: str, root: Path, download: bool) -> _Source:
    """MNIST and Fashion-MNIST, from the compressed files: the checksums are of those."""
    folder = f"{kind.__name__}/raw"
    files = [
        _File(f"{folder}/{file}", md5, tuple(mirror + file for mirror in kind.mirrors))
        for file, md5 in kind.resources
    ]
    _obtain(name, root, files, download)

    def read(file: str, header_bytes: int) -> np.ndarray:
        with gzip.open(root / folder / f"{file}-ubyte.gz") as unpacked:
            return np.frombuffer(unpacked.read(), dtype=np.uint8, offset=header_bytes)

    stem = {"train": "train", "test": "t10k"}
    images = {split: read(f"{stem[split]}-images-idx3", 16) for split in SPLITS}
    return _Source(
        classes=tuple(kind.classes),
        pixels={split: images[split].reshape(-1, 28, 28, 1) for split in SPLITS},
        labels={split: read(f"{stem[split]}-labels-idx1", 8) for split in SPLITS},
    )


def _read_svhn(kind: Any, name: str, root: Path, download: bool) -> _Source:
    listed = [kind.split_list[split] for split in SPLITS]
    _obtain(name, root, [_File(file, md5, (url,)) for url, file, md5 in listed], download)
    parts = {split: kind(root, split=split) for split in SPLITS}
    return _Source(
        classes=tuple("0123456789"),
        pixels={split: part.data.transpose(0, 2, 3, 1) for split, part in parts.items()},
        labels={split: np.asarray(part.labels) for split, part in parts.items()},
    )


def _missing(name: str, root: Path, files: Sequence[_File]) -> list[_File]:
    """Those of ``files`` that are not under ``root``; DataError if one is there but altered."""
    from torchvision.datasets.utils import check_integrity

    for file in files:
        path = root / file.path
        if path.exists() and not check_integrity(path, file.md5):
            raise DataError(
                f"{path} does not have the checksum of {name}'s file, so it was not read; "
                "delete it to have it downloaded again, or put an intact copy in its place"
            )
    return [file for file in files if not (root / file.path).exists()]


def _obtain(name: str, root: Path, files: Sequence[_File], download: bool) -> None:
    """Download those of ``files`` that are not yet under ``root``."""
    for file in _missing(name, root, files):
        remedy = f"put a copy at {root / file.path}, or name a folder with one as dataset.root"
        if not download:
            raise DataError(
                f"{name}: {root} does not hold all of it, and dataset.download is false; {remedy}"
            )
        with _workshop(name, root) as temporary:
            problem = _download(file, temporary / "file")
            if problem:
                raise DataError(f"{name}: {problem}; try again, {remedy}")
            _move(temporary / "file", root / file.path)


def _download(file: _File, path: Path) -> str:
    """Download from the first url that works; returns what went wrong, empty if nothing."""
    from torchvision.datasets.utils import check_integrity, download_url

    problem = ""
    for url in file.urls:
        path.unlink(missing_ok=True)
        try:
            with _no_endless_waiting():
                download_url(url, path.parent, path.name)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            problem = f"the download of {url} failed ({_cause(error)})"
            continue
        if check_integrity(path, file.md5):
            return ""
        problem = f"what came from {url} has the wrong checksum (cut short, or altered)"
    return problem


def _unpack(name: str, root: Path, archive: _File, wanted: set[str]) -> None:
    """Take the ``wanted`` members out of a checked archive, and no other: none can land elsewhere."""
    with _workshop(name, root) as temporary, tarfile.open(root / archive.path) as members:
        for member in members:
            if member.isfile() and member.name in wanted:
                with open(temporary / "file", "wb") as copy:
                    shutil.copyfileobj(members.extractfile(member), copy)
                _move(temporary / "file", root / member.name)


@contextmanager
def _workshop(name: str, root: Path) -> Iterator[Path]:
    """A temporary folder under ``root``: a file gets its name there only when whole and checked."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
            yield Path(temporary)
    except OSError as error:
        raise DataError(f"{name}: cannot write to {root}: {_cause(error)}") from error


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)


@contextmanager
def _no_endless_waiting() -> Iterator[None]:
    """A server that stops sending without closing would keep torchvision waiting for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALLED_AFTER_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# ---- the prepared file ---------------------------------------------------------------------------


_FORMAT = "nfd-dataset-1"
_FIELDS = tuple(field.name for field in fields(PreparedData))


def save(data: PreparedData, path: str | Path) -> None:
    """Write the prepared file (npz, no pickle) atomically: one byte per pixel and channel.

    The same data give the same bytes. Raises DataError if the file cannot be written.
    """
    from nfd.pipeline.tables import (
        atomic_path,  # brings pandas along, which check_settings has no use for
    )

    stored = {name: np.asarray(getattr(data, name)) for name in _FIELDS}
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, format=np.asarray(_FORMAT), **stored)
    except OSError as error:
        raise DataError(f"cannot write {path}: {_cause(error)}") from error


def load(path: str | Path) -> PreparedData:
    """Read a prepared file. Raises DataError if it is missing, truncated or something else."""
    try:
        with open(path, "rb") as file:
            stored = dict(np.load(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; make it with scripts/prepare_data.py") from error
    except (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, zlib.error) as error:
        raise _not_prepared(path, _cause(error)) from error
    except (zipfile.BadZipFile, struct.error) as error:
        raise _not_prepared(path, _cause(error)) from error
    if str(stored.pop("format", None)) != _FORMAT or set(stored) != set(_FIELDS):
        raise _not_prepared(path, f"it is not of the format {_FORMAT}")
    data = PreparedData(
        **{
            **stored,
            **{name: str(stored[name]) for name in ("name", "label", "digest")},
            "classes": tuple(map(str, stored["classes"])),
            "scale": float(stored["scale"]),
        }
    )
    if not _consistent(data):
        raise _not_prepared(path, "its arrays do not belong together")
    return data


def _consistent(data: PreparedData) -> bool:
    """Whether shapes and types are those PreparedData promises."""
    shape = data.train_pixels.shape[1:]
    return (
        len(shape) == 3
        and data.channel_mean.shape == shape[-1:]
        and data.train_pixels.shape == (*data.train_labels.shape, *shape)
        and data.test_pixels.shape == (*data.test_labels.shape, *shape)
        and data.train_pixels.dtype == data.test_pixels.dtype == np.uint8
        and data.train_labels.dtype == data.test_labels.dtype == np.int64
    )


def _not_prepared(path: str | Path, reason: str) -> DataError:
    return DataError(f"{path} is not a whole prepared data set ({reason}); delete it and run again")
