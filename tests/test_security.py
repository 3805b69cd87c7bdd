"""Nothing untrusted is run: no pickles, no shell words from a config, no paths out of their folder."""

import ast
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from snakemake.utils import format as snakemake_format

from nfd.data.prepared import load
from nfd.data.raw import DataError
from nfd.data.sources import label_of
from nfd.pipeline.config import ConfigError, check
from nfd.pipeline.settings import as_argument
from nfd.training.checkpoint import Checkpoint

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])


# ----------------------------------------------------------------------------- in the sources


def name_of(node):
    """Dotted name of what is called, such as 'torch.load'."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def is_constant(call, key, value):
    return any(
        word.arg == key and isinstance(word.value, ast.Constant) and word.value.value is value
        for word in call.keywords
    )


FORBIDDEN = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "tar.extractall",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}


def faults(source):
    """What a source file does that could run something untrusted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names]
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"import {m}" for m in modules if m.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        if name in FORBIDDEN or name.endswith((".extractall", ".read_pickle", ".to_pickle")):
            found.append(name)
        if name == "torch.load" and not is_constant(node, "weights_only", True):
            found.append("torch.load without weights_only=True")
        if name == "np.load" and not is_constant(node, "allow_pickle", False):
            found.append("np.load without allow_pickle=False")
        if is_constant(node, "shell", True):
            found.append("shell=True")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_run_nothing_untrusted(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "eval(text)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source):
    assert faults(source) != []


def test_rules_quote_what_comes_from_the_config():
    """In shell commands, every path list and every setting is quoted (:q)."""
    plain = {
        "{wildcards.experiment}",  # constrained to [a-z0-9_]
        "{wildcards.figure}",
        "{params.preset}",
        "{params.digest}",  # hexadecimal
        "{resources.gpu}",
        "{threads}",
    }
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for command in re.findall(r"shell:\n((?: +[\"'].*\n)+)", path.read_text()):
            for field in re.findall(r"\{[^{}]+\}", command):
                assert field.endswith(":q}") or field in plain, f"{path.name}: {field} unquoted"


# --------------------------------------------------------------------------------- behaviour


class Trap:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_trapped_checkpoint_runs_nothing(tmp_path, caplog):
    sprung = tmp_path / "sprung"
    torch.save({"key": "key", "state": Trap(sprung)}, tmp_path / "job.pt")
    assert Checkpoint(tmp_path / "job.pt", "key").load() is None
    assert "starting afresh" in caplog.text
    (tmp_path / "job.pt").write_bytes(pickle.dumps({"key": "key", "state": Trap(sprung)}))
    assert Checkpoint(tmp_path / "job.pt", "key").load() is None
    assert not sprung.exists()
    torch.load(_saved(tmp_path, sprung), weights_only=False)  # the trap works
    assert sprung.exists()


def _saved(folder, sprung):
    torch.save(Trap(sprung), folder / "trap.pt")
    return folder / "trap.pt"


def test_trapped_prepared_data_runs_nothing(tmp_path):
    sprung, path = tmp_path / "sprung", tmp_path / "data.npz"
    np.savez(path, format=np.array([Trap(sprung)], dtype=object))
    with pytest.raises(DataError):
        load(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/tmp/x", "a b", "a;b", "$(x)", "", ".", "-x", "a\nb", "ab\n"]
)
def test_names_become_no_paths(name):
    experiment = {
        "networks": [{"parametrization": "mup"}],
        "grids": [{"widths": [8], "depths": [2]}],
        "learning_rates": [0.5],
        "seeds": 1,
        "steps": 1,
        "batch_size": 4,
    }
    good = {"preset": "x", "dataset": {"name": "digits"}, "experiments": {"e": experiment}}
    check(good)
    with pytest.raises(ConfigError):
        check({**good, "preset": name})
    with pytest.raises(ConfigError):
        check({**good, "experiments": {name: experiment}})


HOSTILE = 'it\'s "q" $(touch sprung) `touch sprung`; touch sprung #{x}'


def test_a_hostile_label_is_only_a_label(tmp_path):
    """Through Snakemake's own quoting and a real shell."""
    settings = as_argument({"name": "digits", "label": HOSTILE})
    script = ROOT / "scripts" / "prepare_data.py"

    class Params:
        pass

    params = Params()
    params.settings = settings
    command = snakemake_format(
        "{python:q} {script:q} --settings {params.settings:q} --output {output:q}",
        python=sys.executable,
        script=str(script),
        params=params,
        output="data.npz",
    )
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"data.npz"}
    assert load(tmp_path / "data.npz").name == "digits"
    assert label_of(json.loads(settings)) == HOSTILE
    assert json.loads(settings)["label"] == HOSTILE
