"""The store by itself: what is put in comes out, whatever is done to its files."""

import hashlib
import io
import json
import logging
import multiprocessing
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from synthetic_tables import runs

from nfd.data.prepared import contents_digest
from nfd.data.sources import prepare
from nfd.pipeline import store as stores
from nfd.pipeline.store import STORE_COLUMNS, Origin, Store, StoreError, address_of

ORIGIN = Origin(samples="s", code="c", device="cpu")


def network(seed, steps=3):
    """Rows of a made-up network, with outputs and with numbers that are not round."""
    origin = ORIGIN.of({"seeds": [seed], "steps": steps})
    rng = np.random.default_rng(seed)
    fixed = {
        "address": address_of(origin),
        "origin": origin,
        **runs("one", parametrization="mup", widths=(8,), depths=(2,), seeds=(seed,)).iloc[0],
        "diverged": False,
    }
    rows = []
    for step in range(steps):
        loss = {"split": "test", "metric": "loss", "value": rng.standard_normal(), "outputs": None}
        f = rng.standard_normal(4).astype(np.float32)
        outputs = {"split": "probe", "metric": "outputs", "value": np.nan, "outputs": f}
        rows += [{**fixed, "step": step, **row} for row in (loss, outputs)]
    return pd.DataFrame(rows)[list(STORE_COLUMNS)]


def address(seed):
    return network(seed)["address"].iloc[0]


@pytest.fixture
def store(tmp_path):
    """Networks 0, 1, 2 in one part and 3, 4 in another."""
    store = Store(tmp_path / "store")
    store.add(pd.concat([network(seed) for seed in (0, 1, 2)]))
    store.add(pd.concat([network(seed) for seed in (3, 4)]))
    return Store(tmp_path / "store")


def assert_same(found, expected):
    pd.testing.assert_frame_equal(
        found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
    )


def test_what_is_put_in_comes_out_bit_for_bit(store):
    for seed in range(5):
        found = store.load([address(seed)])
        outputs = found.pop("outputs"), network(seed)["outputs"]
        assert_same(found, network(seed).drop(columns="outputs").astype(found.dtypes))
        for one, other in zip(*outputs, strict=True):
            assert np.array_equal(one, other) if other is not None else one is None


def test_what_is_missing_is_said_in_order(store):
    wanted = [address(seed) for seed in (7, 3, 5, 0)]
    assert store.missing(wanted) == [wanted[0], wanted[2]]
    assert set(store.load(wanted)["address"]) == {wanted[1], wanted[3]}


def test_an_empty_store_lacks_everything_and_makes_no_folder(tmp_path):
    store = Store(tmp_path / "none")
    assert store.missing(["a"]) == ["a"]
    assert list(store.load(["a"]).columns) == list(STORE_COLUMNS)
    store.add(store.load(["a"]))
    assert not (tmp_path / "none").exists()


def test_a_writer_sees_what_others_have_added_since(store):
    other = Store(store.folder)
    assert other.missing([address(9)]) == [address(9)]
    store.add(network(9))
    assert other.missing([address(9)]) == []


def test_a_network_kept_twice_is_read_once(store):
    store.add(pd.concat([network(0), network(9)]))
    assert len(store.load([address(0), address(9)])) == len(network(0)) + len(network(9))


# ------------------------------------------------------------------------------ shorter runs

LOGGED = [0, 1, 10, 100]


def origin_of(seed, logged):
    return ORIGIN.of(
        {"networks": [{}], "seeds": [seed], "steps": logged[-1], "logged_steps": logged}
    )


def trained(seed, logged):
    """Rows of a made-up network trained to the last of ``logged``; at each step the number is its own."""
    rows = network(seed, len(logged))
    rows["step"] = rows["step"].map(dict(enumerate(logged)))
    return rows.assign(origin=origin_of(seed, logged), address=address_of(origin_of(seed, logged)))


def _without_beginnings(rows):
    """A part's content as it was before footers listed beginnings."""
    addresses = json.dumps(sorted(rows["address"].unique())).encode()
    table = pa.Table.from_pandas(rows, stores._SCHEMA, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"addresses": addresses}), buffer)
    return buffer.getvalue()


def test_beginnings_are_the_runs_that_end_at_a_logged_step():
    """Their origins are those that jobs of so many steps write."""
    found = [(b.steps, b.origin, b.address) for b in stores.beginnings(origin_of(3, LOGGED))]
    wanted = [(end, origin_of(3, LOGGED[:place])) for place, end in ((2, 1), (3, 10))]
    assert found == [(end, origin, address_of(origin)) for end, origin in wanted]
    assert (
        stores.beginnings(ORIGIN.of({"particles": 8, "steps": 100, "logged_steps": LOGGED})) == []
    )


def test_a_shorter_run_is_given_out_from_a_longer_one(tmp_path, caplog):
    store = Store(tmp_path)
    store.add(pd.concat([trained(seed, LOGGED) for seed in (0, 1)]))
    wanted = trained(1, [0, 1, 10])
    with caplog.at_level(logging.INFO):
        found = store.load(wanted["address"].unique())
    assert caplog.messages == ["1 networks are read from longer runs in the store"]
    assert_same(found.drop(columns="outputs"), wanted.drop(columns="outputs"))
    assert store.missing(wanted["address"].unique()) == [wanted["address"].iloc[0]]
    # One that is kept itself is read from there.
    store.add(wanted.assign(value=7.0))
    assert (store.load(wanted["address"].unique())["value"] == 7).all()


def test_of_several_longer_runs_a_whole_one_is_read(tmp_path, caplog):
    store = Store(tmp_path)
    for end in (100, 200, 300):
        store.add(trained(1, [0, 1, 10, end]))
    parts = sorted(tmp_path.glob("*.parquet"))
    for part in parts[:2]:
        content = bytearray(part.read_bytes())
        content[len(content) // 3] ^= 1
        part.write_bytes(content)
    wanted = trained(1, [0, 1, 10])
    found = Store(tmp_path).load(wanted["address"].unique())
    assert_same(found.drop(columns="outputs"), wanted.drop(columns="outputs"))
    assert caplog.text.count("is damaged") == 2


def test_parts_that_list_no_beginnings_give_them_out_too(tmp_path):
    """Those written before there were any: their footers lack the key."""
    rows = pd.concat([trained(seed, LOGGED) for seed in range(3)])
    old = _without_beginnings(rows)
    (tmp_path / f"{hashlib.sha256(old).hexdigest()}.parquet").write_bytes(old)
    wanted = trained(1, [0, 1])
    found = Store(tmp_path).load(wanted["address"].unique())
    assert_same(found.drop(columns="outputs"), wanted.drop(columns="outputs"))


def test_no_rows_are_read_of_parts_that_do_not_hold_a_beginning(tmp_path, monkeypatch):
    """What keeps it fast: of a hundred parts the rows of one are read, and of none where none has it."""
    store = Store(tmp_path)
    for seed in range(100):
        store.add(trained(seed, LOGGED))
    read, whole = [], Store._read
    monkeypatch.setattr(Store, "_read", lambda self, path: read.append(path) or whole(self, path))
    assert len(Store(tmp_path).load([address_of(origin_of(7, [0, 1, 10]))])) == 3 * 2
    assert len(read) == 1
    assert Store(tmp_path).load([address_of(origin_of(7, [0, 10]))]).empty
    assert len(read) == 1


def test_pruning_keeps_the_longer_run_that_a_wanted_one_begins(tmp_path):
    store = Store(tmp_path)
    store.add(pd.concat([trained(seed, LOGGED) for seed in (0, 1, 2)]))
    store.add(trained(2, [0, 1, 10]))
    wanted = [address_of(origin_of(seed, [0, 1, 10])) for seed in (1, 2)]
    assert store.keep_only(wanted) == 2
    assert store.addresses() == {address_of(origin_of(1, LOGGED)), wanted[1]}
    assert set(store.load(wanted)["address"]) == set(wanted)


# ------------------------------------------------------------------------------------ addresses


def test_the_address_covers_all_that_numbers_depend_on():
    settings = {"width": 8, "seeds": [0]}
    origins = [ORIGIN.of(settings), ORIGIN.of({**settings, "width": 16})]
    for name in ("samples", "code", "device", "torch", "numpy"):
        origins.append(replace(ORIGIN, **{name: "other"}).of(settings))
    assert len({address_of(origin) for origin in origins}) == len(origins)
    assert ORIGIN.of(dict(reversed(settings.items()))) == origins[0]


def test_only_minor_versions_count():
    assert ORIGIN.torch.count(".") == ORIGIN.numpy.count(".") == 1
    assert json.loads(ORIGIN.of({}))["torch"] == ORIGIN.torch


def test_the_digest_of_samples_covers_what_networks_see():
    data = prepare({"name": "digits", "train_size": 30, "test_size": 20})
    changed = [
        replace(data, scale=2 * data.scale),
        replace(data, channel_mean=data.channel_mean + 1),
        replace(data, train_values=data.train_values[::-1]),
        replace(data, train_labels=data.train_labels[::-1].copy()),
        replace(data, test_values=data.test_values[::-1]),
        data.subset(29, 20),
        data.subset(30, 19),
    ]
    assert len({contents_digest(d) for d in [data, *changed]}) == 1 + len(changed)
    assert contents_digest(replace(data, name="other")) == contents_digest(data)


# ------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_part_is_named_and_set_aside(store, caplog, share):
    part = next(path for path, held in store._parts() if address(0) in held)
    content = part.read_bytes()
    part.write_bytes(content[: int(share * len(content))])
    fresh = Store(store.folder)
    assert fresh.missing([address(0), address(3)]) == [address(0)]
    assert f"{part} is damaged" in caplog.text
    assert part.with_suffix(".damaged").exists()
    fresh.add(network(0))
    assert len(fresh.load([address(0)])) == len(network(0))


def test_a_tampered_part_is_not_believed(store, caplog):
    part = next(path for path, held in store._parts() if address(0) in held)
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    fresh = Store(store.folder)
    assert len(fresh.load([address(0)])) == 0
    assert f"{part} is damaged (its content is not what its name says)" in caplog.text
    assert fresh.missing([address(0)]) == [address(0)]


def test_a_rewritten_value_is_not_believed(store, caplog):
    """A whole Parquet file under the old name, in which one loss is better."""
    part = next(path for path, held in store._parts() if address(0) in held)
    rows = store.load([address(0)])
    rows["value"] -= 1
    part.write_bytes(stores._as_parquet(rows, 3))
    assert len(Store(store.folder).load([address(0)])) == 0
    assert "is damaged" in caplog.text


def test_something_else_in_the_folder_is_named(store, caplog):
    pd.DataFrame({"x": [1]}).to_parquet(store.folder / "mine.parquet")
    assert Store(store.folder).missing([address(0)]) == []
    assert "mine.parquet is damaged" in caplog.text


def test_what_a_killed_writer_left_is_not_read(store):
    (store.folder / ".abc.parquet.xyz.parquet").write_bytes(b"half")
    assert Store(store.folder).missing([address(0)]) == []
    assert len(pd.read_parquet(store.folder)) == 5 * len(network(0))


def test_a_store_that_cannot_be_written_costs_the_store_and_not_the_job(tmp_path, caplog):
    (tmp_path / "store").write_text("a file")
    Store(tmp_path / "store").add(network(0))
    assert "going on without" in caplog.text


def _add_many(folder, first):
    for seed in range(first, first + 20):
        Store(folder).add(network(seed))


def test_many_writers_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_add_many, args=(tmp_path / "store", first)) for first in (0, 10, 20)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = Store(tmp_path / "store")
    assert store.missing([address(seed) for seed in range(40)]) == []
    assert len(store.load([address(seed) for seed in range(40)])) == 40 * len(network(0))


# ---------------------------------------------------------------------------- read by others


def test_one_query_gives_the_loss_of_all_runs_ever_made(store):
    """As docs/store.md shows it, with pandas and with pyarrow."""
    expected = pd.concat([network(seed) for seed in range(5)])
    expected = sorted(expected.loc[expected["metric"] == "loss", "value"])
    found = pd.read_parquet(store.folder, filters=[("metric", "=", "loss")])
    assert sorted(found["value"]) == expected
    table = ds.dataset(store.folder).to_table(filter=ds.field("metric") == "loss")
    assert sorted(table["value"].to_pylist()) == expected


# --------------------------------------------------------------- pruning, exporting, importing


def test_pruning_drops_what_is_not_wanted(store):
    assert store.keep_only([address(0), address(3), address(4)]) == 2
    assert store.addresses() == {address(0), address(3), address(4)}
    assert len(store.load([address(0)])) == len(network(0))


def test_pruning_drops_second_copies_and_leftovers(store):
    store.add(pd.concat([network(0), network(9)]))
    (store.folder / "x.damaged").touch()
    before = store.addresses()
    assert store.keep_only(before) == 0
    assert store.addresses() == before
    rows = pd.read_parquet(store.folder)
    assert len(rows) == 6 * len(network(0))
    assert not list(store.folder.glob("*.damaged"))


def test_an_export_is_one_small_file_that_another_store_takes(store, tmp_path):
    file = tmp_path / "some.parquet"
    assert store.export([address(0), address(3)], file) == 2
    other = Store(tmp_path / "other")
    assert other.import_from(file) == 2
    assert other.import_from(file) == 0
    for seed in (0, 3):
        found, wanted = other.load([address(seed)]), store.load([address(seed)])
        assert_same(found.drop(columns="outputs"), wanted.drop(columns="outputs"))
        for one, same in zip(found["outputs"], wanted["outputs"], strict=True):
            assert np.array_equal(one, same) if same is not None else one is None


def test_an_import_is_kept_shape_by_shape(store, tmp_path):
    """So that a job of one shape does not read the networks of all others."""
    deeper = network(7).assign(depth=16)
    store.add(deeper)
    file = tmp_path / "all.parquet"
    assert store.export([address(0), address(3), address(7)], file) == 3
    other = Store(tmp_path / "other")
    assert other.import_from(file) == 3
    assert sorted(other.sizes()["networks"]) == [1, 2]
    found = other.load([address(7)])
    assert_same(
        found.drop(columns="outputs"),
        deeper.drop(columns="outputs").astype(found.drop(columns="outputs").dtypes),
    )


def test_what_is_no_export_is_named(store, tmp_path):
    file = tmp_path / "some.parquet"
    file.write_text("no Parquet")
    with pytest.raises(StoreError, match=r"some.parquet is not a Parquet file that 'export' wrote"):
        store.import_from(file)
    pd.DataFrame({"x": [1]}).to_parquet(file)
    with pytest.raises(StoreError, match=r"some.parquet: its columns are not those of a store"):
        store.import_from(file)
    rows = network(8)
    rows["origin"] = ORIGIN.of({"seeds": [9]})
    file.write_bytes(stores._as_parquet(rows, 3))
    with pytest.raises(StoreError, match="is not the address of"):
        store.import_from(file)
    for origin in ("no JSON", "7", "{}", '{"settings":{"networks":[]}}'):
        rows["origin"], rows["address"] = origin, address_of(origin)
        file.write_bytes(_without_beginnings(rows))
        with pytest.raises(StoreError, match="no origin that a job writes"):
            store.import_from(file)


def test_the_folder_is_a_setting_of_the_environment(monkeypatch):
    monkeypatch.delenv("NFD_STORE", raising=False)
    assert str(stores.default_folder()) == "work/store"
    monkeypatch.setenv("NFD_STORE", "/shared/store")
    assert str(stores.default_folder()) == "/shared/store"


def test_logging_is_quiet_when_all_is_well(store, caplog):
    with caplog.at_level(logging.DEBUG):
        store.load([address(0)])
    assert caplog.text == ""
