"""What code a job's numbers depend on: against what really runs, and against changes of every kind."""

import ast
import json
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfd.data.prepared import load, save
from nfd.data.sources import prepare
from nfd.pipeline import code
from nfd.pipeline import run as runs

ROOT = Path(__file__).parents[1]
JOBS = {
    "train": {
        "networks": [
            {
                "parametrization": "depth_mup",
                "correction": 0.0,
                "trainable": ["input", "hidden_2", "output"],
                "couplings": ["standard", "decoupled"],
                "learning_rates": [0.5, 1e9],
            }
        ],
        "seeds": [0],
        "width": 8,
        "initial_weights": "independent",
        "skip": True,
        "optimizer": "adam",
        "probes": ["outputs", "output_change", "features", "coupling", "kernel"],
    },
    "simulate_limit": {
        "parametrization": "depth_mup",
        "correction": 0.0,
        "trainable": ["input", "hidden_2", "output"],
        "coupling": "standard",
        "learning_rates": [0.5],
        "seeds": [0],
        "particles": 64,
        "skip": True,
        "optimizer": "sgd",
        "noise_depth": 2,
    },
}
COMMON = {
    "depth": 2,
    "block_layers": 1,
    "activation": "relu",
    "loss": "cross_entropy",
    "horizon": 1.0,
    "steps": 2,
    "batch_size": 4,
    "train_size": 8,
    "data_order": "shared",
    "evaluation_size": 6,
    "probe_size": 4,
    "logged_steps": [0, 1, 2],
    "precision": "float32",
    "tf32": False,
    "root_seed": 0,
}
# Runs a script and prints the package's modules that were loaded and functions that were called.
WATCH = """
import json, runpy, sys
harmless, *sys.argv = sys.argv[1:]
harmless, called = json.loads(harmless), set()

def passed_over(frame):
    "Whether a frame works for an import or for something harmless."
    while frame:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname.split(".")[0]
        if name == "_call_with_frames_removed" or {module, f"{module}.{name}"} & set(harmless):
            return True
        frame = frame.f_back
    return False

def note(frame, event, _):
    module = frame.f_globals.get("__name__", "")
    if event == "call" and module.startswith("nfd") and not passed_over(frame):
        called.add((module, frame.f_code.co_qualname))

sys.setprofile(note)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
finally:
    sys.setprofile(None)
loaded = [name for name in sys.modules if name.split(".")[0] == "nfd"]
print(json.dumps({"loaded": loaded, "called": sorted(called)}))
"""


@pytest.fixture(scope="module", params=JOBS)
def watched(request, tmp_path_factory):
    """(script, what a tiny job of it has loaded and called)."""
    folder = tmp_path_factory.mktemp(request.param)
    data = prepare({"name": "digits", "train_size": 20, "test_size": 20})
    save(data, folder / "data.npz")
    script = ROOT / f"scripts/{request.param}.py"
    arguments = ["--experiment", "small", "--data", "data.npz", "--results", "job.parquet"]
    arguments += ["--outputs", "job.outputs.parquet"]
    arguments += ["--settings", json.dumps({**COMMON, **JOBS[request.param]})]
    done = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps(list(code.HARMLESS)), str(script), *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return script, json.loads(done.stdout)


def test_the_modules_found_are_those_a_job_loads(watched):
    script, seen = watched
    loaded = {Path(import_module(name).__file__) for name in seen["loaded"]}
    assert set(code.Code().modules_of(script)) == loaded


def test_all_that_a_job_calls_is_in_its_digest(watched):
    """Every function that has run, but for what is called harmless, is part of a definition found."""
    script, seen = watched
    found = code.definitions(script)
    called = {(module, name.split(".")[0]) for module, name in seen["called"]}
    # Lambdas stand in definitions of their own; Python asks nfd.__getattr__ at each 'from nfd import'.
    called = {key for key in called if key[1][:2] not in ("<l", "__")}
    assert len(called) > 40
    assert called - found == set()


def test_what_is_called_harmless_exists():
    for name in code.HARMLESS:
        module, _, member = name.rpartition(".")
        try:
            assert import_module(name)
        except ModuleNotFoundError:
            assert hasattr(import_module(module), member), name


def test_each_job_depends_on_its_own_engine():
    train, limit = (code.definitions(ROOT / f"scripts/{name}.py") for name in JOBS)
    training = {("nfd.training.trainer", "Trainer"), ("nfd.training.probes", "FeatureChange")}
    simulating = {
        ("nfd.limit.simulate", "simulate_limit"),
        ("nfd.limit.gaussian", "GaussianMatrix"),
    }
    assert training <= train
    assert not simulating & train
    assert simulating <= limit
    assert not training & limit


def test_a_function_as_entry_brings_the_classes_it_is_handed():
    found = code.definitions(runs.run_training)
    assert ("nfd.data.prepared", "PreparedData") in found
    assert ("nfd.training.train", "train") in found


def test_it_is_quick():
    def seconds():
        code._parse.cache_clear()
        code._read.cache_clear()
        start = time.process_time()
        code.digest(ROOT / "scripts/train.py")
        return time.process_time() - start

    # Typically 0.1 s; other work on the machine slows single attempts.
    assert min(seconds() for _ in range(3)) < 0.5


# ----------------------------------------------------------- changes of the code that is there


class Copy:
    """A copy of the package whose files can be edited."""

    def __init__(self, folder):
        self.package = folder / "nfd"
        shutil.copytree(code.PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        self.before = self.digest()

    def digest(self):
        return code.digest(runs.run_training, load, package=self.package)

    def with_module(self, name, text):
        """The digest when a module reads ``text``."""
        path = self.path(name)
        kept = path.read_text()
        path.write_text(text)
        try:
            return self.digest()
        finally:
            path.write_text(kept)

    def path(self, name):
        return code.Code(self.package).path(name)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("copy"))


def reached_modules():
    return sorted({module for module, _ in code.definitions(runs.run_training, load)})


class WithoutTexts(ast.NodeTransformer):
    """Drops docstrings and the annotations of functions, but not those of the entry."""

    def visit_FunctionDef(self, node):
        if node.name != runs.run_training.__name__:
            self.generic_visit(node)
            node.returns = None
        if len(node.body) > 1 and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return node

    def visit_arg(self, node):
        node.annotation = None
        return node


@pytest.mark.parametrize("name", reached_modules())
def test_comments_layout_docstrings_and_annotations_change_nothing(copy, name):
    tree = ast.parse(copy.path(name).read_text())
    text = ast.unparse(tree)  # no comment, no blank line, other quotes and brackets
    assert copy.with_module(name, text) == copy.before
    bare = ast.unparse(WithoutTexts().visit(tree))
    assert copy.with_module(name, f'"""Other words."""\n{bare}\n# the end\n') == copy.before


OPERATIONS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.USub: ast.UAdd,
    ast.MatMult: ast.Mult,
}


def mutations(tree, wanted):
    """(parent, field, place, new node) for every operation and number in the ``wanted`` definitions."""
    for top in tree.body:
        if not set(code._bound(top)) & wanted or isinstance(top, code._IMPORTS):
            continue
        muted = {id(n) for r in ast.walk(top) if isinstance(r, ast.Raise) for n in ast.walk(r)}
        muted |= {
            id(n)
            for f in ast.walk(top)
            for annotation in (getattr(f, "annotation", None), getattr(f, "returns", None))
            if annotation and isinstance(f, ast.arg | ast.FunctionDef | ast.AnnAssign)
            for n in ast.walk(annotation)
        }
        for parent in ast.walk(top):
            for name, value in ast.iter_fields(parent):
                for place, node in enumerate(value if isinstance(value, list) else [value]):
                    place = place if isinstance(value, list) else None
                    if id(node) in muted:
                        continue
                    if type(node) in OPERATIONS:
                        yield parent, name, place, OPERATIONS[type(node)]()
                    number = isinstance(node, ast.Constant) and isinstance(node.value, int | float)
                    if number and not isinstance(node.value, bool):
                        yield parent, name, place, ast.Constant(node.value + 1)


@settings(max_examples=60, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_any_other_operation_or_number_changes_the_digest(copy, chance):
    reached = code.definitions(runs.run_training, load)
    name = chance.choice(reached_modules())
    tree = ast.parse(copy.path(name).read_text())
    found = list(mutations(tree, {member for module, member in reached if module == name}))
    if not found:
        return
    parent, attribute, place, node = chance.choice(found)
    if place is None:
        setattr(parent, attribute, node)
    else:
        getattr(parent, attribute)[place] = node
    text = ast.unparse(ast.fix_missing_locations(tree))
    assert copy.with_module(name, text) != copy.before


# --------------------------------------------------------------------- one kind of change at a time


ENGINE = '''"""Words."""
import logging
import math as m
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pack.parts import twice, thrice as three

if TYPE_CHECKING:
    from pack.types import Size

log = logging.getLogger(__name__)
RATE = 0.5


@dataclass
class Box:
    """Words."""

    size: int = 2

    def grow(self, by: "Size" = 1) -> float:
        return self.size + by


def run(x: float) -> float:
    """Words."""
    from pack import inner

    if x < 0:
        raise ValueError(f"{x} is below 0")
    log.info("running with %s", x)
    return twice(x) * three(x) * RATE + m.sqrt(Box().grow()) + inner.late(x)


def unused():
    return 1
'''
PARTS = """def twice(x):
    return 2 * x


def thrice(x):
    return 3 * x
"""
FILES = {
    "__init__": "",
    "engine": ENGINE,
    "parts": PARTS,
    "inner": "def late(x):\n    return x\n",
    "types": "Size = int\n",
}


def small(folder, **changes):
    """Digest of a small package's engine, with ``old -> new`` texts by module."""
    package = folder / "pack"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for name, text in {**FILES, **{k: v for k, v in changes.items() if k not in FILES}}.items():
        for old, new in changes.get(name, {}).items() if name in FILES else ():
            assert old in text
            text = text.replace(old, new)
        (package / f"{name}.py").write_text(text)
    script = folder / "script.py"
    script.write_text("from pack.engine import run\n\nprint(run(1.0))\nrun(2.0)\n")
    return code.digest(script, package=package)


@pytest.mark.parametrize(
    "changes",
    {
        "docstring": {"engine": {'"""Words."""': '"""Other words."""'}},
        "comment": {"engine": {"RATE = 0.5": "RATE = 0.5  # why"}},
        "layout": {"engine": {"return self.size + by": "return (\n            self.size + by\n)"}},
        "annotation": {"engine": {"run(x: float) -> float": "run(x: int)"}},
        "log text": {"engine": {"running with %s": "now at %s"}},
        "log line": {"engine": {'    log.info("running with %s", x)\n': ""}},
        "error text": {"engine": {"is below 0": "is negative"}},
        "unused function": {"engine": {"return 1\n": "return 2\n"}},
        "type": {"types": {"int": "float"}},
        "unused module": {"other": "X = 1\n"},
        "moved": {
            "engine": {"from pack.parts import twice,": "from pack.moved import twice\n"
                       "from pack.parts import"},
            "parts": {"def twice(x):\n    return 2 * x\n": ""},
            "moved": "def twice(x):\n    return 2 * x\n",
        },
        "re-exported": {
            "engine": {"from pack.parts import": "from pack.door import"},
            "door": "from pack.parts import thrice, twice\n",
        },
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_what_changes_nothing(tmp_path, changes):
    assert small(tmp_path, **changes[1]) == small(tmp_path)


@pytest.mark.parametrize(
    "changes",
    {
        "operation": {"parts": {"2 * x": "2 + x"}},
        "constant": {"engine": {"RATE = 0.5": "RATE = 0.25"}},
        "type of a constant": {"parts": {"2 * x": "2.0 * x"}},
        "default": {"engine": {"size: int = 2": "size: int = 3"}},
        "default of an argument": {"engine": {'by: "Size" = 1': 'by: "Size" = 2'}},
        "field": {"engine": {"size: int = 2": "size: float = 2"}},
        "method": {"engine": {"self.size + by": "self.size - by"}},
        "decorator": {"engine": {"@dataclass\n": "@dataclass(frozen=True)\n"}},
        "inner import": {"inner": {"return x": "return -x"}},
        "library": {"engine": {"import math as m": "import cmath as m"}},
        "swapped names": {"engine": {"twice, thrice as three": "thrice as twice, twice as three"}},
        "order": {"engine": {"twice(x) * three(x)": "three(x) * twice(x)"}},
        "effect": {"parts": {"def twice": "import pack.inner\npack.inner.late.x = 1\n\ndef twice"}},
        "acting log line": {"engine": {'%s", x)': '%s", twice(x))'}},
        "bound twice": {"engine": {"RATE = 0.5": "RATE = 0.5\nif m.pi > 3:\n    RATE = 0.1"}},
    }.items(),
    ids=lambda item: item[0],
)
def test_what_changes_the_digest(tmp_path, changes):
    assert small(tmp_path, **changes[1]) != small(tmp_path)


def test_a_registered_definition_counts_though_nothing_names_it(tmp_path):
    registry = "KNOWN = {}\n\n\ndef keep(f):\n    KNOWN[f.__name__] = f\n    return f\n"
    engine = {"RATE = 0.5": "from pack.registry import KNOWN, keep\nRATE = KNOWN['kept'](1)"}
    engine["def unused():"] = "@keep\ndef kept(x=1):"
    one = small(tmp_path, engine=engine, registry=registry)
    other = small(tmp_path, engine={**engine, "return 1\n": "return 2\n"}, registry=registry)
    assert one != other


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            {"from pack.parts import twice, thrice as three": "from pack.parts import *"},
            "import \\*",
        ),
        (
            {"from pack import inner": "from pack import absent as inner"},
            "'absent' is used and not defined",
        ),
        ({"import math as m": "import importlib as m", "m.sqrt": "m.import_module"}, "hides which"),
    ],
)
def test_what_cannot_be_followed_is_named(tmp_path, engine, message):
    with pytest.raises(code.HiddenCodeError, match=message):
        small(tmp_path, engine=engine)


def test_what_is_imported_by_a_computed_name_can_be_given(tmp_path):
    """Then the whole file counts, whatever else the script may load."""
    engine = {"import math as m": "import importlib as m", "m.sqrt": "m.import_module"}
    digests = []
    for late in ("LATE = 1\n", "LATE = 2\n"):
        with pytest.raises(code.HiddenCodeError):
            small(tmp_path, engine=engine, late=late)
        given = tmp_path / "script.py", tmp_path / "pack/late.py"
        digests.append(code.digest(*given, package=tmp_path / "pack"))
    assert digests[0] != digests[1]


def test_an_entry_that_is_not_there_is_named():
    with pytest.raises(code.HiddenCodeError, match=r"scripts/absent.py: there is no such file"):
        code.digest("scripts/absent.py")
