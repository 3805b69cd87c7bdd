"""docs/howto.md, done: its blocks are applied to a copy of the repository, and what it promises is run there.

The quick part trains a few tiny networks in one process; the nightly part runs the page's own commands.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "workflow"))
from checkout import Checkout  # noqa: E402  (a helper of the workflow's tests)

PAGE = (ROOT / "docs" / "howto.md").read_text(encoding="utf-8")
# (text after the comment's sign on the first line, the rest)
BLOCKS = re.findall(
    r"^```(?:python|yaml|rst)\n(?:#|\.\.) (\S+\.\w+[^\n]*)\n(.*?)^```", PAGE, re.M | re.S
)


def apply(folder: Path, place: str, block: str) -> None:
    """Put a block where its first line says."""
    name, _, where = place.partition(", ")
    path = folder / name
    if not where:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")
        return
    how, target = re.fullmatch(r"(above|last in) (\w+)", where).groups()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (at,) = [n for n, line in enumerate(lines) if re.match(rf"{target}\b", line)]
    if how == "last in":
        at = next(n for n in range(at, len(lines)) if lines[n] in (")\n", "}\n"))
    lines.insert(at, block if how == "last in" else f"{block}\n\n")
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Checkout:
    """A copy to which every block of the page has been applied, and whose texts have been renewed."""
    copy = Checkout(tmp_path_factory.mktemp("howto"))
    assert len(BLOCKS) >= 14
    for place, block in BLOCKS:
        apply(copy.folder, place, block)
    python(copy, "-m", "ruff", "check", "--fix", "src")
    python(copy, "-m", "ruff", "format", "src")
    python(copy, "scripts/update_verdicts.py")
    return copy


# Run in the copy. It trains what the page adds and follows one table to its figure and verdict.
PROGRAM = """
import numpy as np, torch
from pathlib import Path
from nfd.claims.registry import CLAIMS, FIGURES, caption_path, function, gather
from nfd.claims.rules import judge, overall
from nfd.data.sources import prepare
from nfd.drawing.page import Context, draw, save_as
from nfd.pipeline.config import check
from nfd.pipeline.config_files import load
from nfd.pipeline.jobs import expand
from nfd.pipeline.run import run_training
import pandas as pd

def train(config, experiment):
    jobs = [job for job in expand(config)[0] if job.experiment == experiment]
    data = prepare(config["dataset"])
    cpu = torch.device("cpu")
    tables = [run_training(experiment, job.settings, data, device=cpu)[0] for job in jobs]
    return [job.name for job in jobs], pd.concat(tables, ignore_index=True)

def read(*files):
    return check(load(["config/config.yaml", *files]))

_, table = train(read("config/smoke.yaml", "quarter.yaml"), "depth_transfer")
assert {"depth_mup", "three_quarters"} == set(table["parametrization"])
save_as(draw(function("figure", "depth_transfer"), gather("depth_transfer", table),
             Context("digits", "quarter", "0")), "quarter.png")

rng = np.random.default_rng(0)
x, x_test = rng.standard_normal((80, 6)), rng.standard_normal((40, 6))
y, y_test = np.arange(80) % 3, np.arange(40) % 3
exec(Path("savez.py").read_text())
config = read("config/smoke.yaml", "arrays.yaml")
changes = {"activation": "sine", "optimizers": ["sgd", "sign_sgd"]}
config["experiments"]["width_transfer"] |= changes
_, table = train(check(config), "width_transfer")
assert set(table["activation"]) == {"sine"}
ends = table[(table["metric"] == "loss") & (table["step"] == table["step"].max())]
assert set(ends["optimizer"]) == {"sgd", "sign_sgd"}
assert len(ends["value"].unique()) > len(ends) / 2

names, table = train(read("small.yaml"), "sharpness")
assert "width16_depth2_block1_sgd" in names, names
evidence = gather("sharpness", table)
figure = draw(function("figure", "sharpness"), evidence, Context("digits", "small", "0"))
assert caption_path("sharpness").exists()
save_as(figure, "sharpness.png")
(claim,) = [claim for claim in CLAIMS.values() if claim.figures == ("sharpness",)]
findings = judge(claim, {"sharpness": evidence})
assert not findings["note"].str.contains("missing").any(), findings.to_dict("list")
print("verdict", overall(findings))
"""


def python(copy: Checkout, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=copy.folder,
        env=copy.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_page_adds_is_trained_drawn_and_judged(house):
    savez = next(
        block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "savez" in block
    )
    (house.folder / "savez.py").write_text(savez)
    (house.folder / "program.py").write_text(PROGRAM)
    assert "verdict supported" in python(house, "program.py")


def test_the_files_of_the_page_pass_the_check_of_the_configuration(house):
    for name in ("quarter.yaml", "small.yaml"):
        python(house, "scripts/check_config.py", name)


def test_the_texts_and_rooms_follow(house):
    page = (house.folder / "config/README.md").read_text(encoding="utf-8")
    for name in ("three_quarters", "sine", "sign_sgd"):
        assert f"`{name}`" in page
        assert f"`{name}`" not in (ROOT / "config/README.md").read_text(encoding="utf-8")
    chosen = "page or accepts or printed or family or learn or counts"
    tests = ["tests/test_registries.py", "tests/test_rooms.py"]
    python(house, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *tests)


@pytest.mark.nightly
@pytest.mark.parametrize("target", re.findall(r"^snakemake --cores 2 (\S+/small/.*)$", PAGE, re.M))
def test_the_commands_of_the_page(house, target):
    done = house.snakemake(*target.split(" ")[:1], config="small.yaml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (house.folder / target.split(" ")[0]).exists()
