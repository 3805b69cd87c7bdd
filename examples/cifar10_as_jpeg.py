"""Store CIFAR-10 as JPEG files, train/<class>/0000.jpg and so on: images like those of 'CIFAR-10 (JPEG)'.

JPEG is lossy: at Pillow's usual quality of 75 pixels differ a little from the original's. If the original is
not under the first folder, 170 MB are downloaded:
`python examples/cifar10_as_jpeg.py data/cifar10 data/cifar10-jpeg`.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL.Image import Image

QUALITY = 75


def write_jpegs(images: Iterable[tuple[Image, int]], classes: Sequence[str], folder: Path) -> None:
    """One file for each (image, class number), counted per class, under ``folder``/<class>."""
    count: Counter[int] = Counter()
    for image, label in images:
        path = folder / classes[label] / f"{count[label]:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=QUALITY)
        count[label] += 1


if __name__ == "__main__":
    from torchvision.datasets import CIFAR10

    if len(sys.argv) != 3:
        sys.exit("usage: python examples/cifar10_as_jpeg.py <folder of the original> <new folder>")
    for split in ("train", "test"):
        original = CIFAR10(sys.argv[1], train=split == "train", download=True)
        pairs = (original[number] for number in range(len(original)))
        write_jpegs(pairs, original.classes, Path(sys.argv[2], split))
