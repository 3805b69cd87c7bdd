"""Forward and backward pass of a stack against float64 references: to 1e-12 of the numbers' size."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import reference
import torch

from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import Architecture
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.stack import LayerGradient, Stack, Trace, initial_weight

SHAPE = {"input_dim": 5, "outputs": 3, "width": 14, "depth": 4}
KINDS = {
    "one-layer": {},
    "two-layer": {"block_layers": 2},
    "no-skip": {"skip": False},
}
close = partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12)


def stack_of(architecture, names, seeds, couplings):
    a = architecture
    scales = [
        PARAMETRIZATIONS[name].scales(a.width, a.depth, a.input_dim, horizon=a.horizon)
        for name in names
    ]
    return Stack(architecture, scales, seeds, couplings, root_seed=3, dtype=torch.float64)


def network_of(architecture, name, seed, coupling):
    fields = {key: getattr(architecture, key) for key in architecture.__dataclass_fields__}
    return reference.Network(name, seed=seed, coupling=coupling, root_seed=3, **fields)


def samples(members, batch=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((members, batch, SHAPE["input_dim"]))
    return x, rng.standard_normal((members, batch, SHAPE["outputs"]))


def move(stack, networks):
    """The same learned change on every weight of both, of the size of the weights themselves."""
    rng = np.random.default_rng(1)
    for m, network in enumerate(networks):
        for role, layers in network.W.items():
            for k, w in enumerate(layers):
                change = rng.standard_normal(w.shape)
                scale = stack.architecture.multiplier(role, stack.scales[m])
                stack.weights[role][k][m] += scale * torch.from_numpy(change)
                if role in stack.backward_copy and m >= stack.standard:
                    slot = stack.backward_copy[role][k][m - stack.standard]
                    slot += scale * torch.from_numpy(change)
                w += change


def gradients_of(stack, x, chi):
    """Per role and layer the gradients (members, out, in) of effective weights, summed over samples."""
    trace = Trace(stack, x.shape[1])
    f = stack.forward(torch.from_numpy(x), trace)
    found = {}

    def visit(gradient):
        slope = gradient.error.transpose(1, 2) @ gradient.feature
        assert (gradient.role, gradient.layer) not in found
        found[gradient.role, gradient.layer] = slope.numpy()

    stack.backward(torch.from_numpy(chi), trace, visit)
    return f.numpy(), found


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moved", [False, True])
def test_passes_agree_with_the_reference(kind, activation, moved):
    """Members of all parametrizations and both couplings, each compared with its own network."""
    a = Architecture(**SHAPE, **KINDS[kind], activation=activation, horizon=1.7)
    names = [*PARAMETRIZATIONS, *PARAMETRIZATIONS]
    couplings = [name for name in ("standard", "decoupled") for _ in PARAMETRIZATIONS]
    seeds = [0, 1, 2, 0, 1, 2, 0, 1, 5, 6, 1, 2, 5, 6][: len(names)]
    stack = stack_of(a, names, seeds, couplings)
    networks = [network_of(a, *who) for who in zip(names, seeds, couplings, strict=True)]
    if moved:
        move(stack, networks)
    x, chi = samples(len(names))
    f, found = gradients_of(stack, x, chi)
    for m, network in enumerate(networks):
        close(f[m], network.forward(x[m])[0])
        expected, _ = network.backward(x[m], chi[m])
        assert set(found) == {(role, k) for role in expected for k in range(len(expected[role]))}
        for (role, k), slope in found.items():
            # The stack's weights carry the multiplier: their gradient is the smaller by it.
            scale = network.m[role] * (network.block_scale if role == "hidden_2" else 1)
            close(slope[m] * scale, expected[role][k])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_standard_gradients_agree_with_autograd(kind, activation):
    a = Architecture(**SHAPE, **KINDS[kind], activation=activation)
    stack = stack_of(a, ["depth_mup"], [4], ["standard"])
    network = network_of(a, "depth_mup", 4, "standard")
    model = reference.TorchNetwork(network)
    x, chi = samples(1)
    f, found = gradients_of(stack, x, chi)
    out = model(torch.from_numpy(x[0]))
    close(f[0], out.detach())
    out.backward(torch.from_numpy(chi[0]))
    for (role, k), slope in found.items():
        scale = network.m[role] * (network.block_scale if role == "hidden_2" else 1)
        close(slope[0] * scale, model.layers[role][k].weight.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_decoupled_gradients_are_not_the_standard_ones(kind):
    """Negative control; only what lies above the last block is the same."""
    a = Architecture(**SHAPE, **KINDS[kind])
    stack = stack_of(a, ["mup", "mup"], [4, 4], ["standard", "decoupled"])
    x, chi = samples(1)
    f, found = gradients_of(stack, np.repeat(x, 2, 0), np.repeat(chi, 2, 0))
    np.testing.assert_array_equal(f[0], f[1])
    for (role, k), slope in found.items():
        same = role == "output" or (role == "hidden_2" and k == a.depth - 1)
        relative = np.linalg.norm(slope[0] - slope[1]) / np.linalg.norm(slope[0])
        assert relative < 1e-12 if same else relative > 0.05


def test_add_product_changes_both_copies_alike_and_only_the_named_layer():
    a = Architecture(**SHAPE, block_layers=2)
    stack = stack_of(a, ["mup", "mup"], [0, 1], ["standard", "decoupled"])
    before = {role: [w.clone() for w in layers] for role, layers in stack.weights.items()}
    copies = {role: [w.clone() for w in layers] for role, layers in stack.backward_copy.items()}
    rng = np.random.default_rng(2)
    error, feature = (torch.from_numpy(rng.standard_normal((2, 6, 14))) for _ in range(2))
    scale = torch.tensor([0.5, -2.0], dtype=torch.float64).view(2, 1, 1)
    stack.add_product(LayerGradient("hidden_1", 2, error, feature), scale)
    change = torch.einsum("mbi,mbj->mij", scale * error, feature)
    for role, layers in stack.weights.items():
        for k, w in enumerate(layers):
            here = (role, k) == ("hidden_1", 2)
            close(w - before[role][k], change if here else torch.zeros_like(w))
            if role in copies:
                close(
                    stack.backward_copy[role][k] - copies[role][k],
                    change[1:] if here else torch.zeros_like(copies[role][k]),
                )


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_a_trace_changes_no_output(kind):
    a = Architecture(**SHAPE, **KINDS[kind])
    stack = stack_of(a, ["mup"] * 2, [0, 1], ["standard", "decoupled"])
    x = torch.from_numpy(samples(2)[0])
    untouched = x.clone()
    trace = Trace(stack, x.shape[1])
    torch.testing.assert_close(stack.forward(x), stack.forward(x, trace), rtol=0, atol=0)
    torch.testing.assert_close(x, untouched, rtol=0, atol=0)
    _, h, _, z = network_of(a, "mup", 1, "decoupled").forward(samples(2)[0][1])
    close(trace.final[1], h[-1])
    for k in range(a.depth):
        close(trace.phi[k][1], z[k])
        if kind == "two-layer":
            close(trace.stream[k][1], h[k])


def test_initial_weights_depend_on_the_seed_and_not_on_the_slot():
    a = Architecture(**SHAPE)
    names, couplings = ["mup"] * 3, ["standard", "standard", "decoupled"]
    one = stack_of(a, names, [7, 8, 7], couplings)
    two = stack_of(a, names, [8, 7, 8], couplings)
    for role, layers in one.weights.items():
        for k, w in enumerate(layers):
            torch.testing.assert_close(w[[0, 1]], two.weights[role][k][[1, 0]], rtol=0, atol=0)
            torch.testing.assert_close(w[0], w[2], rtol=0, atol=0)
            assert not torch.equal(w[0], w[1])
            torch.testing.assert_close(one.initial(role, k, [0, 1, 2]), w, rtol=0, atol=0)
    entries = initial_weight(3, 7, "hidden_2", 1, (14, 14))
    close(one.weights["hidden_2"][1][0], entries.astype(float) / np.sqrt(14))
    assert entries.dtype == np.float32
    copy = initial_weight(3, 7, "hidden_2", 1, (14, 14), "backward")
    close(one.backward_copy["hidden_2"][1][0], copy.astype(float) / np.sqrt(14))


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [1, 3], [2], [0], []])
def test_keep_drops_the_others_and_changes_nothing_else(kept):
    a = Architecture(**SHAPE, block_layers=2)
    names, seeds = ["mup", "depth_mup", "complete_p", "mup"], [0, 1, 2, 3]
    couplings = ["standard", "standard", "decoupled", "decoupled"]
    x, chi = samples(4)
    f, found = gradients_of(stack_of(a, names, seeds, couplings), x, chi)
    stack = stack_of(a, names, seeds, couplings)
    stack.keep(kept)
    assert stack.members == len(kept)
    assert stack.seeds == [seeds[m] for m in kept]
    assert stack.couplings == [couplings[m] for m in kept]
    assert stack.standard == len([m for m in kept if m < 2])
    g, after = gradients_of(stack, x[kept], chi[kept])
    close(g, f[kept])
    for key, slope in after.items():
        close(slope, found[key][kept])


@pytest.mark.parametrize(
    "couplings", [["decoupled", "standard"], ["fresh", "decoupled"], ["third", "fresh"]]
)
def test_members_must_stand_in_the_order_of_the_couplings(couplings):
    with pytest.raises(
        ValueError, match="couplings: members must stand in the order standard, dec"
    ):
        stack_of(Architecture(**SHAPE, block_layers=2), ["mup"] * 2, [0, 1], couplings)


def test_a_third_copy_needs_two_layer_blocks():
    with pytest.raises(ValueError, match="coupling: 'third' is defined for two-layer blocks"):
        stack_of(Architecture(**SHAPE), ["mup"], [0], ["third"])


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_counted(kind):
    a = Architecture(**SHAPE, **KINDS[kind])
    model = reference.TorchNetwork(network_of(a, "mup", 0, "standard"))
    assert a.parameters == sum(p.numel() for p in model.parameters())


def test_training_flops_by_hand():
    """d=5, C=3, n=14, L=4, B=10: U 70, W 4 x 196, V 42 weights, a product costs 2 B per weight.

    Forward, weight gradient and error for W and V; U has no error to pass on.
    """
    assert Architecture(**SHAPE).training_flops(10) == 2 * 10 * (2 * 70 + 3 * 784 + 3 * 42)
    two = Architecture(**SHAPE, block_layers=2)
    assert two.training_flops(10) == 2 * 10 * (2 * 70 + 3 * 2 * 784 + 3 * 42)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width: 0 is not a positive"),
        ({"depth": -1}, "depth: -1 is not a positive"),
        ({"input_dim": 0}, "input_dim: 0"),
        ({"outputs": 0}, "outputs: 0"),
        ({"block_layers": 3}, "block_layers: 3 is not 1 or 2"),
        ({"block_layers": 2, "skip": False}, "skip: a network without skips has one-layer"),
        (
            {"activation": "swish"},
            "activation: 'swish' is not one of relu, tanh, linear, gelu, erf",
        ),
        ({"horizon": 0.0}, "horizon: 0.0 is not a positive"),
        ({"horizon": float("nan")}, "horizon: nan is not a positive"),
    ],
)
def test_an_impossible_architecture_is_refused_with_the_field_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(Architecture(**SHAPE), **change)
