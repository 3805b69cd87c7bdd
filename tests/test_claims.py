"""Every claim reaches every verdict, on tables made to deserve it; rules judge in the right direction."""

import importlib.util
from math import inf, nan
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import synthetic_tables as synthetic

from nfd.claims import rates, rules
from nfd.claims import two_layers as two_layers_rules
from nfd.claims.certainty import CERTAINTY_COLUMNS
from nfd.claims.collapse import verdict as collapse
from nfd.claims.convergence import verdict as convergence
from nfd.claims.decoupling import verdict as decoupling
from nfd.claims.mechanism import verdict as mechanism
from nfd.claims.registry import CLAIMS, gather
from nfd.claims.rules import (
    CLAIM_COLUMNS,
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    judge,
    overall,
)
from nfd.claims.scaling import verdict as scaling_verdict
from nfd.claims.transfer import verdict as transfer_verdict
from nfd.evidence.table import SINGLE_MATRICES
from nfd.pipeline import tables

CORRECTED = {"parametrization": "depth_mup_corrected", "correction": 0.5, "block_layers": 2}
FEW = range(4)


def load_script(name: str) -> ModuleType:
    """A command of scripts/ as a module."""
    path = Path(__file__).parents[1] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def findings(
    claim: str, results: pd.DataFrame, outputs: pd.DataFrame | None = None
) -> pd.DataFrame:
    frames = {name: gather(name, results, outputs) for name in CLAIMS[claim].figures}
    return judge(CLAIMS[claim], frames)


# ---------------------------------------------------------------------------------------- tables by verdict


def together(*parts):
    """Concatenate results, or (results, outputs) pairs."""
    if isinstance(parts[0], tuple):
        return tuple(pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return pd.concat(parts, ignore_index=True), None


def scaling(loss, **settings):
    return synthetic.scaling(loss=loss, **settings), None


def whole_run(loss=lambda n, L: 0.3 + 5 / n + 0.5 / L, **settings):
    return pd.concat([synthetic.scaling(loss=loss), synthetic.limit_training(**settings)]), None


def transfer(experiment="depth_transfer", axis="depth", **settings):
    return synthetic.transfer(experiment, axis, **settings), None


def depths(control=-1.0, **settings):
    """One-layer transfer of depth_mup, and mup's, which is known to drift."""
    return together(
        synthetic.transfer("depth_transfer", "depth", **settings),
        synthetic.transfer("depth_transfer", "depth", parametrization="mup", drift=control),
    )


def widths(mup=0.0, standard=-1.0, depth_mup=0.0, **settings):
    drifts = {"depth_mup": depth_mup, "mup": mup, "standard": standard}
    return together(
        *(
            synthetic.transfer(
                "width_transfer", "width", parametrization=name, drift=drift, **settings
            )
            for name, drift in drifts.items()
        )
    )


def two_layers(
    plain=0.0,
    corrected=0.0,
    level=0.4,
    own=0.0,
    alone=0.0,
    frozen=0.9,
    uncorrected=-0.5,
    **settings,
):
    """Two-layer transfer of depth_mup, the corrected network and its controls, and both own changes.

    ``alone``: drift of W1 trained alone; ``frozen``: loss with W1 frozen; ``uncorrected``: exponent of
    depth_mup's own change.
    """

    def line(**changed):
        return synthetic.transfer("depth_transfer_2", "depth", **changed)

    return together(
        line(block_layers=2, drift=plain, **settings),
        line(drift=corrected, level=level, **CORRECTED, **settings),
        line(drift=alone, trainable="hidden_1", **CORRECTED),
        line(trainable="hidden_2", **CORRECTED),
        line(level=frozen, trainable="input+hidden_2+output", **CORRECTED),
        synthetic.changes({"own_change_1": own}, **CORRECTED),
        synthetic.changes({"own_change_1": uncorrected}, block_layers=2),
    )


def own_change(exponent, **settings):
    return synthetic.changes({"own_change_1": exponent}, **settings), None


def gia(gap, no_skip=0.6, output_only=0.0, **settings):
    """Gaps of depth_mup; of mup without skips, where one is known to remain; of V alone, where none can."""
    alone = {"trainable": "output", "fluctuation": output_only}
    return together(
        synthetic.gia(gap=gap, **settings),
        synthetic.gia(gap=lambda L: no_skip + 0 * L, parametrization="mup", skip=False),
        synthetic.gia(gap=lambda L: output_only + 0 * L, **alone),
    )


def limits(**settings):
    return synthetic.limit_tables(**settings)


def distances(**settings):
    """Limits of enough seeds to be compared with themselves."""
    return limits(limit_seeds=range(6), **settings)


def couplings(**settings):
    return limits(limit_seeds=range(5), **settings)


def kernels(eigenvalue, **settings):
    """Least eigenvalues ``eigenvalue(L, step)`` of long runs, beside those of a few steps."""
    few, outputs = limits()
    return pd.concat([synthetic.kernels(eigenvalue=eigenvalue, **settings), few]), outputs


def moving(L, k):
    """A least eigenvalue that training doubles."""
    return 0.2 + 0.002 * k


def power(exponent, factor=0.5):
    return lambda L: factor * L**exponent


# claim -> verdict -> makers of tables that deserve it. Wide noise and few seeds must be inconclusive.
CASES = {
    "C1": {
        SUPPORTED: [
            lambda: scaling(lambda n, L: 0.3 + 5 / n + 0.5 / L),
            # The last doubling of depth harms, but the trend is one of gains.
            lambda: scaling(lambda n, L: (0.3 + 2 / n + 1 / L) * np.where(L == 16, 1.2, 1)),
        ],
        CONTRADICTED: [
            lambda: scaling(lambda n, L: 0.3 + 5 / n - 0.1 / L),  # depth harms
            lambda: scaling(lambda n, L: 0.3 - 2 / n + 0.5 / L),  # width harms
        ],
        INCONCLUSIVE: [
            lambda: scaling(lambda n, L: 0.5 + 2 / n + 0.01 / L, sd=0.05),
            lambda: scaling(lambda n, L: 0.3 + 5 / n + 0 * L),  # depth gains nothing
            lambda: scaling(lambda n, L: 0.3 + 5 / n + 0.5 / L, seeds=FEW),
            lambda: scaling(
                lambda n, L: 0.3 + 5 / n + 0.5 / L, start=8.0
            ),  # gained before training
        ],
    },
    "C2": {
        SUPPORTED: [lambda: whole_run(separation=0.01)],
        CONTRADICTED: [
            lambda: whole_run(),  # the loss tends to the coupled limit's, and that is not NFD's
            lambda: whole_run(loss=lambda n, L: 2 - 1e-5 * n**2 / 10 + 0.1 / L, separation=0.01),
            lambda: whole_run(over_depth=lambda L: 0.3 - 0.002 * L, separation=0.01),
        ],
        INCONCLUSIVE: [
            lambda: whole_run(loss=lambda n, L: 2 - 0.1 * np.log2(n) + 0 * L, separation=0.01),
            lambda: whole_run(separation=0.01, over_depth=lambda L: 0 * L),  # nothing that shrinks
            lambda: whole_run(separation=0.01, limit_seeds=FEW),
            lambda: whole_run(separation=0.05),
            lambda: scaling(lambda n, L: 0.3 + 5 / n + 0.5 / L),  # no limit was simulated
        ],
    },
    "C3": {
        SUPPORTED: [lambda: distances(separation=0.0)],
        CONTRADICTED: [lambda: distances(separation=0.3)],
        INCONCLUSIVE: [
            lambda: distances(separation=0.0, fluctuation=30.0),  # noise only
            lambda: distances(separation=0.3, seeds=FEW),
            # Far from either limit, because the widths are too small: not nearer to the coupled limit.
            lambda: distances(separation=0.0, width_error=100.0),
            # A limit so noisy that it is not told from itself.
            lambda: distances(separation=0.3, particles=10),
        ],
    },
    "C4": {
        SUPPORTED: [lambda: gia(power(-0.5, 0.2)), lambda: gia(lambda L: 0.02 + 0 * L)],
        CONTRADICTED: [
            lambda: gia(lambda L: 0.2 + 0.3 / L),
            lambda: gia(lambda L: 0.2 - 0.1 / L),  # grows to its plateau, as the closed form does
        ],
        INCONCLUSIVE: [
            lambda: gia(lambda L: 0.1 + 0 * L),  # on the threshold
            lambda: gia(lambda L: 0.2 + 0 * L, late=0.1),  # first step and half progress disagree
            # A gap that is known to be there is not seen, or one that cannot be is.
            lambda: gia(lambda L: 0.2 + 0 * L, no_skip=0.0),
            lambda: gia(lambda L: 0.2 + 0 * L, output_only=0.2),
            lambda: gia(lambda L: 0.2 + 0.3 / L, depths=(2, 4)),
            lambda: gia(lambda L: 0.2 + 0.3 / L, seeds=FEW),
        ],
    },
    "C5": {
        SUPPORTED: [
            lambda: couplings(created_sum=power(-0.5)),
            lambda: couplings(created_sum=power(-1.0, 2.0)),
        ],
        CONTRADICTED: [
            lambda: couplings(created_sum=power(0.0)),
            lambda: couplings(created_sum=power(0.1)),
            lambda: couplings(created_sum=lambda L: 0.3 + 0.5 * L**-1.0),  # falls, to a plateau
            # Read per layer alone it does not hold.
            lambda: couplings(created_sum=power(-0.5), created_layer=power(0.0)),
        ],
        INCONCLUSIVE: [
            lambda: couplings(created_sum=power(-0.5), sd=8.0),
            lambda: couplings(created_sum=lambda L: 0 * L),  # nothing could vanish
            # The sum stays in no network: what is known to be there is not seen.
            lambda: couplings(
                created_sum=power(-0.5),
                created_layer=power(0.0),
                without_reuse=power(-0.5),
                before=0.5,
            ),
            lambda: couplings(created_sum=power(-0.5), before=0.5),  # it was there before training
            lambda: couplings(created_sum=power(-0.5), seeds=FEW),
            lambda: couplings(created_sum=power(0.0), seeds=FEW),
        ],
    },
    "C6": {
        SUPPORTED: [lambda: limits()],
        CONTRADICTED: [
            lambda: limits(coupling_layer=lambda n, L: n**-0.25),
            lambda: limits(coupling_layer=lambda n, L: n**-0.5 * L**0.5),  # grows with depth
            # One depth that falls too slowly is enough: 'uniformly'.
            lambda: limits(coupling_layer=lambda n, L: np.where(L == 4, n**-0.2, n**-0.5)),
        ],
        INCONCLUSIVE: [
            lambda: limits(widths=(512, 1024)),
            lambda: limits(coupling_layer=lambda n, L: n**-0.375),
            lambda: limits(seeds=FEW),
        ],
    },
    "C7": {
        SUPPORTED: [lambda: depths(), lambda: depths(drift=0.04)],
        CONTRADICTED: [
            lambda: depths(drift=-0.5),
            lambda: depths(drift=0.4),
            lambda: depths(drift=-0.5, log2_rates=np.arange(-6, 3)),
        ],
        INCONCLUSIVE: [
            lambda: depths(drift=0.1),  # on the threshold
            lambda: depths(sd=0.5),  # noise only
            lambda: depths(drift=-0.5, curvature=0.01),  # it moves, and keeping it costs nothing
            lambda: depths(control=0.0),  # the network that is known to drift is not seen to
            lambda: transfer(),  # nor measured
            lambda: depths(seeds=FEW),
            lambda: depths(drift=-0.5, sizes=(4, 8)),
            lambda: depths(start=6.0),  # every optimum at the grid's edge
            # A sharp optimum: no drift to speak of, but the transferred rate loses 40 %.
            lambda: depths(
                drift=-0.09, curvature=2.0, start=0.45, log2_rates=np.arange(-4, 4.1, 0.5)
            ),
        ],
    },
    "C8": {
        SUPPORTED: [lambda: widths()],
        CONTRADICTED: [
            lambda: widths(mup=-0.5),
            lambda: widths(depth_mup=0.5),
            lambda: widths(standard=0.0),
        ],
        INCONCLUSIVE: [
            lambda: widths(mup=-0.5, curvature=0.01),  # drift without regret
            lambda: widths(sd=0.5),
            lambda: widths(seeds=FEW),
            lambda: transfer("width_transfer", "width"),  # mup and standard are missing
        ],
    },
    "C9": {
        SUPPORTED: [lambda: own_change(-0.5), lambda: own_change(-0.4)],
        CONTRADICTED: [
            lambda: own_change(0.0),
            lambda: own_change(-1.0),
            lambda: own_change(-0.25),
        ],
        INCONCLUSIVE: [
            lambda: own_change(-0.35),
            lambda: own_change(-0.5, sd=2.0),
            lambda: own_change(-0.5, seeds=FEW),
            lambda: own_change(-0.5, depths=(4, 8)),
        ],
    },
    "C10": {
        SUPPORTED: [
            lambda: two_layers(plain=-0.4, alone=-0.5),
            lambda: two_layers(plain=0.4, alone=-0.5),
        ],
        CONTRADICTED: [lambda: two_layers(plain=0.0, alone=-0.5)],
        INCONCLUSIVE: [
            lambda: two_layers(plain=-0.4, alone=-0.5, sd=1.0),
            lambda: two_layers(plain=-0.1, alone=-0.5),
            lambda: two_layers(plain=0.0, alone=0.0),  # no network drifts
            lambda: two_layers(plain=0.0, alone=-0.5, level=0.5, frozen=0.5),  # W1 does not matter
            lambda: transfer("depth_transfer_2", block_layers=2),  # no control
        ],
    },
    "C11": {
        SUPPORTED: [lambda: two_layers(plain=-0.4)],
        CONTRADICTED: [
            lambda: two_layers(corrected=-0.4),
            lambda: two_layers(own=-0.5),
            lambda: two_layers(own=0.5),
            # W1 alone needs no long training: it decides where W1 does not matter to the loss.
            lambda: two_layers(alone=-0.5, level=0.5, frozen=0.5),
        ],
        INCONCLUSIVE: [
            lambda: two_layers(corrected=-0.4, level=0.5, frozen=0.5),
            lambda: two_layers(alone=-0.25),  # between the two predictions
            lambda: two_layers(
                own=0.5, uncorrected=0.0
            ),  # a collapse is not seen where it is known
            lambda: two_layers(sd=1.0),
            lambda: transfer("depth_transfer_2", **CORRECTED),  # internal_collapse is missing
        ],
    },
    "C12": {
        SUPPORTED: [lambda: two_layers(level=0.4)],
        CONTRADICTED: [lambda: two_layers(level=0.6), lambda: two_layers(level=0.5, sd=0.0005)],
        INCONCLUSIVE: [
            lambda: two_layers(level=0.49, sd=0.1),
            lambda: two_layers(level=0.49, frozen=0.5),  # W1 is worth 2 %
            lambda: transfer("depth_transfer_2", **CORRECTED),  # nothing to compare with
            lambda: two_layers(level=0.4, seeds=FEW),
        ],
    },
    "C13": {
        SUPPORTED: [
            lambda: kernels(moving),
            lambda: kernels(lambda L, k: 0.2 * 0.5 ** (k / 100)),
            # Degenerate at the smallest depth only: the largest decides.
            lambda: kernels(lambda L, k: moving(L, k) * np.where((L < 16) & (k > 0), 0.01, 1.0)),
        ],
        CONTRADICTED: [lambda: kernels(lambda L, k: 0.2 * np.exp(-0.04 * k))],
        INCONCLUSIVE: [
            lambda: kernels(lambda L, k: 0.2 * 0.1 ** (k / 100)),
            lambda: kernels(lambda L, k: 0.2 + 0 * k),  # training does not move the kernel
            lambda: kernels(moving, seeds=FEW),
            lambda: limits(eigenvalue=lambda n, k: 0.2 * np.exp(-0.4 * k)),  # few steps only
        ],
    },
}
PARAMETERS = [
    pytest.param(claim, verdict, make, id=f"{claim}-{verdict}-{number}")
    for claim, by_verdict in CASES.items()
    for verdict, makers in by_verdict.items()
    for number, make in enumerate(makers)
]


def test_every_claim_has_a_case_for_every_verdict():
    assert list(CASES) == list(CLAIMS)
    for by_verdict in CASES.values():
        assert set(by_verdict) == {SUPPORTED, CONTRADICTED, INCONCLUSIVE}


@pytest.mark.parametrize(("claim", "verdict", "make"), PARAMETERS)
def test_verdict(claim, verdict, make):
    found = findings(claim, *make())
    shown = found[["observable", "estimate", "ci_low", "ci_high", "verdict", "decides", "note"]]
    assert overall(found) == verdict, shown.to_string()
    # A verdict always rests on an interval; without one the note says why.
    judged = found[found["verdict"] != INCONCLUSIVE]
    assert judged[["estimate", "ci_low", "ci_high"]].notna().all(axis=None)
    bare = found[found[["ci_low", "ci_high"]].isna().any(axis=1)]
    assert bare["note"].str.contains("missing").all(), bare[["observable", "note"]].to_string()


# ------------------------------------------------------------------------------------------ what must hold


def test_claims_are_those_of_the_theory_page():
    assert list(CLAIMS) == [f"C{number}" for number in range(1, 14)]
    names = [claim.name for claim in CLAIMS.values()]
    assert len(set(names)) == 13
    assert names[:4] == [
        "scaling-trend",
        "diminishing-returns",
        "limit-convergence",
        "gia-restored",
    ]


@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_measured_is_inconclusive_and_names_the_experiment(claim):
    found = judge(CLAIMS[claim], {})
    assert tuple(found.columns) == CLAIM_COLUMNS
    assert len(found) >= 1
    assert found["decides"].any()
    assert set(found["verdict"]) == {INCONCLUSIVE}
    assert overall(found) == INCONCLUSIVE
    assert found["note"].str.contains("missing: experiment").all()
    assert found["rule"].str.contains("supported if").all()
    for figure in found["figure"]:
        assert figure in CLAIMS[claim].figures


@pytest.mark.parametrize("claim", CLAIMS)
def test_rows_read_differently(claim):
    found = judge(CLAIMS[claim], {})
    assert not found.duplicated(["observable", "statistic"]).any()


def test_few_seeds_are_named():
    found = findings("C7", *transfer(seeds=FEW))
    assert "4 seeds, 5 needed" in found["note"].iloc[0]
    assert np.isfinite(found["ci_low"].iloc[0])


def test_diverged_runs_are_counted_in_the_note():
    results = synthetic.diverge(
        depths()[0],
        lambda f: (
            (f["learning_rate"] >= 8) & (f["depth"] == 64) & (f["parametrization"] == "depth_mup")
        ),
    )
    note = findings("C7", results)["note"].iloc[0]
    assert "10 diverged runs count as untrained" in note
    assert overall(findings("C7", results)) == SUPPORTED


def test_note_names_the_grid_and_its_edge():
    found = findings("C7", *depths(drift=-1.2, log2_rates=np.arange(-3, 5)))
    note = found["note"].iloc[0]
    assert "grid spacing 1 in log2, read at step 100" in note
    assert "the grid does not hold the optimum: depth 32, 64" in note
    assert found["verdict"].iloc[0] == CONTRADICTED


def test_transferred_rate_that_diverges_is_no_transfer():
    results = synthetic.diverge(
        transfer(curvature=0.001, sd=0.0001)[0],
        lambda f: (f["depth"] == 64) & (f["learning_rate"] >= 1),
    )
    found = findings("C7", results)
    assert found["verdict"].iloc[0] != SUPPORTED
    regret = found[found["statistic"].str.contains("excess loss")].iloc[0]
    assert regret["estimate"] == inf
    assert "most runs diverge at the smallest network's rate" in regret["note"]


def test_only_the_plain_sgd_network_decides():
    """Adam, other parametrizations and controls are shown and never decide."""
    results = pd.concat(
        [
            transfer()[0],
            transfer(drift=-1.0, optimizer="adam")[0],
            transfer(drift=-1.0, parametrization="mup")[0],
            transfer(drift=-1.0, trainable="hidden_2")[0],
        ]
    )
    found = findings("C7", results)
    assert overall(found) == SUPPORTED
    drifts = found[found["observable"].str.startswith("best learning rate over depth:")]
    assert len(drifts) == 4
    assert drifts["decides"].sum() == found["decides"].sum() == 1
    assert set(drifts.loc[~drifts["decides"], "verdict"]) == {CONTRADICTED}


def alone(matrix, tables):
    """The same tables as of networks of which one matrix is trained."""
    return tuple(table if table is None else table.assign(trainable=matrix) for table in tables)


@pytest.mark.parametrize(
    ("claim", "whole", "part"),
    [
        ("C2", whole_run, lambda: (synthetic.limit_training(separation=0.01), None)),
        ("C3", lambda: distances(separation=0.3), lambda: distances(separation=0.02)),
        ("C5", couplings, lambda: couplings(created_sum=power(-1.0))),
    ],
)
def test_networks_of_one_matrix_are_listed_and_change_nothing_else(claim, whole, part):
    """In the experiments with limits, networks of which one matrix is trained stand beside the whole one."""
    parts = [alone(matrix, part()) for matrix in SINGLE_MATRICES]
    results = pd.concat([whole()[0], *(results for results, _ in parts)], ignore_index=True)
    tables_of_outputs = [outputs for _, outputs in [whole(), *parts] if outputs is not None]
    outputs = pd.concat(tables_of_outputs, ignore_index=True) if tables_of_outputs else None
    found, before = findings(claim, results, outputs), findings(claim, *whole())
    listed = found["observable"].str.contains("trained alone")
    told = ["observable", "estimate", "ci_low", "ci_high", "verdict", "decides", "control"]
    pd.testing.assert_frame_equal(found.loc[~listed, told].reset_index(drop=True), before[told])
    assert listed.sum() == {"C2": 0, "C3": 6, "C5": 6}[claim]
    assert set(found.loc[listed, "verdict"]) <= {SUPPORTED}
    assert not found.loc[listed, "decides"].any()


def test_a_verdict_says_whether_it_changed_on_the_way():
    """The best rate drifts only late in training: the last step decides, and the note says what was."""
    still, moved = depths()[0], depths(drift=-0.5)[0]
    late = moved["step"] == 100
    found = findings("C7", pd.concat([still[~late.to_numpy()], moved[late]]))
    assert overall(found) == CONTRADICTED
    assert (
        "supported at step 6, supported at step 25, contradicted at step 100"
        in found["note"].iloc[0]
    )
    by_name = found.set_index("observable")["verdict"]
    for step, verdict in ((6, SUPPORTED), (25, SUPPORTED)):
        assert by_name[f"best learning rate over depth at step {step}: depth_mup, sgd"] == verdict
    steady = findings("C7", *depths())["note"].iloc[0]
    assert "the same verdict from step 6 to 100" in steady


def test_a_grid_too_coarse_for_its_diverged_runs_is_named():
    results = synthetic.diverge(
        depths()[0],
        lambda f: (
            (f["learning_rate"] >= 4)
            & (f["depth"] >= 32)
            & (f["parametrization"] == "depth_mup")
            & (f["seed"] == 0)
        ),
    )
    note = findings("C7", results)["note"].iloc[0]
    assert "which a grid coarser than half an octave does not resolve: depth 32, 64" in note


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, SUPPORTED), (-1.0, CONTRADICTED)])
def test_the_edge_of_stability_is_listed(slope, verdict):
    results = synthetic.diverge(
        synthetic.transfer("depth_transfer", "depth", log2_rates=np.arange(-4, 5.1, 0.5)),
        lambda f: np.log2(f["learning_rate"]) > 3.6 + slope * np.log2(f["depth"] / 4),
    )
    found = findings("C7", results).set_index("observable")
    row = found.loc["largest stable rate over depth: depth_mup, sgd"]
    assert (row["verdict"], row["decides"]) == (verdict, False)
    share = "100%" if slope == -1.0 else "0%"
    assert f"{share} of the runs at depth 64 diverge" in row["note"]


def test_coupling_per_layer_and_accumulated_are_judged_apart():
    """The paper's mechanism holds per layer while the sum over layers stays O(1)."""
    found = findings("C5", *couplings()).set_index("observable")
    layer = found.loc["coupling per layer, networks"]
    assert (layer["verdict"], layer["decides"]) == (SUPPORTED, True)
    assert layer["ci_low"] < -0.5 < layer["ci_high"]
    summed = found.loc["what reuse adds, accumulated over depth, networks"]
    assert (summed["verdict"], summed["decides"]) == (CONTRADICTED, True)
    assert summed["ci_low"] < 1 < summed["ci_high"]
    assert found["decides"].sum() == 2
    assert set(found.loc[found["control"] != "", "verdict"]) == {SUPPORTED}


def test_coupling_that_needs_no_reuse_does_not_count():
    """The whole sum stays in both networks; only what standard networks have more of is due to reuse."""
    found = findings("C5", *couplings(created_sum=lambda L: 0 * L)).set_index("observable")
    whole = found.loc["coupling accumulated over depth, networks"]
    assert (whole["verdict"], whole["decides"]) == (CONTRADICTED, False)
    reuse = found.loc["what reuse adds, accumulated over depth, networks"]
    assert reuse["verdict"] == INCONCLUSIVE
    assert "control, what reuse adds in the shallowest networks" in reuse["note"]


def test_fresh_copies_are_a_reading_of_their_own_of_what_reuse_adds():
    """Against fresh copies nothing is left at infinite depth, against the fixed one all of it."""
    results, outputs = couplings(created_sum=power(0.0))
    fresh = (results["coupling"] == "fresh") & results["metric"].str.startswith("coupling_sum")
    kept = 0.4 + 0.5 * (1 - 1 / results["depth"])
    sign = np.sign(results["value"])
    results["value"] = np.where(fresh & (results["step"] > 0), sign * kept, results["value"])
    found = findings("C5", results, outputs).set_index("observable")["verdict"]
    assert found["what reuse adds to fresh copies, accumulated over depth, networks"] == SUPPORTED
    assert found["what reuse adds, accumulated over depth, networks"] == CONTRADICTED


def test_a_kernel_whose_movement_is_not_in_the_evidence_shows_nothing():
    frame = gather("kernel_spectrum", *kernels(moving))
    without = frame[frame["quantity"] != "kernel_moved"]
    found = judge(CLAIMS["C13"], {"kernel_spectrum": without})
    assert overall(found) == INCONCLUSIVE
    assert found.loc[found["control"] != "", "note"].str.startswith("missing").all()


def test_square_and_root_of_the_initial_coupling_are_judged_apart():
    found = findings("C6", *limits()).set_index("observable")
    assert found.loc["coupling per layer, mean square", "verdict"] == SUPPORTED
    assert found.loc["coupling per layer, root mean square", "verdict"] == CONTRADICTED


def test_gia_gaps_are_judged_apart():
    """Outputs that differ while losses agree: the output decides, and both are shown."""
    found = findings("C4", *gia(lambda L: 0.3 + 0 * L, loss_gap=lambda L: 0 * L))
    by_name = found.set_index("observable")["verdict"]
    assert by_name["depth_mup: output gap at half progress"] == CONTRADICTED
    assert by_name["depth_mup: output gap after the first step at the least depth"] == SUPPORTED
    assert by_name["depth_mup: loss gap after the last step"] == SUPPORTED
    assert overall(found) == CONTRADICTED


@pytest.mark.parametrize(("seeds", "finite"), [({0}, True), ({0, 1, 2}, False)])
def test_a_regret_is_infinite_only_where_most_runs_diverge(seeds, finite):
    results = synthetic.diverge(
        depths(drift=-0.5, curvature=0.05, log2_rates=np.arange(-5, 4.1, 0.5))[0],
        lambda f: (
            (f["depth"] == 64)
            & (f["learning_rate"] >= 1)
            & (f["parametrization"] == "depth_mup")
            & f["seed"].isin(seeds)
        ),
    )
    found = findings("C7", results)
    assert np.isfinite(found["estimate"].iloc[1]) == finite
    assert overall(found) == (INCONCLUSIVE if finite else CONTRADICTED)


def test_a_control_that_fails_is_named():
    found = findings("C10", *two_layers(plain=0.0, alone=-0.5, level=0.5, frozen=0.5))
    assert (
        found["note"]
        .iloc[0]
        .startswith("the regime cannot show it: control, cost of freezing W1 is ")
    )
    assert (
        found.set_index("observable").loc["control, cost of freezing W1", "control"] == "positive"
    )


def test_w1_alone_is_read_at_both_exponents():
    """Coherent reuse: -1/2 with the correction, 0 without, where the diagnosis needs +1/2."""
    runs = two_layers(alone=-0.5)
    corrected = findings("C11", *runs).set_index("observable")
    plain = findings("C10", *runs).set_index("observable")
    row = corrected.loc["W1 trained alone: best learning rate over depth"]
    assert (row["verdict"], row["decides"]) == (CONTRADICTED, True)
    shifted = plain.loc["W1 trained alone, p = 0: best learning rate over depth"]
    assert shifted["estimate"] == pytest.approx(row["estimate"] + 0.5)
    assert (shifted["verdict"], shifted["decides"]) == (CONTRADICTED, False)


def test_gia_readings_that_disagree_are_both_named():
    found = findings("C4", *gia(lambda L: 0.2 + 0 * L, late=0.1))
    note = "first step and half progress do not agree: read alone contradicted and supported"
    assert found.loc[found["decides"], "note"].str.startswith(note).all()


@pytest.mark.parametrize(
    ("fixed", "fresh"), [(0.2, 0.02), (0.02, 0.2)], ids=["fixed differ", "fresh differ"]
)
def test_fresh_copies_are_a_reading_of_their_own_and_decide_nothing(fixed, fresh):
    tables_ = gia(lambda L: fixed + 0 * L, fresh=lambda L: fresh + 0 * L)
    found = findings("C4", *tables_).set_index("observable")
    verdicts = {0.2: CONTRADICTED, 0.02: SUPPORTED}
    for reading in ("after the first step", "at half progress"):
        assert found.loc[f"depth_mup: output gap {reading}", "verdict"] == verdicts[fixed]
        other = found.loc[f"depth_mup, fresh copies: output gap {reading}"]
        assert (other["verdict"], other["decides"]) == (verdicts[fresh], False)
    assert overall(found) == verdicts[fixed]


def test_gia_controls():
    tables_ = together(
        gia(power(-0.5, 0.2), no_skip=0.01, output_only=0.2),
        synthetic.gia(gap=lambda L: 0.6 + 0 * L, parametrization="mup", depths=(2, 4, 8, 16)),
    )
    found = findings("C4", *tables_).set_index("observable")
    for reading in ("after the first step", "at half progress"):
        mup = found.loc[f"mup: output gap {reading}"]
        assert mup["verdict"] == SUPPORTED
        assert "from L = 2 to 16" in mup["note"]
        no_skip = found.loc[f"control mup, no skip: output gap {reading}"]
        output_only = found.loc[f"control depth_mup, trained: output: output gap {reading}"]
        assert (no_skip["verdict"], output_only["verdict"]) == (CONTRADICTED, CONTRADICTED)
        plain = found.loc[f"depth_mup: output gap {reading}"]
        assert "no skip: output gap" in plain["note"]
        assert "trained: output: output gap" in plain["note"]


def test_distance_to_nfd_counts_only_against_the_coupled_limit():
    results, outputs = distances(separation=0.3)
    found = findings("C3", results, outputs).set_index("observable")
    nfd = found.loc["standard networks against NFD"]
    assert nfd["verdict"] == CONTRADICTED
    assert nfd["note"].startswith("nearer to the coupled limit")
    assert found.loc["standard networks against the coupled limit", "verdict"] == SUPPORTED
    assert found.loc["decoupled networks against NFD", "verdict"] == SUPPORTED
    assert (found.loc[found["control"] == "negative", "verdict"] == SUPPORTED).all()
    assert found.loc["control, coupled limit against NFD", "verdict"] == SUPPORTED
    without = outputs[~((outputs["source"] == "limit") & (outputs["coupling"] == "standard"))]
    found = findings("C3", results, without)
    assert overall(found) == INCONCLUSIVE
    assert "missing: the coupled limit" in found["note"].iloc[0]


def test_limits_that_do_not_differ_do_not_stand_in_the_way_of_support():
    found = findings("C3", *distances(separation=0.0)).set_index("observable")
    assert found.loc["control, coupled limit against NFD", "verdict"] == CONTRADICTED
    assert found.loc["standard networks against NFD", "verdict"] == SUPPORTED


@pytest.mark.parametrize(("fixed", "fresh"), [(0.3, 0.0), (0.0, 0.3)])
def test_nfd_with_fresh_copies_is_a_reading_of_its_own(fixed, fresh):
    found = findings("C3", *distances(separation=fixed, fresh=fresh)).set_index("observable")
    verdicts = {0.3: CONTRADICTED, 0.0: SUPPORTED}
    reading = found.loc["standard networks against NFD, fresh copies"]
    assert not reading["decides"]
    assert reading["verdict"] == verdicts[fresh]
    assert overall(found) == verdicts[fixed]


@pytest.mark.parametrize(
    ("exponent", "verdict"), [(1.0, SUPPORTED), (2.0, SUPPORTED), (0.4, CONTRADICTED)]
)
def test_rate_in_depth_of_a_limits_loss(exponent, verdict):
    found = findings("C3", *distances(loss_exponent=exponent)).set_index("observable")
    row = found.loc["rate in depth, loss of the coupled limit"]
    assert row["verdict"] == verdict
    assert row["ci_low"] < -exponent < row["ci_high"]


def test_collapse_says_which_observable_collapses():
    exponents = {"own_change_1": -0.5, "own_change_2": -0.5, "stream_change_1": 0.0}
    plain = synthetic.changes(exponents)
    decoupled = synthetic.changes(exponents | {"stream_change_1": -0.5}, couplings=["decoupled"])
    found = findings("C9", pd.concat([plain, decoupled])).set_index("observable")["verdict"]
    assert found["depth_mup: own learned change, layer 1"] == SUPPORTED
    assert found["depth_mup: own learned change, layer 2"] == CONTRADICTED
    assert found["depth_mup: stream change by layer 1"] == CONTRADICTED
    assert found["depth_mup, decoupled: stream change by layer 1"] == SUPPORTED


def test_what_the_correction_does_to_the_gradient_is_listed():
    """It grows though forward and backward weights are independent, but for a third copy or fresh ones."""
    tables_ = together(
        two_layers()[0],
        synthetic.changes({"gradient_change_1": 0.5}, couplings=["decoupled"], **CORRECTED),
        synthetic.changes({}, couplings=["fresh", "third"], **CORRECTED),
    )
    found = findings("C11", *tables_).set_index("observable")
    changed = found[found.index.str.endswith("change of the gradient by layer 1")]
    assert not changed["decides"].any()
    verdicts = changed["verdict"].to_dict()
    corrected = "depth_mup_corrected p=0.5"
    assert verdicts[f"{corrected}, decoupled: change of the gradient by layer 1"] == CONTRADICTED
    assert verdicts[f"{corrected}, third copy: change of the gradient by layer 1"] == SUPPORTED
    assert verdicts[f"{corrected}, fresh copies: change of the gradient by layer 1"] == SUPPORTED
    assert found.loc[f"{corrected}: own and inherited change, layer 1", "verdict"] == SUPPORTED


def test_the_largest_depth_decides_whether_deeper_is_better():
    """The corrected networks are worse at depth 4 and better at 64, because they gain more from depth."""
    results = pd.concat(
        [
            transfer("depth_transfer_2", block_layers=2, gain=0.05)[0],
            transfer("depth_transfer_2", level=0.6, gain=0.15, **CORRECTED)[0],
            transfer("depth_transfer_2", level=0.9, trainable="input+hidden_2+output", **CORRECTED)[
                0
            ],
        ]
    )
    found = findings("C12", results)
    assert found["estimate"].iloc[0] == pytest.approx(np.log(0.5 / 0.6) + 0.4, abs=0.05)
    assert found["note"].iloc[0].startswith("at L = 64, step 100")
    assert overall(found) == SUPPORTED


def test_correction_shows_every_exponent():
    parts = [
        synthetic.changes(
            {"output_change": p - 0.5 + 0.5},
            experiment="correction_exponent",
            parametrization="depth_mup_corrected",
            correction=p,
        )
        for p in (0.0, 0.25, 0.5)
    ]
    found = findings("C11", pd.concat(parts))
    first_step = found[found["observable"].str.contains("first step")]
    verdicts = dict(zip(first_step["observable"].str[:26], first_step["verdict"], strict=True))
    assert verdicts["depth_mup_corrected p=0: c"] == SUPPORTED
    assert verdicts["depth_mup_corrected p=0.5:"] == CONTRADICTED
    assert not first_step["decides"].any()


# ---------------------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (rates.TRANSFERS, -0.11, 0.05, INCONCLUSIVE),
        (rates.TRANSFERS, 0.11, 0.5, INCONCLUSIVE),  # a drift without regret
        (rates.DRIFTS, 0.11, 0.5, SUPPORTED),
        (rates.DRIFTS, -0.5, -0.11, SUPPORTED),
        (rates.DRIFTS, -0.09, 0.09, CONTRADICTED),
        (two_layers_rules.MATTERS, 0.05, 0.09, SUPPORTED),
        (two_layers_rules.MATTERS, 0.04, 0.2, INCONCLUSIVE),  # fewer than three half widths
        (two_layers_rules.MATTERS, -0.01, 0.02, CONTRADICTED),
        (scaling_verdict.GAINS, 0.001, 0.01, SUPPORTED),
        (scaling_verdict.GAINS, -0.01, -0.001, SUPPORTED),
        (scaling_verdict.GAINS, -0.001, 0.01, INCONCLUSIVE),
        (collapse.W1_TRANSFERS, -0.2, 0.2, SUPPORTED),
        (collapse.W1_TRANSFERS, -0.6, -0.3, CONTRADICTED),
        (transfer_verdict.AS_DIAGNOSED, 0.4, 0.6, SUPPORTED),
        (transfer_verdict.AS_DIAGNOSED, -0.2, 0.1, CONTRADICTED),
        (mechanism.MOVES, 1.2, 1.4, SUPPORTED),
        (mechanism.MOVES, 0.95, 1.05, CONTRADICTED),
        (rates.TRANSFERS, -0.5, 0.5, INCONCLUSIVE),
        (scaling_verdict.IMPROVES, 0.001, 0.01, SUPPORTED),
        (scaling_verdict.IMPROVES, -0.004, -0.001, CONTRADICTED),
        (scaling_verdict.IMPROVES, -0.001, 0.004, INCONCLUSIVE),
        (decoupling.GAP_VANISHES, -0.2, 0.009, SUPPORTED),
        (decoupling.GAP_VANISHES, 0.011, 0.2, CONTRADICTED),
        (decoupling.GAP_VANISHES, 0.009, 0.011, INCONCLUSIVE),
        (decoupling.GAP_REMAINS, 0.011, 0.2, SUPPORTED),
        (decoupling.GAP_REMAINS, 0.0, 0.009, CONTRADICTED),
        (decoupling.LOSS_GAP_VANISHES, -0.3, -0.2, CONTRADICTED),
        (convergence.CONVERGES, -0.1, 0.009, SUPPORTED),
        (rules.FIRST_ORDER_RATE, -1.1, -0.8, SUPPORTED),
        (rules.FIRST_ORDER_RATE, -0.6, -0.4, CONTRADICTED),
        (mechanism.OF_HIGHER_ORDER, -0.6, -0.3, SUPPORTED),
        (mechanism.OF_HIGHER_ORDER, -0.2, 0.2, CONTRADICTED),
        (collapse.COLLAPSES, -0.6, -0.4, SUPPORTED),
        (collapse.COLLAPSES, -0.3, 0.0, CONTRADICTED),
        (collapse.COLLAPSES, -1.0, -0.7, CONTRADICTED),
        (collapse.OF_ORDER_ONE, -0.1, 0.1, SUPPORTED),
        (collapse.OF_ORDER_ONE, 0.2, 0.6, CONTRADICTED),
        (collapse.HAS_ADVANTAGE, 0.02, 0.1, SUPPORTED),
        (collapse.HAS_ADVANTAGE, 0.001, 0.1, INCONCLUSIVE),
        (collapse.HAS_ADVANTAGE, 0.001, 0.005, CONTRADICTED),  # one, but none worth having
        (collapse.ANY_ADVANTAGE, 0.001, 0.005, SUPPORTED),
        (collapse.HAS_ADVANTAGE, -0.1, 0.005, CONTRADICTED),
        (collapse.HAS_ADVANTAGE, -0.1, 0.02, INCONCLUSIVE),
        (mechanism.STAYS_AWAY, 0.2, 1.0, SUPPORTED),
        (mechanism.STAYS_AWAY, 0.0, 0.05, CONTRADICTED),
        (mechanism.UNIFORM_IN_DEPTH, -0.5, 0.0, SUPPORTED),
        (mechanism.UNIFORM_IN_DEPTH, 0.2, 0.6, CONTRADICTED),
        (scaling_verdict.SHRINKS, 0.2, 0.9, SUPPORTED),
        (scaling_verdict.SHRINKS, 1.1, 1.4, CONTRADICTED),
        (scaling_verdict.SHRINKS, -inf, inf, INCONCLUSIVE),
        (scaling_verdict.APPROACHES, -0.001, 0.002, SUPPORTED),
        (scaling_verdict.APPROACHES, 0.001, 0.003, INCONCLUSIVE),
        (scaling_verdict.FROM_TRAINING, -0.01, 0.045, SUPPORTED),
        (convergence.CONVERGES, nan, nan, INCONCLUSIVE),
    ],
)
def test_rule(rule, low, high, verdict):
    assert rule.verdict(low, high) == verdict


SMALL, LARGE = {"ci_low": 0.0, "ci_high": 0.09}, {"ci_low": 0.11, "ci_high": 0.3}
WIDE, ENDLESS = {"ci_low": 0.0, "ci_high": 0.11}, {"ci_low": inf, "ci_high": inf}
NEARER, NOT_NEARER = {"ci_low": 0.01, "ci_high": 0.1}, {"ci_low": -0.01, "ci_high": 0.1}


@pytest.mark.parametrize(
    ("rule", "interval", "others", "verdict"),
    [
        # A verdict on transfer needs drift and regret, in either direction.
        (rates.TRANSFERS, (-0.09, 0.09), [SMALL], SUPPORTED),
        (rates.TRANSFERS, (-0.09, 0.09), [LARGE], INCONCLUSIVE),
        (rates.TRANSFERS, (-0.09, 0.09), [], INCONCLUSIVE),
        (rates.TRANSFERS, (-0.09, 0.09), [WIDE], INCONCLUSIVE),
        (rates.TRANSFERS, (0.2, 0.3), [LARGE], CONTRADICTED),
        (rates.TRANSFERS, (0.2, 0.3), [ENDLESS], CONTRADICTED),
        (rates.TRANSFERS, (0.2, 0.3), [WIDE], INCONCLUSIVE),
        (rates.TRANSFERS, (0.2, 0.3), [SMALL], INCONCLUSIVE),
        (rates.DOES_NOT_TRANSFER, (-0.09, 0.09), [SMALL], CONTRADICTED),
        (rates.DOES_NOT_TRANSFER, (-0.09, 0.09), [LARGE], INCONCLUSIVE),
        (rates.DOES_NOT_TRANSFER, (0.2, 0.3), [SMALL], INCONCLUSIVE),
        (rates.DOES_NOT_TRANSFER, (0.2, 0.3), [LARGE], SUPPORTED),
        (rates.DOES_NOT_TRANSFER, (-0.2, 0.3), [SMALL], INCONCLUSIVE),
        # A distance from NFD counts against it only where the coupled limit is nearer.
        (convergence.CONVERGES, (0.06, 0.3), [NEARER], CONTRADICTED),
        (convergence.CONVERGES, (0.06, 0.3), [NOT_NEARER], INCONCLUSIVE),
        (convergence.CONVERGES, (0.06, 0.3), [], INCONCLUSIVE),
        (convergence.CONVERGES, (0.0, 0.009), [], SUPPORTED),
        (scaling_verdict.APPROACHES, (0.01, 0.3), [NEARER], CONTRADICTED),
        (scaling_verdict.APPROACHES, (0.01, 0.3), [NOT_NEARER], INCONCLUSIVE),
        (scaling_verdict.APPROACHES, (0.01, 0.3), [], INCONCLUSIVE),
    ],
)
def test_rule_with_a_condition_on_other_rows(rule, interval, others, verdict):
    assert rule.verdict(*interval, [pd.Series(row) for row in others]) == verdict


@pytest.mark.parametrize(
    ("verdicts", "decides", "expected"),
    [
        ([SUPPORTED, CONTRADICTED], [True, False], SUPPORTED),
        ([SUPPORTED, CONTRADICTED], [True, True], CONTRADICTED),
        ([SUPPORTED, INCONCLUSIVE], [True, True], INCONCLUSIVE),
        ([CONTRADICTED, INCONCLUSIVE], [True, True], CONTRADICTED),
        ([SUPPORTED, SUPPORTED], [True, True], SUPPORTED),
    ],
)
def test_overall_is_a_conjunction(verdicts, decides, expected):
    assert overall(pd.DataFrame({"verdict": verdicts, "decides": decides})) == expected


def test_the_page_of_the_claims_states_their_rules_as_the_code_has_them():
    page = (Path(__file__).parents[1] / "docs" / "claims.md").read_text(encoding="utf-8")
    assert rules.with_rules(page) == page, "docs/claims.md: run scripts/update_verdicts.py"
    for name, claim in CLAIMS.items():
        assert f"<!-- rule of {name} -->\n\n{rules.rule_text(claim)}\n\n<!-- end" in page


def test_the_page_has_the_table_of_controls():
    page = (Path(__file__).parents[1] / "docs" / "claims.md").read_text(encoding="utf-8")
    assert rules.controls_table() in page
    for claim in CLAIMS:
        assert f"| {claim} |" in rules.controls_table()


def test_a_rule_of_another_day_is_renewed_and_an_unknown_claim_named():
    stale = "a\n<!-- rule of C9 -->\n\nwithin (0, 1)\n\n<!-- end of rule -->\nb"
    assert "within (-0.65, -0.35): falls as L^-1/2" in rules.with_rules(stale)
    with pytest.raises(ValueError, match="rule of C99: no claim has this name; accepted are C1, "):
        rules.with_rules(stale.replace("C9", "C99"))


# ---------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def written(tmp_path):
    results, outputs = gia(lambda L: 0.2 + 0.3 / L)
    results, outputs = (frame.reset_index(drop=True) for frame in (results, outputs))
    tables.write_results(results, tmp_path / "a.parquet", {})
    tables.write_outputs(outputs, tmp_path / "a.outputs.parquet", {})
    return tmp_path


def test_commands_from_runs_to_claims(written, capsys):
    make_evidence, judge_claims = load_script("make_evidence"), load_script("judge_claims")
    runs = ["--tables", str(written / "a.parquet"), "--outputs", str(written / "a.outputs.parquet")]
    evidence_path = written / "evidence" / "gia_restoration.csv"
    figure = ["--figure", "gia_restoration", *runs, "--output", str(evidence_path)]
    assert make_evidence.main(figure) == 0
    gathered, direct = written / "claims.csv", written / "direct.csv"
    assert judge_claims.main(["--evidence", str(evidence_path), "--output", str(gathered)]) == 0
    assert "C4 gia-restored         contradicted" in capsys.readouterr().out
    assert judge_claims.main(["--claim", "C4", *runs, "--output", str(direct)]) == 0
    table, alone = pd.read_csv(gathered), pd.read_csv(direct)
    assert tuple(table.columns) == (*CLAIM_COLUMNS, *CERTAINTY_COLUMNS)
    assert list(table["id"].unique()) == list(CLAIMS)
    assert (table.loc[table["id"] != "C4", "verdict"] == INCONCLUSIVE).all()
    # How many verdicts there are besides changes the adjusted p-value alone.
    together = table[table["id"] == "C4"].reset_index(drop=True).drop(columns="p_holm")
    pd.testing.assert_frame_equal(together, alone.drop(columns="p_holm"))


def test_commands_name_what_is_wrong(tmp_path, capsys):
    make_evidence, judge_claims = load_script("make_evidence"), load_script("judge_claims")
    broken = tmp_path / "broken.parquet"
    broken.write_text("not a table")
    output = str(tmp_path / "out.csv")
    command = ["--figure", "scaling_trend", "--tables", str(broken), "--output", output]
    assert make_evidence.main(command) == 1
    assert "broken.parquet" in capsys.readouterr().err
    stray = tmp_path / "stray.csv"
    stray.write_text("")
    assert judge_claims.main(["--evidence", str(stray), "--output", output]) == 1
    assert "stray.csv: no figure has this name" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_evidence_without_tables_is_an_empty_table(tmp_path):
    path = tmp_path / "scaling_trend.csv"
    command = ["--figure", "scaling_trend", "--tables", "--outputs", "--output", str(path)]
    assert load_script("make_evidence").main(command) == 0
    assert pd.read_csv(path).empty
