"""torchvision's sets, with its addresses and checksums.

Nothing is read whose checksum is wrong: CIFAR's files are pickles, and reading an altered one would run
whatever it contains.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nfd.data.download import RemoteFile, missing, obtain, unpack
from nfd.data.raw import SPLITS, RawData

# (name of the set, root, whether it may be downloaded) -> the set
Reader = Callable[[str, Path, bool], RawData]

_CLASSES = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "fashion_mnist": "FashionMNIST",
    "mnist": "MNIST",
    "svhn": "SVHN",
}
# Bytes, for who has to fetch a file by hand; torchvision does not say.
_SIZES = {
    ("cifar10", "cifar-10-python.tar.gz"): 170_498_071,
    ("cifar100", "cifar-100-python.tar.gz"): 169_001_437,
    ("fashion_mnist", "train-images-idx3-ubyte.gz"): 26_421_880,
    ("fashion_mnist", "train-labels-idx1-ubyte.gz"): 29_515,
    ("fashion_mnist", "t10k-images-idx3-ubyte.gz"): 4_422_102,
    ("fashion_mnist", "t10k-labels-idx1-ubyte.gz"): 5_148,
    ("mnist", "train-images-idx3-ubyte.gz"): 9_912_422,
    ("mnist", "train-labels-idx1-ubyte.gz"): 28_881,
    ("mnist", "t10k-images-idx3-ubyte.gz"): 1_648_877,
    ("mnist", "t10k-labels-idx1-ubyte.gz"): 4_542,
    ("svhn", "train_32x32.mat"): 182_040_794,
    ("svhn", "test_32x32.mat"): 64_275_384,
}


def _kind(name: str) -> Any:
    """torchvision's class of a set."""
    from torchvision import datasets

    return getattr(datasets, _CLASSES[name])


def read_cifar(name: str, root: Path, download: bool) -> RawData:
    """CIFAR-10 and CIFAR-100 (its fine labels), from the unpacked files or else from the archive."""
    kind = _kind(name)
    batches = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    files = [RemoteFile(f"{kind.base_folder}/{file}", md5) for file, md5 in batches]
    if missing(name, root, files):
        size = _SIZES[name, kind.filename]
        archive = RemoteFile(kind.filename, kind.tgz_md5, (kind.url,), size)
        obtain(name, root, [archive], download)
        unpack(name, root, archive, {file.path for file in files})
    # torchvision compares each file's checksum once more before it unpickles it.
    parts = {split: kind(root, train=split == "train") for split in SPLITS}
    return RawData(
        classes=tuple(parts["train"].classes),
        values={split: np.ascontiguousarray(part.data) for split, part in parts.items()},
        labels={split: np.asarray(part.targets) for split, part in parts.items()},
    )


def read_mnist(name: str, root: Path, download: bool) -> RawData:
    """MNIST and Fashion-MNIST, from the compressed files: the checksums are of those."""
    kind = _kind(name)
    folder = f"{kind.__name__}/raw"
    files = [
        RemoteFile(
            f"{folder}/{file}",
            md5,
            tuple(mirror + file for mirror in kind.mirrors),
            _SIZES[name, file],
        )
        for file, md5 in kind.resources
    ]
    obtain(name, root, files, download)

    def read(file: str, header_bytes: int) -> np.ndarray:
        with gzip.open(root / folder / f"{file}-ubyte.gz") as unpacked:
            return np.frombuffer(unpacked.read(), dtype=np.uint8, offset=header_bytes)

    stem = {"train": "train", "test": "t10k"}
    images = {split: read(f"{stem[split]}-images-idx3", 16) for split in SPLITS}
    return RawData(
        classes=tuple(kind.classes),
        values={split: images[split].reshape(-1, 28, 28, 1) for split in SPLITS},
        labels={split: read(f"{stem[split]}-labels-idx1", 8) for split in SPLITS},
    )


def read_svhn(name: str, root: Path, download: bool) -> RawData:
    """Street View House Numbers, without its extra images."""
    kind = _kind(name)
    listed = [kind.split_list[split] for split in SPLITS]
    files = [RemoteFile(file, md5, (url,), _SIZES[name, file]) for url, file, md5 in listed]
    obtain(name, root, files, download)
    parts = {split: kind(root, split=split) for split in SPLITS}
    return RawData(
        classes=tuple("0123456789"),
        values={split: part.data.transpose(0, 2, 3, 1) for split, part in parts.items()},
        labels={split: np.asarray(part.labels) for split, part in parts.items()},
    )
