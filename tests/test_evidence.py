"""The evidence of every figure on synthetic tables whose law is known."""

import io
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import synthetic_tables as synthetic
from synthetic_evidence import BATCH, response_by_layer

from nfd import closed_form
from nfd.claims.collapse.evidence import deeper_is_better, internal_collapse
from nfd.claims.convergence.evidence import limit_convergence
from nfd.claims.decoupling.evidence import gia_restoration, progress_weights
from nfd.claims.decoupling.evidence import response_by_layer as response_by_layer_evidence
from nfd.claims.mechanism.evidence import kernel_spectrum, vanishing_mechanism
from nfd.claims.registry import FAMILIES, FIGURES, gather
from nfd.claims.scaling.evidence import (
    diminishing_returns,
    fixed_rates,
    limit_training,
    scaling_trend,
)
from nfd.claims.transfer.evidence import depth_transfer, depth_transfer_2, width_transfer
from nfd.evidence import rates, table
from nfd.evidence.selection import pick_runs, reading_rates
from nfd.evidence.table import CELL, COLUMNS, read, series_label
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.pipeline import tables

CORRECTED = {"parametrization": "depth_mup_corrected", "correction": 0.5}


def one(frame: pd.DataFrame, quantity: str, **columns) -> pd.Series:
    """The single row that matches."""
    found = frame[frame["quantity"] == quantity]
    for name, value in columns.items():
        found = found[found[name] == value]
    assert len(found) == 1, f"{len(found)} rows of {quantity} {columns}"
    return found.iloc[0]


def holds(row: pd.Series, truth: float) -> bool:
    return row["ci_low"] <= truth <= row["ci_high"]


def everything() -> dict[str, tuple[pd.DataFrame, pd.DataFrame | None]]:
    """Tables for every figure."""
    corrected = {"parametrization": "depth_mup_corrected", "correction": 0.5, "block_layers": 2}
    limits = synthetic.limit_tables()
    scaling = synthetic.scaling(loss=lambda n, L: 0.3 + 5 / n + 0.5 / L)
    two = [
        synthetic.transfer("depth_transfer_2", "depth", block_layers=2, drift=-0.4),
        synthetic.transfer("depth_transfer_2", "depth", level=0.4, **corrected),
    ]
    exponents = [
        synthetic.transfer("correction_exponent", "depth", **corrected),
        synthetic.changes(
            {}, experiment="correction_exponent", rates=(2.0**-6, 2.0**-5), **corrected
        ),
    ]
    exponents[1] = exponents[1][exponents[1]["metric"] != "loss"]
    return {
        "gia_restoration": synthetic.gia(gap=lambda L: 0.2 + 0.3 / L),
        "response_by_layer": response_by_layer(),
        "scaling_trend": (scaling, None),
        "diminishing_returns": (scaling, None),
        "limit_training": (synthetic.limit_training(), None),
        **dict.fromkeys(
            ["limit_convergence", "vanishing_mechanism", "coupling_at_init", "kernel_spectrum"],
            limits,
        ),
        "depth_transfer": (synthetic.transfer("depth_transfer", "depth"), None),
        "width_transfer": (synthetic.transfer("width_transfer", "width"), None),
        "internal_collapse": (synthetic.changes({"own_change_1": -0.5}), None),
        "depth_transfer_2": (pd.concat(two), None),
        "deeper_is_better": (pd.concat(two), None),
        "correction_exponent": (pd.concat(exponents), None),
    }


TABLES = everything()


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return {name: gather(name, *TABLES[name]) for name in FIGURES}


# --------------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("figure", FIGURES)
def test_tables_obey_their_contract(figure, tmp_path):
    results, outputs = TABLES[figure]
    tables.write_results(results, tmp_path / "results.parquet", {})
    if outputs is not None:
        tables.write_outputs(outputs, tmp_path / "outputs.parquet", {})
    # What the pipeline reads back from files gives the same evidence as what was written.
    read_back = tables.read(tmp_path / "results.parquet")
    read_outputs = None if outputs is None else tables.read(tmp_path / "outputs.parquet")
    pd.testing.assert_frame_equal(
        gather(figure, read_back, read_outputs), gather(figure, results, outputs)
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_evidence_obeys_its_contract(figure, frames):
    frame = frames[figure]
    assert tuple(frame.columns) == tuple(COLUMNS)
    assert set(frame["source"]) <= {"network", "limit", "closed_form", "fit"}
    assert frame["series"].str.len().gt(0).all()
    for name in ("estimate", "ci_low", "ci_high", "seeds", "width", "depth", "learning_rate"):
        assert pd.api.types.is_numeric_dtype(frame[name].astype(float))
    bounded = frame.dropna(subset=["ci_low", "ci_high"])
    assert len(bounded) > 0
    assert (bounded["ci_low"] <= bounded["estimate"] + 1e-12).all()
    assert (bounded["estimate"] <= bounded["ci_high"] + 1e-12).all()
    # No row is given twice.
    identity = [name for name in COLUMNS if not name.startswith(("estimate", "ci", "seeds"))]
    assert not frame.duplicated(identity).any()


MODULES = [f"{family.package}.evidence" for family in FAMILIES] + [rates.__name__]


def documented(figure: str) -> str:
    """The parts of the modules' docstrings about a figure, with '<each>' patterns."""
    names = "|".join(FIGURES)
    found = []
    for module in MODULES:
        text = import_module(module).__doc__
        sections = re.split(rf"(?m)^((?:{names})(?:, (?:{names}))*)\b", text)
        for head, body in zip(sections[1::2], sections[2::2], strict=True):
            found += [body] if figure in head.split(", ") else []
    return " ".join(found)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_quantity_is_documented(figure, frames):
    text = documented(figure) + "diverged_runs"
    suffixes = sorted(set(re.findall(r"<each[^>]*>_(\w+)", text)), key=len, reverse=True)
    suffixes += [s for pair in re.findall(r"<each>_(\w+), <each>_(\w+)", text) for s in pair]
    for quantity in frames[figure]["quantity"].unique():
        bases = {quantity} | {quantity.removesuffix(f"_{s}") for s in suffixes}
        assert any(re.search(rf"\b{base}\b", text) for base in bases), quantity


@pytest.mark.parametrize("figure", FIGURES)
def test_no_runs_give_an_empty_table(figure):
    results = pd.DataFrame(columns=list(tables.RESULT_COLUMNS))
    outputs = pd.DataFrame(columns=list(tables.OUTPUT_COLUMNS))
    frame = gather(figure, results, outputs)
    assert frame.empty
    assert tuple(frame.columns) == tuple(COLUMNS)
    other = synthetic.transfer("another_experiment", "depth")
    assert gather(figure, other, None).empty


@pytest.mark.parametrize("figure", FIGURES)
def test_one_seed_gives_estimates_without_bounds(figure):
    results, outputs = TABLES[figure]
    results = results[results["seed"] == 0]
    outputs = None if outputs is None else outputs[outputs["seed"] == 0]
    frame = gather(figure, results, outputs)
    assert np.isfinite(frame["estimate"].astype(float)).any()
    assert frame[["ci_low", "ci_high"]].isna().all(axis=None)


@pytest.mark.parametrize("figure", FIGURES)
def test_everything_diverged_is_counted(figure):
    results, outputs = TABLES[figure]
    lost = synthetic.diverge(results, lambda frame: np.ones(len(frame), bool))
    frame = gather(figure, lost, outputs)
    counted = frame[frame["quantity"] == "diverged_runs"]
    if figure != "coupling_at_init":  # nothing diverges before the first step
        networks = lost[lost["source"] == "network"]
        limits = lost if counted["source"].eq("limit").any() else networks
        assert counted["estimate"].sum() == len(limits.drop_duplicates([*CELL, "seed"]))
    measured = frame[frame["source"].isin(["network", "limit", "fit"])]
    left = set(measured.loc[measured["estimate"].notna(), "quantity"]) - {"diverged_runs"}
    # In curves over learning rates a diverged run is an untrained one.
    untrained = {"final_train_loss", "final_test_loss"} if "transfer" in figure else set()
    untrained |= (
        {"final_train_loss", "final_test_loss"} if figure == "correction_exponent" else set()
    )
    if figure != "coupling_at_init":
        assert left <= {"grid_spacing"} | untrained


def test_csv_round_trip_keeps_numbers(frames):
    for frame in frames.values():
        text = frame.to_csv(index=False)
        back = read(io.StringIO(text))
        for name in ("estimate", "ci_low", "ci_high"):
            np.testing.assert_array_equal(back[name].to_numpy(float), frame[name].to_numpy(float))


def test_mixed_activations_are_refused():
    results = synthetic.transfer("depth_transfer", "depth")
    mixed = pd.concat([results, results.assign(activation="tanh")])
    with pytest.raises(ValueError, match="activation mixes"):
        depth_transfer(mixed)


@pytest.mark.parametrize(
    ("network", "label"),
    [
        ({"parametrization": "depth_mup"}, "depth_mup"),
        (
            {"parametrization": "depth_mup_corrected", "correction": 0.25},
            "depth_mup_corrected p=0.25",
        ),
        ({"parametrization": "mup", "skip": False}, "mup, no skip"),
        (
            {
                "parametrization": "complete_p",
                "block_layers": 2,
                "trainable": "hidden_1",
                "coupling": "decoupled",
            },
            "complete_p, trained: hidden_1, decoupled",
        ),
        ({"parametrization": "mup", "block_layers": 2, "trainable": synthetic.TWO_LAYERS}, "mup"),
        # All that a one-layer block has; in a two-layer block W1 is frozen.
        (
            {"parametrization": "mup", "block_layers": 1, "trainable": "input+hidden_2+output"},
            "mup",
        ),
        (
            {"parametrization": "mup", "block_layers": 2, "trainable": "input+hidden_2+output"},
            "mup, trained: input+hidden_2+output",
        ),
    ],
)
def test_series_labels(network, label):
    assert series_label(network) == label


def test_every_parametrization_with_an_exponent_has_it_in_its_name(monkeypatch):
    """Else the lines of all its exponents would be one."""
    another = replace(PARAMETRIZATIONS["depth_mup_corrected"], name="another")
    monkeypatch.setattr(table, "PARAMETRIZATIONS", {**PARAMETRIZATIONS, "another": another})
    networks = [{"parametrization": "another", "correction": p} for p in (0.25, 0.5)]
    assert [series_label(network) for network in networks] == ["another p=0.25", "another p=0.5"]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_table_given_twice_is_refused(figure):
    """A number that hides another would change an answer without a word."""
    results, outputs = TABLES[figure]
    with pytest.raises(
        ValueError, match=r"experiment \w+: two values of .*; a table is given twice"
    ):
        gather(figure, pd.concat([results, results]), outputs)


def test_outputs_given_twice_are_refused():
    results, outputs = TABLES["limit_convergence"]
    with pytest.raises(ValueError, match="two values of outputs of depth_mup for experiment limit"):
        gather("limit_convergence", results, pd.concat([outputs, outputs]))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "No columns to parse"),
        ("quantity,series\na,b\n", "columns of evidence are missing: source, parametrization, "),
        (
            ",".join(COLUMNS) + "\n" + "x," * (len(COLUMNS) - 1) + "x",
            "column correction of evidence",
        ),
    ],
)
def test_a_file_that_is_no_evidence_is_named(text, named, tmp_path):
    path = tmp_path / "stray.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=named) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_read_back_has_the_types_it_was_written_with(frames, tmp_path):
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        pd.testing.assert_frame_equal(read(tmp_path / f"{name}.csv"), frame)
        assert {column: str(kind) for column, kind in frame.dtypes.items()} == dict(COLUMNS)


# ---------------------------------------------------------------------------------------- reading rates


def gia_results(**network) -> pd.DataFrame:
    return synthetic.gia(gap=lambda L: 0.2 + 0 * L, **network)[0]


def rates_by_depth(results: pd.DataFrame) -> dict[int, float]:
    runs = pick_runs(results, "gia_restoration")
    rates = reading_rates(runs)
    return dict(zip(rates["depth"], rates["learning_rate"], strict=True))


def test_reading_rate_is_the_one_that_trains_best():
    assert set(rates_by_depth(gia_results()).values()) == {0.5}


def test_one_diverged_run_moves_all_depths_of_a_depth_scaled_network():
    """A single seed of the decoupled network at one depth is enough: the rate is common."""

    def one_run(f):
        return (
            (f["depth"] == 64)
            & (f["learning_rate"] == 0.5)
            & (f["coupling"] == "decoupled")
            & (f["seed"] == 3)
        )

    results = synthetic.diverge(gia_results(), one_run)
    assert set(rates_by_depth(results).values()) == {0.25}


def test_networks_without_depth_scaling_are_read_at_each_depths_own_rate():
    results = synthetic.diverge(
        gia_results(parametrization="mup"),
        lambda f: (f["depth"] >= 16) & (f["learning_rate"] == 0.5),
    )
    assert rates_by_depth(results) == {2: 0.5, 4: 0.5, 8: 0.5, 16: 0.25, 32: 0.25, 64: 0.25}


def test_a_shape_without_a_stable_rate_is_left_out_and_counted():
    results, outputs = synthetic.gia(gap=lambda L: 0.2 + 0 * L, parametrization="mup")
    results = synthetic.diverge(results, lambda f: f["depth"] == 64)
    assert max(rates_by_depth(results)) == 32
    frame = gia_restoration(results, outputs)
    counted = frame[frame["quantity"] == "diverged_runs"]
    # Two couplings, two rates, five seeds.
    assert counted["estimate"].sum() == 20
    assert set(counted["depth"]) == {64}
    measured = frame[(frame["quantity"] == "gap_square") & (frame["source"] == "network")]
    assert measured["depth"].max() == 32


# ----------------------------------------------------------------------------------------- gia_restoration


def test_squared_gap_and_its_plateau(frames):
    frame = frames["gia_restoration"]
    for step in (1, 10, 100):
        for depth in (2, 64):
            row = one(frame, "gap_square", source="network", depth=depth, step=step)
            # Five seeds of 60 entries with fluctuations of 0.05: the gap is known to about 0.003.
            assert row["estimate"] == pytest.approx((0.2 + 0.3 / depth) ** 2, rel=0.08)
            assert row["seeds"] == 5
        # Squares have a term in 1/L^2 too, which depths of two and four show.
        plateau = one(frame, "gap_square_plateau", step=step)
        assert plateau["estimate"] == pytest.approx(0.2**2, abs=0.012)
    row = one(frame, "loss_gap_plateau", step=100)
    assert row["estimate"] == pytest.approx(0.2, abs=0.01)


def test_a_law_in_squares_gives_its_plateau():
    frame = gia_restoration(*synthetic.gia(gap=lambda L: np.sqrt(0.03 - 0.02 / L)))
    for quantity in ("gap_square_plateau", "gap_square_at_50_plateau"):
        found = frame[(frame["quantity"] == quantity) & ~(frame["step"] > 1)]
        assert found.iloc[0]["estimate"] == pytest.approx(0.03, abs=0.002)


def test_fluctuations_fill_the_gap_of_single_runs_but_not_of_the_mean():
    results, outputs = synthetic.gia(gap=lambda L: 0 * L, fluctuation=0.3)
    frame = gia_restoration(results, outputs)
    single = one(frame, "single_gap_square", source="network", depth=64, step=100)
    assert single["estimate"] == pytest.approx(0.09, rel=0.2)
    mean = frame[(frame["quantity"] == "gap_square") & (frame["source"] == "network")]
    # Eighteen 95 % intervals of a true zero: at most two may exclude it. Half of the estimates are negative.
    assert (mean["ci_low"] > 0).sum() <= 2
    assert 4 <= (mean["estimate"] < 0).sum() <= 14


def test_mean_gap_is_relative_to_the_mean_change():
    """What seeds do not share is in neither average: half of each run's change, none of the mean's."""
    tables_ = synthetic.gia(gap=lambda L: 0.2 + 0 * L, batches=1.0, seeds=range(20))
    frame = gia_restoration(*tables_)
    where = {"source": "network", "depth": 8, "step": 100}
    mean = one(frame, "gap_square", **where)
    assert holds(mean, 0.04)
    assert mean["estimate"] == pytest.approx(0.04, rel=0.2)
    single = one(frame, "single_gap_square", **where)
    assert single["estimate"] == pytest.approx(0.04 / 2, rel=0.2)


def test_progress_is_interpolated_between_steps():
    progress = np.array([[0.2, 0.4, 0.8, 1.0], [0.6, 0.55, 0.9, 1.0]])
    weights = progress_weights(progress, 0.5)
    # Between the second and the third step; at once, though the loss rises again afterwards.
    np.testing.assert_allclose(weights, [[0, 0.75, 0.25, 0], [1, 0, 0, 0]])


def test_gaps_are_read_at_equal_progress():
    """The gap of the first step is 0.2, later 0.1: at 10 % of the fall it is the one, at 50 % the other."""
    frame = gia_restoration(*synthetic.gia(gap=lambda L: 0.2 + 0 * L, late=0.5))
    for percent, gap in ((10, 0.2), (50, 0.1), (75, 0.1)):
        rows = frame[frame["quantity"] == f"gap_square_at_{percent}"]
        rows = rows[rows["source"] == "network"]
        np.testing.assert_allclose(rows["estimate"], gap**2, rtol=0.25)
    steps = frame.loc[rows.index, "step"]
    assert steps.between(40, 70).all()  # half of the way from step 10 to step 100


@pytest.mark.parametrize("horizon", [1.0, 2.0])
def test_closed_forms_of_the_first_step(horizon):
    results, outputs = TABLES["gia_restoration"]
    frame = gia_restoration(results.assign(horizon=horizon), outputs, BATCH)
    exact = {"source": "closed_form", "depth": 64, "step": 1}
    half = horizon / 2
    share = half / (1 + half / 64)
    sample = one(frame, "gap_square", series="one sample", **exact)
    assert sample["estimate"] == pytest.approx((share / (2 + share)) ** 2)
    batch = one(frame, "gap_square", series="depth_mup", **exact)
    options = {"depth": 64, "horizon": horizon, "loss": "cross_entropy"}
    assert batch["estimate"] == pytest.approx(closed_form.batch_gap(*BATCH, **options) ** 2)


def test_outputs_are_optional_for_losses():
    results, _ = TABLES["gia_restoration"]
    frame = gia_restoration(results, None)
    assert "loss_gap" in set(frame["quantity"])
    assert "gap_square" not in set(frame.loc[frame["source"] == "network", "quantity"])


def test_gaps_are_paired_by_seed():
    """A decoupled run is compared with the standard run of its own seed only."""
    results, outputs = TABLES["gia_restoration"]
    keep = ~((outputs["coupling"] == "decoupled") & (outputs["seed"] == 2))
    frame = gia_restoration(results, outputs[keep])
    row = one(frame, "gap_square", source="network", depth=8, step=100)
    assert row["seeds"] == 4
    assert holds(row, (0.2 + 0.3 / 8) ** 2)


def test_fresh_copies_are_compared_by_themselves():
    tables_ = synthetic.gia(gap=lambda L: 0.2 + 0 * L, fresh=lambda L: 0.4 + 0 * L)
    frame = gia_restoration(*tables_)
    where = {"source": "network", "depth": 8, "step": 100}
    for series, gap in (("depth_mup", 0.2), ("depth_mup, fresh copies", 0.4)):
        assert holds(one(frame, "gap_square", series=series, **where), gap**2)


# ---------------------------------------------------------------------------------------- response_by_layer


def test_responses_by_layer_and_over_the_horizon(frames):
    frame = frames["response_by_layer"]
    for trained, ratio in (("input", 1.6), ("hidden_2", 1.3), ("output", 1.0)):
        series = f"depth_mup, trained: {trained}"
        for step in (1, 4):
            row = one(frame, "response_ratio", series=series, depth=16, step=step, source="network")
            assert row["estimate"] == pytest.approx(ratio, rel=0.02)
            assert 0 < row["ci_high"] - row["ci_low"] < 0.05
    # Standard and decoupled changes have one direction here: gap = 1 - 1 / ratio.
    for series, ratio in (("relu, T = 0.3", 1.05), ("relu, T = 1", 1.2), ("tanh, T = 1", 1.2)):
        row = one(frame, "first_gap_square", series=series, source="network")
        assert row["estimate"] == pytest.approx((1 - 1 / ratio) ** 2, abs=0.002)


def test_exact_responses(frames):
    results, outputs = TABLES["response_by_layer"]
    exact = response_by_layer_evidence(results, outputs, BATCH)
    exact = exact[exact["source"] == "closed_form"]
    sample = one(exact, "response_ratio", series="one sample: input", depth=64)
    assert sample["estimate"] == pytest.approx((1 + 0.5 / 64) ** 64)
    output = exact[(exact["quantity"] == "response_ratio") & exact["series"].str.endswith("output")]
    np.testing.assert_allclose(output["estimate"], 1.0)
    over_horizon = exact[exact["quantity"] == "first_gap_square"]
    for start in ("relu", "tanh"):
        curve = over_horizon[over_horizon["series"].str.startswith(start)]
        assert len(curve) == 10
        assert (np.diff(curve["estimate"]) > 0).all()  # a longer horizon, a wider gap


# --------------------------------------------------------------------------------------------- scaling


def test_coefficients_and_gains_of_a_first_order_law(frames):
    frame = frames["scaling_trend"]
    for split in ("batch", "train", "test"):
        assert holds(one(frame, "width_coefficient", split=split), 5.0)
        assert holds(one(frame, "depth_coefficient", split=split), 0.5)
    assert holds(one(frame, "width_coefficient_own_rate"), 5.0)
    assert holds(one(frame, "width_coefficient_at_rate", learning_rate=1.0), 1.2 * 5.0)
    assert holds(one(frame, "width_gain", width=128), 5 / 128)
    assert holds(one(frame, "depth_gain", depth=16), 0.5 / 16)
    assert holds(one(frame, "depth_gain_at_start"), 0.0)
    start = synthetic.scaling(loss=lambda n, L: 0.3 + 5 / n + 0.5 / L, start=2.0)
    share = one(scaling_trend(start), "width_gain_at_start")["estimate"]
    assert share == pytest.approx(2 * (1 / 32 - 1 / 256) / (2.3 + 2 / 32))
    shrinking = frames["diminishing_returns"]
    for axis in ("width", "depth"):
        assert holds(one(shrinking, f"{axis}_gain_ratio"), 0.5)
    fitted = one(shrinking, "fitted_over_width", width=64, depth=4)
    measured = one(shrinking, "final_batch_loss", source="network", width=64, depth=4)
    assert fitted["estimate"] == pytest.approx(measured["estimate"], rel=0.01)


def test_gains_that_do_not_shrink():
    results = synthetic.scaling(loss=lambda n, L: 2 - 0.1 * np.log2(n) - 0.1 * np.log2(L))
    frame = diminishing_returns(results)
    assert holds(one(frame, "width_gain_ratio"), 1.0)
    assert holds(one(frame, "depth_gain_ratio"), 1.0)


def test_all_shapes_are_read_at_the_rate_that_is_best_for_the_smallest():
    """Whatever larger networks would prefer, unless they diverge at it."""
    results = synthetic.scaling(loss=lambda n, L: 0.3 + 5 / n + 0.5 / L)
    smallest = (results["width"] == 32) & (results["depth"] == 2)
    better = smallest & (results["learning_rate"] == 0.25) & (results["step"] == 100)
    results.loc[better, "value"] *= 0.5
    assert set(fixed_rates(pick_runs(results, "scaling"))["learning_rate"]) == {0.25}
    lost = synthetic.diverge(
        results,
        lambda f: (f["learning_rate"] == 0.25) & (f["width"] == 256) & (f["seed"] == 1),
    )
    assert set(fixed_rates(pick_runs(lost, "scaling"))["learning_rate"]) == {0.5}


def test_losses_of_a_whole_run_against_both_limits(frames):
    frame = frames["limit_training"]
    assert holds(one(frame, "loss_at_infinite_width", depth=4, step=100), 2.3 - 2 * 0.9)
    lost = (0.1 + 0.8 + 2) / 3  # over the whole run
    assert holds(one(frame, "width_coefficient", depth=8), lost * 4.0)
    nfd, coupled = ({"series": f"networks to {name}"} for name in ("NFD", "coupled limit"))
    # Networks lose more than NFD, by a fifth of what the coupled limit loses at infinite depth.
    share = -0.2 / (1 - 0.4 / 16)
    for step in (1, 10, 100):
        assert holds(one(frame, "loss_difference", depth=16, step=step, **nfd), share)
        assert holds(one(frame, "loss_difference", depth=16, step=step, **coupled), 0.0)
    assert holds(one(frame, "loss_distance", depth=16, **nfd), share**2)
    assert holds(one(frame, "loss_distance", depth=16, **coupled), 0.0)
    assert holds(one(frame, "loss_distance_difference", depth=16), share**2)
    assert holds(one(frame, "width_exponent", depth=16), -1.0)
    for coupling in ("standard", "decoupled"):
        limit = {"source": "limit", "coupling": coupling}
        gain = one(frame, "depth_gain", depth=16, **limit)["estimate"]
        assert gain == pytest.approx(lost * 0.4 / 16, rel=0.1)
        total = one(frame, "depth_gain_total", **limit)["estimate"]
        assert total == pytest.approx(lost * 0.4 * (1 / 4 - 1 / 16), rel=0.05)
        ratio = one(frame, "depth_gain_ratio", **limit)["estimate"]
        assert ratio == pytest.approx(0.5, abs=0.05)


def test_a_limit_that_was_not_run_leaves_the_rest():
    results = synthetic.limit_training()
    nfd = results["coupling"] == "decoupled"
    frame = limit_training(results[~nfd])
    assert holds(one(frame, "loss_distance", depth=16, series="networks to coupled limit"), 0.0)
    assert "loss_distance_difference" not in set(frame["quantity"])


# -------------------------------------------------------------------------------------- limit_convergence


def test_squared_errors_against_both_limits(frames):
    frame = frames["limit_convergence"]
    coupled, nfd = "standard to coupled limit", "standard to NFD"
    # Relative to the limit's change: for NFD the square of two orthogonal parts of lengths 1 and 0.3.
    scale = 1 + 0.3**2
    quantity = "error_square_at_infinite_depth"
    row = one(frame, quantity, series=nfd, source="network")
    assert row["estimate"] == pytest.approx(0.3**2 / scale, abs=0.01)
    row = one(frame, quantity, series=coupled, source="network")
    assert row["ci_low"] < 0.01 < 0.02
    assert row["ci_high"] < 0.01
    assert holds(one(frame, quantity, series=nfd, source="limit"), 0.3**2 / scale)
    assert one(frame, "squared_error_difference")["ci_low"] > 0
    # At finite depth the errors add: 0.8 / L along a direction of its own.
    row = one(frame, "error_square_over_depth", series=nfd, source="network", depth=4)
    assert row["estimate"] == pytest.approx((0.3**2 + (0.8 / 4) ** 2) / scale, abs=0.015)


def test_a_limit_does_not_differ_from_itself():
    frame = limit_convergence(*synthetic.limit_tables(limit_seeds=range(6), particles=1000))
    for name in ("NFD", "coupled limit"):
        row = one(frame, "error_square_at_infinite_depth", series=f"{name} to itself")
        assert holds(row, 0.0)
        assert row["ci_high"] < 0.01


def test_what_two_limits_share_by_seed_does_not_enter_their_distance():
    """Shared noise of a quarter of the change cancels; of independent samples the square would be -0.017."""
    noise = {"shared": 0.25, "limit_seeds": range(6), "particles": 1000}
    frame = limit_convergence(*synthetic.limit_tables(separation=0.0, **noise))
    where = {"series": "standard to NFD", "source": "limit"}
    row = one(frame, "error_square_at_infinite_depth", **where)
    assert holds(row, 0.0)
    assert row["ci_high"] - row["ci_low"] < 0.005
    # At finite depth the two differ by 0.8 / L.
    assert holds(one(frame, "error_square_over_depth", depth=8, **where), 0.1**2)


def test_error_and_fluctuation_fall_with_their_own_powers_of_width(frames):
    frame = frames["limit_convergence"]
    coupled = {"series": "standard to coupled limit", "depth": 8.0}
    small, large = (
        one(frame, "error_square_over_width", width=width, **coupled) for width in (64, 128)
    )
    assert small["estimate"] / large["estimate"] == pytest.approx(4.0, rel=0.3)
    for step in (0, 10):
        spread = one(frame, "fluctuation_over_width_slope", step=step, **coupled)
        assert holds(spread, -0.5)


def test_limit_uncertainty_enters_the_interval():
    """The same networks against a noisier limit: the interval of the error is wider."""
    sharp = limit_convergence(*synthetic.limit_tables(particles=10**6))
    noisy = limit_convergence(*synthetic.limit_tables(particles=200))

    def width(frame):
        series = "standard to coupled limit"
        row = one(frame, "error_square_at_infinite_depth", series=series, source="network")
        return row["ci_high"] - row["ci_low"]

    assert width(noisy) > 1.5 * width(sharp)


def test_the_loss_of_a_limit_goes_to_that_of_infinite_depth():
    frame = limit_convergence(*synthetic.limit_tables(loss_exponent=1.0, limit_seeds=range(6)))
    for series in ("depth_mup", "depth_mup, decoupled"):
        assert holds(one(frame, "loss_at_infinite_depth", series=series), 0.5)
        assert holds(one(frame, "loss_exponent", series=series), -1.0)
    frame = limit_convergence(*synthetic.limit_tables(loss_exponent=0.5, limit_seeds=range(6)))
    assert holds(one(frame, "loss_exponent", series="depth_mup"), -0.5)


def test_created_coupling_and_its_exponents(frames):
    """Squares free of the noise of 1024 neurons, of the law's exponents and of its plateau."""
    frame = frames["vanishing_mechanism"]
    where = {"source": "network", "depth": 8, "step": 10}
    row = one(frame, "coupling_layer_square", series="depth_mup", **where)
    assert holds(row, 0.25 / 8)
    row = one(frame, "coupling_sum_square", series="depth_mup, decoupled", **where)
    assert holds(row, 0.16)
    assert holds(one(frame, "reuse_sum_square", **where), 0.09)
    assert holds(one(frame, "reuse_sum_square", **{**where, "step": 0}), 0.0)
    for name, exponent in (("coupling_layer", -0.5), ("reuse_layer", -0.5), ("reuse_sum", 0.0)):
        for series in ("depth_mup", "depth_mup, limit"):
            assert holds(one(frame, f"{name}_exponent", series=series), exponent)
    assert holds(one(frame, "reuse_sum_share_left", series="depth_mup"), 1.0)
    assert holds(one(frame, "reuse_sum_before", series="depth_mup"), 0.0)


def test_what_reuse_adds_is_paired_by_seed():
    """Noise that standard and decoupled networks of a seed share cancels; a seed that only one has is out."""
    results, _ = synthetic.limit_tables()
    signed = results["metric"].str.startswith("coupling_") & (results["source"] == "network")
    shared = np.random.default_rng(0).normal(size=5)[results["seed"] % 5]
    results["value"] += np.where(signed, shared, 0.0)
    gone = signed & (results["coupling"] == "decoupled") & (results["seed"] == 4)
    frame = vanishing_mechanism(results[~gone])
    row = one(frame, "reuse_sum_square", source="network", depth=8, step=10)
    assert holds(row, 0.09)
    assert row["ci_high"] - row["ci_low"] < 0.1
    assert row["seeds"] == 4
    alone = one(
        frame, "coupling_sum_square", source="network", depth=8, step=10, series="depth_mup"
    )
    assert alone["ci_high"] - alone["ci_low"] > 0.25


def test_created_coupling_in_noise_has_no_exponent():
    """0.2 / L stands above the noise of 1024 neurons up to L = 8; the squares beyond it are kept."""
    results, _ = synthetic.limit_tables(created_layer=lambda L: 0.02 / L, limit_seeds=range(2))
    frame = vanishing_mechanism(results)
    assert frame[frame["quantity"] == "coupling_layer_exponent"].empty
    squares = frame[(frame["quantity"] == "coupling_layer_square") & (frame["step"] == 10)]
    assert {2, 4, 8, 16, 32} == set(squares["depth"])


def test_one_block_below_is_counted_beside_all(frames):
    frame = frames["vanishing_mechanism"]
    exponents = frame[frame["quantity"].str.match("(below|neighbour)_.*_exponent")]
    found = exponents.set_index("quantity")["estimate"]
    expected = {"below_layer": -0.5, "below_sum": 0, "neighbour_layer": -1.5, "neighbour_sum": -1}
    for name, exponent in expected.items():
        assert found[f"{name}_exponent"] == pytest.approx(exponent, abs=0.12)


def test_initial_coupling(frames):
    frame = frames["coupling_at_init"]
    for depth in (2, 32):
        assert holds(one(frame, "coupling_layer_square_slope", depth=depth), -1.0)
    assert abs(one(frame, "coupling_layer_depth_slope")["estimate"]) < 0.05


def test_kernel_ratio():
    """The least value over steps, here at step 1, not the last."""
    results, _ = synthetic.limit_tables(eigenvalue=lambda n, k: 0.2 * np.exp(-3.0 * (k == 1)))
    few, long = results, synthetic.kernels(eigenvalue=lambda L, k: 0.2 * np.exp(-3.0 * (k == 1)))
    for name, runs, shape in (("early_kernel", few, (1024, 8)), ("kernel", long, (64, 16))):
        frame = kernel_spectrum(runs)
        where = {"source": "network", "width": shape[0], "depth": shape[1], "series": "depth_mup"}
        row = one(frame, f"{name}_ratio", **where)
        assert row["estimate"] == pytest.approx(np.exp(-3), rel=0.1)
        row = one(frame, f"{name}_minimum", **where)
        assert row["estimate"] == pytest.approx(0.2 * np.exp(-3), rel=0.1)
        assert holds(one(frame, f"{name}_moved", **where), 1.0)


# -------------------------------------------------------------------------------------------- transfer


LAST = {"step": 100}
HALF_OCTAVES = np.arange(-4, 3.1, 0.5)


@pytest.mark.parametrize("axis", ["depth", "width"])
@pytest.mark.parametrize("drift", [0.0, -0.5])
def test_drift_and_regret(axis, drift):
    function = {"depth": depth_transfer, "width": width_transfer}[axis]
    frame = function(synthetic.transfer(f"{axis}_transfer", axis, drift=drift))
    assert one(frame, "drift", **LAST)["estimate"] == pytest.approx(drift, abs=0.02)
    largest = {axis: 64, "source": "network", **LAST}
    best = one(frame, "best_learning_rate", **largest)
    assert np.log2(best["estimate"]) == pytest.approx(0.3 + 4 * drift, abs=0.1)
    # The smallest network's best rate lies 4 drift from the largest one's.
    regret = one(frame, "regret", **largest)
    assert regret["estimate"] == pytest.approx(np.expm1(0.1 * (4 * drift) ** 2), abs=0.03)
    assert np.log2(regret["learning_rate"]) == pytest.approx(0.3, abs=0.1)
    assert one(frame, "grid_spacing")["estimate"] == 1.0
    loss = one(frame, "best_train_loss", **largest)
    assert np.log(loss["estimate"] / 0.5) == pytest.approx(-0.05 * 4, abs=0.1)


def test_transfer_is_read_at_a_sixteenth_a_quarter_and_the_end_of_training():
    """The optimum moves with the step: the earlier readings see it where it was."""
    results = synthetic.transfer("depth_transfer", "depth", drift=-0.5)
    still = synthetic.transfer("depth_transfer", "depth", drift=0.0)
    early = results["step"] <= 25
    frame = depth_transfer(pd.concat([still[early.to_numpy()], results[~early]]))
    found = frame[frame["quantity"] == "drift"].set_index("step")["estimate"]
    assert list(found.index) == [6, 25, 100]
    np.testing.assert_allclose(found, [0, 0, -0.5], atol=0.03)
    regrets = frame[(frame["quantity"] == "regret") & (frame["depth"] == 64)]
    np.testing.assert_allclose(regrets["estimate"], [0, 0, np.expm1(0.4)], atol=0.05)


@pytest.mark.parametrize("drift", [0.0, -0.4])
def test_the_rate_that_reaches_a_fixed_loss_first(drift):
    """Log losses that fall with the root of the step are in one order at all steps."""
    results = synthetic.transfer("depth_transfer", "depth", drift=drift, gain=0.0, sd=0.002)
    frame = depth_transfer(results)
    assert one(frame, "drift_at_loss")["estimate"] == pytest.approx(drift, abs=0.05)
    quarter = 2.3 * np.sqrt(0.5 / 2.3)  # what every depth reaches at step 25
    assert one(frame, "reached_loss")["estimate"] == pytest.approx(quarter, rel=0.05)


def test_optimum_at_the_edge_gives_an_empty_estimate():
    results = synthetic.transfer("depth_transfer", "depth", drift=-1.2)
    results = results[results["learning_rate"] >= 2.0**-3]
    frame = depth_transfer(results)
    best = frame[(frame["quantity"] == "best_learning_rate") & (frame["source"] == "network")]
    best = best.sort_values("depth")
    assert best["estimate"].isna().tolist() == [False] * 3 + [True] * 2
    assert best["learning_rate"].iloc[-1] == 2.0**-3
    assert one(frame, "drift", **LAST)["estimate"] == pytest.approx(-1.2, abs=0.05)
    line = frame[(frame["quantity"] == "best_learning_rate") & (frame["source"] == "fit")]
    assert set(line["depth"]) == {4, 8, 16}


def one_seed_diverges(log2_rates):
    """One of five seeds of the deepest network diverges from a rate a little above the optimum on."""
    return synthetic.diverge(
        synthetic.transfer("depth_transfer", "depth", log2_rates=log2_rates),
        lambda f: (f["depth"] == 64) & (f["learning_rate"] >= 2) & (f["seed"] == 0),
    )


def test_one_diverged_seed_counts_as_untrained():
    frame = depth_transfer(one_seed_diverges(HALF_OCTAVES))
    row = one(frame, "final_train_loss", depth=64, learning_rate=2.0)
    others = 0.5 * np.exp(0.1 * 0.7**2 - 0.05 * 4)
    expected = np.exp((np.log(2.3) + 4 * np.log(others)) / 5)
    assert row["estimate"] == pytest.approx(expected, rel=0.1)
    assert one(frame, "diverged_runs", depth=64, learning_rate=2.0)["estimate"] == 1
    best = one(frame, "best_learning_rate", depth=64, source="network")
    assert -0.7 < np.log2(best["estimate"]) < 0.3  # it moves away from the edge
    assert best["ci_high"] / best["ci_low"] > 1.3  # and is less certain


def test_a_coarse_grid_does_not_resolve_an_optimum_beside_diverged_runs():
    frame = depth_transfer(one_seed_diverges(synthetic.LOG2_RATES))
    assert np.isnan(one(frame, "best_learning_rate", depth=64, source="network")["estimate"])
    assert one(frame, "unresolved_learning_rate")["depth"] == 64
    assert np.isnan(one(frame, "regret", depth=64, **LAST)["estimate"])


def edge_of_stability(f, slope=-1.0):
    """Diverged beyond 8 at depth 4, which moves as depth^slope; half an octave later for one seed."""
    edge = 3 + slope * np.log2(f["depth"] / 4) + 0.5 * (f["seed"] == 0)
    return np.log2(f["learning_rate"]) > edge + 0.01


@pytest.mark.parametrize("slope", [-1.0, -0.5])
def test_the_largest_stable_rate_and_its_drift(slope):
    results = synthetic.transfer("depth_transfer", "depth", log2_rates=np.arange(-4, 5.1, 0.5))
    frame = depth_transfer(synthetic.diverge(results, lambda f: edge_of_stability(f, slope)))
    # Midway to the first rate that diverges, and a tenth of an octave more by the one seed.
    rate = one(frame, "stable_rate", depth=4)
    assert np.log2(rate["estimate"]) == pytest.approx(3 + 0.25 + 0.1)
    assert holds(one(frame, "stable_rate_drift"), slope)
    # At the kept rate, 2^0.3, nothing of the deepest network survives where its edge is 2^-1.
    share = one(frame, "diverged_share", depth=64)
    assert share["estimate"] == (1.0 if slope == -1.0 else 0.0)


def test_no_edge_of_stability_without_diverged_runs():
    frame = depth_transfer(synthetic.transfer("depth_transfer", "depth"))
    assert not frame["quantity"].str.startswith("stable_rate").any()
    assert (frame.loc[frame["quantity"] == "diverged_share", "estimate"] == 0).all()


def test_transferred_rate_that_diverges_has_infinite_regret():
    results = synthetic.transfer("depth_transfer", "depth", drift=-0.5, log2_rates=HALF_OCTAVES)
    results = synthetic.diverge(results, lambda f: (f["depth"] == 64) & (f["learning_rate"] >= 1.0))
    row = one(depth_transfer(results), "regret", depth=64, **LAST)
    assert row["estimate"] == row["ci_high"] == np.inf
    assert 0.1 < row["ci_low"] < np.inf


def test_rates_tried_at_some_sizes_only_are_left_out():
    """A missing rate is not a diverged one."""
    results = synthetic.transfer("depth_transfer", "depth")
    partial = results[~((results["depth"] == 64) & (results["learning_rate"] == 2.0))]
    frame = depth_transfer(partial)
    assert 2.0 not in set(frame.loc[frame["quantity"] == "final_train_loss", "learning_rate"])
    best = one(frame, "best_learning_rate", depth=64, source="network")
    assert np.log2(best["estimate"]) == pytest.approx(0.3, abs=0.2)


def test_internal_changes():
    results = synthetic.changes({"own_change_1": -0.5, "stream_change_1": 0.5})
    frame = internal_collapse(results)
    for step in (1, 10):
        assert one(frame, "own_change_1_slope", step=step)["estimate"] == pytest.approx(
            -0.5, abs=0.04
        )
        assert one(frame, "stream_change_1_slope", step=step)["estimate"] == pytest.approx(
            0.5, abs=0.04
        )
        assert one(frame, "own_change_2_slope", step=step)["estimate"] == pytest.approx(0, abs=0.04)
    line = frame[(frame["quantity"] == "own_change_1") & (frame["source"] == "fit")]
    assert set(line["depth"]) == {4, 8, 16, 32, 64, 128, 256}


def test_the_gradient_s_closed_form_stands_beside_decoupled_networks_at_their_scale():
    corrected = {"parametrization": "depth_mup_corrected", "correction": 0.5}
    results = synthetic.changes({}, couplings=["standard", "decoupled"], **corrected)
    frame = internal_collapse(results)
    exact = frame[frame["source"] == "closed_form"].set_index("depth")
    assert set(exact["series"]) == {"depth_mup_corrected p=0.5, decoupled"}
    where = {"step": 1, "depth": 4, "series": exact["series"].iloc[0], "source": "network"}
    measured = one(frame, "gradient_change_1", **where)["estimate"]
    assert exact.loc[4, "estimate"] == pytest.approx(measured)
    ratio = exact.loc[256, "estimate"] / exact.loc[64, "estimate"]
    assert ratio == pytest.approx(2.0, rel=0.02)  # L^p, but for what is left of 1/L


def test_round_off_is_no_change():
    results = synthetic.changes({"stream_change_2": -4.0})
    frame = internal_collapse(results)
    line = frame[(frame["quantity"] == "stream_change_2") & (frame["source"] == "fit")]
    # 0.3 L^-4 falls below the round-off of 1e-6 beyond L = 16.
    assert set(line["depth"]) == {4, 8, 16}


def test_advantages_are_paired_and_have_the_right_sign():
    """Losses 0.5 and 0.4, test accuracies exp(-loss); both share the noise of their seed."""
    networks = [{"parametrization": "depth_mup"}, {**CORRECTED, "level": 0.4}]
    parts = [
        synthetic.transfer("depth_transfer_2", "depth", block_layers=2, **network)
        for network in networks
    ]
    frame = deeper_is_better(pd.concat(parts))
    where = {"series": "depth_mup_corrected p=0.5", "depth": 4}
    for step in (6, 25, 100):
        row = one(frame, "advantage", step=step, **where)
        assert row["estimate"] == pytest.approx(np.sqrt(step / 100) * np.log(0.5 / 0.4), abs=0.02)
        assert row["ci_high"] - row["ci_low"] < 0.05  # seeds alone differ by 0.05 each
    row = one(frame, "advantage_test", step=100, **where)
    assert row["estimate"] == pytest.approx(np.log(0.5 / 0.4), abs=0.02)
    row = one(frame, "advantage_accuracy", step=100, **where)
    assert row["estimate"] == pytest.approx(np.exp(-0.4) - np.exp(-0.5), abs=0.02)
    gain = one(frame, "train_loss_gain_depth_mean", series="depth_mup_corrected p=0.5")
    assert gain["estimate"] == pytest.approx(1 - np.exp(-0.05), abs=0.01)
    accuracy = one(frame, "accuracy_gain_depth_mean", series="depth_mup_corrected p=0.5")
    ends = [np.exp(-0.4 * np.exp(-0.05 * doublings)) for doublings in (0, 4)]
    assert accuracy["estimate"] == pytest.approx((ends[1] - ends[0]) / 4, abs=0.005)


def test_an_advantage_holds_both_readings_of_the_best_loss():
    """Equal flat bowls, one of which ends in an edge that moves its smoothed best rate off the grid's."""
    parts = [
        synthetic.transfer(
            "depth_transfer_2",
            "depth",
            block_layers=2,
            log2_rates=HALF_OCTAVES,
            sd=0.001,
            curvature=0.02,
            **network,
        )
        for network in ({"parametrization": "depth_mup"}, CORRECTED)
    ]
    parts[1] = synthetic.diverge(parts[1], lambda f: f["learning_rate"] > 2.1)
    row = one(deeper_is_better(pd.concat(parts)), "advantage", depth=64, step=100)
    assert row["estimate"] > 0.03  # smoothing alone sees one, and seeds agree to 0.001
    assert row["ci_low"] < 0.001


def test_the_cost_of_freezing_is_paired_and_read_at_each_step():
    networks = [
        {"parametrization": "depth_mup"},
        {**CORRECTED, "level": 0.4},
        {**CORRECTED, "level": 0.8, "trainable": "input+hidden_2+output"},
    ]
    parts = [
        synthetic.transfer("depth_transfer_2", "depth", block_layers=2, **network)
        for network in networks
    ]
    frame = depth_transfer_2(pd.concat(parts))
    for series, level in (("depth_mup", 0.5), ("depth_mup_corrected p=0.5", 0.4)):
        row = one(frame, "freezing_cost", series=series, depth=64, step=100)
        assert row["estimate"] == pytest.approx(np.log(0.8 / level), abs=0.03)
        assert row["ci_high"] - row["ci_low"] < 0.06
    assert set(frame.loc[frame["quantity"] == "freezing_cost", "step"]) == {6, 25, 100}


def test_controls_do_not_enter_the_comparison_of_losses():
    control = synthetic.transfer(
        "depth_transfer_2", "depth", block_layers=2, trainable="hidden_1", level=0.1
    )
    frame = deeper_is_better(pd.concat([TABLES["deeper_is_better"][0], control]))
    assert not frame["series"].str.contains("trained").any()


def test_first_step_change_over_depth(frames):
    row = one(frames["correction_exponent"], "first_step_output_change_slope")
    assert row["estimate"] == pytest.approx(0.0, abs=0.05)
    assert row["step"] == 1
    assert row["learning_rate"] == 2.0**-6
