"""The limit simulation: replayed densely, in law, against exact recursions and closed forms.

docs/theory.md, sections 3 to 5; the five kinds of checks of a limit solver, and negative controls.
"""

from functools import cache
from itertools import chain, combinations, product
from math import sqrt

import numpy as np
import pytest
import torch
from oracles import extrapolate_depth, linear_outputs
from reference import Network
from test_gaussian import complete

from nfd.closed_form import first_step_change, first_step_response
from nfd.limit import network as matrix_free
from nfd.limit.gaussian import GaussianMatrix
from nfd.limit.memory import is_written_out, memory_bytes
from nfd.limit.network import MatrixFreeNetwork
from nfd.limit.problem import LimitProblem
from nfd.limit.simulate import follow, simulate_dense, simulate_limit
from nfd.network.couplings import LIMIT_COUPLINGS

COUPLINGS = ("standard", "decoupled")
TRAINABLE = [
    *chain.from_iterable(combinations(("input", "hidden", "output"), size) for size in (1, 2, 3))
]
DATA = np.random.default_rng(5)
INPUTS = DATA.standard_normal((5, 7))
CLASSES = np.array([2, 0, 1, 0, 1])
BATCHES = np.array(
    [[0, 1, 1], [2, 3, 0], [0, 1, 3]]
)  # sample 1 twice in a batch; 4 is a test point


def problem(**changes):
    base = {
        "inputs": INPUTS,
        "targets": CLASSES,
        "batches": BATCHES,
        "depth": 3,
        "learning_rate": 0.7,
    }
    return LimitProblem(**{**base, **changes})


def float64(a_problem, particles, seed=0, **options):
    return simulate_limit(a_problem, particles, seed, dtype=torch.float64, **options)


# --- (a) the revealed matrices, completed and trained densely ---------------------------------------


def completed_network(a_problem, particles, seed, written_out=False):
    """A dense network of the reference whose weights are those a limit simulation revealed or wrote."""
    seen = MatrixFreeNetwork(
        a_problem, particles, seed, dtype=torch.float64, written_out=written_out
    )
    inputs, outputs = seen.input_weights.clone(), seen.output_weights.clone()
    written = [[entries(matrix) for matrix in block] for block in seen.blocks if written_out]
    trajectory = follow(a_problem, seen)
    network = Network(
        a_problem.parametrization,
        particles,
        a_problem.depth,
        a_problem.inputs.shape[1],
        a_problem.target_values.shape[1],
        seed,
        block_layers=a_problem.block_layers,
        skip=a_problem.skip,
        activation=a_problem.activation,
        horizon=a_problem.horizon,
        coupling=a_problem.coupling,
        correction=a_problem.correction,
    )
    network.W0["input"], network.W0["output"] = [inputs.numpy().T], [outputs.numpy()]
    rng = np.random.default_rng(seed)
    for layer, block in enumerate(seen.blocks):
        for place, (role, matrix) in enumerate(zip(a_problem.hidden_roles, block, strict=True)):
            forward, backward = (
                written[layer][place] if written_out else complete(matrix.initial, rng)
            )
            network.W0[role][layer], network.backward_W0[role][layer] = forward, backward
    network.W = {role: [w.copy() for w in layers] for role, layers in network.W0.items()}
    return trajectory, network


def entries(matrix):
    """Forward and backward matrix of a written one that has not been trained."""
    basis = torch.eye(len(matrix.initial), dtype=torch.float64)
    return matrix.forward(basis).T.numpy().copy(), matrix.backward(basis).numpy().copy()


def steps_observed(a_problem):
    return [step for step in range(a_problem.steps + 1) if a_problem.is_observed(step)]


def dense_outputs(a_problem, network):
    outputs = [network.forward(a_problem.inputs)[0]]
    for batch in a_problem.batches:
        network.train_step(
            a_problem.inputs[batch],
            a_problem.target_values[batch],
            a_problem.learning_rate,
            a_problem.loss,
            trainable=a_problem.trained_roles,
        )
        outputs.append(network.forward(a_problem.inputs)[0])
    return np.array(outputs)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "mse", "activation": "tanh"},
        {"loss": "cross_entropy", "horizon": 2.0},
        {"loss": "cross_entropy", "activation": "linear"},
        {"loss": "cross_entropy", "activation": "gelu"},
        {"activation": "erf", "block_layers": 2},
        {"activation": "gelu", "parametrization": "mup", "skip": False, "learning_rate": 0.1},
        {"parametrization": "mup", "skip": False, "learning_rate": 0.1},
        {"parametrization": "complete_p", "trainable": ("hidden",)},
        {"block_layers": 2, "loss": "cross_entropy"},
        {"block_layers": 2, "activation": "tanh", "parametrization": "depth_mup_corrected"},
        {
            "block_layers": 2,
            "parametrization": "depth_mup_corrected",
            "correction": 0.25,
            "trainable": ("hidden_1",),
        },
        {"block_layers": 2, "parametrization": "complete_p", "trainable": ("input", "output")},
        {"probes": (4,), "evaluated": (3, 4)},
        {"observed_steps": (0, 2), "probes": (4, 0)},
        {"observed_steps": (3,), "evaluated": (3, 4), "loss": "cross_entropy"},
        {"observed_steps": (0,), "block_layers": 2, "activation": "gelu"},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_completed_to_dense_weights_the_trajectory_is_reproduced(changes, coupling):
    trial = problem(coupling=coupling, **changes)
    trajectory, network = completed_network(trial, 40, 3)
    dense = dense_outputs(trial, network)
    seen = np.isfinite(trajectory.outputs)
    assert seen[np.ix_(steps_observed(trial), trial.evaluated_ids)].all()
    assert np.abs(trajectory.outputs - dense)[seen].max() < 1e-10
    assert np.abs(dense[-1] - dense[0]).max() > 0.01  # something was learned


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "cross_entropy", "horizon": 2.0},
        {"block_layers": 2, "parametrization": "depth_mup_corrected", "observed_steps": (0, 2)},
        {"parametrization": "mup", "skip": False, "learning_rate": 0.1, "probes": (4,)},
        {"block_layers": 2, "trainable": ("hidden_1",), "batches": [[0, 0, 1], [2, 0, 2]]},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_a_matrix_written_out_trains_like_a_dense_one(changes, coupling):
    trial = problem(coupling=coupling, **changes)
    trajectory, network = completed_network(trial, 12, 3, written_out=True)
    dense = dense_outputs(trial, network)
    seen = np.isfinite(trajectory.outputs)
    assert np.abs(trajectory.outputs - dense)[seen].max() < 1e-10
    assert np.abs(dense[-1] - dense[0]).max() > 0.01


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_revealed_or_written_out_is_one_law(coupling):
    """Outputs, kernels and coupling of few particles, where either is used, within three standard errors."""
    trial = problem(loss="cross_entropy", coupling=coupling, probes=(0, 4))

    def numbers(seed, written_out):
        network = MatrixFreeNetwork(trial, 24, seed, written_out=written_out, dtype=torch.float64)
        t = follow(trial, network)
        return np.array(
            [
                t.losses[-1],
                t.output_change[-1],
                t.coupling[-1].sum(),
                t.gradient_kernel[-1, 0, 0, 1],
            ]
        )

    samples = [np.array([numbers(s, written) for s in range(100)]) for written in (False, True)]
    apart = np.abs(samples[0].mean(0) - samples[1].mean(0))
    error = np.sqrt(sum(sample.var(0, ddof=1) / 100 for sample in samples))
    assert (apart < 3.5 * error).all()


def test_written_out_where_many_vectors_meet_few_particles():
    assert is_written_out(300, 400, 101, "standard")
    assert not is_written_out(300, 400, 99, "standard")  # revealed: two thirds of the operations
    assert not is_written_out(300, 400, 400, "fresh")


@pytest.mark.parametrize("written_out", [False, True])
def test_depths_that_share_their_noise_are_closer(written_out):
    """One Brownian path: the difference over depth scatters less than between unrelated runs."""

    def last(depth, seed, noise_depth):
        trial = problem(depth=depth, probes=(), horizon=1.0)
        options = {"noise_depth": noise_depth, "written_out": written_out}
        return follow(trial, MatrixFreeNetwork(trial, 60, seed, **options)).losses[-1]

    pairs = {
        shared: [last(4, s, 8 if shared else 4) - last(8, s, 8) for s in range(24)]
        for shared in (True, False)
    }
    assert np.std(pairs[True]) < 0.6 * np.std(pairs[False])


class Remembering(GaussianMatrix):
    """Keeps what the matrix of each backward pass has revealed: (vectors, images without the change)."""

    def multiply_transposed(self, vectors, change=None):
        product = super().multiply_transposed(vectors, change)
        learned = 0.0
        if change is not None:
            left = product.coordinates @ change[: self.left.used, : self.right.used]
            learned = left @ self.right.basis
        self.passes = [*getattr(self, "passes", []), (vectors.clone(), product.values - learned)]
        return product


@pytest.mark.parametrize("observed", [None, (0, 2)])
@pytest.mark.parametrize("block_layers", [1, 2])
def test_fresh_copies_completed_to_dense_weights_reproduce_the_trajectory(
    block_layers, observed, monkeypatch
):
    """One backward matrix per step and layer, completed from what that step revealed of it."""
    monkeypatch.setattr(matrix_free, "GaussianMatrix", Remembering)
    trial = problem(
        coupling="fresh",
        block_layers=block_layers,
        parametrization="depth_mup_corrected",
        probes=(4, 0),
        observed_steps=observed,
    )
    seen = MatrixFreeNetwork(trial, 40, 3, dtype=torch.float64)
    inputs, outputs = seen.input_weights.clone(), seen.output_weights.clone()
    trajectory = follow(trial, seen)
    network = Network(
        trial.parametrization, 40, 3, 7, 3, 3, block_layers=block_layers, coupling="fresh"
    )
    network.W0["input"], network.W0["output"] = [inputs.numpy().T], [outputs.numpy()]
    rng = np.random.default_rng(0)
    copies = {}
    for layer, block in enumerate(seen.blocks):
        for role, matrix in zip(trial.hidden_roles, block, strict=True):
            network.W0[role][layer] = complete(matrix.initial, rng)[0]
            for step, (vectors, images) in enumerate(matrix.initial.passes):
                g, through = vectors.numpy(), images.numpy()
                known = np.linalg.pinv(g)
                rest = np.eye(40) - known @ g
                copies[role, layer, step] = known @ through + rest @ rng.standard_normal((40, 40))
    network.W = {role: [w.copy() for w in layers] for role, layers in network.W0.items()}
    monkeypatch.setattr(network, "copy_of", lambda role, layer, _, step: copies[role, layer, step])
    dense = dense_outputs(trial, network)
    shown = np.isfinite(trajectory.outputs)
    assert shown[np.ix_(steps_observed(trial), trial.evaluated_ids)].all()
    assert np.abs(trajectory.outputs - dense)[shown].max() < 1e-10
    assert np.abs(dense[-1] - dense[0]).max() > 0.01
    # Negative control: with one copy for all steps it is another trajectory.
    monkeypatch.setattr(network, "copy_of", lambda role, layer, *_: copies[role, layer, 0])
    network.W = {role: [w.copy() for w in layers] for role, layers in network.W0.items()}
    network.steps = 0
    assert np.abs(trajectory.outputs - dense_outputs(trial, network))[shown].max() > 0.01


def test_the_first_step_with_fresh_copies_is_the_decoupled_one():
    options = {"horizon": 1.0, "depth": 4, "trainable": ("input", "hidden")}
    found = mean_response({**options, "coupling": "fresh"}, 16384, 2)
    assert first_step_response(**options, coupling="fresh") == first_step_response(
        **options, coupling="decoupled"
    )
    assert abs(found / first_step_response(**options, coupling="fresh") - 1) < 0.01


def test_the_replay_fails_without_the_response_terms(monkeypatch):
    """Negative control: with W and W^T sampled independently there is no one matrix to replay."""

    def unaware(*arguments):
        return GaussianMatrix(*arguments[:-1], "decoupled")

    monkeypatch.setattr(matrix_free, "GaussianMatrix", unaware)
    trial = problem()
    trajectory, network = completed_network(trial, 40, 3)
    assert np.abs(trajectory.outputs - dense_outputs(trial, network)).max() > 0.01


# --- observables and the dense simulation, number by number --------------------------------------


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "cross_entropy"},
        {"parametrization": "mup", "skip": False, "learning_rate": 0.1},
        {"block_layers": 2, "parametrization": "depth_mup_corrected"},
    ],
    ids=("one-layer", "no-skip", "two-layer"),
)
def test_dense_simulation_and_its_observables_against_the_reference(changes, coupling):
    """Same weights by name as tests/reference.py: every observable from its definition, to 1e-9."""
    trial = problem(coupling=coupling, probes=(4, 0), **changes)
    n = 30
    seen = simulate_dense(trial, n, 2, dtype=torch.float64)
    network = Network(
        trial.parametrization,
        n,
        3,
        7,
        3,
        2,
        block_layers=trial.block_layers,
        skip=trial.skip,
        coupling=coupling,
    )
    expected = reference_observables(trial, network)
    for name, values in expected.items():
        assert np.allclose(getattr(seen, name), values, rtol=1e-9, atol=1e-11, equal_nan=True), name


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("observed", [None, (0, 1, 3), (0, 2), (0,)])
def test_limit_observables_are_those_of_the_completed_network(observed, coupling):
    """At the steps that are observed; at the others nothing but the batch, and never an old value."""
    trial = problem(coupling=coupling, probes=(4, 0), loss="cross_entropy", observed_steps=observed)
    seen, network = completed_network(trial, 40, 3)
    looked = steps_observed(trial)
    for name, values in reference_observables(trial, network).items():
        found = getattr(seen, name)
        assert np.allclose(found[looked], values[looked], rtol=1e-9, atol=1e-11), name
        unseen = np.setdiff1d(np.arange(4), looked)
        if name not in ("outputs", "losses"):
            assert np.isnan(found[unseen]).all(), name
    for step in np.setdiff1d(np.arange(4), looked):
        passed = np.isin(np.arange(5), trial.batches[step]) if step < 3 else np.zeros(5, bool)
        assert np.array_equal(np.isfinite(seen.outputs[step]).all(axis=1), passed)
        assert np.isfinite(seen.losses[step]) == (step < 3)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_looking_less_often_does_not_touch_a_dense_network(coupling):
    """The trained network is the same to the last bit; what is not looked at is NaN."""
    every = simulate_dense(problem(coupling=coupling), 30, 1)
    some = simulate_dense(problem(coupling=coupling, observed_steps=(0, 2)), 30, 1)
    for name in ("outputs", "losses", "train_losses", "test_losses", "coupling", "feature_kernel"):
        one, other = getattr(every, name), getattr(some, name)
        assert np.array_equal(one[[0, 2]], other[[0, 2]]), name
        seen = np.isfinite(other)
        assert np.abs(one - other)[seen].max() < 1e-6, name
        assert np.isnan(other[3]).all(), name


def reference_observables(trial, network):
    """Every field of a trajectory, from the reference network's weights and passes."""
    from reference import loss_and_chi, phi

    x, y, n = trial.inputs, trial.target_values, network.width
    probes = np.asarray(trial.probes)
    values = {name: [] for name in ("outputs", "losses", "train_losses", "test_losses")}
    kernels = {name: [] for name in ("feature_kernel", "gradient_kernel", "coupling")}
    for step in range(len(trial.batches) + 1):
        f, h, _, _ = network.forward(x)
        losses, chi = loss_and_chi(f, y, trial.loss)
        values["outputs"].append(f)
        values["losses"].append(losses[trial.batches[min(step, len(trial.batches) - 1)]].mean())
        values["train_losses"].append(losses[[0, 1, 2, 3]].mean())
        values["test_losses"].append(losses[4])
        g = [n * gradient[probes] for gradient in network.backward(x, chi)[1]]
        kernels["feature_kernel"].append([a[probes] @ a[probes].T / n for a in h])
        kernels["gradient_kernel"].append([a @ a.T / n for a in g])
        c = np.full((trial.depth, len(probes)), np.nan)
        if trial.block_layers == 1:
            for layer, w in enumerate(network.W0["hidden_2"]):
                features = phi(trial.activation, h[layer])[probes]
                c[layer] = ((g[layer + 1] @ w) * features).sum(1) / n**1.5
        kernels["coupling"].append(c)
        if step < len(trial.batches):
            batch = trial.batches[step]
            network.train_step(x[batch], y[batch], trial.learning_rate, trial.loss)
    result = {name: np.array(rows) for name, rows in {**values, **kernels}.items()}
    c, last = result["coupling"], result["feature_kernel"][:, -1]
    result["coupling_layer"] = np.sqrt((c**2).mean((1, 2)))
    result["coupling_accumulated"] = network.block_scale * np.sqrt((c.sum(1) ** 2).mean(1))
    result["kernel_min_eigenvalue"] = np.linalg.eigvalsh(last)[:, 0]
    change = (result["outputs"] - result["outputs"][0])[:, probes]
    result["output_change"] = np.sqrt((change**2).mean((1, 2)))
    return result


# --- (b) in law against dense networks ------------------------------------------------------------


def summary(trajectory):
    """Ten numbers of a trajectory whose means are compared."""
    t, middle = trajectory, trajectory.feature_kernel.shape[1] // 2
    numbers = {
        "first train loss": t.train_losses[0],
        "last train loss": t.train_losses[-1],
        "test loss": t.test_losses[-1],
        "output change": t.output_change[-1],
        "one output": t.outputs[-1, 0, 2],
        "test output": t.outputs[-1, 4, 2],
        "kernel": t.feature_kernel[-1, -1, 0, 1],
        "middle kernel": t.feature_kernel[-1, middle, 0, 0],
        "gradient": t.gradient_kernel[-1, 0, 0, 0],
        "coupling": t.coupling[-1].sum(),
    }
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


@cache
def means(simulate, coupling, block_layers, loss, observed=None, width=256, seeds=32):
    """Names, means and standard errors of the summary over seeds."""
    trial = problem(
        observed_steps=observed,
        loss=loss,
        block_layers=block_layers,
        coupling=coupling,
        depth=4,
        parametrization="depth_mup_corrected",
    )
    rows = [summary(simulate(trial, width, seed)) for seed in range(seeds)]
    names = list(rows[0])
    values = np.array([[row[name] for name in names] for row in rows])
    return names, values.mean(0), values.std(0, ddof=1) / sqrt(seeds)


def far_apart(one, other):
    (names, mean, error), (_, other_mean, other_error) = one, other
    far = np.abs(mean - other_mean) > 3 * np.hypot(error, other_error)
    return [name for name, bad in zip(names, far, strict=True) if bad]


@pytest.mark.parametrize(
    ("block_layers", "loss"),
    [
        (1, "cross_entropy"),
        (2, "mse"),
        # The other pairs: the loss enters by its derivative only, whatever the blocks.
        pytest.param(1, "mse", marks=pytest.mark.nightly),
        pytest.param(2, "cross_entropy", marks=pytest.mark.nightly),
    ],
)
def test_means_over_seeds_are_those_of_dense_networks(block_layers, loss):
    """Width 256, depth 4, three steps, 32 seeds each: within three standard errors."""
    shape = (block_layers, loss)
    dense = {coupling: means(simulate_dense, coupling, *shape) for coupling in LIMIT_COUPLINGS}
    ours = {coupling: means(simulate_limit, coupling, *shape) for coupling in LIMIT_COUPLINGS}
    for coupling in LIMIT_COUPLINGS:
        assert not far_apart(ours[coupling], dense[coupling])
        seldom = means(simulate_limit, coupling, *shape, observed=(0, 3))
        assert not far_apart(seldom, dense[coupling])
    # Negative control: with the wrong coupling the same comparison fails.
    assert far_apart(ours["decoupled"], dense["standard"])
    assert far_apart(ours["standard"], dense["decoupled"])


# --- (d) closed forms -----------------------------------------------------------------------------


def mean_response(options, particles, seeds):
    """-df / d(eta chi) of one sample: mean over seeds and over the signs of U and W.

    The sign changes keep the law and cancel the leading fluctuation. |h_0|^2 / n and |V|^2 / n, whose
    means are exactly 1, serve as control variates: whatever their coefficients, the mean is unbiased.
    """
    trial = one_sample(**options)
    signs = [(), ("hidden_2",), ("input",), ("input", "hidden_2")]
    on_h = control_coefficient(options, {"hidden", "output"})
    on_v = control_coefficient(options, {"input", "hidden"})
    found = []
    for seed, negate in product(range(seeds), signs):
        network = MatrixFreeNetwork(trial, particles, seed, dtype=torch.float64, negate=negate)
        trajectory = follow(trial, network)
        f = trajectory.outputs[:, 0, 0]
        h_0 = network.inputs @ network.input_weights / sqrt(trial.inputs.shape[1])
        control = on_h * ((h_0**2).mean() - 1) + on_v * ((network.output_weights**2).mean() - 1)
        found.append(-(f[1] - f[0]) / (trial.learning_rate * (f[0] - 1)) - float(control))
    return np.mean(found)


def control_coefficient(options, roles):
    trained = [role for role in options["trainable"] if role in roles]
    return first_step_response(**{**options, "trainable": trained})


def one_sample(**changes):
    return LimitProblem(
        **{
            "inputs": np.ones((1, 4)),
            "targets": [[1.0]],
            "batches": [[0]],
            "learning_rate": 1e-6,
            "depth": 4,
            "probes": (),
            **changes,
        }
    )


SINGLES_AND_ALL = [("input",), ("hidden",), ("output",), ("input", "hidden", "output")]
FIRST_STEPS = [
    *product((0.25, 1.0, 2.0), (1, 4), TRAINABLE),
    *product((0.25, 1.0, 2.0), (16,), SINGLES_AND_ALL),
    *product((2.0,), (64,), [("hidden",)]),
]


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(("horizon", "depth", "trainable"), FIRST_STEPS)
def test_first_step_of_relu_networks(horizon, depth, trainable, coupling):
    check_first_step(horizon, depth, trainable, coupling, seeds=4 if horizon > 1 else 1)


@pytest.mark.nightly
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    ("horizon", "depth", "trainable"), [*product((0.25, 1.0, 2.0), (16, 64), TRAINABLE)]
)
def test_first_step_of_deep_relu_networks(horizon, depth, trainable, coupling):
    check_first_step(horizon, depth, trainable, coupling, seeds=8)


def check_first_step(horizon, depth, trainable, coupling, seeds):
    """Within 1 % of section 5, which is about three standard errors with few seeds."""
    options = {"horizon": horizon, "depth": depth, "trainable": trainable, "coupling": coupling}
    found = mean_response(options, 16384, seeds)
    assert abs(found / first_step_response(**options) - 1) < 0.01


def test_first_step_of_many_samples_at_infinite_width():
    """Every probe and class within four standard errors of the kernel recursion, one and two layers."""
    targets = np.eye(3)[CLASSES]
    for coupling, block_layers in product(COUPLINGS, (1, 2)):
        options = {
            "depth": 6,
            "learning_rate": 1e-5,
            "coupling": coupling,
            "block_layers": block_layers,
            "parametrization": "depth_mup_corrected",
        }
        exact = first_step_change(INPUTS[:3], targets[:3], INPUTS, **options)
        trial = problem(targets=targets, batches=[[0, 1, 2]], probes=(), **options)
        # Plain and negated readout: in the mean, f at initialisation and its part in chi cancel.
        changes = np.array(
            [
                np.mean(
                    [
                        np.diff(float64(trial, 8192, seed, negate=signs).outputs, axis=0)[0]
                        for signs in ((), ("output",))
                    ],
                    axis=0,
                )
                for seed in range(6)
            ]
        )
        error = changes.std(0, ddof=1) / sqrt(len(changes))
        assert np.all(np.abs(changes.mean(0) - exact) < 4 * error + 0.01 * np.abs(exact).max())


TEN_STEPS = np.random.default_rng(0).integers(0, 4, (10, 2))
LINEAR = {
    "inputs": DATA.standard_normal((4, 5)),
    "targets": DATA.standard_normal((4, 2)),
    "batches": TEN_STEPS,
    "depth": 8,
    "learning_rate": 0.1,
}


def linear_means(coupling, particles=4096, seeds=8):
    trial = LimitProblem(**LINEAR, activation="linear", coupling=coupling, probes=())
    outputs = np.array(
        [
            np.mean(
                [
                    float64(trial, particles, seed, negate=signs).outputs
                    for signs in ((), ("output",))
                ],
                axis=0,
            )
            for seed in range(seeds)
        ]
    )
    return outputs.mean(0), outputs.std(0, ddof=1) / sqrt(seeds)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_linear_networks_follow_the_exact_recursion_for_ten_steps(coupling):
    """All samples, outputs and steps: rms deviation below 1.5 standard errors, none above 2 % of f."""
    exact = linear_outputs(**LINEAR, coupling=coupling)
    mean, error = linear_means(coupling)
    score = (mean - exact)[1:] / error[1:]
    assert sqrt((score**2).mean()) < 1.5
    assert np.abs(mean - exact).max() < 0.02 * np.abs(exact).max()
    # Without the response terms, or with them where they do not belong, the check fails.
    other = linear_outputs(**LINEAR, coupling=next(c for c in COUPLINGS if c != coupling))
    assert sqrt((((mean - other)[1:] / error[1:]) ** 2).mean()) > 5


# --- (e) convergence in depth -----------------------------------------------------------------------

DEPTHS = (2, 4, 8, 16, 32)


@pytest.fixture(scope="module")
def outputs_by_depth():
    """Outputs (depth, seed, K+1, S, C) of one problem, all depths on the same Brownian paths."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 6)), rng.standard_normal((3, 1))
    runs = {}
    for coupling in COUPLINGS:
        runs[coupling] = np.array(
            [
                [
                    np.mean(
                        [
                            simulate_limit(
                                LimitProblem(
                                    inputs=x,
                                    targets=y,
                                    batches=np.tile([0, 1], (3, 1)),
                                    depth=depth,
                                    learning_rate=0.5,
                                    coupling=coupling,
                                    probes=(),
                                ),
                                4096,
                                seed,
                                noise_depth=max(DEPTHS),
                                negate=signs,
                            ).outputs
                            for signs in ((), ("output",))
                        ],
                        axis=0,
                    )
                    for seed in range(4)
                ]
                for depth in DEPTHS
            ]
        )
    return runs


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_outputs_converge_at_rate_one_over_depth_on_shared_noise(outputs_by_depth, coupling):
    """rms of f_2L - f_L over steps and samples: slope -1 +- 0.2 over L = 2..16, above the noise."""
    steps = np.diff(outputs_by_depth[coupling], axis=0)[:, :, 1:]
    size = np.sqrt((steps.mean(1) ** 2).mean((1, 2, 3)))
    noise = np.sqrt((steps.var(1, ddof=1) / steps.shape[1]).mean((1, 2, 3)))
    assert np.all(size > 3 * noise)
    slope = np.polyfit(np.log(DEPTHS[:-1]), np.log(size), 1)[0]
    assert abs(slope + 1) < 0.2


def test_shared_noise_is_what_makes_the_rate_visible(outputs_by_depth):
    """Between depths 16 and 32 a run differs far less than two runs of different seeds."""
    runs = outputs_by_depth["standard"][:, :, -1]
    between_depths = np.abs(runs[-1] - runs[-2]).mean()
    between_seeds = np.abs(runs[-1] - np.roll(runs[-1], 1, axis=0)).mean()
    assert between_depths < 0.25 * between_seeds


def test_the_two_limits_of_infinite_depth_differ(outputs_by_depth):
    """Extrapolated in 1/L, the coupled limit and NFD are many standard errors apart."""
    gap = outputs_by_depth["standard"] - outputs_by_depth["decoupled"]
    estimate = extrapolate_depth(DEPTHS[2:], gap[2:, :, -1], order=1)
    assert np.abs(estimate.limit / estimate.standard_error).max() > 10


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_value_of_the_limit(coupling):
    """First step, hidden layers, T = 1: qT e^{qT} and e^{qT} - 1 from depths 8 and 16, within 2 %."""
    responses = []
    for depth in (8, 16):
        options = {"depth": depth, "trainable": ("hidden",), "coupling": coupling}
        responses.append([mean_response(options, 16384, 1)])
    found = extrapolate_depth([8, 16], np.array(responses)).limit
    assert abs(found / first_step_response(coupling=coupling) - 1) < 0.02


# --- edge cases -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    trial = problem()
    first, again, other = (simulate_limit(trial, 64, seed).outputs for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_observing_more_changes_no_law_and_less_gives_nan():
    """Samples not evaluated have no output but at the steps of their batch."""
    trial = problem(evaluated=(4,), probes=())
    seen = np.isfinite(simulate_limit(trial, 64, 0).outputs).all(axis=2)
    expected = [[1, 1, 0, 0, 1], [1, 0, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 0, 1, 1]]
    assert np.array_equal(seen, np.array(expected, bool))


def test_a_learning_rate_of_zero_changes_nothing():
    """The features repeat, so that every step finds its vectors in the basis."""
    trial = problem(learning_rate=0.0)
    network = MatrixFreeNetwork(trial, 64, 0, dtype=torch.float64)
    trajectory = follow(trial, network)
    assert np.abs(trajectory.outputs - trajectory.outputs[0]).max() < 1e-12
    assert all(block[0].initial.right.used == 5 for block in network.blocks)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_more_vectors_than_particles(coupling):
    """50 steps of 5 samples on 16 particles: the matrices get known entirely, and the replay is exact."""
    trial = problem(
        batches=np.tile([[0, 1, 2]], (50, 1)), learning_rate=0.1, depth=2, coupling=coupling
    )
    trajectory, network = completed_network(trial, 16, 0)
    assert np.abs(trajectory.outputs - dense_outputs(trial, network)).max() < 1e-9


def test_one_sample_one_step_one_block_one_particle():
    trial = problem(inputs=[[1.0]], targets=[[2.0]], batches=[[0]], depth=1)
    for particles in (1, 20):
        trajectory, network = completed_network(trial, particles, 1)
        assert np.abs(trajectory.outputs - dense_outputs(trial, network)).max() < 1e-12


def test_duplicate_samples_have_equal_outputs_and_count_twice():
    doubled = problem(
        inputs=np.concatenate([INPUTS, INPUTS[:1], 0 * INPUTS[:1]]),
        targets=np.append(CLASSES, [CLASSES[0], 0]),
        batches=[[0, 5, 1]],
    )
    once = problem(batches=[[0, 0, 1]])
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        f = simulate_limit(doubled, 64, 0, dtype=dtype).outputs
        assert np.abs(f[:, 0] - f[:, 5]).max() < bound
        assert np.abs(f[:, :, :][:, 6]).max() < bound  # no biases: x = 0 stays at 0
    trajectory, network = completed_network(doubled, 40, 0)
    single = dense_outputs(once, network)
    assert np.abs(trajectory.outputs[:, :5] - single).max() < 1e-10


def test_float32_agrees_with_a_dense_replay_in_float64():
    """To 1e-4, at a few hundred nearly dependent vectors."""
    trial = problem(batches=np.tile(BATCHES, (20, 1)), learning_rate=0.05, horizon=0.5)
    network = MatrixFreeNetwork(trial, 400, 0)
    dense = Network("depth_mup", 400, 3, 7, 3, 0, horizon=0.5)
    dense.W0["input"] = [network.input_weights.double().numpy().T]
    dense.W0["output"] = [network.output_weights.double().numpy()]
    trajectory = follow(trial, network)
    rng = np.random.default_rng(0)
    dense.W0["hidden_2"] = [complete(block[0].initial, rng)[0] for block in network.blocks]
    dense.W = {role: [w.copy() for w in layers] for role, layers in dense.W0.items()}
    assert np.abs(trajectory.outputs - dense_outputs(trial, dense)).max() < 1e-4


@pytest.mark.parametrize("simulate", [simulate_limit, simulate_dense])
def test_divergence_is_recorded_and_ends_the_run(simulate):
    trial = problem(learning_rate=1e6, batches=np.tile(BATCHES, (10, 1)))
    with np.errstate(all="ignore"):
        trajectory = simulate(trial, 32, 0)
    end = trajectory.diverged_at
    assert 0 < end < 30
    assert np.isfinite(trajectory.outputs[:end]).all()
    assert np.isnan(trajectory.outputs[end:]).all()
    assert np.isnan(trajectory.kernel_min_eigenvalue[end:]).all()


@pytest.mark.parametrize("observed", [None, (0, 12)])
def test_memory_is_known_in_advance(observed):
    """All tensors held at the end fit in the estimate, and fill most of it."""
    for block_layers, dtype in product((1, 2), (torch.float32, torch.float64)):
        trial = problem(
            depth=10,
            batches=np.tile(BATCHES, (4, 1)),
            block_layers=block_layers,
            observed_steps=observed,
        )
        network = MatrixFreeNetwork(trial, 2000, 0, dtype=dtype)
        follow(trial, network)
        held = sum(m.initial.nbytes for block in network.blocks for m in block)
        held += sum(slope.nbytes for slope in network.slopes)
        assert held < memory_bytes(trial, 2000, dtype.itemsize) < 1.4 * held


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_memory_of_matrices_written_out_is_known_in_advance(coupling):
    trial = problem(depth=6, batches=np.tile(BATCHES, (20, 1)), coupling=coupling)
    network = MatrixFreeNetwork(trial, 300, 0, written_out=True)
    assert is_written_out(300, *trial.vectors, coupling)
    follow(trial, network)
    held = sum(m.nbytes for block in network.blocks for m in block)
    held += sum(slope.nbytes for slope in network.slopes)
    assert held < memory_bytes(trial, 300) < 1.4 * held


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parametrization": "ntk"}, "parametrization: 'ntk' is not one of mup, depth_mup"),
        ({"parametrization": "standard"}, "parametrization: 'standard' is not one of mup"),
        ({"loss": "hinge"}, "loss: 'hinge' is not one of mse, cross_entropy"),
        ({"coupling": "none"}, "coupling: 'none'"),
        ({"activation": "swish"}, "activation: 'swish' is not one of relu, tanh"),
        ({"block_layers": 3}, "block_layers: 3"),
        ({"block_layers": 2, "skip": False}, "skip"),
        ({"depth": 0}, "depth: 0"),
        ({"horizon": 0.0}, "horizon: 0.0"),
        ({"trainable": ("hidden_1",)}, "trainable: 'hidden_1' is not one of input, hidden"),
        ({"inputs": INPUTS[:3]}, "inputs: need shape"),
        ({"batches": []}, "batches: need a non-empty"),
        ({"batches": [[0, 5]]}, "batches: sample ids must lie in 0..4"),
        ({"batches": [[0.5]]}, "batches: need"),
        ({"evaluated": (7,)}, "evaluated: sample ids"),
        ({"observed_steps": (0, 4)}, "observed_steps: 4 is not one of the steps 0..3"),
        ({"evaluated": (1,), "probes": (2,)}, "probes: every probe"),
    ],
)
def test_a_wrong_problem_is_refused_with_its_field(changes, message):
    with pytest.raises(ValueError, match=message):
        problem(**changes)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="noise_depth: 4 is not a multiple of the depth 3"):
        simulate_limit(problem(), 10, 0, noise_depth=4)
    with pytest.raises(ValueError, match="negate: 'readout'"):
        simulate_limit(problem(), 10, 0, negate=("readout",))
    with pytest.raises(ValueError, match="width: 0"):
        simulate_limit(problem(), 0, 0)
