"""The record: texts hold its numbers to the letter, and only a whole run of committed code gets in."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic_report
import yaml

from nfd.claims.registry import CLAIMS, FIGURES
from nfd.claims.rules import CLAIM_COLUMNS
from nfd.pipeline.config import ConfigError, check, config_digest
from nfd.report import ReportError
from nfd.report.record import describe, keep
from nfd.report.verdicts import BEGIN, END, Recorded, between_markers, recorded, verdict_table

ROOT = Path(__file__).parents[1]
RECORDS = sorted(ROOT.glob("figures/record/*/claims.csv"))
COMMIT = "0123456789ab"


# -------------------------------------------------------------------------------- what is published


def test_texts_hold_the_numbers_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from update_verdicts import updated

    for path, text in updated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run scripts/update_verdicts.py"


def test_the_codecheck_lists_every_file_of_the_records_and_no_other() -> None:
    text = (ROOT / "codecheck.yml").read_text(encoding="utf-8")
    assert text.startswith("---\n")
    listed = [ROOT / item["file"] for item in yaml.safe_load(text)["manifest"]]
    kept = {path for record in RECORDS for path in record.parent.iterdir()}
    assert len(listed) == len(set(listed))
    assert set(listed) == {path for path in kept if path.suffix in (".csv", ".png")}


@pytest.mark.parametrize("text", ["README.md", "docs/howto.md", "docs/claims.md", "docs/tables.md"])
def test_links_lead_to_files(text: str) -> None:
    content = (ROOT / text).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", content):
        place = (ROOT / text).parent / target
        assert place.exists(), f"{text} links to {target}, which is not there"


def test_no_text_shows_what_runs_write() -> None:
    """Pictures and numbers in the texts are those of records and kept stages, which no run changes."""
    for text in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        shown = re.findall(r"\]\(([^)]*figures/[^)]*)\)", text.read_text(encoding="utf-8"))
        assert [link for link in shown if not re.search("figures/(record|stages)/", link)] == []


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_record_is_complete(path: Path) -> None:
    claims = pd.read_csv(path)
    assert list(claims)[: len(CLAIM_COLUMNS)] == list(CLAIM_COLUMNS)
    assert list(claims["id"].drop_duplicates()) == list(CLAIMS)
    decided = claims[claims["verdict"] != "inconclusive"]
    exact = decided["seeds"].isna()  # a closed form: it has no interval, and decides nothing
    assert decided["estimate"].notna().all()
    assert decided.loc[~exact, ["ci_low", "ci_high"]].notna().all(axis=None)
    assert not decided.loc[exact, "decides"].any()
    assert claims.loc[claims["verdict"] == "inconclusive", "rule"].notna().all()
    kept = json.loads((path.parent / "provenance.json").read_text(encoding="utf-8"))
    assert kept["config_digest"] == config_digest(kept["config"])
    versions = kept["made_with"]["Code version"]
    assert not [version for version in versions if version.endswith("-dirty")]
    for figure in FIGURES:
        assert (path.parent / f"{figure}.png").exists()
        assert (path.parent / f"{figure}.csv").exists()


def test_the_laptop_record_is_of_the_configuration_as_shipped() -> None:
    shipped = check(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8")))
    kept = ROOT / "figures" / "record" / "laptop" / "provenance.json"
    assert json.loads(kept.read_text(encoding="utf-8"))["config_digest"] == config_digest(shipped)


def test_git_ignores_what_runs_write_and_nothing_of_the_record() -> None:
    paths = ("figures/laptop/claims.csv", "figures/mine/scaling_trend.png", "figures/.record-a/x")
    paths += ("results/mine/comparison.csv", "figures/record/mine/claims.csv")
    command = ["git", "check-ignore", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.stdout.split() == list(paths[:-1])


# --------------------------------------------------------------------------------- the texts' tables


def row(identity: str = "C1") -> dict[str, object]:
    return {
        "id": identity,
        "name": "a-claim",
        "statement": "it holds",
        "observable": "slope",
        "statistic": "slope",
        "estimate": -0.5,
        "ci_low": -0.6,
        "ci_high": -0.4,
        "seeds": 5,
        "rule": "below 0",
        "verdict": "supported",
        "note": "",
        "figure": "a_figure",
        "decides": True,
        "control": "",
    }


def test_the_table_shows_verdict_estimate_and_interval(tmp_path: Path) -> None:
    pd.DataFrame([row()]).to_csv(tmp_path / "claims.csv", index=False)
    table = verdict_table([Recorded("here", "digits", str(tmp_path))])
    assert f"digits ([here]({tmp_path}/claims.csv))" in table
    assert "| C1 | **a-claim**: it holds |" in table
    assert f"[supported]({tmp_path}/a_figure.png)<br>−0.500 [−0.600, −0.400]" in table


def test_the_table_says_where_the_regime_cannot_show_an_effect(tmp_path: Path) -> None:
    gated = {
        "verdict": "inconclusive",
        "note": "the regime cannot show it: a control is inconclusive",
    }
    pd.DataFrame([row() | gated]).to_csv(tmp_path / "claims.csv", index=False)
    table = verdict_table([Recorded("here", "digits", str(tmp_path))])
    assert f"[inconclusive]({tmp_path}/a_figure.png): the regime cannot show it<br>" in table


def test_the_table_says_what_a_preset_leaves_out(tmp_path: Path) -> None:
    """'Inconclusive' would say that it was tried."""
    left_out = {"verdict": "inconclusive", "estimate": None, "ci_low": None, "ci_high": None}
    left_out["note"] = "missing: experiment width_transfer"
    pd.DataFrame([row() | left_out]).to_csv(tmp_path / "claims.csv", index=False)
    table = verdict_table([Recorded("here", "digits", str(tmp_path))])
    assert "| C1 | **a-claim**: it holds | not run |" in table


def test_a_claim_that_one_record_lacks_is_in_the_table(tmp_path: Path) -> None:
    records = []
    for name, claims in (("one", ["C1"]), ("two", ["C1", "C2"])):
        (tmp_path / name).mkdir()
        pd.DataFrame([row(c) for c in claims]).to_csv(tmp_path / name / "claims.csv", index=False)
        records.append(Recorded(name, name, str(tmp_path / name)))
    last = verdict_table(records).splitlines()[-1]
    assert last.startswith("| C2 ")
    assert "| not judged | [supported]" in last


def test_markers_are_needed_once() -> None:
    assert between_markers(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    for broken in ("nothing", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError, match="needs the lines"):
            between_markers(broken, "new")


# ---------------------------------------------------------------------------------- promoting a run


def all_on() -> dict[str, object]:
    """The shipped configuration under another name: it draws every figure and judges every claim."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    return check({**config, "preset": "mine"})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """figures/mine of a finished run of committed code."""
    folder = tmp_path / "figures" / "mine"
    folder.mkdir(parents=True)
    for name in FIGURES:
        synthetic_report.evidence(name).to_csv(folder / f"{name}.csv", index=False)
        (folder / f"{name}.png").write_bytes(b"picture of " + name.encode())
        (folder / f"{name}.svg").write_bytes(b"not kept")
    findings = pd.DataFrame([row(claim) for claim in CLAIMS])
    monkeypatch.setattr("nfd.report.record.code_version", lambda: COMMIT)
    synthetic_report.describe_run(folder, findings, all_on())
    made_with(folder, COMMIT)
    return folder


def made_with(folder: Path, *versions: str, judged: str = COMMIT) -> None:
    """Say of which versions of the code a run's tables are."""
    path = folder / "provenance.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["made_with"]["Code version"] = dict.fromkeys(versions, 1)
    kept["judged_with"] = judged
    path.write_text(json.dumps(kept), encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_finished_run_is_kept_as_it_is(run: Path, tmp_path: Path) -> None:
    records = tmp_path / "figures" / "record"
    assert keep(run, all_on(), records) == records / "mine"
    wanted = {name: data for name, data in contents(run).items() if not name.endswith(".svg")}
    assert contents(records / "mine") == wanted
    assert [found.preset for found in recorded(records)] == ["mine"]
    # Nothing of the work is left over.
    assert sorted(path.name for path in run.parent.iterdir()) == ["mine", "record"]


def test_a_new_record_replaces_the_whole_old_one(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "figures" / "record" / "mine"
    old.mkdir(parents=True)
    (old / "a_figure_of_yesterday.png").write_bytes(b"")
    keep(run, all_on(), old.parent)
    assert not (old / "a_figure_of_yesterday.png").exists()
    assert (old / "claims.csv").exists()


def drop_a_claim(run: Path) -> None:
    findings = pd.DataFrame([row(claim) for claim in list(CLAIMS)[:-1]])
    synthetic_report.describe_run(run, findings, all_on())
    made_with(run, COMMIT)


UNFIT = {
    "uncommitted code": (lambda run: made_with(run, f"{COMMIT}-dirty"), "-dirty is no commit"),
    "unknown code": (lambda run: made_with(run, "unknown"), "unknown is no commit"),
    "code outside git": (lambda run: made_with(run, "content-0123456789ab"), "is no commit"),
    "judged by uncommitted code": (
        lambda run: made_with(run, COMMIT, judged=f"{COMMIT}-dirty"),
        "-dirty is no commit",
    ),
    "two versions": (lambda run: made_with(run, COMMIT, "ffff"), "from 2 versions of the code"),
    "a claim too few": (drop_a_claim, r"claims.csv: claims C13 are not judged"),
    "a picture too few": (
        lambda run: (run / "scaling_trend.png").unlink(),
        r"scaling_trend.png: this figure is missing",
    ),
    "a table too few": (
        lambda run: (run / "scaling_trend.csv").unlink(),
        r"scaling_trend.csv: this figure is missing",
    ),
    "half a run": (
        lambda run: (run / "scaling_trend.csv").write_text("of a later run"),
        r"scaling_trend.csv: not the file that provenance.json describes",
    ),
    "no run": (lambda run: (run / "provenance.json").unlink(), "no finished run is here"),
    "no JSON": (lambda run: (run / "provenance.json").write_text("{"), "cannot be read"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_an_unfit_run_is_refused_and_the_record_stays(
    fault: str, run: Path, tmp_path: Path
) -> None:
    records = tmp_path / "figures" / "record"
    keep(run, all_on(), records)
    before = contents(records)
    spoil, message = UNFIT[fault]
    spoil(run)
    with pytest.raises(ReportError, match=message) as caught:
        keep(run, all_on(), records)
    assert "\n" not in str(caught.value)
    assert contents(records) == before


def test_a_run_of_another_configuration_is_refused(run: Path, tmp_path: Path) -> None:
    other = {**all_on(), "root_seed": 1}
    with pytest.raises(ReportError, match=f"the one to record is {config_digest(other)}"):
        keep(run, other, tmp_path / "record")


def test_a_configuration_that_leaves_a_claim_out_is_refused(run: Path, tmp_path: Path) -> None:
    config = all_on()
    del config["experiments"]["scaling"]
    synthetic_report.describe_run(run, pd.DataFrame([row(claim) for claim in CLAIMS]), config)
    made_with(run, COMMIT)
    with pytest.raises(ReportError, match="claim C1 needs figure scaling_trend"):
        keep(run, config, tmp_path / "record")


def test_a_failure_while_the_folders_change_places_brings_the_old_record_back(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "figures" / "record"
    keep(run, all_on(), records)
    before = contents(records)
    (run / "scaling_trend.png").write_bytes(b"another picture")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError("no space")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no space"):
        keep(run, all_on(), records)
    assert contents(records) == before


def test_no_preset_may_have_the_records_name() -> None:
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    with pytest.raises(ConfigError, match="preset: 'record' is the folder of the published"):
        check({**config, "preset": "record"})


def test_the_description_carries_the_whole_configuration(run: Path) -> None:
    kept = json.loads(describe(all_on(), [], run))
    assert kept["config"] == json.loads(json.dumps(all_on()))
    assert kept["config_digest"] == config_digest(all_on())
    assert set(kept["files"]) == {"claims.csv", *(f"{figure}.csv" for figure in FIGURES)}


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "keep_record.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: figures/laptop: no finished run is here")
    assert len(done.stderr.splitlines()) == 1
