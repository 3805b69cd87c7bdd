"""Data that several tests look at."""

import importlib.util
from pathlib import Path

import pytest
from data_checks import picture
from PIL import Image

from nfd.data.sources import prepare

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_data.py"


@pytest.fixture(scope="session")
def digits():
    return prepare({"name": "digits"})


@pytest.fixture
def image_folder(tmp_path) -> Path:
    """Two classes; per class 4 training and 2 test images of 6x5 pixels, all PNG."""
    root = tmp_path / "pictures"
    for split, count in (("train", 4), ("test", 2)):
        for k, name in enumerate(("cat", "owl")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = picture(seed=100 * k + 10 * count + i)
                Image.fromarray(pixels).save(folder / f"{i:04d}.png")
    return root


@pytest.fixture
def no_proxy(monkeypatch):
    """Proxies of the environment do not know this machine's server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def prepare_script():
    """scripts/prepare_data.py as a function of its arguments."""
    spec = importlib.util.spec_from_file_location("prepare_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
