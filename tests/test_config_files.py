"""Configuration files as people write them: what YAML would take for something else is refused by name."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from nfd.pipeline.config import ConfigError, check
from nfd.pipeline.config_files import lay_over, load, read

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "config").glob("*.yaml"))

# (text, line named, what the sentence must say)
REFUSED = {
    "a key twice": ("preset: a\nroot_seed: 1\npreset: b\n", 3, "'preset' was given in line 1"),
    "a section twice": ("experiments:\n  a: null\nexperiments:\n  b: null\n", 3, "'experiments'"),
    "a nested key twice": ("experiments:\n  a: {steps: 1, steps: 2}\n", 2, "'steps'"),
    "an experiment twice": ("experiments:\n  a: null\n  b: null\n  a: null\n", 4, "line 2"),
    "a leading zero": ("root_seed: 010\n", 1, "010 would be read as 8"),
    "a leading zero in a list": ("widths:\n  - 8\n  - 064\n", 3, "064 would be read as 52"),
    "a leading zero before 8": ("root_seed: 08\n", 1, "08 would be read as '08'"),
    "base 60": ("steps: 1:40\n", 1, "1:40 would be read as 100"),
    "base 60 with a point": ("horizon: 1:30.5\n", 1, "1:30.5"),
    "an underscore": ("seeds: 1_0\n", 1, "1_0 would be read as 10"),
    "a decimal comma": ("learning_rates: [0,5, 1]\n", 1, "0,5 would be read as two numbers"),
    "a decimal comma alone": ("learning_rates: [0,5]\n", 1, "decimal point"),
    "a tab": ("dataset:\n\tname: digits\n", 2, "a tab; indent with spaces"),
    "a tab after a key": ("preset: a\nroot_seed:\t1\n", 2, "a tab"),
    "two documents": ("preset: a\n---\npreset: b\n", 2, "second document"),
    "nothing": ("", None, "holds no settings"),
    "comments only": ("# preset: a\n", None, "holds no settings"),
    "a list": ("- preset: a\n", None, "a list at the top level"),
    "a text": ("laptop\n", None, "a single value at the top level"),
    "a number": ("42\n", None, "a single value at the top level"),
    "an open bracket": ("widths: [1, 2\n", 2, "not YAML"),
    "an object": ("preset: !!python/object:os.system x\n", 1, "not YAML"),
    "a control character": ("preset: \x01\n", None, "not YAML"),
    "an unknown alias": ("preset: *a\n", 1, "alias 'a'"),
    "JSON with a key twice": ('{"preset": "a", "preset": "b"}', None, "'preset' is given twice"),
}


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_file_and_line(case: str, tmp_path: Path) -> None:
    text, line, said = REFUSED[case]
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: " if line else f"{path}: ")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("seeds: [0, 1, 2]\nrate: -0.5\n", {"seeds": [0, 1, 2], "rate": -0.5}),
        ("seeds: [0,\n  1]\n", {"seeds": [0, 1]}),
        ("names: [a,b]\n", {"names": ["a", "b"]}),
        ("label: '010'\nroot: data/1_0\n", {"label": "010", "root": "data/1_0"}),
        ("steps: 0\nhorizon: 0.50\nrate: 1.0e-3\n", {"steps": 0, "horizon": 0.5, "rate": 0.001}),
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ('{"seeds":[0,1]}', {"seeds": [0, 1]}),  # no one writes a decimal comma in JSON
        ("\N{BYTE ORDER MARK}preset: a\n", {"preset": "a"}),
        ("\N{BYTE ORDER MARK}{}", {}),
    ],
)
def test_what_is_plain_is_read(text: str, wanted: dict, tmp_path: Path) -> None:
    assert read(written(tmp_path, text)) == wanted


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.yaml"):
        with pytest.raises(ConfigError, match=f"^{path}: (is a|no such)"):
            read(path)
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(written(tmp_path, "preset: a", encoding="utf-16"))


def test_an_alias_is_looked_at_once(tmp_path: Path) -> None:
    """Each line repeats the one before ten times: ten billion entries, if all were walked through."""
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)
    ]
    assert len(read(written(tmp_path, "\n".join(lines)))) == 11


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_shipped_files_are_read_as_yaml_reads_them(path: Path) -> None:
    assert read(path) == yaml.safe_load(path.read_text())
    assert check(load([ROOT / "config/config.yaml", path]))["preset"] == read(path)["preset"]


SECTIONS = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
FILES = st.dictionaries(st.sampled_from("abc"), SECTIONS, max_size=3)


@given(FILES, FILES)
def test_files_are_laid_over_one_another_as_snakemake_does_it(base: dict, over: dict) -> None:
    wanted = copy.deepcopy(base)
    update_config(wanted, copy.deepcopy(over))
    before = json.dumps(base)
    assert lay_over(base, over) == wanted
    assert json.dumps(base) == before
