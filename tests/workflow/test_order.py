"""What starts first."""

import copy
import re

from checkout import TINY, Checkout


def test_the_longest_job_starts_first(tmp_path):
    """Else one job of an hour may be the last to start, with one core at work and the others idle."""
    config = copy.deepcopy(TINY)
    (experiment,) = (name for name, settings in config["experiments"].items() if settings)
    config["experiments"][experiment] |= {
        "grids": [{"widths": [64], "depths": [4, 64, 16]}],
        "steps": 1000,
        "batch_size": 32,
        "train_size": 32,
        "log_points": 2,
        "limit": None,
    }
    checkout = Checkout(tmp_path)
    done = checkout.snakemake("train", config=checkout.write_config("order", config), cores=1)
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.findall(r"Training \w+: width64_depth(\d+)_", done.stdout) == ["64", "16", "4"]
