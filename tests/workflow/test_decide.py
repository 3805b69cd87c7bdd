"""Deciding by rounds, in the workflow: judged at a look, the user's configuration as it was, the store used.

That tables made with the store's help are those of a run from nothing, tests/test_reuse.py shows.
"""

import re
from copy import deepcopy

import pandas as pd
import pytest
import yaml
from checkout import TINY

from nfd.evidence.significance import LOOKS, sequential_level

COUNTS = re.compile(r"(?:trained|simulated) (\d+) \w+, (\d+) from the store")


def counted(folder):
    """What the logs of a folder say in sum: (computed, from the store)."""
    found = [COUNTS.search(path.read_text()).groups() for path in folder.rglob("*.log")]
    return tuple(sum(map(int, column)) for column in zip(*found, strict=True))


def test_the_first_round_is_the_preset_at_the_first_look(tiny):
    """Five seeds of the schedule; with no time left nothing more is trained, and each claim is told why.

    TINY's two seeds come from the store, though another preset trained them.
    """
    checkout, _ = tiny
    config = {**deepcopy(TINY), "preset": "decided"}
    experiment = config["experiments"]["limit_convergence"]
    experiment["seeds"] = experiment["limit"]["seeds"] = 5
    file = checkout.write_config("decided", config)
    before = (checkout.folder / file).read_bytes()
    done = checkout.run("scripts/decide.py", "--config", file, "--budget", "0s", "--cores", "2")
    assert done.returncode == 0, done.stdout[-5000:]
    assert "C1 scaling-trend: undecided; missing: experiment scaling" in done.stdout
    assert "Nothing more to train within the budget" in done.stdout
    assert (checkout.folder / file).read_bytes() == before

    for kind in ("runs", "limits"):
        computed, kept = counted(checkout.folder / f"logs/decided/{kind}")
        assert computed / 3 == kept / 2 >= 1
    results = checkout.folder / "results/decided"
    assert [path.name for path in (results / "rounds").iterdir()] == ["round1.yaml"]
    overlay = yaml.safe_load((results / "rounds/round1.yaml").read_text())
    assert overlay["experiments"]["limit_convergence"]["looks"] == list(LOOKS)
    claims = pd.read_csv(results / "claims.csv")
    judged = claims[claims["figure"] == "limit_convergence"]
    assert (judged["look"] == 5).all()
    assert judged["level"].to_numpy() == pytest.approx(sequential_level(5))
    assert (results / "report.html").exists()
