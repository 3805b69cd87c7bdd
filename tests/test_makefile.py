"""The Makefile: environments that came along from another folder, any CONFIG, a user without a home."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def folder(tmp_path):
    """A checkout with an environment that stands there ready; its snakemake prints what it is given."""
    top = tmp_path / "it's, a $folder"
    programs = top / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, top / name)
    program(programs / "python", "exit 0")
    program(programs / "snakemake", 'printf "%s\\n" "$@"; env')
    (top / ".venv/ready").write_text(f"{top.resolve()}\n")
    return top


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def make(folder, *words, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MAKE"))}
    return subprocess.run(
        ["make", *words], cwd=folder, env=kept | environment, capture_output=True, text=True
    )


def test_an_environment_made_here_is_kept(folder):
    assert "Nothing to be done" in make(folder, "setup", "--dry-run").stdout


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_one_that_came_along_is_made_anew(folder, how, tmp_path):
    place = tmp_path / how
    shutil.move(folder, place) if how == "moved" else shutil.copytree(folder, place)
    plan = make(place, "reproduce", "--dry-run", f"CONFIG={place}/Makefile").stdout
    assert "-m venv --clear .venv" in plan
    assert plan.index("-m venv --clear .venv") < plan.index("snakemake")


def test_a_config_may_have_any_name(folder):
    name = 'my "conf" `it\'s`, #1.yaml'
    (folder / name).write_text("")
    done = make(folder, "reproduce", CONFIG=name)
    assert done.returncode == 0, done.stderr
    assert f"--configfile\n{name}\n" in done.stdout


def test_a_config_that_is_not_there_is_named(folder):
    done = make(folder, "reproduce", "CONFIG=my conf.yaml")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "error: CONFIG: there is no file my conf.yaml"
    assert "--configfile" not in done.stdout


def variables(done):
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize("home", ["", "not/there"])
def test_without_a_home_caches_stay_here(folder, tmp_path, home):
    home = str(tmp_path / home) if home else ""
    (folder / "a.yaml").write_text("")
    told = variables(make(folder, "reproduce", "CONFIG=a.yaml", HOME=home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        assert Path(told[name]) == folder.resolve() / ".cache"


def test_with_a_home_caches_stay_there(folder, tmp_path):
    (folder / "a.yaml").write_text("")
    told = variables(make(folder, "reproduce", "CONFIG=a.yaml", HOME=str(tmp_path)))
    assert "XDG_CACHE_HOME" not in told


def test_compiled_modules_are_kept_even_where_an_image_forbids_it(folder):
    (folder / "a.yaml").write_text("")
    told = variables(make(folder, "reproduce", "CONFIG=a.yaml", PYTHONDONTWRITEBYTECODE="1"))
    assert "PYTHONDONTWRITEBYTECODE" not in told


def test_a_user_without_a_name_gets_one(folder, tmp_path):
    program(tmp_path / "id", '[ "$1" = -u ] && echo 12345')
    (folder / "a.yaml").write_text("")
    named = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    kept = {key: os.environ.pop(key) for key in ("LOGNAME",) if key in os.environ}
    try:
        told = variables(make(folder, "reproduce", "CONFIG=a.yaml", **named))
    finally:
        os.environ.update(kept)
    assert told["LOGNAME"] == "user12345"
