"""The data sets that are known: one record each in :data:`SOURCES`, and what is done with any of them.

A record says how a data set is called in print, which settings it takes, how to check them cheaply, how
to tell that a user's files have changed, and how to read it. Files already under ``root``, laid out as
the reader expects them, are used as they are.
"""

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nfd.data import arrays, digits, image_folder, torchvision_sets
from nfd.data.prepared import PreparedData, arrange
from nfd.data.raw import SPLITS, UNREAD_SHAPE, DataError, RawData, SampleShape

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """One kind of data set; its name in the configuration is its key in :data:`SOURCES`.

    ``label`` is its printed name, empty if that is the name of its folder. ``takes`` are the settings it
    accepts besides those every source does (:data:`SHARED_SETTINGS`). The functions get the settings
    without those that are null: ``check`` raises DataError for what can be seen without opening a data
    file, ``fingerprint`` is a text that changes when a user's files may have changed, ``read`` gives all.
    """

    label: str
    takes: tuple[str, ...]
    check: Callable[[Settings], None]
    fingerprint: Callable[[Settings], str]
    read: Callable[[Settings], RawData]
    shape: Callable[[Settings], SampleShape]


# Keys of the config's `dataset` section: type, and what is accepted. null counts as absent.
SETTINGS: dict[str, tuple[type, str]] = {
    "name": (str, "a text"),
    "root": (str, "a folder or file"),
    "download": (bool, "true or false"),
    "image_size": (int, "a positive number of pixels"),
    "grayscale": (bool, "true or false"),
    "train_size": (int, "a positive number of samples"),
    "test_size": (int, "a positive number of samples"),
    "label": (str, "a text"),
}
SHARED_SETTINGS = ("name", "train_size", "test_size", "label")


def root_of(settings: Settings) -> Path:
    """The folder or file that ``root`` names, ``data/<name>`` if it is not given.

    Raises DataError if it starts with ~ and there is no home folder, or is no path at all.
    """
    root = settings.get("root", f"data/{settings['name']}")
    if "\0" in root:
        raise DataError(f"dataset.root: {root!r} is not a path")
    try:
        return Path(root).expanduser()
    except RuntimeError:
        raise DataError(
            f"dataset.root: {root} starts in a home folder that is not known here (is HOME set?); "
            "give the whole path"
        ) from None


def _nothing(_: Settings) -> None:
    """Neither files nor settings of its own that could be wrong."""


def _unchanging(_: Settings) -> str:
    """Its files are known by their checksums, so that no others are ever read."""
    return ""


def _check_copy(settings: Settings) -> None:
    root = root_of(settings)
    if not settings.get("download", True) and not os.path.isdir(root):
        raise DataError(
            f"dataset.root: there is no folder {root}; name the one that holds {settings['name']}, "
            "or set download to true"
        )


def _read_set(of: torchvision_sets.Reader, settings: Settings) -> RawData:
    return of(settings["name"], root_of(settings), settings.get("download", True))


def _torchvision(label: str, of: torchvision_sets.Reader, inputs: int, classes: int = 10) -> Source:
    shape = SampleShape(inputs, classes)
    takes = ("root", "download")
    return Source(label, takes, _check_copy, _unchanging, partial(_read_set, of), lambda _: shape)


def _given_root(settings: Settings, what: str) -> Path:
    if "root" not in settings:
        raise DataError(f"dataset.root: missing; name {what}")
    return root_of(settings)


def _image_root(settings: Settings) -> Path:
    return _given_root(settings, "the folder that holds train/<class>/ and test/<class>/")


def _array_root(settings: Settings) -> Path:
    return _given_root(settings, f"the .npz file that holds {', '.join(arrays.NAMES)}")


def _read_image_folder(settings: Settings) -> RawData:
    size, grayscale = settings.get("image_size"), settings.get("grayscale", False)
    return image_folder.read(_image_root(settings), size, grayscale)


def _image_shape(settings: Settings) -> SampleShape:
    """Of the classes, which hardly matter, the number that was not read."""
    if "image_size" not in settings:
        return UNREAD_SHAPE
    channels = 1 if settings.get("grayscale", False) else 3
    return SampleShape(channels * settings["image_size"] ** 2, UNREAD_SHAPE.classes)


SOURCES: dict[str, Source] = {
    "digits": Source(
        label="digits (8x8)",
        takes=(),
        check=_nothing,
        fingerprint=_unchanging,
        read=lambda _: digits.read(),
        shape=lambda _: SampleShape(64, 10),
    ),
    "cifar10": _torchvision("CIFAR-10", torchvision_sets.read_cifar, 3072),
    "cifar100": _torchvision("CIFAR-100", torchvision_sets.read_cifar, 3072, classes=100),
    "fashion_mnist": _torchvision("Fashion-MNIST", torchvision_sets.read_mnist, 784),
    "mnist": _torchvision("MNIST", torchvision_sets.read_mnist, 784),
    "svhn": _torchvision("SVHN", torchvision_sets.read_svhn, 3072),
    "image_folder": Source(
        label="",
        takes=("root", "image_size", "grayscale"),
        check=lambda settings: image_folder.check(_image_root(settings)),
        fingerprint=lambda settings: image_folder.fingerprint(_image_root(settings)),
        read=_read_image_folder,
        shape=_image_shape,
    ),
    "arrays": Source(
        label="",
        takes=("root",),
        check=lambda settings: arrays.check(_array_root(settings)),
        fingerprint=lambda settings: arrays.fingerprint(_array_root(settings)),
        read=lambda settings: arrays.read(_array_root(settings)),
        shape=lambda _: UNREAD_SHAPE,
    ),
}


# ---- what is done with any of them ---------------------------------------------------------------


def check_settings(settings: Settings) -> None:
    """Check the ``dataset`` section as far as that costs nothing: no download, no data file is read.

    Raises DataError: an unknown key, a wrong value, an unknown name, a key that this data set does not
    take, or a folder in which something is missing.
    """
    settings = _present(settings)
    for key, value in settings.items():
        _check_setting(key, value)
    name = settings.get("name")
    if name not in SOURCES:
        raise DataError(f"dataset.name: {name!r} is unknown; choose one of {', '.join(SOURCES)}")
    for key in settings:
        if key not in (*SHARED_SETTINGS, *SOURCES[name].takes):
            takers = [other for other, source in SOURCES.items() if key in source.takes]
            raise DataError(
                f"dataset.{key}: only {', '.join(takers)} takes it, {name} does not; "
                "remove it or set it to null"
            )
    SOURCES[name].check(settings)


def _check_setting(key: str, value: Any) -> None:
    if key not in SETTINGS:
        raise DataError(f"dataset.{key}: unknown key; known are {', '.join(SETTINGS)}")
    kind, accepted = SETTINGS[key]
    # In Python true is an int, and "3" is not.
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is int and value < 1):
        raise DataError(f"dataset.{key}: {value!r} is not {accepted}")


def _present(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def fingerprint(settings: Settings) -> str:
    """Short text that changes when files of the user are added, replaced or removed; nothing is read."""
    settings = _present(settings)
    return SOURCES[settings["name"]].fingerprint(settings)


def label_of(settings: Settings) -> str:
    """How figures and the report call the data set of a ``dataset`` section."""
    settings = _present(settings)
    label = settings.get("label") or SOURCES[settings["name"]].label
    if label:
        return label
    name = os.fsencode(root_of(settings).resolve().name.removesuffix(".npz"))
    return (
        unicodedata.normalize("NFC", name.decode("utf-8", "backslashreplace")) or settings["name"]
    )


def shape_of(settings: Settings) -> SampleShape:
    """Shape of a data set's samples as its ``dataset`` section tells it, UNREAD_SHAPE if it does not.

    For estimates only: no file is read, and what is read later may have another shape.
    """
    settings = _present(settings)
    return SOURCES[settings["name"]].shape(settings)


def prepare(settings: Settings) -> PreparedData:
    """Read the data set that the ``dataset`` section names, downloading it if need be.

    Raises DataError for wrong settings, and for a source that is missing, damaged or unreachable.
    """
    check_settings(settings)
    settings = _present(settings)
    name = settings["name"]
    sizes = {split: settings[f"{split}_size"] for split in SPLITS if f"{split}_size" in settings}
    return arrange(name, SOURCES[name].read(settings), sizes)
