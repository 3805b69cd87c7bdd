"""The data sets that are known: the same in every list; wrong settings are named before work starts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_checks import sentence

from nfd.data.prepared import facts, load
from nfd.data.raw import UNREAD_SHAPE, DataError, SampleShape
from nfd.data.sources import (
    SETTINGS,
    SHARED_SETTINGS,
    SOURCES,
    check_settings,
    label_of,
    prepare,
    shape_of,
)
from nfd.pipeline.config import load_schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"dataset\.name: None is unknown; choose one of digits, cifar10"),
        ({"name": "cifar-10"}, r"dataset\.name: 'cifar-10' is unknown"),
        ({"name": "digits", "size": 3}, r"dataset\.size: unknown key"),
        ({"name": "digits", "train_size": 0}, r"dataset\.train_size: 0 is not a positive number"),
        ({"name": "digits", "train_size": True}, r"dataset\.train_size: True is not"),
        ({"name": "digits", "test_size": "9"}, r"dataset\.test_size: '9' is not"),
        ({"name": "digits", "download": 1}, r"dataset\.download: 1 is not true or false"),
        ({"name": "digits", "image_size": 4}, r"dataset\.image_size: only image_folder"),
        ({"name": "image_folder"}, r"dataset\.root: missing"),
        ({"name": "image_folder", "root": "nowhere"}, r"dataset\.root: there is no folder nowhere"),
        ({"name": "svhn", "root": "nowhere", "download": False}, "there is no folder nowhere"),
    ],
)
def test_wrong_settings_are_named(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for check in (check_settings, prepare):
        with pytest.raises(DataError, match=message) as error:
            check(settings)
        sentence(error)


def test_checking_settings_loads_nothing_heavy_and_null_means_absent(tmp_path):
    code = (
        "import sys; from nfd.data.sources import check_settings\n"
        "check_settings({'name': 'cifar10', 'root': None, 'train_size': None})\n"
        "print({'torch', 'torchvision', 'sklearn', 'scipy', 'PIL', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout.strip() == "set()"
    assert not list(tmp_path.iterdir())


# ---- the script ----


def test_the_script_writes_the_prepared_file(prepare_script, tmp_path, capsys, digits):
    output = tmp_path / "new" / "digits.npz"
    assert (
        prepare_script(["--settings", json.dumps({"name": "digits"}), "--output", str(output)]) == 0
    )
    assert "1437 train and 360 test samples of 8x8x1, 10 classes" in capsys.readouterr().out
    np.testing.assert_array_equal(load(output).train_inputs, digits.train_inputs)


@pytest.mark.parametrize("settings", ['{"name": "imagenet"}', "{", "[]"])
def test_the_script_says_what_is_wrong_in_one_line(prepare_script, tmp_path, capsys, settings):
    output = tmp_path / "data.npz"
    assert prepare_script(["--settings", settings, "--output", str(output)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert not output.exists()


def test_a_file_that_cannot_be_written_is_named(prepare_script, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "data.npz"
    assert prepare_script(["--settings", '{"name": "digits"}', "--output", str(output)]) == 1
    assert f"cannot write {output}" in capsys.readouterr().err


# ---- the same names everywhere ----


def table_of(section: str) -> dict[str, list[str]]:
    """First column -> cells, of the table under a heading of config/README.md."""
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    lines = text.split(f"\n## {section}\n")[1].split("\n## ")[0].splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("|")
    ]
    return {name: row[1:] for row in cells[2:] for name in row[0].replace("`", "").split(", ")}


def test_schema_and_documentation_know_the_same_sources_and_settings():
    known = load_schema()
    schema = known["properties"]["dataset"]
    assert known["$defs"]["source"]["enum"] == list(SOURCES)
    assert list(schema["properties"]) == list(SETTINGS)
    table = table_of("`dataset`")
    assert set(table) == set(SETTINGS)
    assert table["name"][0].replace("`", "").split(", ") == list(SOURCES)
    for key in SETTINGS:
        takers = [name for name, source in SOURCES.items() if key in source.takes]
        if key not in SHARED_SETTINGS and len(takers) < 3:
            assert all(f"`{name}`" in " ".join(table[key]) for name in takers), key


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_takes_its_settings_and_no_other(name, tmp_path):
    values = {"root": str(tmp_path), "download": True, "image_size": 4, "grayscale": True}
    for key, value in values.items():
        settings = {"name": name, key: value}
        if key in SOURCES[name].takes:
            continue
        with pytest.raises(DataError, match=rf"dataset\.{key}: only .* takes it, {name} does not"):
            check_settings(settings)


def test_shapes_are_known_before_anything_is_read(digits):
    assert shape_of({"name": "digits"}) == SampleShape(digits.input_dim, len(digits.classes))
    assert shape_of({"name": "cifar100"}) == SampleShape(32 * 32 * 3, 100)
    folder = {"name": "image_folder", "root": "/nowhere"}
    assert shape_of({**folder, "image_size": 4, "grayscale": None}).inputs == 4 * 4 * 3
    assert shape_of({**folder, "image_size": 4, "grayscale": True}).inputs == 4 * 4
    for unread in (folder, {"name": "arrays", "root": "/nowhere"}):
        assert shape_of(unread) == UNREAD_SHAPE


def test_labels():
    assert label_of({"name": "cifar10"}) == "CIFAR-10"
    assert label_of({"name": "cifar10", "label": "Ten"}) == "Ten"
    assert label_of({"name": "image_folder", "root": "/x/cafe\u0301.d/"}) == "caf\u00e9.d"
    assert label_of({"name": "arrays", "root": "/x/mine.npz", "label": None}) == "mine"
    assert label_of({"name": "arrays", "root": "/"}) == "arrays"


def test_a_label_changes_nothing_that_is_prepared(digits):
    assert facts(prepare({"name": "digits", "label": "numbers"})) == facts(digits)


@pytest.mark.parametrize("root", ["~/pictures", "~nobody-of-this-name/x", "a\0b"])
def test_a_root_that_is_nowhere_is_one_sentence(root, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for an unknown user
    for name in ("image_folder", "arrays", "cifar10"):
        settings = {"name": name, "root": root} | ({"download": False} if name == "cifar10" else {})
        with pytest.raises(
            DataError, match=r"dataset\.root: .* (home folder|is not a path)"
        ) as error:
            check_settings(settings)
        sentence(error)
