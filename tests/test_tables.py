"""The tidy-table contract: what breaks it is named, files are whole or absent, provenance survives."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_tables import runs

from nfd.pipeline import tables
from nfd.pipeline.provenance import provenance
from nfd.report.record import gather_provenance

ROOT = Path(__file__).parents[1]
RUN = runs("depth_transfer", seeds=(0,)).iloc[0].to_dict()
FACTS = {"config_digest": "abc", "device": "cpu"}


def results(**changes):
    rows = [
        {**RUN, "step": step, "split": "train", "metric": "loss", "value": value, "diverged": bad}
        for step, value, bad in ((0, 1.5, False), (10, float("nan"), True))
    ]
    return pd.DataFrame(rows).assign(**changes)


def outputs():
    frame = pd.DataFrame([{**RUN, "step": step} for step in (0, 10)])
    return frame.assign(outputs=[np.arange(6.0), np.arange(6.0) / 7])


def test_results_survive_writing_and_reading(tmp_path):
    path = tmp_path / "runs" / "a.parquet"  # the folder does not exist yet
    shuffled = results()[list(tables.RESULT_COLUMNS)[::-1]]
    tables.write_results(shuffled, path, FACTS)
    back = tables.read(path)
    assert list(back) == list(tables.RESULT_COLUMNS)
    pd.testing.assert_frame_equal(back, results()[list(back)], check_dtype=False)
    for name, kind in tables.RESULT_COLUMNS.items():
        assert str(back[name].dtype) == kind or kind == "string"
    both = tables.read([path, path])
    assert len(both) == 4
    assert both.index.is_unique


def test_outputs_survive_to_the_last_bit(tmp_path):
    path = tmp_path / "a.outputs.parquet"
    tables.write_outputs(outputs(), path, FACTS)
    for written, read in zip(outputs().outputs, tables.read(path).outputs, strict=True):
        np.testing.assert_array_equal(read, written)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (results().drop(columns="width"), r"missing \['width'\], unknown \[\]"),
        (results(colour="red"), r"missing \[\], unknown \['colour'\]"),
        (results().rename(columns={"seed": "Seed"}), r"missing \['seed'\], unknown \['Seed'\]"),
        (results(learning_rate=[0.5, np.nan]), r"\['learning_rate'\]: missing values"),
        (results(split=["train", None]), r"\['split'\]: missing values"),
        (results(depth="deep"), "wrong type.*deep"),
        (results(value="low"), "wrong type.*low"),
        (results(width=64.5), "wrong type.*width"),
        (results(step=[0, 0.5]), "wrong type.*step"),
        (results(diverged="no"), "wrong type.*diverged"),
        (results(skip=[1, 2]), "wrong type.*skip"),
    ],
)
def test_a_table_that_breaks_the_contract_is_refused_with_the_column_named(
    frame, message, tmp_path
):
    with pytest.raises(tables.TableError, match=message):
        tables.write_results(frame, tmp_path / "a.parquet", FACTS)
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_too(tmp_path):
    with pytest.raises(tables.TableError, match=r"missing \['outputs'\]"):
        tables.write_outputs(outputs().drop(columns="outputs"), tmp_path / "a.parquet", FACTS)


def test_the_value_column_alone_may_have_holes(tmp_path):
    tables.write_results(results(value=[np.nan, np.nan]), tmp_path / "a.parquet", FACTS)
    assert tables.read(tmp_path / "a.parquet").value.isna().all()


def test_integers_stored_as_whole_floats_are_integers(tmp_path):
    """pandas turns integers to floats whenever it joins frames; that is no error."""
    tables.write_results(results(width=64.0), tmp_path / "a.parquet", FACTS)
    assert tables.read(tmp_path / "a.parquet").width.tolist() == [64, 64]


def test_a_failed_write_keeps_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    tables.write_results(results(), path, FACTS)

    def full_disk(table, file, **_):
        file.write(b"PAR1 and no more")
        raise OSError("no space left on device")

    monkeypatch.setattr(tables.pq, "write_table", full_disk)
    with pytest.raises(OSError, match="no space"):
        tables.write_results(results(width=128), path, FACTS)
    assert list(tmp_path.iterdir()) == [path]
    assert tables.read(path).width.tolist() == [64, 64]


def test_provenance_survives_and_says_what_produced_the_file(tmp_path):
    path = tmp_path / "a.parquet"
    facts = provenance(config_digest="0123", dtype="float32", wall_time_s=1.5)
    tables.write_results(results(), path, facts)
    assert tables.read_provenance(path) == facts
    assert facts["config_digest"] == "0123"
    assert facts["wall_time_s"] == "1.5"
    for name in ("code_version", "python", "machine", "torch", "numpy", "pandas"):
        assert facts[name] not in ("", "absent")
    tables.write_outputs(outputs(), path, FACTS)
    assert tables.read_provenance(path) == FACTS


@pytest.mark.parametrize("kept", [0, 4, 0.5, -1])
def test_a_damaged_file_is_named(tmp_path, kept):
    """Cut to nothing, to the first bytes, to half, or by one byte."""
    path = tmp_path / "a.parquet"
    tables.write_results(results(), path, FACTS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept == 0.5 else kept])
    with pytest.raises(tables.TableError, match=r"a\.parquet: not a readable Parquet table"):
        tables.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(tables.TableError, match=r"none\.parquet"):
        tables.read(tmp_path / "none.parquet")


def test_tables_do_not_load_torch():
    program = "import sys, json, nfd.pipeline.tables; print(json.dumps('torch' in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(answer.stdout) is False


def of_data(tmp_path, **digests):
    """One table for each name, made from the data of that digest."""
    paths = [tmp_path / f"{name}.parquet" for name in digests]
    for path, digest in zip(paths, digests.values(), strict=True):
        tables.write_results(results(), path, {**FACTS, "dataset_digest": digest})
    return paths


def test_tables_of_two_data_sets_are_not_mixed(tmp_path):
    paths = of_data(tmp_path, a="1" * 64, b="1" * 64, c="2" * 64)
    assert len(tables.read(paths[:2])) == 4
    for mixed in (tables.read, gather_provenance):
        with pytest.raises(tables.TableError) as error:
            mixed(paths)
        told = str(error.value)
        assert f"{paths[0]} was made from the data 111111111111" in told
        assert f"{paths[2]} from 222222222222" in told
        assert "\n" not in told


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("make_evidence", ["--figure", "depth_transfer", "--output", "evidence.csv"]),
        ("judge_claims", ["--output", "claims.csv"]),
        ("describe_run", ["--config", "{}", "--claims", "claims.csv", "--figures", "."]),
    ],
)
def test_the_scripts_refuse_mixed_tables_in_one_sentence(tmp_path, script, arguments):
    paths = list(map(str, of_data(tmp_path, a="1" * 64, b="2" * 64)))
    (tmp_path / "claims.csv").touch()
    done = subprocess.run(
        [sys.executable, str(ROOT / f"scripts/{script}.py"), *arguments, "--tables", *paths],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "need the same data" in done.stderr
    assert done.stderr.count("\n") == 1
