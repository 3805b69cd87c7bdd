"""The verdict tables of the texts are those of the committed record, to the letter."""

import importlib.util
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nfd.pipeline.config import check, config_digest
from nfd.verdicts import BEGIN, END, between_markers, record, verdict_table

ROOT = Path(__file__).parents[1]
RECORDS = sorted(ROOT.glob("figures/*/claims.csv"))


def script():
    """scripts/update_verdicts.py as a module."""
    path = ROOT / "scripts" / "update_verdicts.py"
    spec = importlib.util.spec_from_file_location("update_verdicts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_texts_hold_the_numbers_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path, text in script().updated().items():
        assert path.read_text() == text, f"{path}: run scripts/update_verdicts.py"


def test_links_of_the_readme_lead_to_files() -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), f"README.md links to {target}, which is not there"


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_record_is_complete(path: Path) -> None:
    claims = pd.read_csv(path)
    assert list(claims["id"].drop_duplicates()) == [f"C{number}" for number in range(1, 14)]
    decided = claims[claims["verdict"] != "inconclusive"]
    assert decided[["estimate", "ci_low", "ci_high"]].notna().all(axis=None)
    assert claims.loc[claims["verdict"] == "inconclusive", "rule"].notna().all()
    kept = json.loads((path.parent / "provenance.json").read_text())
    assert kept["config_digest"] == config_digest(kept["config"])
    versions = kept["made_with"]["Code version"]
    assert not [version for version in versions if version.endswith("-dirty")]
    assert (path.parent / "gia_restoration.png").exists()


def test_the_laptop_record_is_of_the_configuration_as_shipped() -> None:
    shipped = check(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))
    kept = json.loads((ROOT / "figures" / "laptop" / "provenance.json").read_text())
    assert kept["config_digest"] == config_digest(shipped)


def test_the_table_shows_verdict_estimate_and_interval(tmp_path: Path) -> None:
    row = {
        "id": "C1",
        "name": "a-claim",
        "statement": "it holds",
        "observable": "slope",
        "statistic": "slope",
        "estimate": -0.5,
        "ci_low": -0.6,
        "ci_high": -0.4,
        "rule": "below 0",
        "verdict": "supported",
        "note": "",
        "figure": "a_figure",
        "decides": True,
    }
    pd.DataFrame([row]).to_csv(tmp_path / "claims.csv", index=False)
    table = verdict_table({"here": str(tmp_path)})
    assert "| C1 | **a-claim**: it holds |" in table
    assert "[supported]" in table
    assert "−0.5 [−0.6, −0.4]" in table.replace("0.500", "0.5").replace("0.600", "0.6").replace(
        "0.400", "0.4"
    )


def test_markers_are_needed_once() -> None:
    assert between_markers(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    for broken in ("nothing", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="needs the lines"):
            between_markers(broken, "new")


def test_the_record_carries_the_whole_configuration() -> None:
    network = {"parametrization": "mup"}
    experiment = {
        "networks": [network],
        "grids": [{"widths": [4], "depths": [2]}],
        "learning_rates": [0.1],
        "seeds": 1,
        "steps": 1,
        "batch_size": 1,
    }
    config = check(
        {"preset": "t", "dataset": {"name": "digits"}, "experiments": {"trial": experiment}}
    )
    kept = json.loads(record(config, []))
    assert kept["config"] == json.loads(json.dumps(config))
    assert kept["config_digest"] == config_digest(config)
