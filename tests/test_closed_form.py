"""Closed forms against quadrature, dense kernels, each other, and torch-free helpers (section 5)."""

import subprocess
import sys
from itertools import chain, combinations
from math import e, exp, inf, isclose, sqrt

import numpy as np
import pytest
from oracles import extrapolate_depth, feature_norm, gradient_norm, linear_outputs
from reference import Network, loss_and_chi, phi, phi_prime
from scipy.special import erf

from nfd.closed_form import (
    batch_gap,
    batch_response_ratio,
    first_step_change,
    first_step_coupling,
    first_step_gap,
    first_step_response,
    learned_backward_overlap,
    moments,
    one_sample_response,
    response_ratio,
)
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


def test_the_gap_of_all_roles_together():
    """r / (2 + r): 1/6 at L = 2, 1/5 (relu) and 1/3 (linear) at infinite depth, and 0 as T -> 0."""
    assert isclose(first_step_gap(depth=2), 1 / 6)
    assert isclose(first_step_gap(), 1 / 5)
    assert isclose(first_step_gap(activation="linear"), 1 / 3)
    assert first_step_gap(horizon=1e-3) < 3e-4
    for depth, horizon in ((1, 1.0), (3, 0.3), (64, 2.0), (inf, 0.7)):
        standard, decoupled = (
            first_step_response(depth=depth, horizon=horizon, coupling=c, trainable=ROLES)
            for c in ("standard", "decoupled")
        )
        gap = first_step_gap(depth=depth, horizon=horizon)
        assert isclose(gap, (standard - decoupled) / standard)


def test_the_ratio_of_both_couplings_by_role():
    for activation, q in (("relu", 0.5), ("linear", 1.0)):
        for horizon in (0.3, 1.0):
            grown = exp(q * horizon)
            expected = {
                "input": grown,
                "hidden": q * horizon * grown / (grown - 1),
                "output": 1.0,
            }
            for role, ratio in expected.items():
                found = response_ratio(role, horizon=horizon, activation=activation)
                assert isclose(found, ratio), role


ONE_SAMPLE, ONE = np.ones((1, 5)), np.ones((1, 1))


def one_sample_network(depth, seed, width=256, **options):
    """A dense network for the sample (1, ..., 1), of norm^2 d, with one output."""
    return Network("depth_mup", width, depth, ONE_SAMPLE.shape[1], 1, seed, **options)


def stepped(network, rate, roles, blocks=None):
    """The network's weights after one SGD step at chi = 1; of ``blocks`` only, if given."""
    gradient, _ = network.backward(ONE_SAMPLE, ONE)
    for role in roles:
        for block, slope in enumerate(gradient[role]):
            if blocks is None or block in blocks:
                network.W[role][block] -= rate * network.rate[role]["sgd"] * slope
    return network


def mean_and_error(measure, seeds):
    values = np.array([measure(seed) for seed in range(seeds)])
    return values.mean(0), values.std(0, ddof=1) / sqrt(seeds)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("role", [*ROLES])
def test_one_sample_responses_against_dense_networks(activation, role):
    """Mean over 24 dense networks of width 256 within four standard errors, of at most 5 %.

    The control: the other coupling's value is more than four errors away, but for the output layer.
    """
    depth = 4
    roles = {"input": "input", "hidden": "hidden_2", "output": "output"}

    def response(seed, coupling):
        network = one_sample_network(depth, seed, activation=activation, coupling=coupling)
        before = network.forward(ONE_SAMPLE)[0].item()
        stepped(network, 1e-4, [roles[role]])
        return -(network.forward(ONE_SAMPLE)[0].item() - before) / 1e-4

    functions = [lambda h, f=f: f(activation, h) for f in (phi, phi_prime)]
    exact = {
        c: one_sample_response(*functions, depth=depth, coupling=c)[role]
        for c in ("standard", "decoupled")
    }
    for coupling, other in (("standard", "decoupled"), ("decoupled", "standard")):
        mean, error = mean_and_error(lambda seed, c=coupling: response(seed, c), 24)
        assert abs(mean - exact[coupling]) < 4 * error
        assert error < 0.05 * exact[coupling]
        if role == "input":
            assert abs(mean - exact[other]) > 4 * error


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_responses_by_quadrature_reduce_to_the_exact_ones(activation, coupling):
    functions = [lambda h, f=f: f(activation, h) for f in (phi, phi_prime)]
    for depth, tolerance in ((1, 1e-12), (7, 1e-12), (inf, 1e-8)):
        options = {"depth": depth, "horizon": 1.5, "coupling": coupling}
        found = one_sample_response(*functions, **options)
        for role, response in found.items():
            exact = first_step_response(activation=activation, trainable=(role,), **options)
            assert isclose(response, exact, rel_tol=tolerance), (role, depth)


def test_responses_at_infinite_depth_are_the_limit_of_finite_ones():
    """tanh: extrapolated from L = 256 and 512 the error is O(L^-2), below 1e-5."""
    functions = [lambda h, f=f: f("tanh", h) for f in (phi, phi_prime)]
    limit = one_sample_response(*functions)
    shallow, deep = (one_sample_response(*functions, depth=depth) for depth in (256, 512))
    for role, value in limit.items():
        assert isclose(2 * deep[role] - shallow[role], value, rel_tol=1e-5)
        assert role == "input" or not isclose(deep[role], value, rel_tol=1e-5)


def test_moments_are_exact_for_relu_linear_and_erf():
    variance = np.array([0.1, 1.0, 4.0])
    relu = moments(lambda h: phi("relu", h), lambda h: phi_prime("relu", h), variance)
    assert np.allclose(relu.square, variance / 2, rtol=1e-12)
    assert np.allclose(relu.slope_square, 0.5, rtol=1e-12)
    cubic = moments(lambda h: h**3, lambda h: 3 * h**2, variance)
    assert np.allclose(cubic.square, 15 * variance**3, rtol=1e-12)
    assert np.allclose(cubic.slope_square, 27 * variance**2, rtol=1e-12)
    smooth = moments(erf, lambda h: 2 / sqrt(np.pi) * np.exp(-(h**2)), variance)
    expected = 2 / np.pi * np.arcsin(2 * variance / (1 + 2 * variance))
    assert np.allclose(smooth.square, expected, rtol=1e-12)
    assert np.allclose(smooth.slope_square, 4 / np.pi / np.sqrt(1 + 4 * variance), rtol=1e-12)


def test_moments_of_tanh_against_monte_carlo():
    """10^6 samples, within four standard errors; half as much variance is a hundred errors away."""
    h = sqrt(2.0) * np.random.default_rng(0).standard_normal(1_000_000)
    found, halved = (
        moments(lambda h: phi("tanh", h), lambda h: phi_prime("tanh", h), variance)
        for variance in (2.0, 1.0)
    )
    for values, exact, wrong in zip((phi, phi_prime), found, halved, strict=True):
        sample = values("tanh", h) ** 2
        error = sample.std() / sqrt(len(sample))
        assert abs(sample.mean() - exact) < 4 * error
        assert abs(sample.mean() - wrong) > 100 * error


def coupling_by_block(features, gradients):
    """sqrt(T/L) c_l (L,), with h of one network and g (chi = 1) of another of the same W^0."""
    n, depth = features.width, features.depth
    z = features.forward(ONE_SAMPLE)[3]
    g = gradients.backward(ONE_SAMPLE, ONE)[1]
    products = [
        n * g[block + 1][0] @ features.W0["hidden_2"][block] @ z[block][0] for block in range(depth)
    ]
    return np.array(products) / sqrt(depth) / n**1.5


def created_coupling(seed, activation, coupling, blocks=None, depth=4, rate=0.02, roles=()):
    """-d/d(rate) of the coupling by block, (2, L): from the changed h and from the changed g.

    From one step of plus and one of minus ``rate``.
    """

    def network():
        options = {"width": 256, "activation": activation, "coupling": coupling}
        return one_sample_network(depth, seed, **options)

    roles = roles or (["hidden_2"] if blocks else ["input", "hidden_2", "output"])
    old, up, down = network(), *(stepped(network(), r, roles, blocks) for r in (rate, -rate))
    features = coupling_by_block(down, old) - coupling_by_block(up, old)
    gradients = coupling_by_block(old, down) - coupling_by_block(old, up)
    return np.array([features, gradients]) / (2 * rate)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_both_sources_of_coupling_against_dense_networks(activation):
    """Mean over 24 dense networks of width 256 within four standard errors; the control: without
    reuse the features create none, while the gradients still do."""
    for coupling in ("standard", "decoupled"):
        exact = first_step_coupling(depth=4, activation=activation, coupling=coupling)
        mean, error = mean_and_error(
            lambda seed, c=coupling: created_coupling(seed, activation, c).sum(1), 24
        )
        assert np.all(np.abs(mean - exact[:2]) < 4 * error)
        assert mean[1] > 8 * error[1]
        assert coupling == "decoupled" or mean[0] > 8 * error[0]


def test_the_block_below_against_dense_networks():
    """Block l-1 trained alone, for l = 2, 3, 4; the control: it is far from all blocks below together."""

    def by_block_below(seed):
        return sum(
            created_coupling(seed, "linear", "standard", {below})[0, below + 1]
            for below in range(3)
        )

    mean, error = mean_and_error(by_block_below, 16)
    exact = first_step_coupling(depth=4, activation="linear")
    assert abs(mean - exact.block_below) < 4 * error
    assert exact.features - mean > 10 * error


def test_reuse_adds_coupling_where_the_output_layer_alone_is_trained():
    """docs/theory.md, section 5: qT G_{L-1} with reused weights, G_L - 1 without: no negative control."""
    depth, growth = 4, 1.25
    exact = {"standard": growth ** (depth - 1), "decoupled": growth**depth - 1}
    for coupling, expected in exact.items():
        mean, error = mean_and_error(
            lambda seed, c=coupling: created_coupling(seed, "linear", c, roles=["output"]).sum(1),
            8,
        )
        assert abs(mean[0]) < 1e-9  # the features do not move
        assert abs(mean[1] - expected) < 4 * error[1]
        assert error[1] < 0.1


def test_the_sum_of_the_coupling_stays_and_the_share_of_the_block_below_vanishes():
    """Finite depth looks like a small positive exponent; one block's share falls as 1/L."""

    def exponent(source, coupling, shallow, deep):
        values = [
            getattr(first_step_coupling(depth=depth, coupling=coupling), source)
            for depth in (shallow, deep)
        ]
        return np.log(values[1] / values[0]) / np.log(deep / shallow)

    assert abs(exponent("gradients", "decoupled", 2, 64) - 0.077) < 5e-4
    assert abs(exponent("gradients", "decoupled", 4, 32) - 0.061) < 5e-4
    assert abs(exponent("features", "standard", 256, 4096)) < 2e-3
    assert abs(exponent("block_below", "standard", 256, 4096) + 1) < 3e-3
    assert isclose(first_step_coupling().features, 0.5 * e**0.5 * (1 + 0.25))
    assert first_step_coupling().block_below == 0


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
        {"parametrization": "depth_mup", "activation": "tanh"},
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


def backward_overlap(seed, depth, correction, coupling, third_copy=False, rate=0.01):
    """-<h_0, d> / (n rate), d what the learned W1 adds to g_0 when all other weights stay as drawn."""

    def network(seed, coupling):
        options = {"block_layers": 2, "coupling": coupling, "correction": correction}
        return Network("depth_mup_corrected", 192, depth, 5, 1, seed, **options)

    net = network(seed, coupling)
    teacher = network(seed, coupling)
    if third_copy:
        teacher.backward_W0 = network(1000 + seed, coupling).backward_W0
    gradient, _ = teacher.backward(ONE_SAMPLE, ONE)
    h = net.forward(ONE_SAMPLE)[1][0]
    before = net.backward(ONE_SAMPLE, ONE)[1][0]
    learned = [-rate * net.rate["hidden_1"]["sgd"] * slope for slope in gradient["hidden_1"]]
    drawn = net.backward_weight

    def backward_weight(role, block):
        return drawn(role, block) + (learned[block] if role == "hidden_1" else 0)

    net.backward_weight = backward_weight
    # The network's g is the true gradient, g / n.
    return -((net.backward(ONE_SAMPLE, ONE)[1][0] - before) @ h.T).item() / rate


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
def test_the_learned_first_layer_grows_backward_as_the_correction(coupling):
    """Mean over 12 dense networks of width 192 within four standard errors, L = 4 and 16, p = 0, 1/2."""
    for depth in (4, 16):
        for correction in (0.0, 0.5):
            mean, error = mean_and_error(
                lambda seed, L=depth, p=correction: backward_overlap(seed, L, p, coupling), 12
            )
            exact = learned_backward_overlap(depth=depth, correction=correction, coupling=coupling)
            assert abs(mean - exact) < 4 * error
            assert exact > 10 * error
    grown = [learned_backward_overlap(depth=depth, coupling=coupling) for depth in (4096, 4 * 4096)]
    assert abs(grown[1] / grown[0] - 2) < 1e-3


def test_a_third_copy_takes_that_growth_away():
    """The control: W1's gradient made with another copy of the backward weights."""
    mean, error = mean_and_error(
        lambda seed: backward_overlap(seed, 16, 0.5, "decoupled", third_copy=True), 12
    )
    assert abs(mean) < 4 * error
    assert learned_backward_overlap(depth=16, coupling="decoupled") > 20 * error
    for coupling in ("fresh", "third"):
        assert learned_backward_overlap(depth=16, coupling=coupling) == 0


def test_the_first_layer_alone_depends_on_one_product():
    """W1 alone under SGD: rate eta at p = 1/2 trains as eta L^(1/2) at p = 0; with W2 it does not."""

    def outputs(correction, rate, roles):
        options = {"block_layers": 2, "correction": correction}
        network = Network("depth_mup_corrected", 24, 9, 5, 3, 0, **options)
        for _ in range(4):
            network.train_step(INPUTS, TARGETS, rate, "cross_entropy", trainable=roles)
        return network.forward(INPUTS)[0]

    alone = [outputs(0.5, 0.1, ["hidden_1"]), outputs(0.0, 0.3, ["hidden_1"])]
    assert np.allclose(*alone, rtol=1e-10, atol=1e-14)
    both = ["hidden_1", "hidden_2"]
    assert not np.allclose(outputs(0.5, 0.1, both), outputs(0.0, 0.3, both), rtol=1e-2)


def test_the_gap_of_a_batch_is_that_of_one_sample_if_there_is_one():
    x, y = np.ones((1, 5)), np.array([[2.0]])
    for depth in (2, 64):
        assert isclose(batch_gap(x, y, x, depth=depth), first_step_gap(depth=depth))
        twice = batch_gap(np.tile(x, (2, 1)), np.tile(y, (2, 1)), x, depth=depth)
        assert isclose(twice, first_step_gap(depth=depth))
    # Different samples have other kernels and another gap; it too closes as T -> 0, in proportion.
    gaps = [
        batch_gap(INPUTS, TARGETS, INPUTS, depth=64, loss="cross_entropy", horizon=horizon)
        for horizon in (1.0, 0.02, 0.01)
    ]
    assert abs(gaps[0] - first_step_gap(depth=64)) > 0.005
    assert abs(gaps[1] / gaps[2] - 2) < 0.02


@pytest.mark.parametrize("role", ["input", "hidden_2", "output"])
def test_the_response_ratio_of_a_batch_is_that_of_one_sample_if_there_is_one(role):
    x, y = np.ones((1, 5)), np.array([[2.0]])
    for depth in (2, 64):
        found = batch_response_ratio(x, y, x, depth=depth, trainable=(role,))
        assert isclose(found, response_ratio(role, depth=depth))
    # Of several samples it is another number, but for the output layer.
    several = batch_response_ratio(INPUTS, TARGETS, INPUTS, depth=64, trainable=(role,))
    assert isclose(several, 1.0 if role == "output" else found) == (role == "output")


def test_the_gap_of_tanh_is_that_of_one_sample_if_there_is_one():
    x, y = np.ones((1, 5)), np.array([[2.0]])
    functions = [lambda h, f=f: f("tanh", h) for f in (phi, phi_prime)]
    for horizon in (0.3, 3.0):
        options = {"depth": 8, "horizon": horizon}
        standard, decoupled = (
            sum(one_sample_response(*functions, coupling=coupling, **options).values())
            for coupling in ("standard", "decoupled")
        )
        found = batch_gap(x, y, x, activation="tanh", **options)
        assert abs(found - (1 - decoupled / standard)) < 1e-5


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
        ({"activation": "swish"}, "activation: 'swish' is not one of"),
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
