"""A clean copy of this repository in a temporary folder, and Snakemake run in it."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import yaml

from nfd.pipeline.config_files import lay_over

ROOT = Path(__file__).parents[2]
SMOKE = "config/smoke.yaml"
# One small network and one small limit: the least that goes through data, train and limit rules.
TINY = {
    "preset": "tiny",
    "experiments": {
        **dict.fromkeys(yaml.safe_load((ROOT / "config/config.yaml").read_text())["experiments"]),
        "limit_convergence": {
            "networks": [{"parametrization": "depth_mup"}],
            "grids": [{"widths": [8], "depths": [2]}],
            "learning_rates": [0.5],
            "seeds": 2,
            "steps": 2,
            "batch_size": 4,
            "train_size": 8,
            "evaluation_size": 8,
            "probe_size": 4,
            "data_order": "shared",
            "probes": ["outputs"],
            "limit": {"particles": 64, "depths": [2], "couplings": ["standard"], "seeds": 2},
        },
    },
}


class Checkout:
    """The files git tracks (as they are in the working tree), and commands run among them.

    ``python`` is the interpreter whose environment the commands use.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder, self.python = folder, python
        for name in [*self._tracked(), *self._compiled()]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)

    @staticmethod
    def _tracked() -> list[str]:
        """What git tracks, but for the records' networks: tens of megabytes that no run reads."""
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        names = [name for name in filter(None, listed.stdout.split("\0")) if (ROOT / name).exists()]
        return [name for name in names if not name.endswith("/networks.parquet")]

    @staticmethod
    def _compiled() -> list[str]:
        """Compiled modules, which are good in the copy too: else each copy would compile the package."""
        return [path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.pyc")]

    @property
    def environment(self) -> dict[str, str]:
        """The copy's own package first, this environment's programs first, one thread."""
        return {
            **os.environ,
            "PATH": f"{Path(self.python).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "OMP_NUM_THREADS": "1",
        }

    def command(self, *arguments: str, config: str | None = SMOKE) -> list[str]:
        command = [self.python, "-m", "snakemake", *arguments]
        return command + (["--configfile", config] if config else [])

    def snakemake(self, *arguments: str, config: str | None = SMOKE, cores: int = 2):
        """Run to the end; returns the process with its output, both streams, as ``stdout``."""
        command = self.command(*arguments, config=config)
        if "--profile" not in arguments:
            command += ["--cores", str(cores)]
        return self._finished(command)

    def run(self, script: str, *arguments: str):
        """Run a script of the copy; the same is returned."""
        return self._finished([self.python, script, *arguments])

    def _finished(self, command: list[str]):
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def planned(self, *arguments: str, config: str | None = SMOKE) -> list[str]:
        """Rule names of the jobs a run would start."""
        done = self.snakemake(*arguments, "--dry-run", config=config)
        assert done.returncode == 0, done.stdout
        return sorted(planned_in(done.stdout).elements())

    def write_config(self, name: str, config: Mapping) -> str:
        """Write a config file; returns its path relative to the copy."""
        (self.folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(dict(config)))
        return f"config/{name}.yaml"


def planned_in(told: str) -> Counter[str]:
    """Jobs per rule of a dry run's output; the target rules of no work are left out."""
    if "Nothing to be done" in told:
        return Counter()
    lines = [line.split() for line in told.split("Job stats:")[-1].splitlines()]
    jobs = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    targets = {"all", "data", "train", "limits", "figures", "claims", "report", "total"}
    return Counter({rule: count for rule, count in jobs.items() if rule not in targets})


def merged(changes: Mapping) -> dict:
    """``changes`` laid over config/config.yaml, as Snakemake lays one config file over another."""
    return lay_over(yaml.safe_load((ROOT / "config/config.yaml").read_text()), changes)


def tables_in(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables below ``folder`` by relative path; every one of them must be whole."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or "benchmarks" in path.parts:
            continue
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            found[name] = pq.ParquetFile(path).read().to_pandas()
        elif path.suffix == ".csv":
            found[name] = pd.read_csv(path)
    return found


def assert_same_tables(folder: Path, expected: Path) -> None:
    """Same files, same rows, same bits."""
    found, wanted = tables_in(folder), tables_in(expected)
    assert found.keys() == wanted.keys()
    for name, table in wanted.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True, obj=name)
