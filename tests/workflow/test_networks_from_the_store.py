"""The store in the workflow: a preset with one more seed trains only that seed's networks."""

import re
from copy import deepcopy

from checkout import TINY, assert_same_tables

COUNTS = re.compile(r"(?:trained|simulated) (\d+) \w+, (\d+) from the store")


def counted(folder):
    """What the logs of a folder say in sum: (computed, from the store)."""
    found = [COUNTS.search(path.read_text()).groups() for path in folder.rglob("*.log")]
    return tuple(sum(map(int, column)) for column in zip(*found, strict=True))


def test_one_more_seed_trains_only_its_own_networks(tiny, monkeypatch):
    checkout, _ = tiny
    grown = deepcopy(TINY)
    experiment = grown["experiments"]["limit_convergence"]
    experiment["seeds"] = experiment["limit"]["seeds"] = 3
    # Stores of their own: other tests train more seeds in this copy.
    steps = (("before", TINY, "store"), ("grown", grown, "store"), ("afresh", grown, "another"))
    for preset, config, store in steps:
        monkeypatch.setenv("NFD_STORE", f"work/seeds/{store}")
        file = checkout.write_config(preset, {**config, "preset": preset})
        done = checkout.snakemake("train", "limits", config=file)
        assert done.returncode == 0, done.stdout[-5000:]
    for kind, per_seed in (("runs", 2), ("limits", 1)):  # networks of both couplings, one limit
        assert counted(checkout.folder / f"logs/grown/{kind}") == (per_seed, 2 * per_seed)
        assert counted(checkout.folder / f"logs/afresh/{kind}") == (3 * per_seed, 0)
        found, wanted = (checkout.folder / f"results/{p}/{kind}" for p in ("grown", "afresh"))
        assert_same_tables(found, wanted)
