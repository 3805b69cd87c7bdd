"""Networks of other code are kept on if, and only if, today's code makes their beginnings again."""

import json
from pathlib import Path

import pytest
from test_reuse import LIMITS, NETWORKS, assert_same_tables, filled, place, run, script

from nfd.pipeline.reuse import origin_of
from nfd.pipeline.settings import as_argument
from nfd.pipeline.store import Store, address_of
from nfd.pipeline.tables import read_provenance

__all__ = ["filled", "place"]  # fixtures
ADOPT = ["adopt", "--config", "tiny.yaml", "--share", "0.5"]


def make_former(change=lambda origin: {**origin, "code": "0123"}, rows_of=lambda rows: rows):
    """Turn the store into one of which each origin is changed so; the rows first by ``rows_of``."""
    store = Store("work/store")
    rows = rows_of(store.load(store.addresses()))
    texts = {text: as_argument(change(json.loads(text))) for text in rows["origin"].unique()}
    rows["origin"] = rows["origin"].map(texts)
    rows["address"] = rows["origin"].map(address_of)
    for part in Path("work/store").glob("*.parquet"):
        part.unlink()
    store.add(rows)


def test_what_comes_out_again_is_adopted_and_trained_no_more(filled, caplog, capsys):
    run("afresh", caplog, store="other/store")
    make_former()
    assert script("store")(ADOPT) == 0
    shown = capsys.readouterr().out
    assert f"{NETWORKS} of code 0123, torch" in shown
    assert (
        f"; {NETWORKS} made again to step 1 of 3, {NETWORKS} as kept (to 0.0e+00): {NETWORKS} adopted"
        in shown
    )
    assert f"{LIMITS} of code 0123, torch" in shown
    assert "1 made again to step 3 of 3" in shown
    assert f"{NETWORKS + LIMITS} of {NETWORKS + LIMITS} networks and simulations adopted" in shown
    assert run("adopted", caplog) == (0, NETWORKS, 0, LIMITS)
    assert_same_tables("adopted", "afresh")
    adopted = {
        int(read_provenance(path)["adopted"]) for path in Path("adopted").glob("*[!s].parquet")
    }
    assert adopted == {NETWORKS, LIMITS}
    assert script("store")(ADOPT) == 0
    assert "0 of 0 networks and simulations adopted" in capsys.readouterr().out


@pytest.mark.parametrize(("untrue", "adopted"), [(1, NETWORKS - 1), (2, 0)])
def test_what_differs_is_not_adopted_and_if_much_does_nothing_is(
    filled, caplog, capsys, untrue, adopted
):
    """Of a job's networks one in ten may stand at the edge of stability, where rounding is enlarged."""

    def bettered(rows):
        loss = (rows["metric"] == "loss") & (rows["step"] == 1) & (rows["source"] == "network")
        used = ~rows["seed"].eq(2)  # the configuration has two seeds
        first = rows[loss & used].drop_duplicates("address").index[:untrue]
        rows.loc[first, "value"] *= 1 - 3e-3
        return rows

    make_former(rows_of=bettered)
    # A tenth of twelve is one and a fifth.
    assert script("store")(ADOPT) == (0 if adopted else 1)
    shown = capsys.readouterr()
    as_kept = NETWORKS - untrue
    assert f"{NETWORKS} made again to step 1 of 3, {as_kept} as kept" in shown.out
    assert (
        f"{adopted + LIMITS} of {NETWORKS + LIMITS} networks and simulations adopted" in shown.out
    )
    told = "more than a tenth of their networks differ: trial: width8_depth2_block1_sgd; either the code"
    assert (told in shown.err) == (adopted == 0)
    assert run("after", caplog) == (NETWORKS - adopted, adopted, 0, LIMITS)


def test_a_setting_that_is_new_since_is_no_difference(filled, caplog):
    def without_horizon(origin):
        settings = {key: value for key, value in origin["settings"].items() if key != "horizon"}
        return {**origin, "code": "0123", "settings": settings}

    make_former(without_horizon)
    assert script("store")(ADOPT) == 0
    assert run("adopted", caplog) == (0, NETWORKS, 0, LIMITS)


def test_other_samples_are_not_adopted(filled, caplog, capsys):
    make_former(lambda origin: {**origin, "code": "0123", "samples": "others"})
    assert script("store")(ADOPT) == 0
    assert "0 of 0 networks and simulations adopted" in capsys.readouterr().out


def test_an_adopted_network_is_as_good_as_any(filled, caplog, capsys, monkeypatch):
    """It is exported, imported, verified and adopted again, and says by whom it was made."""
    make_former()
    main = script("store")
    main(ADOPT)
    main(["prune", "--config", "tiny.yaml"])
    assert main(["export", "--config", "tiny.yaml", "--output", "tiny.parquet"]) == 0
    assert main(["--store", "theirs", "import", "tiny.parquet"]) == 0
    assert main(["--store", "theirs", "verify", "--sample", "3", "--data", "data.npz"]) == 0
    assert "3 of 16 networks of the present code" in capsys.readouterr().out
    later = origin_of  # the code changes once more
    monkeypatch.setattr("nfd.pipeline.adopt.origin_of", lambda *a: _with_code(later(*a), "4567"))
    assert main(["--store", "theirs", *ADOPT]) == 0
    origins = [json.loads(text) for text in Store("theirs").origins().values()]
    twice = [origin["adopted"] for origin in origins if origin["code"] == "4567"]
    assert len(twice) == NETWORKS + LIMITS
    assert {trace[0]["code"] for trace in twice} == {"0123"}
    assert {trace[0]["checked_steps"] for trace in twice} == {1, 3}
    assert {len(trace) for trace in twice} == {2}


def _with_code(origin, code):
    return type(origin)(origin.samples, code, origin.device)


@pytest.mark.parametrize("share", ["0", "1.5", "half"])
def test_a_share_that_is_none_is_named(filled, capsys, share):
    with pytest.raises(SystemExit):
        script("store")([*ADOPT[:-1], share])
    assert f"'{share}' is no share of training above 0 and up to 1" in capsys.readouterr().err
