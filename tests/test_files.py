"""Files are whole or absent, and hold the same bytes in every locale; so do the texts of the pipeline."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from nfd import files

ROOT = Path(__file__).parents[1]
# What is left of a locale that knows ASCII alone, with Python's own remedies switched off.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_an_exception_leaves_no_file_and_the_old_one_whole(tmp_path):
    path = tmp_path / "a.txt"

    def broken():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half a tab")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert list(tmp_path.iterdir()) == []
    files.write_text(path, "old and whole")
    with pytest.raises(KeyboardInterrupt):
        broken()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old and whole"


def test_the_name_appears_only_when_the_file_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with files.atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent  # the same file system, so that renaming is atomic
        assert temporary.suffix == path.suffix
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_keeps_it_whole(tmp_path):
    """The new file takes over the name; it does not overwrite the old one's content."""
    path = tmp_path / "a.txt"
    files.write_text(path, "old and whole")
    with path.open() as reader:
        files.write_text(path, "new")
        assert reader.read() == "old and whole"
    assert path.read_text() == "new"


def test_files_have_the_permissions_of_any_other_file(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_is_utf8_with_plain_line_ends_whatever_the_locale(tmp_path):
    program = (
        "import locale, sys; from nfd.files import write_text;"
        "write_text(sys.argv[1], chr(177) + chr(10)); print(locale.getpreferredencoding(False))"
    )
    path = tmp_path / "a.txt"
    done = subprocess.run(
        [sys.executable, "-c", program, path], env=ASCII, capture_output=True, check=True
    )
    assert done.stdout.strip() != b"UTF-8"  # the locale is one in which the default would not do
    assert path.read_bytes() == b"\xc2\xb1\n"


# ------------------------------------------------------------------------ no text without encoding

SOURCES = sorted(path for folder in ("src", "scripts") for path in (ROOT / folder).rglob("*.py"))
TEXT_METHODS = {"read_text", "write_text"}


def texts_without_encoding(source):
    """Lines that read or write text in whatever encoding the locale has.

    Those are ``open`` in text mode, methods of paths, and processes whose output is taken as text; the
    function write_text(path, text) of this project, called by its bare name, sets the encoding itself.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        words = {word.arg: word.value for word in node.keywords}
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        method = isinstance(node.func, ast.Attribute)
        owner = getattr(node.func.value, "id", "") if method else ""
        binary = any(is_binary(value) for value in (*node.args[:2], words.get("mode")))
        opens = name in ("open", "fdopen") and (owner, name) != ("os", "open")
        if opens and owner not in ("Image", "gzip", "tarfile") and not binary:
            found.append(f"{node.lineno}: {name}")
        if method and name in TEXT_METHODS and owner != "files":
            found.append(f"{node.lineno}: {name}")
        if any(is_true(words.get(key)) for key in ("text", "universal_newlines")):
            found.append(f"{node.lineno}: {name} with text")
    return found


def is_binary(mode):
    """Whether an argument is a mode of bytes, in either case if it depends on something."""
    if isinstance(mode, ast.IfExp):
        return is_binary(mode.body) and is_binary(mode.orelse)
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" in mode.value


def is_true(value):
    return isinstance(value, ast.Constant) and value.value is True


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_text_depends_on_the_locale(path):
    assert texts_without_encoding(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "open(path, 'w')",
        "path.open()",
        "path.read_text()",
        "path.write_text(text)",
        "os.fdopen(handle, 'w')",
        "subprocess.run(words, text=True)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source):
    assert texts_without_encoding(source) != []
