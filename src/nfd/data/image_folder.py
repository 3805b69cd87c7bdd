"""Images in folders, ``train/<class>/*`` and ``test/<class>/*``, read as a viewer shows them.

PNG, JPEG, WebP, BMP and TIFF, 8 bits per channel, the first picture of a file that holds several. An image
that says how it is to be turned (EXIF) is turned; transparent parts show :data:`GROUND`, so that the
colours hidden under them reach no network. Class names are compared after Unicode normalisation (NFC),
since some systems write é as one character and others as two.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nfd.data.raw import SPLITS, DataError, RawData, cause, shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# Pillow goes by content, and for some other formats it starts other programs.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
GROUND = "white"

# Class name -> its folder, of one split.
Folders = dict[str, str]


def check(root: Path) -> None:
    """DataError where folders are missing, unreadable, empty, or differ between the splits."""
    _folders(root)


def read(root: Path, size: int | None, grayscale: bool) -> RawData:
    """Decode every image, in the order of class name and file name; ``size``: resize to a square."""
    folders = _folders(root)
    classes = tuple(folders["train"])
    values, labels = {}, {}
    first = _images(folders["train"][classes[0]])[0]
    shape = _decode(first, size, grayscale).shape
    for split in SPLITS:
        found = [_images(folders[split][name]) for name in classes]
        paths = [path for images in found for path in images]
        labels[split] = np.repeat(np.arange(len(classes)), [len(images) for images in found])
        values[split] = _room((len(paths), *shape))
        for row, path in zip(values[split], paths, strict=True):
            image = _decode(path, size, grayscale)
            if image.shape != shape:
                raise DataError(
                    f"{shown(path)} has {_by(image.shape)} pixels but {shown(first)} has "
                    f"{_by(shape)}; set dataset.image_size to resize all images"
                )
            row[...] = image
    return RawData(classes, values, labels, _skipped(root, folders))


def fingerprint(root: Path) -> str:
    """Digest over names, sizes and times of all that lies in the folders of splits and classes."""
    sha = hashlib.sha256()
    for split, folders in _folders(root).items():
        for folder in (str(root / split), *folders.values()):
            for entry in sorted(_entries(folder), key=lambda entry: os.fsencode(entry.name)):
                facts = _size_and_time(entry)
                sha.update(os.fsencode(f"{split}/{entry.name}") + f" {facts}\n".encode())
    return sha.hexdigest()


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Bytes and modification time in ns; zeros for a folder, and for a link that leads nowhere."""
    try:
        status = entry.stat()
    except OSError:
        return 0, 0
    return (0, 0) if _is_folder(entry) else (status.st_size, status.st_mtime_ns)


# ---- folders -------------------------------------------------------------------------------------


def _folders(root: Path) -> dict[str, Folders]:
    """Classes in the order of their names, by split."""
    found = {split: _class_folders(str(root / split)) for split in SPLITS}
    odd = sorted(set(found["train"]) ^ set(found["test"]))
    if odd:
        here, missing = SPLITS if odd[0] in found["train"] else SPLITS[::-1]
        raise DataError(
            f"dataset.root: class {odd[0]!r} is in {root / here} but not in {root / missing}; "
            "both need the same classes (move away a folder that is none)"
        )
    if len(found["train"]) < 2:
        raise DataError(
            f"dataset.root: {root / 'train'} has one class only, {next(iter(found['train']))!r}, so "
            "there is nothing to learn; two or more are needed"
        )
    for folders in found.values():
        for folder in folders.values():
            if not any(map(_is_image, _entries(folder))):
                raise DataError(
                    f"dataset.root: {shown(folder)} holds no {', '.join(SUFFIXES[:-1])} or "
                    f"{SUFFIXES[-1]} file"
                )
    return found


def _class_folders(folder: str) -> Folders:
    if not os.path.isdir(folder):
        raise DataError(f"dataset.root: there is no folder {folder}, with one folder per class")
    found: Folders = {}
    for entry in _entries(folder):
        if not _is_folder(entry):
            continue
        name = _class_name(entry)
        if name in found:
            raise DataError(
                f"dataset.root: {folder} has two folders that both read as {name!r} (one in composed, "
                "one in decomposed Unicode); make them one"
            )
        found[name] = entry.path
    if not found:
        raise DataError(f"dataset.root: {folder} has no class folders")
    return dict(sorted(found.items()))


def _class_name(entry: os.DirEntry[str]) -> str:
    """Independent of the locale, in which Python may see a name's bytes as something else."""
    try:
        return unicodedata.normalize("NFC", os.fsencode(entry.name).decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError(
            f"dataset.root: the name of the folder {shown(entry.path)} is not UTF-8; rename it"
        ) from None


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, but not hidden files. DataError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"dataset.root: cannot read the folder {shown(folder)}: {cause(error)} "
            "(move it away if it is no class)"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False also for a link that leads nowhere or in a circle."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(SUFFIXES) and not _is_folder(entry)


def _images(folder: str) -> list[str]:
    return sorted((entry.path for entry in _entries(folder) if _is_image(entry)), key=os.fsencode)


def _skipped(root: Path, folders: dict[str, Folders]) -> str:
    """What lies beside the images and was not read, in words."""
    suffixes: Counter[str] = Counter()
    subfolders = 0
    for split in SPLITS:
        beside = _entries(str(root / split))
        suffixes.update(_suffix(entry) for entry in beside if not _is_folder(entry))
        for folder in folders[split].values():
            for entry in _entries(folder):
                if _is_folder(entry):
                    subfolders += 1
                elif not _is_image(entry):
                    suffixes[_suffix(entry)] += 1
    told = []
    if suffixes:
        kinds = ", ".join(f"{number} {suffix}" for suffix, number in sorted(suffixes.items()))
        told.append(f"{_count(suffixes.total(), 'file')} ({kinds})")
    if subfolders:
        told.append(f"{_count(subfolders, 'sub-folder')} of class folders")
    return " and ".join(told)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _suffix(entry: os.DirEntry[str]) -> str:
    return os.path.splitext(shown(entry.name))[1].lower() or "without suffix"


# ---- images --------------------------------------------------------------------------------------


def _room(shape: Sequence[int]) -> np.ndarray:
    try:
        return np.empty(shape, dtype=np.uint8)
    except MemoryError:
        raise DataError(
            f"dataset.root: {shape[0]} images of {_by(shape[1:])} pixels do not fit the memory; "
            "set dataset.image_size to make them smaller"
        ) from None


def _decode(path: str, size: int | None, grayscale: bool) -> np.ndarray:
    """Pixels (height, width, channels) uint8 of one image; ``size``: resize to size x size."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=IMAGE_FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{shown(path)} has too many pixels, more than {limit:,}; make it smaller"
        ) from None
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        raise DataError(
            f"{shown(path)} is not a whole PNG, JPEG, WebP, BMP or TIFF image: {cause(error)}"
        ) from error
    if image.mode[0] in "IF":
        raise DataError(f"{shown(path)} has more than 8 bits per channel; convert it to 8 bits")
    image = _opaque(image).convert("L" if grayscale else "RGB")
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if grayscale else pixels


def _opaque(image: Any) -> Any:
    """The image over :data:`GROUND`, if any part of it can be seen through."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    ground = Image.new("RGBA", image.size, GROUND)
    return Image.alpha_composite(ground, image.convert("RGBA"))


def _by(shape: Sequence[int]) -> str:
    """An image's shape as people write it, width x height."""
    return f"{shape[1]}x{shape[0]}"
