"""What every script of the pipeline does first."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from nfd.pipeline.provenance import PACKAGE, content_digest


def run_script(main: Callable[[], int]) -> NoReturn:
    """Run ``main``, the function of a script in scripts/, and leave with the exit code it returns.

    A script refuses the package of another checkout: in a copied folder whose environment still points
    to the original, an edit would otherwise do nothing. And it prints in any locale: what the terminal's
    encoding lacks comes out as an escape such as \\xb1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    fault = foreign_code(Path(main.__code__.co_filename))
    if fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(1)
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def foreign_code(script: Path, package: Path = PACKAGE) -> str:
    """One sentence if ``package`` is not the code beside ``script``; empty if it is, or is the same."""
    beside = script.resolve().parents[1] / "src" / "nfd"
    if not beside.is_dir() or beside.samefile(package):
        return ""
    if content_digest(beside) == content_digest(package):
        return ""
    return (
        f"{script} would run the code of {package}, which is not that of its own checkout; "
        "set up an environment here with 'make setup' and use that one"
    )
