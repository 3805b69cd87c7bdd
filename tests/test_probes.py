"""The observables against brute force on small networks, and what is known about them exactly.

Brute force: the numpy reference is trained alongside in float64, and every probe is computed again
from its weights, sample by sample and layer by layer, as the definitions say. Tolerance 1e-9 of a
number's size.
"""

from math import sqrt

import numpy as np
import pytest
import reference
import torch

from nfd.closed_form import learned_gradient_change
from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import Architecture
from nfd.training.batches import TrainingData, draw_batches
from nfd.training.probes import signed_couplings
from nfd.training.train import train
from nfd.training.trainer import Member

STEPS = 4
SHAPE = {"input_dim": 5, "outputs": 3, "width": 16, "depth": 3}
KINDS = {"one-layer": {}, "two-layer": {"block_layers": 2}, "no-skip": {"skip": False}}
MEMBERS = [
    Member("depth_mup", 1.0, 0),
    Member("complete_p", 0.5, 1, coupling="decoupled"),
    Member("mup", 0.3, 1),
    Member("depth_mup_corrected", 0.5, 2, coupling="decoupled"),
    Member("standard", 0.03, 0, coupling="decoupled"),
]
TWO_LAYERS_ONLY = [Member("depth_mup_corrected", 0.5, 3, coupling="third")]


def make_data(loss="mse"):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((20, 5))
    y = rng.standard_normal((20, 3)) if loss == "mse" else rng.integers(0, 3, 20)
    batches = draw_batches(20, 4, STEPS, 0, 0)
    return TrainingData(x, y, batches, {"train": (x, y)}, (x[3:9], y[3:9]))


def run(architecture, members, data, probes, *, loss="mse", steps=range(STEPS + 1)):
    """(member, step, metric) -> value of the probes."""
    result = train(
        architecture,
        members,
        data,
        loss=loss,
        log_steps=steps,
        probes=probes,
        dtype=torch.float64,
    )
    return {
        (row["member"], row["step"], row["metric"]): row["value"]
        for row in result.rows
        if row["split"] == "probe"
    }


def rms(values):
    return sqrt(np.mean(np.square(values)))


class BruteForce:
    """One reference network in training, and the probes by their definitions."""

    def __init__(self, architecture, member, data, loss):
        self.a, self.member, self.data, self.loss = architecture, member, data, loss
        fields = {key: getattr(architecture, key) for key in architecture.__dataclass_fields__}
        self.network = reference.Network(
            member.parametrization, seed=member.seed, coupling=member.coupling, **fields
        )
        one_hot = (lambda y: y) if loss == "mse" else (lambda y: np.eye(3)[y])
        self.targets, self.probe = one_hot(data.targets), (data.probe[0], one_hot(data.probe[1]))
        self.start = self.network.forward(self.probe[0])

    def train_step(self, step):
        ids = self.data.batches[step]
        self.network.train_step(
            self.data.inputs[ids], self.targets[ids], self.member.learning_rate, self.loss
        )

    def output_change(self):
        return {"output_change": rms(self.network.forward(self.probe[0])[0] - self.start[0])}

    def features(self):
        net, n = self.network, self.a.width
        own, inherited = {1: [], 2: []}, {1: [], 2: []}
        stream = {1: np.zeros((6, n)), 2: np.zeros((6, n))}
        for s, x in enumerate(self.probe[0]):
            _, h, pre, z = net.forward(x[None])
            for k in range(self.a.depth):
                W, W0 = net.W["hidden_2"][k], net.W0["hidden_2"][k]
                own[2].append((W - W0) @ z[k][0] / sqrt(n))
                inherited[2].append(W0 @ (z[k][0] - self.start[3][k][s]) / sqrt(n))
                stream[2][s] += net.block_scale * own[2][-1]
                if self.a.block_layers == 2:
                    W1, W10 = net.W["hidden_1"][k], net.W0["hidden_1"][k]
                    own[1].append((W1 - W10) @ h[k][0] / sqrt(n))
                    inherited[1].append(W10 @ (h[k][0] - self.start[1][k][s]) / sqrt(n))
                    before = reference.phi(self.a.activation, pre[k][0] - own[1][-1])
                    stream[1][s] += net.block_scale * W0 @ (z[k][0] - before) / sqrt(n)
        found = {}
        for j in (1, 2)[2 - self.a.block_layers :]:
            found[f"own_change_{j}"], found[f"inherited_change_{j}"] = (
                rms(own[j]),
                rms(inherited[j]),
            )
            found[f"total_change_{j}"] = rms(np.add(own[j], inherited[j]))
            found[f"stream_change_{j}"] = rms(stream[j])
        return found

    def gradients(self):
        net, n = self.network, self.a.width
        scale = net.block_scale / sqrt(n)
        added, final = {1: [], 2: []}, []
        for x, y in zip(*self.probe, strict=True):
            f, _, pre, _ = net.forward(x[None])
            chi = reference.loss_and_chi(f, y[None], self.loss)[1]
            g = [n * below[0] for below in net.backward(x[None], chi)[1]]
            sums = {1: np.zeros(n), 2: np.zeros(n)}
            for k in range(self.a.depth):
                slope = reference.phi_prime(self.a.activation, pre[k][0])
                learned = {j: net.W[f"hidden_{j}"][k] - net.W0[f"hidden_{j}"][k] for j in (1, 2)}
                back = {j: net.backward_weight(f"hidden_{j}", k) for j in (1, 2)}
                sums[1] += scale * learned[1].T @ (slope * (back[2].T @ g[k + 1])) / sqrt(n)
                sums[2] += scale * back[1].T @ (slope * (learned[2].T @ g[k + 1])) / sqrt(n)
            final.append(g[-1])
            for j in (1, 2):
                added[j].append(sums[j])
        return {f"gradient_change_{j}": rms(added[j]) / rms(final) for j in (1, 2)}

    def coupling(self):
        net, n = self.network, self.a.width
        c = []  # samples x layers
        for x, y in zip(*self.probe, strict=True):
            f, _, _, z = net.forward(x[None])
            chi = reference.loss_and_chi(f, y[None], self.loss)[1]
            g = [n * below[0] for below in net.backward(x[None], chi)[1]]
            c.append(
                [
                    (net.W0["hidden_2"][k].T @ g[k + 1]) @ z[k][0] / n**1.5
                    for k in range(self.a.depth)
                ]
            )
        total = net.block_scale * np.sum(c, axis=1)
        found = {"coupling_layer": rms(c), "coupling_accumulated": rms(total)}
        for x, of_probe in enumerate(c):
            found[f"coupling_sum_{x}"] = total[x]
            for part, layer in enumerate((0, 0, 0, 1, 1, 1, 2, 2)):  # eight parts of three layers
                found[f"coupling_part_{part}_{x}"] = of_probe[layer]
        return found

    def kernel(self):
        h = self.network.forward(self.probe[0])[1][-1]
        return {"kernel_min_eigenvalue": np.linalg.eigvalsh(h @ h.T / self.a.width).min()}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "erf"])
@pytest.mark.parametrize("kind", KINDS)
def test_probes_agree_with_brute_force(kind, activation, loss):
    a = Architecture(**SHAPE, **KINDS[kind], activation=activation, horizon=1.5)
    names = ["output_change", "features", "kernel"]
    names.append("gradients" if kind == "two-layer" else "coupling")
    data = make_data(loss)
    members = MEMBERS + (TWO_LAYERS_ONLY if kind == "two-layer" else [])
    found = run(a, members, data, names, loss=loss)
    brute = [BruteForce(a, member, data, loss) for member in members]
    compared = 0
    for step in range(STEPS + 1):
        for m, network in enumerate(brute):
            for name in names:
                for metric, expected in getattr(network, name)().items():
                    assert found[m, step, metric] == pytest.approx(expected, rel=1e-9, abs=1e-12)
                    compared += 1
            if step < STEPS:
                network.train_step(step)
    assert compared == len(found)
    # Changes are of a size that a wrong number would show in.
    changes = [value for (_, k, name), value in found.items() if "change" in name and k == STEPS]
    assert min(changes) > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_looked_up_by_member_after_others_have_been_dropped(kind):
    """Two members diverge at different times; the rest keeps the numbers it has alone."""
    a = Architecture(**SHAPE, **KINDS[kind])
    wild = [Member("mup", 1e30, 5), Member("mup", 30.0, 6, coupling="decoupled")]
    crowd = [wild[0], MEMBERS[0], MEMBERS[1], wild[1], MEMBERS[2]]
    names = ["output_change", "features", "kernel"]
    together, alone = run(a, crowd, make_data(), names), run(a, MEMBERS[:3], make_data(), names)
    for (m, step, metric), value in alone.items():
        assert together[(1, 2, 4)[m], step, metric] == value
    assert np.isnan(together[0, STEPS, "output_change"])


def test_at_initialisation_nothing_has_changed():
    found = run(Architecture(**SHAPE, block_layers=2), MEMBERS, make_data(), ["features"])
    at_start = {value for (_, step, _), value in found.items() if step == 0}
    assert at_start == {0.0}


def test_frozen_layers_have_no_own_change_but_inherit_one():
    a = Architecture(**SHAPE, block_layers=2)
    member = Member("mup", 0.3, 0, trainable=("hidden_2",))
    found = run(a, [member], make_data(), ["features"])
    assert found[0, STEPS, "own_change_1"] == 0
    assert found[0, STEPS, "stream_change_1"] == 0
    assert found[0, STEPS, "inherited_change_1"] > 1e-3
    assert found[0, STEPS, "own_change_2"] > 1e-3


def test_looking_changes_nothing():
    names = ["output_change", "features", "coupling", "kernel", "outputs"]
    seen, unseen = (
        train(Architecture(**SHAPE), MEMBERS, make_data(), loss="mse", probes=probes).rows
        for probes in (names, [])
    )
    assert [row for row in seen if row["split"] != "probe"] == unseen


@pytest.mark.parametrize("kind", ["one-layer", "no-skip"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_accumulated_coupling_is_the_derivative_by_a_common_scale_of_the_hidden_weights(
    kind, activation
):
    """At step 0 branch x sum_l c_l = d loss / d s for W_l -> (1 + s) W_l, by autograd."""
    a = Architecture(**SHAPE, **KINDS[kind], activation=activation)
    data = make_data()
    x, y = data.probe[0][:1], data.probe[1][:1]
    data = TrainingData(data.inputs, data.targets, data.batches, {}, (x, y))
    found = run(a, [Member("depth_mup", 0.1, 3)], data, ["coupling"], steps=[0])
    fields = {key: getattr(a, key) for key in a.__dataclass_fields__}
    model = reference.TorchNetwork(reference.Network("depth_mup", seed=3, **fields))
    (0.5 * (model(torch.from_numpy(x)) - torch.from_numpy(y)).square().sum()).backward()
    scaled = sum((layer.weight.grad * layer.weight).sum() for layer in model.layers["hidden_2"])
    assert found[0, 0, "coupling_accumulated"] == pytest.approx(abs(scaled.item()), rel=1e-9)


@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
def test_initial_coupling_of_linear_networks_has_its_gaussian_scale(width, coupling):
    """E c_l^2 = chi^2 (1 + T/L)^(L-1) / n for linear phi, n large, every l and both couplings.

    A product of independent forward and backward fields, E phi^2 E g^2 of docs/theory.md, section 5.
    400 seeds x 2 layers: 4 standard errors are at most 28 % of the mean square, the bias is O(1/n).
    """
    seeds = 400 if width == 64 else 100
    a = Architecture(input_dim=1, outputs=1, width=width, depth=2, activation="linear")
    x, y = np.ones((1, 1)), np.full((1, 1), 3.0)
    data = TrainingData(x, y, np.zeros((0, 1), int), {}, (x, y))
    members = [Member("depth_mup", 0.1, seed, coupling=coupling) for seed in range(seeds)]
    found = run(a, members, data, ["coupling"], steps=[0])
    squares = [found[m, 0, "coupling_layer"] ** 2 for m in range(seeds)]
    expected = 3.0**2 * (1 + 1 / 2) / width
    error = np.std(squares, ddof=1) / sqrt(seeds)
    assert error < 0.15 * expected
    assert abs(np.mean(squares) - expected) < 4 * error
    # The accumulated coupling: branch^2 x L x E c^2, for the layers' terms are uncorrelated.
    totals = [found[m, 0, "coupling_accumulated"] ** 2 for m in range(seeds)]
    error = np.std(totals, ddof=1) / sqrt(seeds)
    assert abs(np.mean(totals) - expected) < 4 * error


def test_kernel_of_a_network_without_blocks_effect():
    """Zero branch scale leaves h_L = U x / sqrt d, whose kernel tends to X X^T / d: here diagonal."""
    a = Architecture(input_dim=4, outputs=1, width=2000, depth=1, horizon=1e-20)
    x = np.diag([3.0, 2.0, 1.0, 2.5])
    data = TrainingData(x, np.zeros((4, 1)), np.zeros((0, 1), int), {}, (x, np.zeros((4, 1))))
    found = run(a, [Member("depth_mup", 0.1, 0)], data, ["kernel"], steps=[0])
    # x_min^2 / d = 1/4; the least diagonal entry has relative error sqrt(2 / n) = 3 %.
    assert found[0, 0, "kernel_min_eigenvalue"] == pytest.approx(0.25, rel=0.13)


def test_signed_couplings_are_means_over_parts_of_the_depth_and_the_sum():
    """Twenty layers in eight parts of two or three: by hand; limits pass arrays, networks tensors."""
    c = np.random.default_rng(0).standard_normal((2, 20, 3))
    bounds = [0, 2, 5, 7, 10, 12, 15, 17, 20]
    found = signed_couplings(c, 0.5)
    assert len(found) == 3 * (8 + 1)
    for part in range(8):
        expected = c[:, bounds[part] : bounds[part + 1], 1].mean(axis=1)
        assert found[f"coupling_part_{part}_1"] == pytest.approx(expected)
    assert found["coupling_sum_2"] == pytest.approx(0.5 * c[:, :, 2].sum(axis=1))
    same = signed_couplings(torch.from_numpy(c), torch.tensor([0.5, 0.5]))
    assert all(same[name].numpy() == pytest.approx(found[name]) for name in found)


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
def test_what_the_learned_first_layer_does_to_the_gradient_has_its_closed_form(coupling):
    """One sample, one step of rate 0.01, mean of 16 seeds of width 256: four standard errors and 3 %."""
    for depth, correction in ((4, 0.5), (8, 0.0)):
        a = Architecture(4, 1, 256, depth, block_layers=2)
        x, y = np.ones((1, 4)), np.full((1, 1), 2.0)
        data = TrainingData(x, y, np.zeros((1, 1), int), {}, (x, y))
        options = (coupling, ("hidden_1",), correction)
        members = [Member("depth_mup_corrected", 0.01, seed, *options) for seed in range(16)]
        found = run(a, members, data, ["gradients"], steps=[1])
        values = [found[m, 1, "gradient_change_1"] for m in range(16)]
        exact = 0.01 * 2.0 * learned_gradient_change(depth=depth, correction=correction)
        error = np.std(values, ddof=1) / sqrt(16)
        assert abs(np.mean(values) - exact) < 4 * error + 0.03 * exact
        assert 4 * error < 0.3 * exact


def test_what_the_learned_first_layer_does_to_the_gradient_grows_as_the_correction():
    """docs/theory.md, section 5: L^p with one backward copy from the second step on, L^(p-1/2) with a third.

    rms over eight seeds of width 96, the same batch twice, L = 4 to 64.
    """
    kinds = {("decoupled", 0.5): 0.5, ("decoupled", 0.0): 0.0, ("third", 0.5): 0.0}
    members = [
        Member("depth_mup_corrected", 0.02, seed, coupling, ("hidden_1",), p)
        for coupling, p in kinds
        for seed in range(8)
    ]
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 10)), rng.standard_normal((8, 1))
    data = TrainingData(x, y, np.tile(np.arange(8), (1, 1)), {}, (x, y))
    depths, sizes = (4, 16, 64), []
    for depth in depths:
        a = Architecture(10, 1, 96, depth, block_layers=2)
        found = run(a, members, data, ["gradients"], steps=[1])
        values = np.array([found[m, 1, "gradient_change_1"] for m in range(len(members))])
        sizes.append(np.sqrt(np.square(values.reshape(3, 8)).mean(axis=1)))
        assert found[0, 1, "gradient_change_2"] == 0
    slopes = np.polyfit(np.log(depths), np.log(sizes), 1)[0]
    assert slopes == pytest.approx(list(kinds.values()), abs=0.12)
