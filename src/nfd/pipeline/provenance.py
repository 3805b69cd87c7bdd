"""What produced a file: the version of the code, the packages, the machine."""

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
# What numbers depend on, relative to the package; of an installed package there is the package alone.
_CODE = (".", "../../scripts", "../../workflow", "../../Snakefile")


def code_version(package: Path = PACKAGE) -> str:
    """Commit of the code, with '-dirty' if it was changed since; a digest of its content without git.

    The commit is that of the checkout to which ``package`` belongs, never that of a repository which
    merely holds the package's folder, such as a project into which it was unpacked.
    """
    try:
        if _has_repository(package):
            commit = _git(package, "describe", "--always", "--abbrev=12")
            changes = _git(package, "status", "--porcelain", "--", *_CODE)
            return commit + ("-dirty" if changes else "")
    except (OSError, subprocess.SubprocessError):
        pass  # no git, no repository, or one that git refuses because it is somebody else's
    return f"content-{content_digest(*(package / path for path in _CODE))[:12]}"


def _has_repository(package: Path) -> bool:
    """Whether git tracks the package in a repository whose top is the top of the checkout."""
    top = Path(_git(package, "rev-parse", "--show-toplevel"))
    tracked = _git(package, "ls-files", "__init__.py")
    return bool(tracked) and top.samefile(package.parents[1])


def _git(folder: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, timeout=10, check=True)
    return os.fsdecode(done.stdout).strip()


def content_digest(*paths: Path) -> str:
    """SHA-256 of names and contents of all files at and below ``paths``, wherever they lie.

    What Python compiled from them does not count, nor does a path that does not exist.
    """
    digest = hashlib.sha256()
    for path in paths:
        inside = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in inside:
            if file.is_file() and "__pycache__" not in file.parts:
                name = file.relative_to(path).as_posix()
                digest.update(f"{path.resolve().name}/{name}\0".encode("utf-8", "surrogateescape"))
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def provenance(**facts: Any) -> dict[str, str]:
    """What produced a file: code version, Python, package versions, machine, and the given ``facts``.

    Typical facts: config_digest, device, dtype, tf32, wall_time_s, dataset.
    """
    versions = {name: _installed(name) for name in ("torch", "numpy", "pandas", "scikit-learn")}
    base = {
        "code_version": code_version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        **versions,
    }
    return {**base, **{key: str(value) for key, value in facts.items()}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
