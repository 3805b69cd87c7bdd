"""The examples do what they say, on data of a few images."""

import importlib.util
import re
from pathlib import Path

import numpy as np
from PIL import Image

from nfd.data.sources import prepare

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def smooth_images(count: int, classes: int) -> list[tuple[Image.Image, int]]:
    """Colour gradients of 32 x 32 pixels, which JPEG keeps to within a few grey levels."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 32)
    images = []
    for number in range(count):
        low, high = rng.uniform(40, 215, (2, 3))
        pixels = low + (high - low) * (ramp[:, None, None] + ramp[:, None]) / 2
        images.append((Image.fromarray(pixels.astype(np.uint8)), number % classes))
    return images


def test_cifar10_as_jpeg_writes_a_folder_that_the_pipeline_reads(tmp_path):
    """Same images, classes and counts; pixels close to the original's (3 of 256) but not equal."""
    module = load("cifar10_as_jpeg")
    classes = ["airplane", "bird", "cat"]
    images = {"train": smooth_images(12, 3), "test": smooth_images(6, 3)}
    for split, pairs in images.items():
        module.write_jpegs(pairs, classes, tmp_path / split)
    data = prepare({"name": "image_folder", "root": str(tmp_path)})
    assert data.classes == tuple(classes)
    for split, pairs in images.items():
        found, labels = getattr(data, f"{split}_values"), getattr(data, f"{split}_labels")
        assert sorted(labels) == sorted(label for _, label in pairs)
        for pixels, label in zip(found, labels, strict=True):
            errors = [
                np.abs(np.asarray(image, float) - pixels).mean()
                for image, of in pairs
                if of == label
            ]
            assert 0 < min(errors) < 3
            assert sorted(errors)[1] > 5  # another image of the class is not taken for it


def test_readme_s_lines_of_python_run():
    """With a smaller problem than the page has in mind."""
    page = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "particles=8192" in lines
    rng = np.random.default_rng(0)
    given = {
        "x": rng.normal(size=(4, 6)),
        "y": np.eye(3)[[0, 1, 2, 0]],
        "batches": [[0, 1], [2, 3]],
    }
    exec(lines.replace("8192", "64"), given)
    trajectory = given["trajectory"]
    assert trajectory.outputs.shape == (3, 4, 3)
    assert np.isfinite(trajectory.train_losses).all()


def test_the_limit_in_ten_lines_runs(tmp_path):
    """With fewer particles: the curves are not looked at here."""
    lines = (EXAMPLES / "limit_in_ten_lines.py").read_text(encoding="utf-8")
    assert "particles=8192" in lines
    exec(lines.replace("8192", "64"), {"__file__": str(tmp_path / "limit.py")})
    assert (tmp_path / "limit.png").stat().st_size > 0
