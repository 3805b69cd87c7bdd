"""What the tests of data sets share: small pictures, and how samples and sentences are compared."""

import collections
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def rows(values: np.ndarray) -> collections.Counter:
    """The samples as a multiset."""
    return collections.Counter(sample.tobytes() for sample in np.ascontiguousarray(values))


def sentence(error: pytest.ExceptionInfo) -> str:
    """The message, checked to be one line that can be printed anywhere."""
    text = str(error.value)
    assert "\n" not in text
    text.encode()
    return text


def picture(seed: int, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    """A smooth colour picture (height, width, 3), so that JPEG keeps it nearly as it is."""
    width, height = size
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


def settings_of(root: Path, **more) -> dict:
    return {"name": "image_folder", "root": str(root), **more}
