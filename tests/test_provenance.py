"""The version of the code: a commit of this checkout, and of no other repository, or a digest of content."""

import re
import shutil
import subprocess

import pytest

from nfd.pipeline.provenance import PACKAGE, code_version, content_digest

FILES = ("src/nfd/__init__.py", "scripts/a.py", "workflow/a.smk", "Snakefile", "figures/a.csv")


def git(folder, *words):
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", folder, *author, *words], check=True, capture_output=True)


def commit_all(folder):
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "all")


@pytest.fixture
def checkout(tmp_path):
    """Files laid out as in a checkout, without git."""
    for name in FILES:
        (tmp_path / "outer" / "nfd" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "outer" / "nfd" / name).write_text("first")
    return tmp_path / "outer" / "nfd"


def test_it_is_the_commit_and_dirty_when_code_was_changed_not_when_a_run_renewed_its_figures(
    checkout,
):
    commit_all(checkout)
    package = checkout / "src/nfd"
    commit = code_version(package)
    assert re.fullmatch("[0-9a-f]{12}", commit)
    (checkout / "figures/a.csv").write_text("renewed")
    assert code_version(package) == commit
    (package / "new.py").write_text("")
    assert code_version(package) == f"{commit}-dirty"


@pytest.mark.parametrize("committed_there", [False, True])
def test_an_enclosing_repository_is_not_the_code(checkout, committed_there):
    outer = checkout.parent
    before = code_version(checkout / "src/nfd")
    (outer / "other.txt").write_text("somebody's project")
    if not committed_there:
        (outer / ".gitignore").write_text("/nfd/")
    commit_all(outer)
    assert code_version(checkout / "src/nfd") == before
    assert before.startswith("content-")


def test_files_that_the_repository_around_them_does_not_track_are_not_its_commit(checkout):
    """Unpacked without a folder of their own, right into somebody's repository."""
    (checkout / "other.txt").write_text("somebody's project")
    git(checkout, "init")
    git(checkout, "add", "other.txt")
    git(checkout, "commit", "-m", "other")
    assert code_version(checkout / "src/nfd").startswith("content-")


def test_without_git_it_is_the_content_of_the_code(checkout, tmp_path):
    package = checkout / "src/nfd"
    before = code_version(package)
    assert re.fullmatch("content-[0-9a-f]{12}", before)
    (checkout / "figures/a.csv").write_text("renewed")
    (package / "__pycache__").mkdir()
    (package / "__pycache__/a.pyc").write_text("compiled")
    assert code_version(package) == before
    shutil.copytree(checkout, tmp_path / "elsewhere")
    assert code_version(tmp_path / "elsewhere/src/nfd") == before
    for name in FILES[:-1]:
        (checkout / name).write_text("second")
        assert code_version(package) != before
        (checkout / name).write_text("first")
    assert code_version(package) == before


def test_a_renamed_file_is_other_content(tmp_path):
    (tmp_path / "a.py").write_text("")
    before = content_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert content_digest(tmp_path) != before


def test_the_package_itself_has_a_version():
    assert re.fullmatch("[0-9a-f]{12}(-dirty)?|content-[0-9a-f]{12}", code_version(PACKAGE))
