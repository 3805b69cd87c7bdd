"""What the workflow's tests share: copies of the repository, the finished smoke preset."""

import pytest
from checkout import TINY, Checkout


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy in which the whole smoke preset has been run, by the one command README gives."""
    checkout = Checkout(tmp_path_factory.mktemp("smoke"))
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout[-5000:]
    return checkout


@pytest.fixture
def checkout(tmp_path):
    """A clean copy."""
    return Checkout(tmp_path / "copy")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A copy in which TINY, one training and one limit job, has been run: (copy, config file)."""
    checkout = Checkout(tmp_path_factory.mktemp("tiny"))
    config = checkout.write_config("tiny", TINY)
    done = checkout.snakemake("train", "limits", config=config)
    assert done.returncode == 0, done.stdout[-5000:]
    return checkout, config
