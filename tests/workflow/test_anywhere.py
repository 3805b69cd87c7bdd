"""The pipeline runs from any folder, in any locale, from a checkout that nobody may write to, and as a wheel.

One small experiment goes through every kind of rule, up to figure, claims and report, in the least kindly
place: read-only checkout, working directory elsewhere, both with odd names, an ASCII locale, and an
environment that has another checkout's package installed.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import TINY, Checkout, merged

from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand
from nfd.pipeline.settings import as_argument

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LABEL = "Zürich → ±"
# One figure, gia_restoration, and what it takes.
CONFIG = {
    "preset": "small",
    "dataset": {"name": "digits", "label": LABEL},
    "experiments": {
        **TINY["experiments"],
        "limit_convergence": None,
        "gia_restoration": {
            key: value
            for key, value in TINY["experiments"]["limit_convergence"].items()
            if key != "limit"
        },
    },
}


def files_in(folder):
    """Every file with the time of its last change; compiled modules, which root may write, left out."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path: path.stat().st_mtime_ns for path in found}


def environment(**changes):
    """This environment, in which nothing points to a checkout but what is installed in it."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "OMP_NUM_THREADS": "1", **changes}


def snakemake(folder, snakefile, *arguments, **changes):
    """Run in ``folder``; returns the process, with both its streams as ``stdout``."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "2"]
    command += ["--snakefile", snakefile]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    )


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """(working directory, checkout, files of the checkout before the run), the run being done."""
    top = tmp_path_factory.mktemp("some where")
    folder = top / "wörk it's"
    folder.mkdir()
    checkout = Checkout(top / "nfd it's, a $checkout")
    config = checkout.write_config("small", CONFIG)
    for path in (checkout.folder, *checkout.folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = files_in(checkout.folder)
    done = snakemake(
        *(folder, checkout.folder / "Snakefile", "--configfile", checkout.folder / config), **ASCII
    )
    assert done.returncode == 0, done.stdout[-5000:]
    yield folder, checkout, before
    for path in (checkout.folder, *checkout.folder.rglob("*")):  # so that pytest can remove it
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_results_are_in_the_working_directory_and_the_checkout_is_untouched(elsewhere):
    folder, checkout, before = elsewhere
    for name in ("results/small/report.html", "results/small/claims.csv"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "figures/small/gia_restoration.svg").stat().st_size > 0
    assert files_in(checkout.folder) == before


def test_files_are_the_same_in_any_locale(elsewhere, tmp_path):
    """What the run made in an ASCII locale, made again in UTF-8 from the same tables."""
    folder, checkout, _ = elsewhere
    found = set(folder.glob("results/small/runs/*/*.parquet"))
    outputs = {path for path in found if path.name.endswith(".outputs.parquet")}
    evidence = tmp_path / "gia_restoration.csv"
    claims, report = tmp_path / "claims.csv", tmp_path / "report.html"
    checked = check(merged(CONFIG))
    shown = {k: v for k, v in checked.items() if k not in ("device", "threads_per_job")}
    captions = checkout.folder / "src/nfd/claims"
    utf8 = environment(PYTHONUTF8="1", PYTHONPATH=str(checkout.folder / "src"))

    def run(script, **options):
        words = [word for name, value in options.items() for word in (f"--{name}", *value)]
        command = [sys.executable, checkout.folder / "scripts" / script, *words]
        subprocess.run(command, cwd=folder, env=utf8, check=True)

    run(
        "make_evidence.py",
        figure=["gia_restoration"],
        tables=found - outputs,
        outputs=outputs,
        output=[evidence],
        data=["results/small/data.npz"],
        settings=[expand(checked)[0][0].settings.to_json()],
    )
    run("judge_claims.py", evidence=[evidence], output=[claims])
    run(
        "make_report.py",
        config=[as_argument(shown)],
        claims=[claims],
        results=["results/small"],
        figures=["figures/small"],
        captions=[captions],
        output=[report],
    )
    assert evidence.read_bytes() == (folder / "results/small/evidence" / evidence.name).read_bytes()
    assert claims.read_bytes() == (folder / "results/small/claims.csv").read_bytes()
    assert report.read_bytes() == (folder / "results/small/report.html").read_bytes()
    assert LABEL.encode() in report.read_bytes()


def test_a_second_run_elsewhere_has_nothing_to_do(elsewhere):
    folder, checkout, _ = elsewhere
    config = checkout.folder / "config/small.yaml"
    options = ("-n", "--directory", folder, "--configfile", config)
    done = snakemake(checkout.folder, "Snakefile", *options)
    assert "Nothing to be done" in done.stdout, done.stdout[-3000:]


def test_a_moved_checkout_reruns_nothing(tiny, tmp_path):
    checkout, config = tiny
    shutil.copytree(checkout.folder, tmp_path / "moved", symlinks=True)
    targets = ("train", "limits", "-n", "--configfile", config)
    done = snakemake(tmp_path / "moved", "Snakefile", *targets)
    assert "Nothing to be done" in done.stdout, done.stdout[-3000:]


def test_a_copied_checkout_runs_its_own_code(tmp_path):
    """The environment in which the tests run has the package of another folder installed."""
    copy = Checkout(tmp_path / "copy")
    with open(copy.folder / "src/nfd/pipeline/config.py", "a", encoding="utf-8") as module:
        module.write('\nraise ConfigError("this is the copy")\n')
    done = snakemake(copy.folder, "Snakefile", "-n")
    assert done.returncode != 0
    assert "this is the copy" in done.stdout


def test_jobs_run_the_code_of_their_checkout(tmp_path):
    copy = Checkout(tmp_path / "copy")
    config = copy.write_config("tiny", TINY)
    with open(copy.folder / "src/nfd/seeds.py", "a", encoding="utf-8") as module:
        module.write(
            "\nimport sys\nif 'prepare_data' in sys.argv[0]: sys.exit('this is the copy')\n"
        )
    done = snakemake(copy.folder, "Snakefile", "data", "--configfile", config)
    assert done.returncode != 0
    assert "this is the copy" in done.stdout  # the profile shows the logs of what failed


def test_code_of_another_checkout_that_is_loaded_already_is_refused(checkout):
    """Snakemake called from a Python program that has imported the package."""
    program = "import nfd; from snakemake.cli import main; main(['-n', '--cores', '1'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=checkout.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode != 0
    assert f"is loaded already, and is not that of {checkout.folder}" in done.stdout
    assert "Traceback" not in done.stdout


def test_it_can_be_a_module_of_another_workflow(checkout, tmp_path):
    config = checkout.folder / checkout.write_config("tiny", TINY)
    (tmp_path / "Snakefile").write_text(
        f"module nfd:\n    snakefile: {str(checkout.folder / 'Snakefile')!r}\n\nuse rule * from nfd\n"
    )
    plan = ("data", "--dry-run", "--printshellcmds", "--configfile", config)
    done = snakemake(tmp_path, "Snakefile", *plan)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "prepare_data.py" in done.stdout


INSTALLED = """
import json, sys
from pathlib import Path
import yaml
import nfd
from nfd.pipeline.config import check
from nfd.pipeline.provenance import code_version

config = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
check(config)
[template] = Path(nfd.__file__).parent.rglob("report.html.j2")
print(json.dumps([nfd.__file__, code_version(), len(nfd.PARAMETRIZATIONS)]))
"""


def test_it_works_as_a_wheel(checkout, tmp_path):
    """Schema and templates come along, and the version says which code it is."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    for command in (
        [*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", wheels, checkout.folder],
        [
            *pip,
            "install",
            "--no-deps",
            "--no-index",
            "--find-links",
            wheels,
            "-t",
            installed,
            "nfd",
        ],
    ):
        subprocess.run(command, env=environment(), check=True)
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED, checkout.folder / "config/config.yaml"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(installed)),
        stdout=subprocess.PIPE,
        check=True,
    )
    home, version, rows = json.loads(done.stdout)
    assert Path(home).is_relative_to(installed)
    assert version.startswith("content-")
    assert rows > 0
