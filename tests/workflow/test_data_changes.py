"""Data that change, or are too few: what runs again, what does not, and what is refused before it starts."""

import copy
from collections import Counter

import numpy as np
import pytest
from checkout import TINY, Checkout
from PIL import Image

RULES = ("prepare_data", "train_networks")


def draw(folder, train, test):
    """A folder of 4x4 images of two classes, ``train`` and ``test`` of each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for name in "ab":
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


def own_images(folder):
    config = copy.deepcopy(TINY)
    return {**config, "dataset": {"name": "image_folder", "root": str(folder)}}


def run(checkout, config, target="train"):
    """Run to ``target``; returns how many jobs of each rule were started, and the output."""
    done = checkout.snakemake(target, config=config)
    assert done.returncode == 0, done.stdout[-5000:]
    told = Counter(
        line.split("(Rule: ")[1].rstrip(")")
        for line in done.stdout.splitlines()
        if "(Rule: " in line
    )
    return {rule: told[rule] for rule in RULES}, done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy in which a small folder of images was trained on: (copy, configuration, images, output)."""
    images = draw(tmp_path_factory.mktemp("images"), 10, 5)
    checkout = Checkout(tmp_path_factory.mktemp("copy"))
    config = checkout.write_config("own", own_images(images))
    started, output = run(checkout, config)
    assert started == dict.fromkeys(RULES, 1)
    return checkout, config, images, output


def test_what_was_read_is_said_on_the_console(finished):
    assert "image_folder: 20 train and 10 test samples of 4x4x3, 2 classes" in finished[3]


def test_a_label_reruns_nothing(finished):
    checkout, _, images, _ = finished
    labelled = own_images(images)
    labelled["dataset"]["label"] = "My images"
    assert checkout.planned("train", config=checkout.write_config("label", labelled)) == []


def test_settings_that_the_data_meet_do_not_prepare_them_again(finished):
    checkout, _, images, _ = finished
    larger = own_images(images)
    larger["experiments"]["limit_convergence"] |= {"batch_size": 8, "evaluation_size": 10}
    planned = checkout.planned("train", config=checkout.write_config("larger", larger))
    assert planned == ["train_networks"]


def test_changed_files_are_read_again_and_only_changed_samples_are_trained_on_again(finished):
    checkout, config, images, _ = finished
    (images / "train" / "a" / "notes.txt").touch()
    assert checkout.planned("train", config=config) == ["prepare_data"]
    started, output = run(checkout, config)
    assert started == {"prepare_data": 1, "train_networks": 0}
    assert "not read: 1 file (1 .txt)" in output
    (images / "train" / "a" / "0.png").write_bytes((images / "train" / "b" / "0.png").read_bytes())
    assert run(checkout, config)[0] == dict.fromkeys(RULES, 1)


def test_too_few_images_are_named_before_any_job_starts(checkout, tmp_path):
    images = draw(tmp_path / "images", 10, 5)
    config = own_images(images)
    config["experiments"]["limit_convergence"]["evaluation_size"] = 11
    name = checkout.write_config("few", config)
    done = checkout.snakemake("train", "limits", config=name)
    said = "evaluation_size: 11 is more than the 10 test samples of image_folder"
    assert done.returncode != 0
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not list((checkout.folder / "results").rglob("*.parquet"))
    # More images are the other remedy.
    for name_of_class in "ab":
        source = images / "test" / name_of_class
        (source / "more.png").write_bytes((source / "0.png").read_bytes())
    assert run(checkout, name, "data")[0] == {"prepare_data": 1, "train_networks": 0}


def test_the_trial_with_tiny_networks_says_that_the_run_in_earnest_could_not_work(
    checkout, tmp_path
):
    """The two commands of docs/howto.md, on 20 + 10 images."""
    images = draw(tmp_path / "images", 10, 5)
    small = {"preset": "mine", "dataset": {"name": "image_folder", "root": str(images)}}
    small["defaults"] = {"evaluation_size": 8}
    mine = checkout.write_config("mine", small)
    done = checkout.snakemake(
        "data", "--cores", "1", "--configfile", "config/smoke.yaml", mine, config=None
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "this trial works, but the run in earnest would not: experiments." in done.stdout
    assert " is more than the " in done.stdout
    earnest = checkout.snakemake("data", config=mine)
    assert earnest.returncode != 0
    assert "samples of image_folder" in earnest.stdout
