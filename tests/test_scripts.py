"""What every script does first: it refuses the code of another checkout, and prints in any locale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_files import ASCII

from nfd.pipeline.provenance import PACKAGE
from nfd.pipeline.script import foreign_code

ROOT = Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path):
    """The package and the scripts in another place, as ``cp -a`` makes it."""
    for folder in ("src", "scripts", "config"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder, ignore=ignored)
    return tmp_path / "copy"


def run(*words, **environment):
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, *words], env=without | environment, capture_output=True)


def test_a_script_runs_on_the_same_code_wherever_it_is_installed(copy):
    assert foreign_code(copy / "scripts/list_targets.py", PACKAGE) == ""
    done = run(copy / "scripts/list_targets.py")
    assert done.returncode == 0, done.stderr


def test_a_script_refuses_other_code_than_that_beside_it(copy):
    with open(copy / "src/nfd/experiments.py", "a", encoding="utf-8") as module:
        module.write("# edited\n")
    done = run(copy / "scripts/list_targets.py")
    assert done.returncode == 1
    (sentence,) = done.stderr.decode().splitlines()
    assert f"would run the code of {PACKAGE}, which is not that of its own checkout" in sentence
    done = run(copy / "scripts/list_targets.py", PYTHONPATH=str(copy / "src"))
    assert done.returncode == 0, done.stderr


def test_every_script_is_run_so():
    for path in (ROOT / "scripts").glob("*.py"):
        assert path.read_text(encoding="utf-8").endswith(
            'if __name__ == "__main__":\n    run_script(main)\n'
        ), path.name


PRINTS = """
import sys
from nfd.pipeline.script import run_script

def main():
    print(sys.argv[1], chr(177))
    return 3

run_script(main)
"""


def test_printing_never_fails(tmp_path):
    """A sign that ASCII lacks, and a file's name in another encoding than that of the locale."""
    (tmp_path / "prints.py").write_text(PRINTS)
    done = run(tmp_path / "prints.py", b"\xff", **ASCII)
    assert (done.returncode, done.stderr) == (3, b"")
    assert done.stdout == rb"\udcff \xb1" + b"\n"
