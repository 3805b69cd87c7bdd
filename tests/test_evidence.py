"""The evidence of every figure on synthetic tables whose law is known."""

import io
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import synthetic_tables as synthetic

from nfd import closed_form
from nfd.claims.collapse.evidence import deeper_is_better, internal_collapse
from nfd.claims.convergence.evidence import limit_convergence
from nfd.claims.decoupling.evidence import gia_restoration
from nfd.claims.mechanism.evidence import kernel_spectrum, vanishing_mechanism
from nfd.claims.registry import FAMILIES, FIGURES, gather
from nfd.claims.scaling.evidence import (
    diminishing_returns,
    fixed_rates,
    limit_training,
    scaling_trend,
)
from nfd.claims.transfer.evidence import depth_transfer, width_transfer
from nfd.evidence import rates, table
from nfd.evidence.selection import pick_runs, reading_rates
from nfd.evidence.table import CELL, COLUMNS, read, series_label
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.pipeline import tables


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
    if figure not in ("coupling_at_init",):
        assert left <= {"grid_spacing"}


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
    measured = frame[(frame["quantity"] == "output_gap") & (frame["source"] == "network")]
    assert measured["depth"].max() == 32


# ----------------------------------------------------------------------------------------- gia_restoration


def test_gap_and_its_plateau(frames):
    frame = frames["gia_restoration"]
    for step in (1, 100):
        for depth in (2, 64):
            row = one(frame, "output_gap_mean", source="network", depth=depth, step=step)
            # Five seeds of 60 entries with fluctuations of 0.05: known to about 0.003.
            assert row["estimate"] == pytest.approx(0.2 + 0.3 / depth, abs=0.012)
            assert row["seeds"] == 5
        limit = one(frame, "output_gap_mean_limit", step=step)
        assert limit["estimate"] == pytest.approx(0.2, abs=0.015)
    row = one(frame, "loss_gap_limit", step=100)
    assert row["estimate"] == pytest.approx(0.2, abs=0.01)
    assert one(frame, "output_gap_mean_exponent", step=100)["estimate"] == pytest.approx(1, abs=0.2)


def test_fluctuations_fill_the_gap_of_single_runs_but_not_of_the_mean():
    results, outputs = synthetic.gia(gap=lambda L: 0 * L, fluctuation=0.3)
    frame = gia_restoration(results, outputs)
    single = one(frame, "output_gap", source="network", depth=64, step=100)
    assert single["estimate"] == pytest.approx(0.3, rel=0.1)
    mean = frame[(frame["quantity"] == "output_gap_mean") & (frame["source"] == "network")]
    # Twelve 95 % intervals of a true zero: at most one may exclude it.
    assert (mean["ci_low"] > 0).sum() <= 1
    # Averaging five seeds without taking off the noise would leave 0.3 / sqrt 5 = 0.13.
    assert mean["estimate"].max() < 0.11


def test_mean_gap_is_relative_to_the_mean_change():
    """What seeds do not share is in neither average: half of each run's change, none of the mean's."""
    tables_ = synthetic.gia(gap=lambda L: 0.2 + 0 * L, batches=1.0, seeds=range(20))
    frame = gia_restoration(*tables_)
    where = {"source": "network", "depth": 8, "step": 100}
    mean = one(frame, "output_gap_mean", **where)
    assert holds(mean, 0.2)
    assert mean["estimate"] == pytest.approx(0.2, abs=0.02)
    single = one(frame, "output_gap", **where)
    assert single["estimate"] == pytest.approx(0.2 / np.sqrt(2), abs=0.02)


@pytest.mark.parametrize("horizon", [1.0, 2.0])
def test_closed_form_of_the_first_step(horizon):
    results, outputs = TABLES["gia_restoration"]
    frame = gia_restoration(results.assign(horizon=horizon), outputs)
    exact = frame[frame["source"] == "closed_form"]
    gap = one(exact, "output_gap", depth=64)["estimate"]
    half = horizon / 2
    q = (1 + half / 64) ** 64
    standard, decoupled = half * q / (1 + half / 64) + 2 * q, (q - 1) + 1 + q
    assert gap == pytest.approx(1 - decoupled / standard)
    hidden = one(exact, "first_step_change", series="hidden, standard", depth=8)["estimate"]
    assert hidden == pytest.approx(closed_form.first_step_response(depth=8, horizon=horizon))
    parts = exact.loc[exact["quantity"] == "first_step_change", "series"].unique()
    assert len(parts) == 5


def test_outputs_are_optional_for_losses():
    results, _ = TABLES["gia_restoration"]
    frame = gia_restoration(results, None)
    assert "loss_gap" in set(frame["quantity"])
    assert "output_gap_mean" not in set(frame["quantity"])


def test_gaps_are_paired_by_seed():
    """A decoupled run is compared with the standard run of its own seed only."""
    results, outputs = TABLES["gia_restoration"]
    keep = ~((outputs["coupling"] == "decoupled") & (outputs["seed"] == 2))
    frame = gia_restoration(results, outputs[keep])
    row = one(frame, "output_gap_mean", source="network", depth=8, step=100)
    assert row["seeds"] == 4
    assert holds(row, 0.2 + 0.3 / 8)


# --------------------------------------------------------------------------------------------- scaling


def test_coefficients_and_gains_of_a_first_order_law(frames):
    frame = frames["scaling_trend"]
    for split in ("batch", "train", "test"):
        assert holds(one(frame, "width_coefficient", split=split), 5.0)
        assert holds(one(frame, "depth_coefficient", split=split), 0.5)
    assert holds(one(frame, "width_coefficient_own_rate"), 5.0)
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


def test_errors_against_both_limits(frames):
    frame = frames["limit_convergence"]
    coupled, nfd = "standard to coupled limit", "standard to NFD"
    # Relative to the limit's change, whose length is that of three orthogonal unit parts for NFD.
    scale = np.sqrt(1 + 0.3**2)
    row = one(frame, "bias_at_infinite_depth", series=nfd, source="network")
    assert row["estimate"] == pytest.approx(0.3 / scale, abs=0.02)
    row = one(frame, "bias_at_infinite_depth", series=coupled, source="network")
    assert row["ci_low"] == 0.0
    assert row["ci_high"] < 0.05
    row = one(frame, "bias_at_infinite_depth", series=nfd, source="limit")
    assert holds(row, 0.3 / scale)
    assert one(frame, "bias_over_depth_slope", series=coupled)["estimate"] == pytest.approx(
        -1, abs=0.1
    )
    assert one(frame, "bias_over_depth_slope", series=nfd)["estimate"] > -0.3
    plateau = one(frame, "bias_over_depth_plateau", series=nfd)
    assert plateau["estimate"] == pytest.approx(0.3 / scale, abs=0.02)
    assert one(frame, "bias_over_depth_plateau", series=coupled)["estimate"] < 0.02
    assert one(frame, "squared_error_difference")["ci_low"] > 0


def test_bias_and_fluctuation_fall_with_their_own_powers_of_width(frames):
    frame = frames["limit_convergence"]
    coupled = {"series": "standard to coupled limit", "depth": 8.0}
    bias = one(frame, "bias_over_width_slope", **coupled)
    assert bias["estimate"] == pytest.approx(-1.0, abs=0.25)
    for step in (0, 10):
        spread = one(frame, "fluctuation_over_width_slope", step=step, **coupled)
        assert holds(spread, -0.5)


def test_bias_below_the_noise_floor_stays_out_of_the_slope():
    """With large fluctuations only the small widths stand out: the line ends where the noise begins."""
    tables_ = synthetic.limit_tables(fluctuation=4.0, width_error=3.0, depth_error=0.0)
    frame = limit_convergence(*tables_)
    chosen = frame[(frame["series"] == "standard to coupled limit") & (frame["depth"] == 8)]
    measured = chosen[(chosen["quantity"] == "bias_over_width") & (chosen["source"] == "network")]
    floor = chosen[chosen["quantity"] == "bias_over_width_floor"]
    above = measured["estimate"].to_numpy() > floor["estimate"].to_numpy()
    assert not above.all()
    fitted = chosen[(chosen["quantity"] == "bias_over_width") & (chosen["source"] == "fit")]
    assert set(fitted["width"]) <= set(measured["width"][above])


def test_depth_bias_below_the_noise_floor_stays_out_of_the_slope():
    tables_ = synthetic.limit_tables(fluctuation=8.0, depth_error=1.0, width_error=0.0)
    frame = limit_convergence(*tables_)
    chosen = frame[frame["series"] == "standard to coupled limit"]
    measured = chosen[(chosen["quantity"] == "bias_over_depth") & (chosen["source"] == "network")]
    floor = chosen[
        (chosen["quantity"] == "bias_over_depth_floor") & (chosen["source"] == "network")
    ]
    above = measured["estimate"].to_numpy() > floor["estimate"].to_numpy()
    assert above.sum() in (3, 4)
    fitted = chosen[(chosen["quantity"] == "bias_over_depth") & (chosen["source"] == "fit")]
    assert set(fitted["depth"]) == set(measured["depth"][above])


def test_limit_uncertainty_enters_the_interval():
    """The same networks against a noisier limit: the interval of the error is wider."""
    sharp = limit_convergence(*synthetic.limit_tables(particles=10**6))
    noisy = limit_convergence(*synthetic.limit_tables(particles=200))

    def width(frame):
        row = one(
            frame, "bias_at_infinite_depth", series="standard to coupled limit", source="network"
        )
        return row["ci_high"] - row["ci_low"]

    assert width(noisy) > 1.5 * width(sharp)


def test_extrapolated_depths_are_not_measured_against_themselves(frames):
    frame = frames["limit_convergence"]
    limit = frame[(frame["quantity"] == "bias_over_depth") & (frame["source"] == "limit")]
    assert set(limit["depth"]) == {2, 4, 8}


def test_created_coupling_and_its_slopes(frames):
    frame = frames["vanishing_mechanism"]
    row = one(frame, "coupling_layer_created", source="network", depth=8, series="depth_mup")
    assert row["estimate"] == pytest.approx(0.5 * 8**-0.5, rel=0.05)
    assert one(frame, "coupling_layer_created_slope", series="depth_mup")[
        "estimate"
    ] == pytest.approx(-0.5, abs=0.05)
    assert holds(one(frame, "coupling_accumulated_created_slope", series="depth_mup"), 0.0)
    floor = one(
        frame, "coupling_layer_created_floor", series="depth_mup", source="network", depth=8
    )
    assert floor["estimate"] == pytest.approx(1024**-0.5, rel=0.1)
    # The control: decoupled networks create none, so there is nothing to fit a slope to.
    decoupled = frame[frame["series"].str.contains("decoupled")]
    assert not decoupled["quantity"].str.contains("slope").any()


def test_created_coupling_below_the_initial_one_is_noise():
    results, _ = synthetic.limit_tables(created_layer=lambda L: 0.2 / L)
    frame = vanishing_mechanism(results)
    line = frame[
        (frame["quantity"] == "coupling_layer_created")
        & (frame["source"] == "fit")
        & (frame["series"] == "depth_mup")
    ]
    # 0.2 / L exceeds 1024^-1/2 = 0.031 up to L = 4 only: two points make no slope.
    assert line.empty
    assert not frame.query("series == 'depth_mup'")["quantity"].str.endswith("slope").sum() > 1


def test_initial_coupling(frames):
    frame = frames["coupling_at_init"]
    for depth in (2, 32):
        assert holds(one(frame, "coupling_layer_square_slope", depth=depth), -1.0)
    assert abs(one(frame, "coupling_layer_depth_slope")["estimate"]) < 0.05


def test_kernel_ratio():
    """The least value over steps, here at step 1, not the last."""
    results, _ = synthetic.limit_tables(eigenvalue=lambda n, k: 0.2 * np.exp(-3.0 * (k == 1)))
    frame = kernel_spectrum(results)
    where = {"source": "network", "width": 1024, "depth": 8, "series": "depth_mup"}
    row = one(frame, "kernel_ratio", **where)
    assert row["estimate"] == pytest.approx(np.exp(-3), rel=0.1)
    row = one(frame, "kernel_minimum", **where)
    assert row["estimate"] == pytest.approx(0.2 * np.exp(-3), rel=0.1)


# -------------------------------------------------------------------------------------------- transfer


@pytest.mark.parametrize("axis", ["depth", "width"])
@pytest.mark.parametrize("drift", [0.0, -0.5])
def test_drift_and_regret(axis, drift):
    function = {"depth": depth_transfer, "width": width_transfer}[axis]
    frame = function(synthetic.transfer(f"{axis}_transfer", axis, drift=drift))
    row = one(frame, "drift")
    assert row["estimate"] == pytest.approx(drift, abs=0.05)
    largest = {axis: 64, "source": "network"}
    best = one(frame, "best_learning_rate", **largest)
    assert np.log2(best["estimate"]) == pytest.approx(0.3 + 4 * drift, abs=0.15)
    regret = one(frame, "regret", **largest)
    # The best grid rate of the smallest network is 1: log2 0, at distance 0.3 + 4 drift from the optimum.
    own = np.round(0.3 + 4 * drift)
    expected = np.exp(0.1 * ((0.3 + 4 * drift) ** 2 - (own - 0.3 - 4 * drift) ** 2)) - 1
    assert regret["estimate"] == pytest.approx(expected, abs=0.05)
    assert one(frame, "grid_spacing")["estimate"] == 1.0


def test_optimum_at_the_edge_gives_an_empty_estimate():
    results = synthetic.transfer("depth_transfer", "depth", drift=-1.2)
    results = results[results["learning_rate"] >= 2.0**-3]
    frame = depth_transfer(results)
    best = frame[(frame["quantity"] == "best_learning_rate") & (frame["source"] == "network")]
    assert best.sort_values("depth")["estimate"].isna().tolist() == [False] * 3 + [True] * 2
    row = one(frame, "drift")
    assert row["estimate"] == pytest.approx(-1.2, abs=0.1)
    line = frame[(frame["quantity"] == "best_learning_rate") & (frame["source"] == "fit")]
    assert set(line["depth"]) == {4, 8, 16}


def test_one_diverged_seed_makes_a_rate_unusable():
    results = synthetic.diverge(
        synthetic.transfer("depth_transfer", "depth"),
        lambda f: (f["depth"] == 64) & (f["learning_rate"] >= 2) & (f["seed"] == 0),
    )
    frame = depth_transfer(results)
    row = one(frame, "final_train_loss", depth=64, learning_rate=2.0)
    assert np.isnan(row["estimate"])
    assert one(frame, "diverged_runs", depth=64, learning_rate=2.0)["estimate"] == 1
    # The optimum at 2^0.3 lies next to the diverged rate: known to the grid point 1 only.
    best = one(frame, "best_learning_rate", depth=64, source="network")
    assert best["estimate"] == 1.0
    assert np.log2(best["ci_high"]) == pytest.approx(1.96 / np.sqrt(12), abs=0.01)


def test_transferred_rate_that_diverges_has_infinite_regret():
    results = synthetic.diverge(
        synthetic.transfer("depth_transfer", "depth"),
        lambda f: (f["depth"] == 64) & (f["learning_rate"] >= 1),
    )
    row = one(depth_transfer(results), "regret", depth=64)
    assert row["estimate"] == np.inf
    assert np.isnan(row["ci_high"])


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


def test_round_off_is_no_change():
    results = synthetic.changes({"stream_change_2": -4.0})
    frame = internal_collapse(results)
    line = frame[(frame["quantity"] == "stream_change_2") & (frame["source"] == "fit")]
    # 0.3 L^-4 falls below the round-off of 1e-6 beyond L = 16.
    assert set(line["depth"]) == {4, 8, 16}


def test_advantage_is_paired_and_has_the_right_sign(frames):
    frame = frames["deeper_is_better"]
    row = one(frame, "advantage", series="depth_mup_corrected p=0.5", depth=4)
    assert row["estimate"] == pytest.approx(np.log(0.5 / 0.4), abs=0.06)
    assert row["ci_low"] > 0
    gain = one(frame, "train_loss_gain_depth_mean", series="depth_mup_corrected p=0.5")
    assert gain["estimate"] == pytest.approx(1 - np.exp(-0.05), abs=0.01)


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
