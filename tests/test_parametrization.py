"""The table of docs/theory.md, section 2, against numbers worked out by hand, and its one rule."""

from itertools import combinations

import numpy as np
import pytest
import reference
import torch

from nfd.network.architecture import Architecture
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.roles import ROLES
from nfd.training.batches import TrainingData
from nfd.training.trainer import Member, Trainer

# n = 100, L = 81, d = 49, T = 1/4, p = 1/4: sqrt n = 10, sqrt L = 9, sqrt d = 7, sqrt T = 1/2, L^p = 3.
SIZES = {"width": 100, "depth": 81, "input_dim": 49}
# Each role: (multiplier, SGD factor, Adam factor); first the branch factor.
AT_THE_SIZES = {
    "standard": (1, (1 / 7, 49, 7), (0.1, 100, 10), (0.1, 100, 10), (0.1, 100, 10)),
    "standard_sqrt_depth": (
        1,
        (1 / 7, 49, 7),
        (0.1, 100, 10),
        (1 / 90, 8100, 90),
        (0.1, 100, 10),
    ),
    "ntk": (1, (1 / 7, 1, 0.1), (0.1, 1, 0.01), (0.1, 1, 0.01), (0.1, 1, 0.1)),
    "mup": (1, (1 / 7, 100, 1), (0.1, 100, 0.1), (0.1, 100, 0.1), (0.01, 100, 1)),
    "depth_mup": (1 / 18, (1 / 7, 100, 1), (0.1, 100, 1 / 90), (0.1, 100, 1 / 90), (0.01, 100, 1)),
    "depth_mup_corrected": (
        1 / 18,
        (1 / 7, 100, 1),
        (0.1, 300, 1 / 30),
        (0.1, 100, 1 / 90),
        (0.01, 100, 1),
    ),
    "complete_p": (1 / 324, (1 / 7, 100, 1), (0.1, 8100, 0.1), (0.1, 8100, 0.1), (0.01, 100, 1)),
}


def numbers(name, optimizer="sgd", correction=0.25):
    scales = PARAMETRIZATIONS[name].scales(
        **SIZES, horizon=0.25, optimizer=optimizer, correction=correction
    )
    cells = [(scales[role].multiplier, scales[role].learning_rate) for role in ROLES]
    return np.array([scales.branch, *np.ravel(cells)])


def test_the_table_has_the_rows_of_the_theory_page_and_no_other():
    assert list(PARAMETRIZATIONS) == list(AT_THE_SIZES)
    assert all(PARAMETRIZATIONS[name].name == name for name in AT_THE_SIZES)


@pytest.mark.parametrize("name", AT_THE_SIZES)
@pytest.mark.parametrize(("optimizer", "column"), [("sgd", 1), ("adam", 2)])
def test_every_cell_has_the_number_worked_out_by_hand(name, optimizer, column):
    branch, *roles = AT_THE_SIZES[name]
    expected = np.array([branch, *np.ravel([(role[0], role[column]) for role in roles])])
    np.testing.assert_allclose(numbers(name, optimizer), expected, rtol=1e-12)


def test_defaults_are_sgd_horizon_one_and_correction_one_half():
    scales = PARAMETRIZATIONS["depth_mup_corrected"].scales(100, 81, 49)
    assert scales.branch == pytest.approx(1 / 9)
    assert scales["hidden_1"].learning_rate == pytest.approx(100 * 9)
    assert scales["hidden_2"].learning_rate == pytest.approx(100)
    adam = PARAMETRIZATIONS["depth_mup_corrected"].scales(100, 81, 49, optimizer="adam")
    assert adam["hidden_1"].learning_rate == pytest.approx(0.1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("one", "other"), list(combinations(AT_THE_SIZES, 2)))
def test_rows_differ_pairwise(one, other, optimizer):
    assert not np.allclose(numbers(one, optimizer), numbers(other, optimizer), rtol=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_correction_zero_is_depth_mup_and_only_the_corrected_row_depends_on_it(optimizer):
    corrected = numbers("depth_mup_corrected", optimizer, correction=0.0)
    np.testing.assert_allclose(corrected, numbers("depth_mup", optimizer))
    for name, row in PARAMETRIZATIONS.items():
        moves = not np.allclose(numbers(name, optimizer, 0.1), numbers(name, optimizer, 0.4))
        assert moves == row.has_correction == (name == "depth_mup_corrected")


def test_complete_p_is_the_general_rule_at_exponent_one():
    """Branch exponent a: beta ~ L^-a, hidden SGD x L^(2a-1), hidden Adam x L^(a-1), U and V as they are."""
    for optimizer, factor in (("sgd", 81.0), ("adam", 9.0)):
        whole, half = numbers("complete_p", optimizer), numbers("depth_mup", optimizer)
        expected = np.ones(9)
        expected[0] = 0.5 / 9  # (T/L) / (T/L)^(1/2)
        expected[[4, 6]] = factor  # learning-rate factors of hidden_1 and hidden_2
        np.testing.assert_allclose(whole / half, expected)


def test_describe_prints_the_exponents():
    assert PARAMETRIZATIONS["depth_mup_corrected"].describe() == {
        "branch": "T^1/2 L^-1/2",
        "input": "d^-1/2 | n | 1",
        "hidden_1": "n^-1/2 | n L^p | n^-1/2 L^(p-1/2)",
        "hidden_2": "n^-1/2 | n | n^-1/2 L^-1/2",
        "output": "n^-1 | n | 1",
    }
    assert PARAMETRIZATIONS["complete_p"].describe()["branch"] == "T L^-1"
    assert PARAMETRIZATIONS["standard"].describe()["input"] == "d^-1/2 | d | d^1/2"


def test_unknown_roles_optimizers_and_names_are_errors():
    mup = PARAMETRIZATIONS["mup"]
    with pytest.raises(ValueError, match="optimizer: 'adamw' is not one of sgd, adam"):
        mup.scales(8, 8, 8, optimizer="adamw")
    with pytest.raises(KeyError, match="bias"):
        mup.scales(8, 8, 8)["bias"]
    with pytest.raises(KeyError, match="mu-p"):
        PARAMETRIZATIONS["mu-p"]
    with pytest.raises(TypeError):
        mup.cells["bias"] = mup.cells["input"]


# ---------------------------------------------------------------- the equivalence rule, by training


def trained(name, optimizer, block_layers, steps=4):
    """The package's network after a few steps, and what is needed to train another the same way."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    shape = {"input_dim": 5, "outputs": 3, "width": 12, "depth": 3, "block_layers": block_layers}
    rate = 0.05 if optimizer == "sgd" else 0.01
    trainer = Trainer(
        Architecture(**shape, activation="tanh"),
        [Member(name, rate, seed=7)],
        TrainingData(x, y, np.tile(np.arange(6), (steps, 1))),
        loss="mse",
        optimizer=optimizer,
        root_seed=0,
        device="cpu",
        dtype=torch.float64,
    )
    for _ in range(steps):
        trainer.advance()
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    f = trainer.stack.forward(inputs[None])[0]
    network = reference.Network(name, seed=7, activation="tanh", **shape)
    return f, network, inputs, targets, rate, steps


def fit(model, optimizer, x, y, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * (model(x) - y).square().sum(1).mean()).backward()
        optimizer.step()
    return model(x).detach()


@pytest.mark.parametrize("block_layers", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", AT_THE_SIZES)
def test_equivalence_rule(name, optimizer, block_layers):
    """Multiplier m/t, std t, SGD x t^2, Adam x t trains the same network: to 1e-10."""
    f, network, x, y, rate, steps = trained(name, optimizer, block_layers)
    t = {"input": 0.3, "hidden_2": 2.5, "output": 0.7} | (
        {"hidden_1": 1.9} if block_layers == 2 else {}
    )
    other = reference.TorchNetwork(network, t)
    g = fit(other, other.optimizer(optimizer, rate), x, y, steps)
    torch.testing.assert_close(f, g, rtol=0, atol=1e-10)
    # It would not with the rates left as they were.
    wrong = reference.TorchNetwork(network, t)
    for role, factor in t.items():
        rates = network.rate[role]
        network.rate[role] = {"sgd": rates["sgd"] / factor**2, "adam": rates["adam"] / factor}
    g = fit(wrong, wrong.optimizer(optimizer, rate), x, y, steps)
    assert (f - g).abs().max() > 1e-4


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize(("name", "share"), [("standard", 1), ("standard_sqrt_depth", 3)])
def test_standard_rows_are_one_global_learning_rate_on_fan_in_variance_weights(
    name, share, optimizer
):
    """Plain PyTorch: blocks' weights of variance 1/fan-in (or that over depth 3), a single rate."""
    kind = optimizer.__name__.lower()
    f, network, x, y, rate, steps = trained(name, kind, block_layers=1)
    plain = reference.TorchNetwork(network, dict(network.m))  # t = m, so that the multiplier is 1
    assert plain.times("hidden_2", 0, torch.ones(1, 12, dtype=torch.float64)).allclose(
        plain.layers["hidden_2"][0](torch.ones(1, 12, dtype=torch.float64))
    )
    entries = torch.stack([layer.weight for layer in plain.layers["hidden_2"]])
    assert float(entries.detach().square().mean()) == pytest.approx(1 / (12 * share), rel=0.15)
    g = fit(plain, optimizer(plain.parameters(), lr=rate), x, y, steps)
    # Adam's default epsilon (1e-8) is not the package's, which moves the result a little.
    torch.testing.assert_close(f, g, rtol=0, atol=1e-10 if kind == "sgd" else 1e-5)


@pytest.mark.parametrize("depth", [3, 12])
def test_blocks_of_variance_1_over_depth_respond_depth_times_as_much_as_those_of_depth_mup(depth):
    """docs/theory.md, section 2: the same stream, and hidden gradients that carry no factor L^-1/2."""

    def hidden_response(name):
        network = reference.Network(name, 12, depth, input_dim=5, outputs=1, seed=3)
        x = np.random.default_rng(0).standard_normal((1, 5))
        slopes = network.backward(x, np.ones((1, 1)))[0]["hidden_2"]
        stream = network.forward(x)[1][-1]
        return network.rate["hidden_2"]["sgd"] * sum((g**2).sum() for g in slopes), stream

    response, stream = hidden_response("standard_sqrt_depth")
    scaled, same = hidden_response("depth_mup")
    np.testing.assert_allclose(stream, same)
    # The output's multiplier n^-1/2 in place of n^-1 enters twice.
    assert response / scaled == pytest.approx(depth * 12)
