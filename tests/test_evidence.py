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
from nfd.claims.scaling.evidence import diminishing_returns, scaling_trend
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
    scaling = synthetic.scaling(loss=lambda n, L: 0.3 + 2 * n**-0.7 + 0.5 / L, limits=True)
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


def test_gains_per_doubling(frames):
    frame = frames["scaling_trend"]

    def loss(n, L):
        return 0.3 + 2 * n**-0.7 + 0.5 / L

    depths = np.array([2.0, 4, 8, 16])
    ratio = np.exp(np.log(loss(128, depths) / loss(64, depths)).mean())
    row = one(frame, "train_loss_gain_width", width=128)
    assert holds(row, 1 - ratio)
    overall = np.exp(np.log(loss(256, depths) / loss(32, depths)).mean() / 3)
    assert holds(one(frame, "train_loss_gain_width_mean"), 1 - overall)


def test_gain_counts_doublings_between_uneven_sizes():
    results = synthetic.scaling(loss=lambda n, L: n**-0.5 + 0 * L, widths=(16, 64, 128), sd=1e-6)
    frame = scaling_trend(results)
    for width in (64, 128):
        row = one(frame, "train_loss_gain_width", width=width)
        assert row["estimate"] == pytest.approx(1 - 2**-0.5, abs=1e-4)


def test_each_shape_is_read_at_its_best_rate(frames):
    final = frames["scaling_trend"].query("quantity == 'final_train_loss' and source == 'network'")
    assert set(final["learning_rate"]) == {0.5}
    assert len(final) == 16
    diverged = synthetic.diverge(
        TABLES["scaling_trend"][0],
        lambda f: (f["learning_rate"] == 0.5) & (f["width"] == 64) & (f["seed"] == 1),
    )
    moved = scaling_trend(diverged).query("quantity == 'final_train_loss' and width == 64")
    assert 0.5 not in set(moved["learning_rate"])


def test_limit_of_the_loss_and_exponents(frames):
    frame = frames["diminishing_returns"]
    assert holds(one(frame, "limit_loss", source="fit"), 0.3)
    assert holds(one(frame, "width_exponent"), 0.7)
    assert one(frame, "depth_exponent")["estimate"] == pytest.approx(1.0, abs=0.11)
    simulated = one(frame, "limit_loss", source="limit")
    assert simulated["estimate"] == pytest.approx(0.308, abs=0.01)
    excess = one(frame, "excess_train_loss", width=32, depth=2)
    assert excess["estimate"] == pytest.approx(2 * 32**-0.7 + 0.25, abs=0.02)
    first, last = 0.25, 0.5 / 8 - 0.5 / 16
    # Three doublings of depth: the first and the last two of four sizes.
    assert one(frame, "gain_decline_depth")["estimate"] == pytest.approx(first / 2, rel=0.5)
    assert one(frame, "gain_decline_depth")["ci_low"] > 0
    assert first > last


def test_no_decline_where_every_doubling_gains_the_same():
    results = synthetic.scaling(loss=lambda n, L: 2 - 0.1 * np.log2(n) - 0.1 * np.log2(L))
    frame = diminishing_returns(results)
    assert holds(one(frame, "gain_decline_width"), 0.0)
    assert holds(one(frame, "gain_decline_depth"), 0.0)


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
