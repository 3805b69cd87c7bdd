"""Bad configurations through Snakemake: one sentence, exit code not 0, no job, no traceback.

What is refused, and in which words, tests/test_bad_input.py and tests/test_config_files.py go through; here
one of each kind of fault goes through the workflow.
"""

import copy

import check_config
import list_targets
import pytest
from checkout import ROOT, SMOKE, TINY

CASES = {
    "a misspelt key": ({"experimentss": {}}, "did you mean 'experiments'"),
    "a missing image folder": (
        {"dataset": {"name": "image_folder", "root": "nowhere"}},
        "there is no folder nowhere/train",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_sentence(checkout, case):
    change, named = CASES[case]
    config = {**copy.deepcopy(TINY), **change}
    done = checkout.snakemake(config=checkout.write_config("bad", config))
    assert done.returncode != 0
    assert named in done.stdout
    assert "Traceback" not in done.stdout
    assert not (checkout.folder / "results").exists()
    told = [line for line in done.stdout.splitlines() if named in line]
    assert len(told) == 1


def test_what_yaml_would_take_in_silence_is_refused(checkout):
    text = "preset: tiny\nexperiments: {}\nexperiments: {}\n"
    (checkout.folder / "config/bad.yaml").write_text(text)
    done = checkout.snakemake("--dry-run", config="config/bad.yaml")
    assert done.returncode != 0
    assert "config/bad.yaml, line 3: key 'experiments'" in done.stdout
    assert "Traceback" not in done.stdout


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
def test_the_check_before_snakemake_names_file_and_fault(
    text, named, tmp_path, monkeypatch, capsys
):
    """Snakemake stops at some of these by itself, with neither file nor line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text(text)
    assert check_config.main(["bad.yaml"]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ")
    assert named in told
    # Listing needs no images.
    assert list_targets.main(["--config", "bad.yaml"]) == (0 if "nowhere" in text else 1)


@pytest.mark.parametrize("path", [SMOKE, "config/cifar10.yaml", "config/config.yaml"])
def test_the_check_is_silent_about_shipped_files(path, capsys):
    assert check_config.main([str(ROOT / path)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("results/smoke/runs/scalin/width8_depth2_block1_sgd.parquet", "near ones are scaling/"),
        ("figures/smoke/depth_transfr.png", "near ones are depth_transfer"),
    ],
)
def test_an_unknown_target_is_told_with_its_neighbours(checkout, target, named):
    done = checkout.snakemake("--dry-run", target)
    assert done.returncode != 0
    told = [line for line in done.stdout.splitlines() if named in line]
    assert len(told) == 1
    assert told[0].startswith("error: there is no ")
    assert "Traceback" not in done.stdout
