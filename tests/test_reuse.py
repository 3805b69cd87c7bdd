"""Jobs that find some of their networks in the store: only the rest is computed, and tables are the same.

Widths are small, so that equal means bit for bit, whatever is stacked with what.
"""

import importlib.util
import json
import logging
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nfd.data.prepared import save
from nfd.data.sources import prepare
from nfd.pipeline import run as runs
from nfd.pipeline import store as stores
from nfd.pipeline import tables
from nfd.pipeline.config import check
from nfd.pipeline.jobs import expand
from nfd.pipeline.store import Store
from nfd.training.checkpoint import Checkpoint

ROOT = Path(__file__).parents[1]
EXPERIMENT = {
    "networks": [
        {"parametrization": "depth_mup", "couplings": ["standard", "decoupled"]},
        {"parametrization": "mup", "learning_rates": [0.25, 1e6]},  # the last one diverges
    ],
    "grids": [{"widths": [8], "depths": [2]}],
    "learning_rates": [0.25, 0.5],
    "seeds": 2,
    "steps": 3,
    "batch_size": 4,
    "train_size": 8,
    "evaluation_size": 6,
    "probe_size": 4,
    "log_points": 3,
    "data_order": "shared",
    "probes": ["outputs", "output_change"],
    "limit": {"particles": 32, "depths": [2], "couplings": ["standard"]},
}
NETWORKS, LIMITS = 12, 4
LOGGED: list[str] = []  # the summaries of all jobs that ran


def script(name):
    """A command's main; scripts import each other from their own folder."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def jobs_of(**changes):
    config = {
        "preset": "test",
        "dataset": {"name": "digits"},
        "experiments": {"trial": {**EXPERIMENT, **changes}},
    }
    training, limits = expand(check(config))
    return [("train", job) for job in training] + [("simulate_limit", job) for job in limits]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with prepared data."""
    monkeypatch.chdir(tmp_path)
    save(prepare({"name": "digits", "train_size": 20, "test_size": 20}), "data.npz")
    return tmp_path


def run(folder, caplog, *, store="work/store", experiment="trial", **changes):
    """Run all jobs; returns (networks trained, from the store, limits simulated, from the store)."""
    counts = {"trained": [0, 0], "simulated": [0, 0]}
    for command, job in jobs_of(**changes):
        caplog.clear()
        stem = f"{folder}/{job.name}"
        arguments = ["--experiment", experiment, "--settings", job.settings.to_json()]
        arguments += ["--data", "data.npz", "--results", f"{stem}.parquet"]
        arguments += ["--outputs", f"{stem}.outputs.parquet", "--store", store]
        with caplog.at_level(logging.INFO):
            assert script(command)(arguments) == 0
        (line,) = [r.getMessage() for r in caplog.records if "from the store" in r.getMessage()]
        LOGGED.append(line)
        verb, made, _, kept, *_ = line.split()
        counts[verb][0] += int(made)
        counts[verb][1] += int(kept)
    return tuple(counts["trained"] + counts["simulated"])


def assert_same_tables(folder, expected):
    names = sorted(path.name for path in Path(expected).glob("*.parquet"))
    assert names
    assert names == sorted(path.name for path in Path(folder).glob("*.parquet"))
    for name in names:
        found, wanted = (tables.read(Path(f) / name) for f in (folder, expected))
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def test_a_second_run_computes_nothing(place, caplog):
    assert run("first", caplog) == (NETWORKS, 0, LIMITS, 0)
    assert run("second", caplog) == (0, NETWORKS, 0, LIMITS)
    assert_same_tables("second", "first")


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"seeds": 3}, (6, 12, 2, 4)),
        ({"seeds": [1, 5]}, (6, 6, 2, 2)),
        ({"learning_rates": [0.25, 0.354, 0.5]}, (4, 12, 2, 4)),
        ({"grids": [{"widths": [8], "depths": [2, 4]}]}, (12, 12, 0, 4)),
        ({"optimizers": ["sgd", "adam"]}, (12, 12, 0, 4)),
        ({"seeds": 1}, (0, 6, 0, 2)),
        ({"batch_size": 3}, (12, 0, 4, 0)),
        ({"probes": ["outputs"]}, (12, 0, 0, 4)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_grows_is_computed_and_tables_are_those_of_a_run_from_nothing(
    place, caplog, changes, counts
):
    run("before", caplog)
    assert run("grown", caplog, **changes) == counts
    run("afresh", caplog, store="other/store", **changes)
    assert_same_tables("grown", "afresh")


LONGER = {"log_points": [1, 2, 3, 5], "optimizers": ["sgd", "adam"]}


def test_a_longer_run_goes_on_from_a_kept_shorter_one(place, caplog, monkeypatch):
    """Bit for bit the tables of a run from nothing; only the network that diverges has left no state."""
    monkeypatch.setenv("NFD_STORE_STATES", "yes")
    run("before", caplog, steps=3, **LONGER)
    monkeypatch.delenv("NFD_STORE_STATES")
    assert len(pd.read_parquet("work/store")["address"].unique()) == 2 * NETWORKS + LIMITS
    made = run("longer", caplog, steps=6, **LONGER)
    assert made == (2 * 2, 0, LIMITS, 0)
    assert "trained 2 networks, 0 from the store, 10 continued" in " ".join(LOGGED)
    run("afresh", caplog, store="other/store", steps=6, **LONGER)
    assert_same_tables("longer", "afresh")
    assert script("store")(["verify", "--sample", "100", "--data", "data.npz"]) == 0
    shorter = tables.read(sorted(Path("before").glob("*sgd.parquet"))[0])
    longer = tables.read(sorted(Path("longer").glob("*sgd.parquet"))[0])
    within = longer[longer["step"] <= 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(within, shorter, check_exact=True)


def test_states_of_other_logged_steps_or_damaged_ones_are_not_used(place, caplog, monkeypatch):
    monkeypatch.setenv("NFD_STORE_STATES", "yes")
    run("before", caplog, steps=3, log_points=[1, 3])
    assert run("other", caplog, steps=6, log_points=[2, 3]) == (NETWORKS, 0, LIMITS, 0)
    for path in Path("work/store/_states").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    assert run("longer", caplog, steps=6, log_points=[1, 3]) == (NETWORKS, 0, LIMITS, 0)
    run("afresh", caplog, store="other/store", steps=6, log_points=[1, 3])
    assert_same_tables("longer", "afresh")


# Under SGD training diverges after three steps at rate 3, and at once at 10^6.
DIVERGING = {
    **LONGER,
    "networks": [
        {"parametrization": "depth_mup", "couplings": ["standard", "decoupled"]},
        {"parametrization": "mup", "learning_rates": [0.25, 3, 1e6]},
    ],
    "data_order": "per_seed",
    "probes": ["outputs", "output_change", "features", "coupling", "kernel"],
    "limit": None,
}
DIVERGING_NETWORKS = 2 * 2 * (4 + 3)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_shorter_run_is_read_from_a_longer_one(place, caplog, steps):
    """Bit for bit the tables of one from nothing, whether a network diverges before, after or never."""
    run("longer", caplog, steps=6, **DIVERGING)
    assert run("shorter", caplog, steps=steps, **DIVERGING) == (0, DIVERGING_NETWORKS, 0, 0)
    run("afresh", caplog, store="other/store", steps=steps, **DIVERGING)
    assert_same_tables("shorter", "afresh")
    found = tables.read(sorted(Path("shorter").glob("*sgd.parquet")))
    lost = set(found.loc[found["diverged"], "learning_rate"])
    assert lost == ({3.0, 1e6} if steps > 3 else {1e6})
    # Nothing was added, and what was read is the same network for all other uses.
    assert set(pd.read_parquet("work/store")["step"]) == {0, 1, 2, 3, 5, 6}
    assert script("store")(["verify", "--sample", "3", "--data", "data.npz"]) == 0


def test_the_log_says_what_is_read_from_longer_runs(place, caplog):
    run("longer", caplog, steps=6, **LONGER)
    run("shorter", caplog, steps=3, **{**LONGER, "optimizers": ["sgd"], "seeds": 3, "limit": None})
    assert "12 networks are read from longer runs in the store" in caplog.text
    assert LOGGED[-1] == "trained 6 networks, 12 from the store"
    run("again", caplog, steps=6, **{**LONGER, "optimizers": ["sgd"], "limit": None})
    assert "longer runs" not in caplog.text


@pytest.mark.parametrize(
    ("points", "steps"),
    [([1, 3], 4), ([1, 2, 3], 5), ([1, 2, 3, 4], 7), (3, 4)],
    ids=["a subset", "a step that the longer run did not log", "a longer run", "a number"],
)
def test_other_logged_steps_are_trained(place, caplog, points, steps):
    """A subset too: the loss over batches at step 3 is a mean since step 1 there, and since 2 here."""
    run("longer", caplog, steps=6, log_points=[1, 2, 3, 4], limit=None)
    made = run("other", caplog, steps=steps, log_points=points, limit=None)
    assert made == (NETWORKS, 0, 0, 0)
    run("afresh", caplog, store="other/store", steps=steps, log_points=points, limit=None)
    assert_same_tables("other", "afresh")


def test_limits_are_not_read_from_longer_ones(place, caplog):
    run("longer", caplog, steps=4, log_points=[1, 2, 3])
    assert run("shorter", caplog, steps=3, log_points=[1, 2]) == (0, NETWORKS, LIMITS, 0)


def test_a_longer_run_that_was_tampered_with_is_not_read(place, caplog):
    """A better loss under the old name: it is named, and the shorter run is trained."""
    run("longer", caplog, steps=4, log_points=[1, 2, 3], limit=None)
    (part,) = Path("work/store").glob("*.parquet")
    rows = pd.read_parquet(part)
    rows.loc[rows["metric"] == "loss", "value"] *= 0.9
    part.write_bytes(stores._as_parquet(rows, 3))
    assert run("shorter", caplog, steps=3, log_points=[1, 2], limit=None) == (NETWORKS, 0, 0, 0)
    assert f"{part} is damaged (its content is not what its name says)" in caplog.text
    run("afresh", caplog, store="other/store", steps=3, log_points=[1, 2], limit=None)
    assert_same_tables("shorter", "afresh")


def test_a_longer_run_goes_on_from_the_one_that_a_shorter_was_read_from(place, caplog, monkeypatch):
    """A run that was not trained has left no state; the longer one it is the beginning of has."""
    monkeypatch.setenv("NFD_STORE_STATES", "yes")
    settings = {"log_points": [1, 2, 3, 4], "limit": None}
    run("middle", caplog, steps=4, **settings)
    run("shorter", caplog, steps=2, **settings)
    run("longer", caplog, steps=6, **settings)
    assert LOGGED[-1] == "trained 2 networks, 0 from the store, 10 continued"
    # Rows of a run that has gone on are in another order, and are read all the same.
    for part in Path("work/store").glob("*.parquet"):
        if 6 not in set(pd.read_parquet(part)["step"]):
            part.unlink()
    assert run("shorter", caplog, steps=3, **settings) == (0, NETWORKS, 0, 0)
    run("afresh", caplog, store="other/store", steps=3, **settings)
    assert_same_tables("shorter", "afresh")


def test_experiments_and_working_directories_share_a_store(place, caplog, tmp_path, monkeypatch):
    run("one", caplog)
    assert run("two", caplog, experiment="another") == (0, NETWORKS, 0, LIMITS)
    assert set(tables.read(sorted(Path("two").glob("*sgd.parquet")))["experiment"]) == {"another"}
    (tmp_path / "elsewhere").mkdir()
    shutil.copy("data.npz", "elsewhere/data.npz")
    store = str(tmp_path / "work/store")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("three", caplog, store=store) == (0, NETWORKS, 0, LIMITS)
    assert_same_tables("three", tmp_path / "one")


def test_other_samples_are_other_networks(place, caplog):
    run("before", caplog)
    data = prepare({"name": "digits", "train_size": 20, "test_size": 19})
    save(data, "data.npz")
    assert run("after", caplog) == (NETWORKS, 0, LIMITS, 0)


def test_a_deleted_or_damaged_store_costs_time_and_nothing_else(place, caplog):
    run("before", caplog)
    (part, *_) = sorted(Path("work/store").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    made = run("damaged", caplog)
    assert made in [(NETWORKS, 0, 0, LIMITS), (0, NETWORKS, LIMITS, 0)]
    shutil.rmtree("work/store")
    assert run("deleted", caplog) == (NETWORKS, 0, LIMITS, 0)
    for folder in ("damaged", "deleted"):
        assert_same_tables(folder, "before")


def test_a_killed_job_goes_on_where_it_stood_and_trains_only_what_is_new(
    place, caplog, monkeypatch
):
    run("before", caplog)
    offer, offers = Checkpoint.offer, []

    def interrupted(checkpoint, state):
        offers.append(0)
        if len(offers) == 2:
            checkpoint.signal = 15
        offer(checkpoint, state)

    monkeypatch.setattr(Checkpoint, "offer", interrupted)
    (job, *_) = [job for command, job in jobs_of(seeds=3) if command == "train"]
    arguments = ["--experiment", "trial", "--settings", job.settings.to_json()]
    arguments += ["--data", "data.npz", "--results", f"grown/{job.name}.parquet"]
    arguments += ["--outputs", f"grown/{job.name}.outputs.parquet"]
    assert script("train")(arguments) == 128 + 15
    offers.clear()
    monkeypatch.setattr(Checkpoint, "offer", lambda *_: offers.append(0))
    assert run("grown", caplog, seeds=3) == (6, 12, 2, 4)
    assert len(offers) == 1 + 2  # the last of three steps, and two limits
    monkeypatch.undo()
    monkeypatch.chdir(place)
    run("afresh", caplog, store="other/store", seeds=3)
    assert_same_tables("grown", "afresh")


def test_kept_rows_are_found_by_the_settings_that_made_them(place, caplog):
    """The store's own columns agree with the settings in its addresses."""
    run("before", caplog)
    rows = pd.read_parquet("work/store").drop_duplicates("address")
    assert len(rows) == NETWORKS + LIMITS
    for row in rows.itertuples():
        settings = json.loads(row.origin)["settings"]
        assert settings["seeds"] == [row.seed]
        if row.source == "network":
            (network,) = settings["networks"]
            assert network["parametrization"] == row.parametrization
            assert (network["couplings"], network["learning_rates"]) == (
                [row.coupling],
                [row.learning_rate],
            )
    assert Store("work/store").missing(rows["address"]) == []


def test_parts_are_in_the_order_of_the_job():
    for command, job in jobs_of():
        if command == "train":
            found = [part.identity for part in runs.training_parts(job.settings)]
            wanted = [
                (m.parametrization, m.coupling, m.learning_rate, m.seed)
                for m in runs.job_members(job.settings)
            ]
            keys = ("parametrization", "coupling", "learning_rate", "seed")
            assert [tuple(part[key] for key in keys) for part in found] == wanted


# --------------------------------------------------------------------------- scripts/store.py


TINY = {
    "preset": "tiny",
    "dataset": {"name": "digits"},
    "experiments": {"trial": EXPERIMENT},
}


@pytest.fixture
def filled(place, caplog, monkeypatch):
    """A store with all that a configuration file uses, and with a third seed that it does not."""
    run("before", caplog, seeds=3)
    folder = place / "results/tiny"
    folder.mkdir(parents=True)
    shutil.copy("data.npz", folder / "data.npz")
    base = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    off = dict.fromkeys(base["experiments"])
    config = place / "tiny.yaml"
    defaults = {"optimizers": ["sgd"]}
    experiments = {**off, "trial": EXPERIMENT}
    config.write_text(yaml.safe_dump({**TINY, "defaults": defaults, "experiments": experiments}))
    return config


def test_the_command_shows_prunes_exports_and_imports(filled, capsys):
    main = script("store")
    assert main(["size"]) == 0
    assert f"work/store: {18 + 6} networks and simulations in 2 files" in capsys.readouterr().out
    assert main(["export", "--config", "tiny.yaml", "--output", "tiny.parquet"]) == 0
    assert f"{NETWORKS + LIMITS} networks and simulations" in capsys.readouterr().out
    assert main(["prune", "--config", "tiny.yaml"]) == 0
    assert f"{6 + 2} networks and simulations dropped" in capsys.readouterr().out
    shutil.rmtree("work/store")
    assert main(["import", "tiny.parquet"]) == 0
    assert f"{NETWORKS + LIMITS} networks and simulations added" in capsys.readouterr().out


def test_states_are_shown_and_pruned(filled, capsys, caplog, monkeypatch):
    """The third seed is used by no configuration; 3 of its 4 networks per coupling have not diverged."""
    monkeypatch.setenv("NFD_STORE_STATES", "yes")
    shutil.rmtree("work/store")
    run("again", caplog, seeds=3)
    main = script("store")
    assert main(["size"]) == 0
    assert "; states of 15 networks, " in capsys.readouterr().out
    assert main(["prune", "--config", "tiny.yaml"]) == 0
    main(["size"])
    assert "; states of 10 networks, " in capsys.readouterr().out


def test_pruning_and_exporting_know_what_begins_a_longer_run(filled, capsys, caplog):
    """The configuration's networks are in the store as the first steps of longer ones only."""
    shutil.rmtree("work/store")
    points = {"log_points": [2], "limit": None}
    run("longer", caplog, seeds=3, steps=4, **{**points, "log_points": [2, 3]})
    text = yaml.safe_load(Path("tiny.yaml").read_text())
    text["experiments"]["trial"] |= points
    Path("tiny.yaml").write_text(yaml.safe_dump(text))
    main = script("store")
    assert main(["prune", "--config", "tiny.yaml"]) == 0
    assert "6 networks and simulations dropped" in capsys.readouterr().out
    assert run("kept", caplog, **points) == (0, NETWORKS, 0, 0)
    assert main(["export", "--config", "tiny.yaml", "--output", "tiny.parquet"]) == 0
    assert f"{NETWORKS} networks and simulations" in capsys.readouterr().out
    main(["--store", "theirs", "import", "tiny.parquet"])
    caplog.clear()
    assert run("theirs_tables", caplog, store="theirs", **points) == (0, NETWORKS, 0, 0)
    assert "longer runs" not in caplog.text
    assert_same_tables("theirs_tables", "kept")


def test_an_imported_store_is_judged_anew_without_training(filled, caplog):
    script("store")(["export", "--config", "tiny.yaml", "--output", "tiny.parquet"])
    script("store")(["--store", "theirs", "import", "tiny.parquet"])
    assert run("theirs_tables", caplog, store="theirs") == (0, NETWORKS, 0, LIMITS)
    run("afresh", caplog, store="other/store")
    assert_same_tables("theirs_tables", "afresh")


def test_verifying_trains_a_sample_again(filled, capsys):
    assert script("store")(["verify", "--sample", "4", "--data", "data.npz"]) == 0
    shown = capsys.readouterr().out
    assert f"4 of {18 + 6} networks of the present code and data made again, 0 differ" in shown
    assert shown.count("as kept, difference 0.0e+00") == 4


def test_verifying_finds_a_number_that_is_not_true(filled, capsys):
    """Every network of a store in which one loss of each has been bettered by one part in a thousand."""
    store = Store("work/store")
    rows = store.load(store.addresses())
    first = rows[(rows["metric"] == "loss") & (rows["step"] == 0)].drop_duplicates("address").index
    rows.loc[first, "value"] *= 1 - 1e-3
    Store("untrue").add(rows)
    command = ["--store", "untrue", "verify", "--sample", "100", "--data", "data.npz"]
    assert script("store")(command) == 1
    assert (
        "24 networks of the present code and data made again, 24 differ" in capsys.readouterr().out
    )


def test_a_data_set_that_is_not_there_is_named(filled, capsys):
    shutil.rmtree("results")
    assert script("store")(["prune", "--config", "tiny.yaml"]) == 1
    assert "results/tiny/data.npz does not exist" in capsys.readouterr().err
