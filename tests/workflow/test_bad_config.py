"""Bad configurations through Snakemake: one sentence, exit code not 0, no job, no traceback."""

import copy

import pytest
from checkout import SMOKE, TINY

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


TEXTS = {
    "a section twice": (
        "preset: tiny\nexperiments: {}\nexperiments: {}\n",
        "line 3: key 'experiments'",
    ),
    "a leading zero": ("preset: tiny\nroot_seed: 010\n", "line 2: 010 would be read as 8"),
    "a decimal comma": ("defaults:\n  learning_rates: [0,5, 1]\n", "line 2: 0,5"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_yaml_would_take_in_silence_is_refused(checkout, case):
    text, named = TEXTS[case]
    (checkout.folder / "config/bad.yaml").write_text(text)
    done = checkout.snakemake("--dry-run", config="config/bad.yaml")
    assert done.returncode != 0
    assert f"config/bad.yaml, {named}" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_byte_order_mark_does_no_harm(checkout):
    text = (checkout.folder / SMOKE).read_text()
    (checkout.folder / "config/marked.yaml").write_text(text, encoding="utf-8-sig")
    assert checkout.planned(config="config/marked.yaml") == checkout.planned()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("dataset:\n\tname: digits\n", "line 2: a tab; indent with spaces"),
        ("- a\n", "a list at the top level"),
        ("", "holds no settings"),
        ("experimentss: {}\n", "did you mean 'experiments'"),
        ("dataset: {name: image_folder, root: nowhere}\n", "there is no folder nowhere/train"),
    ],
)
def test_the_check_before_snakemake_names_file_and_fault(checkout, text, named):
    """Snakemake stops at some of these by itself, with neither file nor line."""
    (checkout.folder / "config/bad.yaml").write_text(text)
    done = checkout.run("scripts/check_config.py", "config/bad.yaml")
    assert done.returncode == 1
    (told,) = done.stdout.splitlines()
    assert told.startswith("error: ")
    assert named in told
    assert checkout.run("scripts/list_targets.py", "--config", "config/bad.yaml").returncode == (
        0 if "nowhere" in text else 1  # listing needs no images
    )


@pytest.mark.parametrize("path", [SMOKE, "config/cifar10.yaml", "config/config.yaml"])
def test_the_check_is_silent_about_shipped_files(checkout, path):
    done = checkout.run("scripts/check_config.py", path)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (
            "results/smoke/limits/limit_convergence/depth2_standard.parquet",
            "near ones are limit_convergence/network0_particles256_depth2_standard",
        ),
        ("results/smoke/runs/scalin/width8_depth2_block1_sgd.parquet", "near ones are scaling/"),
        ("figures/smoke/depth_transfr.png", "near ones are depth_transfer"),
        ("figures/smoke/nope.png", "there is no figure nope; there are scaling_trend"),
        ("results/smoke/evidence/nope.csv", "there is no figure nope"),
    ],
)
def test_an_unknown_target_is_told_with_its_neighbours(checkout, target, named):
    done = checkout.snakemake("--dry-run", target)
    assert done.returncode != 0
    told = [line for line in done.stdout.splitlines() if named in line]
    assert len(told) == 1
    assert told[0].startswith("error: there is no ")
    assert "Traceback" not in done.stdout
