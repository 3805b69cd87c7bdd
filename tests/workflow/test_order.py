"""What starts first. Nothing is trained: the training script of these copies writes empty tables."""

import copy
import re

from checkout import TINY, Checkout

_TRAIN = """
import sys

for option in ("--results", "--outputs"):
    open(sys.argv[sys.argv.index(option) + 1], "w").close()
"""
_LONG = {
    "grids": [{"widths": [64], "depths": [4, 64, 16]}],
    "steps": 1000,
    "batch_size": 32,
    "train_size": 32,
    "log_points": 2,
    "limit": None,
}


def test_the_longest_job_starts_first(tmp_path):
    """Else one job of an hour may be the last to start, with one core at work and the others idle."""
    (settings,) = filter(None, TINY["experiments"].values())
    started = _started(tmp_path, limit_convergence=settings | _LONG)
    assert [depth for _, depth in started] == ["64", "16", "4"]


def test_a_job_that_finds_its_networks_with_a_longer_one_starts_last(tmp_path):
    (settings,) = filter(None, TINY["experiments"].values())
    alike = settings | _LONG | {"grids": [{"widths": [64], "depths": [32]}]}
    started = _started(
        tmp_path,
        depth_transfer_2=alike | {"learning_rates": [0.5, 1.0]},
        correction_exponent=alike,
        scaling=settings | _LONG | {"grids": [{"widths": [64], "depths": [4]}], "seeds": 1},
    )
    names = [experiment for experiment, _ in started]
    assert names == ["depth_transfer_2", "scaling", "correction_exponent"]


def _started(folder, **experiments):
    """Experiment and depth of the jobs of a run on one core, in the order of their start."""
    config = copy.deepcopy(TINY)
    config["experiments"] = dict.fromkeys(config["experiments"]) | experiments
    checkout = Checkout(folder)
    (folder / "scripts/train.py").write_text(_TRAIN)
    done = checkout.snakemake("train", config=checkout.write_config("order", config), cores=1)
    assert done.returncode == 0, done.stdout[-5000:]
    return re.findall(r"Training (\w+): width64_depth(\d+)_", done.stdout)
