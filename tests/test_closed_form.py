"""Closed forms against quadrature, dense kernels, each other, and torch-free helpers (section 5)."""

import subprocess
import sys
from itertools import chain, combinations
from math import e, exp, inf, isclose, sqrt

import numpy as np
import pytest
from oracles import extrapolate_depth, feature_norm, gradient_norm, linear_outputs
from reference import Network, loss_and_chi

from nfd.closed_form import first_step_change, first_step_response
from nfd.limit.memory import limit_bytes
from nfd.network.activations import ACTIVATIONS

ROLES = ("input", "hidden", "output")
SUBSETS = [*chain.from_iterable(combinations(ROLES, size) for size in (1, 2, 3))]


def test_closed_forms_need_no_torch():
    code = "import sys, nfd.closed_form; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_table_of_section_5():
    """Written out for T = 1: relu at L = 4 (growth 1.125^4) and in the limit, linear in the limit."""
    assert isclose(feature_norm(0.5, depth=4), 1.125**2)
    assert isclose(gradient_norm(0.25, depth=4), 1.125**3)
    assert isclose(feature_norm(0.5, horizon=2), exp(0.5))
    table = {
        ("hidden", "standard"): (0.5 * 1.125**3, 0.5 * e**0.5, e),
        ("hidden", "decoupled"): (1.125**4 - 1, e**0.5 - 1, e - 1),
        ("input", "standard"): (1.125**4, e**0.5, e),
        ("input", "decoupled"): (1, 1, 1),
        ("output", "standard"): (1.125**4, e**0.5, e),
        ("output", "decoupled"): (1.125**4, e**0.5, e),
    }
    for (role, coupling), expected in table.items():
        found = [
            first_step_response(depth=depth, activation=phi, coupling=coupling, trainable=(role,))
            for depth, phi in ((4, "relu"), (inf, "relu"), (inf, "linear"))
        ]
        assert np.allclose(found, expected, rtol=1e-12), role
    assert isclose(
        first_step_response(trainable=ROLES),
        sum(first_step_response(trainable=(role,)) for role in ROLES),
    )


def test_the_gap_between_couplings_grows_from_one_to_its_plateau():
    def ratio(depth, activation="relu"):
        standard, decoupled = (
            first_step_response(depth=depth, coupling=c, activation=activation)
            for c in ("standard", "decoupled")
        )
        return standard / decoupled

    ratios = [ratio(depth) for depth in (1, 2, 4, 16, 64, inf)]
    assert isclose(ratios[0], 1)
    assert np.all(np.diff(ratios) > 0)
    assert abs(ratios[-1] - 1.27) < 0.005
    assert abs(ratio(inf, "linear") - 1.58) < 0.005


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.0, 0.3, 1.0])
def test_relu_moments_against_quadrature(correlation):
    """E[phi phi'] and E[phi' phi'] in polar coordinates, 10^5 angles; error below 1e-4."""
    angle = (np.arange(100_000) + 0.5) * 2 * np.pi / 100_000
    other = correlation * np.cos(angle) + sqrt(1 - correlation**2) * np.sin(angle)
    both = (np.cos(angle) > 0) & (other > 0)
    s, t = 1.7, 0.4
    covariance = np.array([[s, correlation * sqrt(s * t)], [correlation * sqrt(s * t), t]])
    found = ACTIVATIONS["relu"].kernel(covariance)
    assert abs(found.slopes[0, 1] - both.mean()) < 1e-4
    product = 2 * sqrt(s * t) * np.mean(both * np.cos(angle) * other)  # E[r^2] = 2
    assert abs(found.values[0, 1] - product) < 1e-4
    assert np.allclose(found.values.diagonal(), [s / 2, t / 2])
    assert np.allclose(found.slopes.diagonal(), 0.5)


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("trainable", SUBSETS)
def test_many_samples_reduce_to_one(coupling, activation, trainable):
    x, y = np.ones((1, 5)), np.array([[2.0]])
    options = {"depth": 7, "horizon": 1.5, "activation": activation, "coupling": coupling}
    change = first_step_change(x, y, x, learning_rate=0.1, trainable=trainable, **options)
    assert isclose(change.item(), 0.1 * 2 * first_step_response(trainable=trainable, **options))


DATA = np.random.default_rng(3)
INPUTS = DATA.standard_normal((4, 5))
TARGETS = np.eye(3)[[0, 1, 2, 1]]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(
    "shape",
    [
        {"parametrization": "depth_mup"},
        {"parametrization": "complete_p"},
        {"parametrization": "mup"},
        {"parametrization": "mup", "skip": False},
        {"parametrization": "depth_mup_corrected", "block_layers": 2, "correction": 0.5},
        {"parametrization": "depth_mup", "block_layers": 2},
        {"parametrization": "depth_mup", "activation": "gelu"},
        {"parametrization": "mup", "skip": False, "activation": "erf"},
    ],
    ids=lambda shape: "-".join(map(str, shape.values())),
)
def test_first_step_against_dense_networks(shape, loss):
    """Mean over 24 dense networks of width 256 within four standard errors on every probe and class.

    Each network's own output at initialisation is taken out of chi, as f = 0 at infinite width.
    """
    for coupling in ("standard", "decoupled"):
        exact = first_step_change(
            INPUTS[:2],
            TARGETS[:2],
            INPUTS,
            depth=3,
            learning_rate=1e-4,
            loss=loss,
            coupling=coupling,
            **shape,
        )
        changes = np.array([_dense_first_step(shape, loss, coupling, seed) for seed in range(24)])
        error = changes.std(0, ddof=1) / sqrt(len(changes))
        assert np.all(np.abs(changes.mean(0) - exact) < 4 * error)
        assert np.abs(exact).max() > 10 * error.max()  # what is measured is far above the noise


def _dense_first_step(shape, loss, coupling, seed, width=256, rate=1e-4):
    network = Network(
        shape["parametrization"],
        width,
        3,
        INPUTS.shape[1],
        TARGETS.shape[1],
        seed,
        block_layers=shape.get("block_layers", 1),
        skip=shape.get("skip", True),
        correction=shape.get("correction", 0.5),
        activation=shape.get("activation", "relu"),
        coupling=coupling,
    )
    x, y = INPUTS[:2], TARGETS[:2]
    _, chi = loss_and_chi(np.zeros_like(y), y, loss)
    before = network.forward(INPUTS)[0]
    gradient, _ = network.backward(x, chi / len(x))
    for role, slopes in gradient.items():
        for layer, slope in enumerate(slopes):
            network.W[role][layer] -= rate * network.rate[role]["sgd"] * slope
    return network.forward(INPUTS)[0] - before


def test_first_internal_layer_grows_with_the_square_root_of_depth():
    """Two-layer blocks, p = 1/2: its first-step effect is coherent, and absent when decoupled."""
    options = {
        "learning_rate": 1.0,
        "block_layers": 2,
        "parametrization": "depth_mup_corrected",
        "trainable": ("hidden_1",),
    }
    change = [
        np.abs(first_step_change(INPUTS, TARGETS, INPUTS, depth=depth, **options)).max()
        for depth in (256, 1024)
    ]
    assert abs(change[1] / change[0] - 2) < 0.01
    decoupled = first_step_change(INPUTS, TARGETS, INPUTS, depth=4, coupling="decoupled", **options)
    assert np.all(decoupled == 0)


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
@pytest.mark.parametrize("trainable", SUBSETS)
def test_linear_recursion_starts_as_the_closed_form(coupling, trainable):
    x, rate = np.array([[1.0, -1.0]]), 1e-7
    options = {"depth": 6, "horizon": 2.0, "coupling": coupling, "trainable": trainable}
    f = linear_outputs(x, [[1.0]], [[0]], learning_rate=rate, **options)
    exact = first_step_response(activation="linear", **options)
    assert f[0].item() == 0
    assert isclose((f[1] - f[0]).item() / rate, exact, rel_tol=1e-6)


@pytest.mark.parametrize("parametrization", ["depth_mup", "mup", "complete_p"])
def test_linear_recursion_with_only_the_readout_is_gradient_descent_on_a_kernel(parametrization):
    """The features are then fixed, with Gram matrix G = (1 + branch^2)^L x x'/d, and every step is
    f <- f - rate / B * G (f - y)."""
    x, y, depth = INPUTS[:3], TARGETS[:3], 4
    branch = {"depth_mup": sqrt(1 / depth), "mup": 1, "complete_p": 1 / depth}[parametrization]
    gram = (1 + branch**2) ** depth * x @ x.T / x.shape[1]
    f, expected = np.zeros_like(y), [np.zeros_like(y)]
    for _ in range(5):
        f = f - 0.1 / 3 * gram @ (f - y)
        expected.append(f)
    found = linear_outputs(
        x,
        y,
        np.tile([0, 1, 2], (5, 1)),
        depth=depth,
        learning_rate=0.1,
        parametrization=parametrization,
        trainable=("output",),
    )
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_linear_recursion_does_not_depend_on_rotations_or_sample_order():
    rotation = np.linalg.qr(DATA.standard_normal((5, 5)))[0]
    batches = np.array([[0, 1], [2, 2], [3, 0], [1, 2]])
    order = np.array([2, 0, 3, 1])
    options = {"depth": 3, "learning_rate": 0.3, "loss": "cross_entropy"}
    f = linear_outputs(INPUTS, TARGETS, batches, **options)
    turned = linear_outputs(
        INPUTS[order] @ rotation, TARGETS[order], np.argsort(order)[batches], **options
    )
    assert np.allclose(turned, f[:, order], rtol=1e-10, atol=1e-12)
    assert (
        np.abs(
            f[-1] - linear_outputs(INPUTS, TARGETS, batches, coupling="decoupled", **options)[-1]
        ).max()
        > 0.01
    )


def test_extrapolation_removes_the_orders_it_is_told_to():
    rng = np.random.default_rng(0)
    depths, seeds = np.array([8, 16, 32]), 200
    noise = 0.01 * rng.standard_normal((1, seeds, 2))
    exact = 2 + 0.7 / depths[:, None, None] - 3 / depths[:, None, None] ** 2 + noise
    assert np.allclose(extrapolate_depth(depths, exact).limit, 2 + noise.mean(axis=(0, 1)))
    # Depths L and 2L: 2 f_2L - f_L, whose error is the next order.
    pair = extrapolate_depth([16, 32], exact[1:])
    assert np.allclose(pair.limit, (2 * exact[2] - exact[1]).mean(0))
    assert np.allclose(pair.standard_error, noise[0].std(0, ddof=1) / sqrt(seeds))
    assert np.all(np.abs(pair.limit - 2 - noise.mean(axis=(0, 1))) < 3 / 16**2)
    # More depths than needed: least squares.
    assert extrapolate_depth(depths, exact, order=1).limit.shape == (2,)
    with pytest.raises(ValueError, match="depths"):
        extrapolate_depth([8, 8], exact[:2])


def test_memory_counts_bases_once_and_no_more_than_the_particles():
    sizes = {"depth": 4, "forward_vectors": 30, "backward_vectors": 10, "block": 5}
    small = limit_bytes(1000, **sizes)
    assert small > 4 * 2 * 40 * 1000 * 4
    assert limit_bytes(10_000, **sizes) < 10.1 * small
    assert limit_bytes(1000, **sizes, itemsize=8) == 2 * small
    many = {**sizes, "forward_vectors": 10**9}
    assert limit_bytes(20, **many) == limit_bytes(20, **{**many, "forward_vectors": 20})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "tanh"}, "activation: no closed form for 'tanh'"),
        ({"parametrization": "ntk"}, "parametrization: 'ntk' is not one of mup"),
        ({"trainable": ("hidden_1",)}, "trainable: 'hidden_1' is not one of"),
        ({"coupling": "both"}, "coupling: 'both'"),
        ({"loss": "hinge"}, "loss: 'hinge'"),
        ({"block_layers": 2, "skip": False}, "skip: False needs block_layers 1"),
    ],
)
def test_errors_name_the_argument(options, message):
    with pytest.raises(ValueError, match=message):
        first_step_change(INPUTS, TARGETS, INPUTS, depth=2, learning_rate=0.1, **options)


def test_class_ids_are_not_guessed_at():
    with pytest.raises(ValueError, match="one-hot"):
        first_step_change(INPUTS, [0, 1, 2, 1], INPUTS, depth=2, learning_rate=0.1)
