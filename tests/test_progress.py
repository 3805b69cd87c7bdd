"""The line that says how long a run will take."""

import os
import time

import pytest
from synthetic_tables import runs

from nfd.pipeline import progress, tables


@pytest.mark.parametrize(
    ("left", "elapsed", "text"),
    [
        (100.0, 60, "laptop: 0 % of the work done after 1 min 0 s"),
        (98.0, 300, "laptop: 2 % of the work done after 5 min 0 s"),
        (25.0, 1800, "laptop: 75 % of the work done in 30 min 0 s, about 10 min 0 s left"),
        (50.0, 7500, "laptop: 50 % of the work done in 2 h 5 min, about 2 h 5 min left"),
    ],
)
def test_the_rest_takes_as_long_as_the_pace_so_far_says(left, elapsed, text):
    assert progress.line("laptop", 100.0, left, elapsed) == text


def test_a_job_has_ended_when_all_its_files_are_new(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for path, moment in ((old, 100), (new, 300)):
        path.touch()
        os.utime(path, (moment, moment))
    computed = progress.computed_since(200)
    assert computed([str(new)]) == 1
    assert computed([str(new), str(old)]) is None
    assert computed([str(new), str(tmp_path / "none")]) is None


def test_a_table_says_what_share_of_its_networks_the_store_had(tmp_path):
    path = tmp_path / "runs.parquet"
    rows = runs("depth_transfer", seeds=(0,)).head(1)
    rows = rows.assign(step=1, split="train", metric="loss", value=1.0, diverged=False)
    tables.write_results(rows, path, {"computed": "1", "from_store": "3"})
    assert progress.computed_since(0)([str(path)]) == 0.25


def test_it_speaks_while_work_is_left_and_is_silent_after(monkeypatch, capsys):
    monkeypatch.setattr(progress, "REPORT_INTERVAL_S", 0.01)
    done = {"short": 1.0}
    progress.watch("smoke", {"short": 1.0, "long": 3.0}, done.get)
    time.sleep(0.3)
    assert "smoke: 25 % of the work done" in capsys.readouterr().err
    done["long"] = 1.0
    time.sleep(0.1)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_what_the_store_answers_is_no_work(monkeypatch, capsys):
    monkeypatch.setattr(progress, "REPORT_INTERVAL_S", 0.01)
    done = {"kept": 0.0}
    progress.watch("smoke", {"kept": 90.0, "short": 2.0, "long": 8.0}, done.get)
    time.sleep(0.3)
    assert "smoke: 0 % of the work done after" in capsys.readouterr().err
    done["short"] = 1.0
    time.sleep(0.3)
    assert "smoke: 20 % of the work done in" in capsys.readouterr().err
    done["long"] = 1.0
