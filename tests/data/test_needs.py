"""Whether there is data enough: found from the whole configuration, before anything is trained."""

import json

import pytest

from nfd.data.needs import Need, needs_of, needs_of_all, shortage
from nfd.data.raw import DataError

SIZES = {"train": 20, "test": 10}
PLAIN = {
    "batch_size": 8,
    "train_size": None,
    "evaluation_size": 10,
    "probe_size": 10,
    "probes": [],
    "limit": None,
}


def lacks(**changes) -> str:
    config = {"experiments": {"trial": {**PLAIN, **changes}}}
    return shortage(needs_of_all(config), SIZES, "image_folder")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 20}, ""),
        ({"batch_size": 21}, "trial.batch_size: 21 is more than the 20 train samples"),
        ({"train_size": 20}, ""),
        ({"train_size": 21}, "trial.train_size: 21 is more than the 20 train samples"),
        ({"evaluation_size": 11}, "trial.evaluation_size: 11 is more than the 10 test samples"),
        ({"probe_size": 11}, ""),  # nothing is probed
        (
            {"probe_size": 11, "probes": ["outputs"]},
            "trial.probe_size: 11 is more than the 10 test",
        ),
        ({"probe_size": 11, "limit": {}}, "trial.probe_size: 11 is more than the 10 test samples"),
    ],
)
def test_the_sentence_names_key_and_numbers_at_the_very_limit(changes, said):
    lacking = lacks(**changes)
    assert said in lacking
    assert bool(lacking) == bool(said)
    assert "\n" not in lacking


def test_both_splits_and_the_number_of_other_places_are_said():
    needs = [
        Need("experiments.a.batch_size", "train", 32),
        Need("experiments.b.batch_size", "train", 64),
        Need("experiments.a.evaluation_size", "test", 256),
    ]
    assert shortage(needs, SIZES, "image_folder") == (
        "experiments.b.batch_size: 64 is more than the 20 train samples of image_folder (and so in 1 "
        "other place); experiments.a.evaluation_size: 256 is more than the 10 test samples of "
        "image_folder; lower it, there or in defaults, or add samples"
    )


def test_all_experiments_of_a_configuration_are_looked_at():
    config = {"experiments": {name: {**PLAIN, "batch_size": n} for name, n in (("a", 3), ("b", 5))}}
    keys = {need.key for need in needs_of_all(config)}
    assert {"experiments.a.batch_size", "experiments.b.batch_size"} <= keys
    needs = needs_of("x", **{k: PLAIN[k] for k in list(PLAIN)[:4]}, probed=True)
    assert Need("x.probe_size", "test", 10) in needs


def test_the_script_refuses_at_once_and_only_reports_what_a_later_run_lacks(
    prepare_script, tmp_path, capsys
):
    output, facts = tmp_path / "data.npz", tmp_path / "data.json"
    arguments = ["--settings", json.dumps({"name": "digits"}), "--output", str(output)]
    need = json.dumps([["experiments.big.batch_size", "train", 1438]])
    assert prepare_script([*arguments, "--facts", str(facts), "--needs", need]) == 1
    assert "experiments.big.batch_size: 1438 is more than the 1437 train" in capsys.readouterr().err
    assert not output.exists()
    assert not facts.exists()
    assert prepare_script([*arguments, "--facts", str(facts), "--later", need]) == 0
    assert "the run in earnest would not: experiments.big.batch_size" in capsys.readouterr().err
    assert json.loads(facts.read_text())["train"] == 1437


def test_one_class_is_nothing_to_learn():
    import numpy as np

    from nfd.data.prepared import arrange
    from nfd.data.raw import RawData

    values = np.arange(8, dtype=np.uint8).reshape(4, 2)
    zeros = np.zeros(4, dtype=np.int64)
    raw = RawData(("only",), {"train": values, "test": values}, {"train": zeros, "test": zeros})
    with pytest.raises(DataError, match="one class only, 'only'"):
        arrange("arrays", raw, {})
