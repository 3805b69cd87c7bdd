"""Tables of another code: read as ours are, and refused in one sentence where they would be misread."""

import re
import subprocess
import sys
from pathlib import Path

import judge_claims
import pandas as pd
import pytest
import synthetic_tables as synthetic

from nfd.claims.registry import EXPERIMENTS
from nfd.pipeline import tables
from nfd.pipeline.foreign import METRICS, read_results
from nfd.pipeline.tables import OUTPUT_COLUMNS, RESULT_COLUMNS, TableError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/tables.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """What the example of the page writes."""
    path = tmp_path_factory.mktemp("example") / "mine.csv"
    command = [sys.executable, ROOT / "examples/tables_of_another_code.py", path]
    subprocess.run(command, check=True)
    return path


def test_the_example_is_judged_and_shown(example, tmp_path, capsys):
    claims, page = tmp_path / "claims.csv", tmp_path / "report.html"
    options = ["--output", str(claims), "--page", str(page), "--label", "Invented <images>"]
    assert judge_claims.main(["--tables", str(example), *options]) == 0
    assert "C7 depth-transfer-1     supported" in capsys.readouterr().out
    table = pd.read_csv(claims)
    assert set(table.loc[table["verdict"] != "inconclusive", "id"]) == {"C7"}
    html = page.read_text(encoding="utf-8")
    assert "Invented &lt;images&gt;" in html
    assert html.count("<figure id=") == 1
    assert 'id="figure-depth_transfer"' in html
    assert "mine.csv" in html
    assert 'id="cost"' not in html  # nothing is known of costs, configuration and record
    for place in re.findall('href="#([^"]+)"', html):
        assert f'id="{place}"' in html


def test_csv_and_parquet_are_judged_alike(example, tmp_path):
    parquet = tmp_path / "mine.parquet"
    tables.write_results(pd.read_csv(example), parquet, {})
    verdicts = []
    for path in (example, parquet):
        output = tmp_path / f"{path.suffix[1:]}.csv"
        assert judge_claims.main(["--tables", str(path), "--output", str(output)]) == 0
        verdicts.append(output.read_text())
    assert verdicts[0] == verdicts[1]


def test_tables_of_this_pipeline_pass(tmp_path):
    frame = pd.concat(
        [synthetic.transfer("depth_transfer", "depth", sizes=(4, 8), optimizer="adam")]
    )
    tables.write_results(frame, tmp_path / "a.parquet", {})
    pd.testing.assert_frame_equal(
        read_results([tmp_path / "a.parquet"], EXPERIMENTS), tables.read(tmp_path / "a.parquet")
    )


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("experiment", "depth_transfr", "column experiment: 'depth_transfr' is not one of scaling"),
        ("parametrization", "muP", "column parametrization: 'muP' is not one of standard"),
        ("metric", "losses", "column metric: 'losses' is not one of loss, accuracy"),
        (
            "trainable",
            "hidden_1+output",
            "column trainable: 'hidden_1' is not one of input, hidden_2",
        ),
        ("trainable", "output+input", "'output+input' is not in the order input+hidden_2+output"),
        ("block_layers", 3, "column block_layers: 3 is not one of 1, 2"),
        ("width", 12.5, "column width: 12.5 is not a whole number from 1"),
        ("depth", 0, "column depth: 0 is not a whole number from 1"),
        ("learning_rate", -0.5, "column learning_rate: -0.5 is not a number above 0"),
        ("learning_rate", "fast", "column learning_rate: 'fast' is not a number above 0"),
        ("value", "n/k", "column value: 'n/k' is not a number"),
        ("diverged", "no", "column diverged: 'no' is not True or False"),
        ("seed", None, "column seed: nan is not a whole number from 0"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_column(
    example, tmp_path, capsys, column, value, told
):
    frame = pd.read_csv(example).astype({column: object})
    frame.loc[3, column] = value
    path = tmp_path / "wrong.csv"
    frame.to_csv(path, index=False)
    command = ["--tables", str(path), "--output", str(tmp_path / "claims.csv")]
    assert judge_claims.main(command) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"error: {path}: ")
    assert told in sentence
    assert not (tmp_path / "claims.csv").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frame: frame.drop(columns="seed"), r"missing \['seed'\], unknown \[\]"),
        (lambda frame: frame.assign(sede=1), r"missing \[\], unknown \['sede'\]"),
    ],
)
def test_columns_that_are_missing_or_unknown_are_named(example, tmp_path, change, told):
    path = tmp_path / "wrong.csv"
    change(pd.read_csv(example)).to_csv(path, index=False)
    with pytest.raises(TableError, match=rf"wrong.csv: table columns: {told}"):
        read_results([path], EXPERIMENTS)


def test_what_is_no_table_is_named(tmp_path):
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(TableError, match=f"{name}: not a readable"):
            read_results([tmp_path / name], EXPERIMENTS)


def test_the_page_explains_every_column_and_metric():
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert set(RESULT_COLUMNS) <= set(explained)
    assert set(OUTPUT_COLUMNS) <= {*RESULT_COLUMNS, "outputs"}
    metrics = re.findall(r"^\| `(?:train|probe|batch)`[^|]*\| ([^|]*) \|", PAGE, re.MULTILINE)
    told = {name for row in metrics for name in re.findall(r"`([^`]*)`", row)}
    assert told == set(METRICS)
