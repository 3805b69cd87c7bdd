"""The line that says how long a run will take."""

import os
import time

import pytest

from nfd.pipeline import progress


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
    finished = progress.written_since(200)
    assert finished([str(new)])
    assert not finished([str(new), str(old)])
    assert not finished([str(new), str(tmp_path / "none")])


def test_it_speaks_while_work_is_left_and_is_silent_after(monkeypatch, capsys):
    monkeypatch.setattr(progress, "REPORT_INTERVAL_S", 0.01)
    done = {"short"}
    progress.watch("smoke", {"short": 1.0, "long": 3.0}, done.__contains__)
    time.sleep(0.3)
    assert "smoke: 25 % of the work done" in capsys.readouterr().err
    done.add("long")
    time.sleep(0.1)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
