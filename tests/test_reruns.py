"""What an edit of the code makes run again, by the digests that the rules carry as parameters.

Each edit goes into one function of a copy of the package; tests/workflow/test_smoke.py lets Snakemake itself
plan after a few of them.
"""

import ast
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nfd.claims.registry import CLAIMS, FAMILIES, FIGURES, module_of
from nfd.pipeline import code

SCRIPTS = Path(__file__).parents[1] / "scripts"


class Copy:
    """A copy of the package, and what the rules would say of its code."""

    def __init__(self, folder):
        self.package = folder / "nfd"
        shutil.copytree(code.PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        self.before = self.digests()

    def digests(self):
        """(script, figure or '') -> digest, as workflow/rules/ asks for them."""
        jobs = {(script, ""): [] for script in ("train", "simulate_limit", "prepare_data")}
        jobs["judge_claims", ""] = sorted({module_of("verdict", claim) for claim in CLAIMS})
        for figure in FIGURES:
            jobs["make_evidence", figure] = [module_of("evidence", figure)]
            jobs["make_figure", figure] = [module_of("figure", figure)]
        return {job: self._digest(job[0], modules) for job, modules in jobs.items()}

    def _digest(self, script, modules):
        paths = [self.package.parent / f"{name.replace('.', '/')}.py" for name in modules]
        return code.digest(SCRIPTS / f"{script}.py", *paths, package=self.package)

    def changed(self):
        """The jobs whose digest is no longer the first one."""
        return {job for job, digest in self.digests().items() if digest != self.before[job]}

    @contextmanager
    def edited(self, path, edit):
        file = self.package / path
        kept = file.read_text(encoding="utf-8")
        file.write_text(edit(kept), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(kept, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("reruns"))


def with_statement(name):
    """An edit: one more statement at the end of a function, or a method written as 'Class.method'."""

    def edit(text):
        body = ast.parse(text).body
        for part in name.split("."):
            (found,) = (node for node in body if getattr(node, "name", None) == part)
            body = found.body
        lines, last = text.splitlines(), body[-1]
        lines.insert(last.lineno - 1, f"{' ' * last.col_offset}assert True")
        return "\n".join(lines)

    return edit


def family_of(figure):
    """The figures of the same family."""
    named = ([f.name for f in family.figures] for family in FAMILIES)
    return next(names for names in named if figure in names)


def jobs(script, figures=("",)):
    return {(script, figure) for figure in figures}


@pytest.mark.parametrize(
    ("path", "function", "rerun"),
    [
        ("training/trainer.py", "Trainer.advance", jobs("train")),
        ("limit/simulate.py", "simulate_limit", jobs("simulate_limit")),
        ("data/digits.py", "read", jobs("prepare_data")),
        ("evidence/intervals.py", "mean_interval", jobs("make_evidence", FIGURES)),
        (
            "claims/transfer/evidence.py",
            "width_transfer",
            jobs("make_evidence", family_of("width_transfer")),
        ),
        (
            "claims/decoupling/evidence.py",
            "gia_restoration",
            jobs("make_evidence", family_of("gia_restoration")),
        ),
        ("drawing/page.py", "draw", jobs("make_figure", FIGURES)),
        (
            "claims/transfer/figure.py",
            "width_transfer",
            jobs("make_figure", family_of("width_transfer")),
        ),
        (
            "claims/mechanism/figure.py",
            "kernel_spectrum",
            jobs("make_figure", family_of("kernel_spectrum")),
        ),
        ("claims/transfer/verdict.py", "width_transfer", jobs("judge_claims")),
        ("claims/rules.py", "judge", jobs("judge_claims")),
    ],
)
def test_code_reruns_what_rests_on_it_and_nothing_else(copy, path, function, rerun):
    with copy.edited(path, with_statement(function)):
        assert copy.changed() == rerun


def commented(text):
    """An edit: more of a docstring, and comments."""
    more = text.replace('"""', '"""Edited. ', 1) if text.startswith('"""') else text
    return more.replace("\ndef ", "\n# Edited.\ndef ")


def test_comments_and_docstrings_rerun_nothing(copy):
    with ExitStack() as edits:
        for path in sorted(copy.package.rglob("*.py")):
            edits.enter_context(copy.edited(path, commented))
        assert copy.changed() == set()


def test_a_name_that_nothing_uses_reruns_nothing(copy):
    with copy.edited("limit/gaussian.py", lambda text: f"{text}\nEDITED = 1\n"):
        assert copy.changed() == set()
