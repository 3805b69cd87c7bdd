"""Bad configurations through Snakemake: one sentence, exit code not 0, no job, no traceback."""

import copy

import pytest
from checkout import TINY

CASES = {
    "a misspelt key": ({"experimentss": {}}, "did you mean 'experiments'"),
    "a negative width": ({"grids": [{"widths": [-8], "depths": [2]}]}, "widths[0]: -8"),
    "an unknown parametrization": (
        {"networks": [{"parametrization": "dept_mup"}]},
        "did you mean 'depth_mup'",
    ),
    "a missing image folder": (
        {"dataset": {"name": "image_folder", "root": "nowhere"}},
        "there is no folder nowhere/train",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_sentence(checkout, case):
    change, named = CASES[case]
    config = copy.deepcopy(TINY)
    top = {"experimentss", "dataset"} & set(change)
    (config if top else config["experiments"]["limit_convergence"]).update(change)
    done = checkout.snakemake(config=checkout.write_config("bad", config))
    assert done.returncode != 0
    assert named in done.stdout
    assert "Traceback" not in done.stdout
    assert not (checkout.folder / "results").exists()
    told = [line for line in done.stdout.splitlines() if named in line]
    assert len(told) == 1
