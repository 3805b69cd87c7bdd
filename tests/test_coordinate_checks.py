"""Coordinate checks over width and depth, and the closed forms, on real dense networks.

A coordinate check trains a few steps at several sizes and fits the slope, in log2 against log2, of
the rms change of the last features h_L and of the outputs. A parametrization that scales has slope 0
in both. Each check allows the 95 % interval over seeds (Student's t) plus 0.1 for finite sizes, and
refuses to judge an interval wider than +- 0.15; so a slope of 1/2 cannot pass for 0. The negative
controls at the end of each part must fail the very same check.
"""

from dataclasses import dataclass, replace
from math import exp, sqrt
from types import MappingProxyType

import numpy as np
import pytest
import torch
from scipy import stats

from nfd.network.architecture import Architecture
from nfd.network.parametrization import PARAMETRIZATIONS, Power
from nfd.network.stack import Trace
from nfd.training import trainer
from nfd.training.batches import TrainingData, draw_batches
from nfd.training.train import train
from nfd.training.trainer import Member, Trainer

SEEDS = 9
WIDTHS, DEPTHS = (64, 128, 256, 512), (8, 16, 32, 64)
STEPS = (1, 4, 8)
# Large rates, near where training becomes unstable.
RATES = {
    "sgd": {"mup": 0.1, "depth_mup": 0.5, "complete_p": 0.5},
    "adam": {"mup": 0.01, "depth_mup": 0.05, "complete_p": 0.05},
}


@dataclass(frozen=True)
class Slope:
    """Log-log slope over sizes: mean over seeds and half width of its 95 % interval."""

    mean: float
    half_width: float

    @classmethod
    def of(cls, sizes, values):
        """``values`` (sizes, seeds), positive."""
        x = np.log2(sizes) - np.log2(sizes).mean()
        by_seed = x @ np.log2(values) / (x @ x)
        error = by_seed.std(ddof=1) / sqrt(len(by_seed))
        return cls(by_seed.mean(), error * stats.t.ppf(0.975, len(by_seed) - 1))

    def is_(self, expected):
        """Whether the slope agrees; never true of a blow-up (not a number) or of a vague estimate."""
        return self.half_width < 0.15 and abs(self.mean - expected) < self.half_width + 0.1

    def is_not(self, expected):
        """Whether the slope is measured, and another: what the negative controls must show."""
        return abs(self.mean - expected) > self.half_width + 0.1


def make_data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 16))
    x *= 4 / np.linalg.norm(x, axis=1, keepdims=True)  # |x|^2 / d = 1
    y = rng.standard_normal((32, 2))
    return TrainingData(x, y, draw_batches(32, 8, max(STEPS), 0, 0), probe=(x[:8], y[:8]))


def rms_changes(name, width, depth, rate, optimizer, block_layers):
    """(steps, 2, seeds): rms change of f and of h_L on the probe samples."""
    trainer = Trainer(
        Architecture(16, 2, width, depth, block_layers=block_layers),
        [Member(name, rate, seed) for seed in range(SEEDS)],
        make_data(),
        loss="mse",
        optimizer=optimizer,
        root_seed=0,
        device="cpu",
        dtype=torch.float32,
    )

    def look():
        trace = Trace(trainer.stack, 8)
        f = trainer.stack.forward(trainer.probe[0], trace)
        return f, trace.final

    start, changes = look(), []
    while trainer.step < max(STEPS):
        trainer.advance()
        if trainer.step in STEPS:
            pairs = zip(look(), start, strict=True)
            changes.append([(now - old).square().mean((1, 2)).sqrt().numpy() for now, old in pairs])
    return np.array(changes)


def slopes(name, axis, rate, optimizer="sgd", block_layers=1, sizes=None):
    """(step, what) -> Slope of the rms change over the sizes of one axis."""
    sizes = sizes or (WIDTHS if axis == "width" else DEPTHS)
    shapes = [(size, 2) if axis == "width" else (128, size) for size in sizes]
    values = np.array(
        [rms_changes(name, *shape, rate, optimizer, block_layers) for shape in shapes]
    )
    return {
        (step, what): Slope.of(sizes, values[:, k, j])
        for k, step in enumerate(STEPS)
        for j, what in enumerate(("outputs", "features"))
    }


@pytest.mark.parametrize("block_layers", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["mup", "depth_mup", "complete_p"])
def test_features_and_outputs_move_alike_at_every_width(name, optimizer, block_layers):
    found = slopes(name, "width", RATES[optimizer][name], optimizer, block_layers)
    assert all(slope.is_(0) for slope in found.values()), found


@pytest.mark.parametrize("block_layers", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["depth_mup", "complete_p"])
def test_features_and_outputs_move_alike_at_every_depth(name, optimizer, block_layers):
    found = slopes(name, "depth", RATES[optimizer][name], optimizer, block_layers)
    assert all(slope.is_(0) for slope in found.values()), found


def test_control_standard_grows_with_width():
    """By n in the outputs and by sqrt n in the features while the steps are small.

    The latter is vague: initial outputs of the size of the targets are noise, and U's part shrinks.
    """
    found = slopes("standard", "width", 1e-4)
    for (_, what), slope in found.items():
        assert not slope.is_(0), found
        assert what == "features" or slope.is_not(0), found
    for what, power in (("outputs", 1), ("features", 0.5)):
        assert abs(found[1, what].mean - power) < found[1, what].half_width + 0.1, found
    # At a rate fit for the least width the greatest ones blow up, which does not pass either.
    blown_up = slopes("standard", "width", 0.03)
    assert not any(slope.is_(0) for slope in blown_up.values())
    assert np.isnan(blown_up[8, "outputs"].mean)


def test_control_standard_grows_with_width_under_adam():
    found = slopes("standard", "width", 1e-5, "adam")
    assert all(slope.is_not(0) for slope in found.values()), found


def test_control_mup_explodes_with_depth():
    """Exponentially; at the depths of the check not even a tiny rate gives numbers."""
    found = slopes("mup", "depth", 1e-4, sizes=(2, 4, 8, 12))
    assert all(slope.mean > 2 and slope.is_not(0) for slope in found.values()), found
    assert not any(slope.is_(0) for slope in slopes("mup", "depth", 1e-4).values())


def with_row(monkeypatch, name, **cells):
    """Add a wrong parametrization: depth_mup with other cells."""
    right = PARAMETRIZATIONS["depth_mup"]
    wrong = replace(right, name=name, cells=MappingProxyType({**right.cells, **cells}))
    monkeypatch.setattr(trainer, "PARAMETRIZATIONS", {**PARAMETRIZATIONS, name: wrong})


def test_control_a_depth_factor_on_input_and_output_does_not_pass(monkeypatch):
    """The hidden layers' factor of complete_p, L, wrongly given to U and V."""
    cells = PARAMETRIZATIONS["depth_mup"].cells
    wrong = {role: replace(cells[role], sgd=Power(n=1, L=1)) for role in ("input", "output")}
    with_row(monkeypatch, "wrong", **wrong)
    found = slopes("wrong", "depth", 0.5 / max(DEPTHS))
    assert all(slope.is_not(0) for slope in found.values()), found


def test_control_adam_without_its_depth_factor_does_not_pass(monkeypatch):
    hidden = PARAMETRIZATIONS["mup"].cells["hidden_2"]
    with_row(monkeypatch, "wrong", hidden_2=hidden)
    found = slopes("wrong", "depth", 0.05 / sqrt(max(DEPTHS)), "adam")
    assert all(slope.is_not(0) for slope in found.values()), found


# ------------------------------------- where the change comes from: exponents of theory section 2

# One step at a small rate; powers of L of the learned change inside a block and of its part in h_L.
EXPONENTS = {
    # (parametrization, coupling): own_1, own_2, stream_1, stream_2
    ("depth_mup", "standard"): (-0.5, -0.5, 0, 0),
    ("depth_mup", "decoupled"): (-0.5, -0.5, -0.5, 0),
    ("depth_mup_corrected", "standard"): (0, -0.5, 0.5, 0),
    ("depth_mup_corrected", "decoupled"): (0, -0.5, 0, 0),
    ("complete_p", "standard"): (0, 0, 0, 0),
    ("complete_p", "decoupled"): (0, 0, -0.5, 0),
}


@pytest.fixture(scope="module")
def two_layer_slopes():
    """(parametrization, coupling, metric) -> Slope in L."""
    data = make_data()
    data = replace(data, batches=data.batches[:1])
    members = [Member(name, 1e-3, s, coupling=c) for s in range(SEEDS) for name, c in EXPONENTS]
    values = {}
    for depth in DEPTHS:
        result = train(
            Architecture(16, 2, 128, depth, block_layers=2),
            members,
            data,
            loss="mse",
            probes=["features"],
            dtype=torch.float64,
            members_at_once=6,
        )
        for row in result.rows:
            if row["step"] == 1 and row["split"] == "probe":
                member = members[row["member"]]
                key = member.parametrization, member.coupling, row["metric"]
                values.setdefault(key, {})[depth, member.seed] = row["value"]
    return {
        key: Slope.of(DEPTHS, np.array([[v[depth, s] for s in range(SEEDS)] for depth in DEPTHS]))
        for key, v in values.items()
    }


@pytest.mark.parametrize("which", EXPONENTS, ids="-".join)
def test_learned_change_inside_two_layer_blocks_has_its_power_of_depth(which, two_layer_slopes):
    """The collapse of the first internal layer, its correction, and what reused weights make of it."""
    metrics = ("own_change_1", "own_change_2", "stream_change_1", "stream_change_2")
    for metric, power in zip(metrics, EXPONENTS[which], strict=True):
        slope = two_layer_slopes[*which, metric]
        assert slope.is_(power), (metric, slope)
        for other in {-0.5, 0, 0.5} - {power}:
            assert slope.is_not(other), (metric, slope)


# ----------------------------------------------------------- closed forms, docs/theory.md section 5

HALF = {"relu": 0.5, "linear": 1.0}  # q: E phi(h)^2 = q E h^2


def agrees(values, expected):
    """Mean over seeds within 4 standard errors and 1 % for the finite width."""
    error = np.std(values, ddof=1) / sqrt(len(values))
    return abs(np.mean(values) - expected) < 4 * error + 0.01 * abs(expected)


def one_sample(target=2.0, steps=1):
    x, y = np.ones((1, 4)), np.full((1, 1), target)
    return TrainingData(x, y, np.zeros((steps, 1), int), probe=(x, y))


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
@pytest.mark.parametrize("activation", HALF)
@pytest.mark.parametrize("horizon", [1.0, 2.0])
def test_features_and_fields_grow_as_at_infinite_width(activation, coupling, horizon):
    """E phi(h_{l-1})^2 = q (1 + qT/L)^(l-1), E g_l^2 = chi^2 (1 + qT/L)^(L-l), at n = 512."""
    depth, q, width = 6, HALF[activation], 512
    a = Architecture(4, 1, width, depth, activation=activation, horizon=horizon)
    trainer = Trainer(
        a,
        [Member("depth_mup", 0.0, seed, coupling=coupling) for seed in range(12)],
        one_sample(),
        loss="mse",
        optimizer="sgd",
        root_seed=1,
        device="cpu",
        dtype=torch.float64,
    )
    trace = Trace(trainer.stack, 1)
    f = trainer.stack.forward(trainer.probe[0], trace)
    growth, fields = 1 + q * horizon / depth, {}

    def visit(gradient):
        if gradient.role == "hidden_2":
            fields[gradient.layer] = (width * gradient.error).square().mean((1, 2)).numpy()

    phi = trace.phi.square().mean((2, 3)).numpy()
    last = trace.final.square().mean((1, 2)).numpy()
    trainer.stack.backward(torch.ones_like(f), trace, visit)
    for k in range(depth):
        assert agrees(phi[k], q * growth**k)
        assert agrees(fields[k], growth ** (depth - 1 - k))
    assert agrees(last, growth**depth)
    assert not agrees(last, exp(q * horizon) * 1.3)
    assert not agrees(last, growth**depth / 1.3)


def response(depth, horizon, q, coupling):
    """-df / d(eta chi) in the first step by the layers trained: the table of section 5, by hand."""
    grown = (1 + q * horizon / depth) ** depth
    if coupling == "standard":
        hidden, inputs = q * horizon * (1 + q * horizon / depth) ** (depth - 1), grown
    else:
        hidden, inputs = grown - 1, 1.0
    return {"hidden_2": hidden, "input": inputs, "output": grown}


@pytest.mark.parametrize("activation", HALF)
@pytest.mark.parametrize("depth", [1, 4, 8])
def test_first_step_moves_the_output_as_the_closed_form_says(depth, activation):
    """At n = 320, 32 seeds, rate 1e-5; and it tells standard from decoupled wherever they differ."""
    horizon, roles = 1.0, ("hidden_2", "input", "output")
    cases = [(coupling, role) for coupling in ("standard", "decoupled") for role in roles]
    members = [
        Member("depth_mup", 1e-5, seed, coupling=coupling, trainable=(role,))
        for seed in range(32)
        for coupling, role in cases
    ]
    result = train(
        Architecture(4, 1, 320, depth, activation=activation, horizon=horizon),
        members,
        one_sample(),
        loss="mse",
        probes=["outputs"],
        dtype=torch.float64,
        members_at_once=len(cases),
    )
    moved = {case: [] for case in cases}
    for m, member in enumerate(members):
        f_0, f_1 = result.outputs[m, 0].item(), result.outputs[m, 1].item()
        rate = (f_0 - f_1) / (1e-5 * (f_0 - 2.0))
        moved[member.coupling, member.trainable[0]].append(rate)
    q = HALF[activation]
    standard, decoupled = (response(depth, horizon, q, c) for c in ("standard", "decoupled"))
    for role in roles:
        assert agrees(moved["standard", role], standard[role])
        assert agrees(moved["decoupled", role], decoupled[role])
        if decoupled[role] < 0.9 * standard[role]:
            assert not agrees(moved["standard", role], decoupled[role])
            assert not agrees(moved["decoupled", role], standard[role])
