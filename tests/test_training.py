"""Stacked training against serial references, member by member, and what members owe each other.

Errors: float64 runs agree with torch.nn.Linear + torch.optim and with the numpy reference to 1e-10
after five steps; what stacking changes in float32 is a state tolerance of 1e-6.
"""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import reference
import torch

from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import Architecture
from nfd.network.couplings import COUPLINGS
from nfd.network.losses import LOSSES
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.stack import Trace
from nfd.training import trainer as trainers
from nfd.training.batches import TrainingData, as_values, draw_batches, log_spaced_steps
from nfd.training.optimizers import OPTIMIZERS
from nfd.training.train import train
from nfd.training.trainer import Member, Trainer

STEPS, BATCH, SAMPLES = 5, 4, 24
SHAPE = {"input_dim": 5, "outputs": 3, "width": 12, "depth": 3}
KINDS = {"one-layer": {}, "two-layer": {"block_layers": 2}, "no-skip": {"skip": False}}
RATE = {"sgd": 0.02, "adam": 0.02, "momentum": 0.01, "adamw": 0.02}
close = partial(np.testing.assert_allclose, rtol=0, atol=1e-10)

# Per sample, from torch.nn.functional: every record of LOSSES needs its own.
TORCH_LOSSES = {
    "mse": lambda f, y: 0.5 * torch.nn.functional.mse_loss(f, y, reduction="none").sum(-1),
    "cross_entropy": lambda f, y: torch.nn.functional.cross_entropy(
        f.movedim(-1, 1), y.argmax(-1), reduction="none"
    ),
}


def make_data(loss="mse", seeds=range(4), steps=STEPS, scale=1.0):
    rng = np.random.default_rng(11)
    inputs = rng.standard_normal((SAMPLES, SHAPE["input_dim"]))
    if loss == "mse":
        targets = scale * rng.standard_normal((SAMPLES, SHAPE["outputs"]))
    else:
        targets = rng.integers(0, SHAPE["outputs"], SAMPLES)
    batches = {seed: draw_batches(SAMPLES, BATCH, steps, 0, seed) for seed in seeds}
    halves = {"train": slice(0, 12), "test": slice(12, 24)}
    evaluation = {split: (inputs[half], targets[half]) for split, half in halves.items()}
    probe = (inputs[:3], targets[:3])
    return TrainingData(inputs, targets, batches, evaluation, probe)


def advanced(architecture, members, data, *, loss="mse", optimizer="sgd", steps=STEPS, dtype=None):
    """A trainer after ``steps`` steps."""
    trainer = Trainer(
        architecture,
        members,
        data,
        loss=loss,
        optimizer=optimizer,
        root_seed=0,
        device="cpu",
        dtype=dtype or torch.float64,
    )
    for _ in range(steps):
        trainer.advance()
    return trainer


def reference_network(architecture, member):
    fields = {key: getattr(architecture, key) for key in architecture.__dataclass_fields__}
    return reference.Network(
        member.parametrization,
        seed=member.seed,
        coupling=member.coupling,
        correction=member.correction,
        **fields,
    )


def effective(network, role):
    return network.m[role] * (network.block_scale if role == "hidden_2" else 1)


# ------------------------------------------------------- against torch.nn.Linear and torch.optim


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_its_members_trained_by_torch_one_by_one(kind, activation, loss, optimizer):
    """Each parametrization with its own rate, seed and batches: outputs and weights after 5 steps."""
    a = Architecture(**SHAPE, **KINDS[kind], activation=activation, horizon=1.5)
    members = [
        Member(name, RATE[optimizer] / (1 + m), seed=m % 4, correction=0.3)
        for m, name in enumerate(PARAMETRIZATIONS)
    ]
    data = make_data(loss)
    trainer = advanced(a, members, data, loss=loss, optimizer=optimizer)
    x = torch.from_numpy(data.inputs)
    f = trainer.stack.forward(x)
    y = torch.from_numpy(as_values(data.targets, 3))
    for m, member in enumerate(members):
        network = reference_network(a, member)
        model = reference.TorchNetwork(network)
        descent = model.optimizer(optimizer, member.learning_rate)
        start, mean_loss = model(x).detach(), 0.0
        for batch in data.batches[member.seed]:
            descent.zero_grad()
            value = TORCH_LOSSES[loss](model(x[batch]), y[batch]).mean()
            value.backward()
            descent.step()
            mean_loss += value.item()
        close(f[m], model(x).detach())
        close(trainer.loss_sum[m], mean_loss)
        assert (f[m] - start).abs().max() > 1e-3  # the run went somewhere
        for role, layers in trainer.stack.weights.items():
            for k, w in enumerate(layers):
                close(w[m] / effective(network, role), model.weight(role, k))


# ------------------------------------------------------------------------- decoupled backward


def couplings_of(architecture):
    blocks = architecture.block_layers
    return [name for name, coupling in COUPLINGS.items() if blocks in coupling.block_layers]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_coupling_agrees_with_the_numpy_reference(kind, optimizer, activation):
    """All couplings and parametrizations in one stack, against their order: weights after 5 steps."""
    a = Architecture(**SHAPE, **KINDS[kind], activation=activation)
    names = couplings_of(a)[::-1]
    loss = {"relu": "mse", "gelu": "cross_entropy"}[activation]
    members = [
        Member(row, RATE[optimizer], seed=m % 4, coupling=names[m % len(names)])
        for m, row in enumerate([*PARAMETRIZATIONS] * 2)
    ]
    data = make_data(loss)
    trainer = advanced(a, members, data, loss=loss, optimizer=optimizer)
    assert sorted(trainer.alive) == list(range(len(members)))
    f = trainer.stack.forward(torch.from_numpy(data.inputs))
    targets = as_values(data.targets, 3)
    for slot, m in enumerate(trainer.alive):
        network = reference_network(a, members[m])
        for batch in data.batches[members[m].seed]:
            network.train_step(data.inputs[batch], targets[batch], RATE[optimizer], loss, optimizer)
        close(f[slot], network.forward(data.inputs)[0])
        for role, layers in network.W.items():
            for k, w in enumerate(layers):
                scale = effective(network, role)
                close(trainer.stack.weights[role][k][slot] / scale, w)
                if members[m].coupling == "decoupled" and role in trainer.stack.backward_copy:
                    copy = trainer.stack.backward_copy[role][k][slot - trainer.stack.standard]
                    close(copy / scale, network.backward_weight(role, k))


@pytest.mark.parametrize("kind", KINDS)
def test_couplings_are_different_networks(kind):
    """Negative control of the test above: each pair is far apart after five steps, from equal starts."""
    a = Architecture(**SHAPE, **KINDS[kind])
    members = [Member("depth_mup", 0.3, 0, coupling) for coupling in couplings_of(a)]
    trainer = advanced(a, members, make_data())
    weights = trainer.stack.weights["input"][0]
    for m, n in combinations(range(len(members)), 2):
        assert (weights[m] - weights[n]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("coupling", ["fresh", "third"])
def test_copies_depend_on_names_and_not_on_the_stack(coupling, dtype):
    """Alone and among others, of which some diverge and are dropped: the same to round-off."""
    a = Architecture(**SHAPE, block_layers=2)
    one = Member("depth_mup_corrected", 0.05, 3, coupling)
    others = [
        Member("mup", 1e9, 3, coupling),
        Member("mup", 0.02, 1, "decoupled"),
        Member("mup", 1e9, 2, "fresh"),
    ]
    data = make_data(steps=6)
    options = {"loss": "mse", "optimizer": "adamw", "log_steps": range(7), "dtype": dtype}
    alone = train(a, [one], data, probes=["outputs"], **options)
    among = train(a, [*others, one], data, probes=["outputs"], **options)
    for step in range(7):
        assert np.allclose(alone.outputs[0, step], among.outputs[3, step], rtol=1e-6, atol=1e-7)


# -------------------------------------------- what the learned W1 does to the second backward pass


def learned_backward_term(depth, correction, width=64, seeds=8):
    """rms over samples and neurons of what the learned W1 adds to g_0 at step 2: coupling -> (seeds,).

    The batch is the same at both steps, and only W1 is trained.
    """
    a = Architecture(10, 1, width, depth, block_layers=2)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 10)), rng.standard_normal((8, 1))
    names = ["decoupled", "fresh", "third"]
    members = [
        Member("depth_mup_corrected", 0.02, seed, name, ("hidden_1",), correction)
        for name in names
        for seed in range(seeds)
    ]
    data = TrainingData(x, y, {seed: np.tile(np.arange(8), (2, 1)) for seed in range(seeds)})
    trainer = advanced(a, members, data, steps=1)
    stack, chi = trainer.stack, -torch.from_numpy(y).expand(len(members), 8, 1)
    trace = Trace(stack, 8)
    stack.forward(trainer.inputs, trace)
    found = []

    def keep_last(seen):
        if seen.role == "input":
            found.append(width * seen.error.clone())

    stack.backward(chi, trace, keep_last)
    for layer, copy in enumerate(stack.backward_copy["hidden_1"]):
        initial = stack.initial("hidden_1", layer, range(len(members)))
        copy -= stack.weights["hidden_1"][layer] - initial
    stack.backward(chi, trace, keep_last)
    size = (found[0] - found[1]).square().mean((1, 2)).sqrt()
    return {name: size[slot * seeds :][:seeds] for slot, name in enumerate(names)}


def test_the_learned_backward_term_grows_as_the_correction_only_where_a_copy_is_reused():
    """docs/theory.md, section 5: slope p over L = 4, 16, 64 with one backward copy, else p - 1/2.

    rms of the mean over 8 seeds, width 64. With a fresh or a third copy only the incoherent part is left.
    """
    depths = (4, 16, 64)
    for correction in (0.5, 0.0):
        terms = [learned_backward_term(depth, correction) for depth in depths]
        slope = {
            name: np.polyfit(np.log(depths), [float(term[name].mean().log()) for term in terms], 1)[
                0
            ]
            for name in terms[0]
        }
        assert abs(slope["decoupled"] - correction) < 0.1, slope
        assert abs(slope["fresh"] - (correction - 0.5)) < 0.12, slope
        assert abs(slope["third"] - (correction - 0.5)) < 0.12, slope


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("coupling", ["standard", "decoupled", "fresh"])
def test_training_is_the_feature_dynamics_of_section_3(coupling, activation):
    """Kernels over past steps instead of weights: docs/theory.md, section 3, word for word."""
    a = Architecture(**SHAPE, activation=activation, horizon=1.5)
    member = Member("depth_mup", 0.8, seed=2, coupling=coupling, trainable=("hidden_2",))
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
    expected = reference.feature_dynamics(reference_network(a, member), x, y, 0.8, 6)
    data = TrainingData(x, y, np.tile(np.arange(4), (6, 1)), probe=(x, y))
    result = train(
        a,
        [member],
        data,
        loss="mse",
        log_steps=range(7),
        probes=["outputs"],
        dtype=torch.float64,
    )
    for step in range(7):
        close(result.outputs[0, step], expected[step])
    assert np.abs(expected[6] - expected[0]).max() > 0.1


# ------------------------------------------------------------------ what members owe each other

CROWD = [
    Member("depth_mup", 0.3, 0),
    Member("mup", 0.1, 1, coupling="decoupled"),
    Member("complete_p", 0.2, 2, trainable=("hidden_2",)),
    Member("standard", 0.05, 0),
    Member("depth_mup", 0.3, 0, coupling="decoupled"),
    Member("ntk", 0.4, 3),
]


def values(result, member):
    """(step, split, metric) -> (value, diverged) of one member."""
    return {
        (row["step"], row["split"], row["metric"]): (row["value"], row["diverged"])
        for row in result.rows
        if row["member"] == member
    }


def run(members, loss="mse", optimizer="sgd", architecture=None, steps=STEPS, **options):
    return train(
        architecture or Architecture(**SHAPE),
        members,
        make_data(loss, steps=steps),
        loss=loss,
        optimizer=optimizer,
        log_steps=range(steps + 1),
        probes=["output_change", "outputs", "kernel"],
        **options,
    )


def assert_same_member(one, m, other, k, tolerance=0.0):
    a, b = values(one, m), values(other, k)
    assert a.keys() == b.keys()
    for key, (value, diverged) in a.items():
        np.testing.assert_allclose(b[key][0], value, rtol=tolerance, atol=tolerance, err_msg=key)
        assert b[key][1] == diverged
    for step in range(STEPS + 1):
        assert ((m, step) in one.outputs) == ((k, step) in other.outputs)  # not when diverged
        if (m, step) in one.outputs:
            f, g = one.outputs[m, step], other.outputs[k, step]
            np.testing.assert_allclose(g, f, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_member_does_not_depend_on_its_neighbours(optimizer, dtype):
    """Alone, in another order, or a few at once: the same numbers, to the last bit on a CPU."""
    crowd = run(CROWD, optimizer=optimizer, dtype=dtype)
    order = [3, 5, 0, 4, 2, 1]
    shuffled = run([CROWD[m] for m in order], optimizer=optimizer, dtype=dtype)
    in_parts = run(CROWD, optimizer=optimizer, dtype=dtype, members_at_once=4)
    for m, member in enumerate(CROWD):
        alone = run([member], optimizer=optimizer, dtype=dtype)
        assert_same_member(crowd, m, alone, 0)
        assert_same_member(crowd, m, shuffled, order.index(m))
        assert_same_member(crowd, m, in_parts, m)
    # The numbers are not all the same one.
    ends = [values(crowd, m)[STEPS, "test", "loss"][0] for m in range(len(CROWD))]
    assert len(set(ends)) == len(CROWD)


@pytest.mark.parametrize("shape", [{"width": 128}, {"width": 24, "input_dim": 3072}])
def test_members_of_usual_sizes_do_not_depend_on_their_neighbours_either(shape, monkeypatch):
    """Matrix kernels may be others for other stacks: state tolerance 1e-6 in float32.

    With many pixels the members that have the same batches share the product of their input layers.
    """
    a = Architecture(**{"input_dim": 5, "outputs": 3, "depth": 4, **shape})
    monkeypatch.setitem(SHAPE, "input_dim", a.input_dim)
    monkeypatch.setattr(trainers, "SHARED", 2**18)
    crowd = run(CROWD, architecture=a)
    for m in (0, 1, 4):
        assert_same_member(crowd, m, run([CROWD[m]], architecture=a), 0, tolerance=1e-6)


def test_members_with_the_same_batches_are_neighbours_that_share_them():
    """And go on to do so when others have been dropped; too small an input layer is not shared."""
    a = Architecture(input_dim=3072, outputs=3, width=128, depth=1)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 3072)), rng.standard_normal((9, 3))
    batches = {seed: draw_batches(9, 4, 2, 0, seed) for seed in range(4)}
    members = [Member("mup", 0.1, seed) for seed in (2, 2, 2, 0, 0, 1)]
    trainer = advanced(a, members, TrainingData(x, y, batches), steps=1)
    assert trainer.groups == (3, 2, 1)
    trainer.drop([0, 3, 4])
    assert trainer.groups == (2, 1)
    trainer.advance()
    alone = advanced(a, members[:1], TrainingData(x, y, batches), steps=2)
    close(trainer.stack.weights["input"][0][0], alone.stack.weights["input"][0][0])
    shared = advanced(a, members, TrainingData(x, y, batches[0]), steps=1)
    assert shared.groups == (6,)
    assert advanced(Architecture(**SHAPE), CROWD, make_data(), steps=1).groups is None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_longer_run_goes_on_bit_for_bit_from_a_shorter_one(optimizer):
    """All couplings, beside other neighbours than before and with roles frozen there that are not here."""
    a = Architecture(**SHAPE, block_layers=2)
    members = [
        Member("depth_mup", 0.02, 0, coupling=coupling, trainable=trainable)
        for coupling in COUPLINGS
        for trainable in (("input", "hidden_1", "hidden_2", "output"), ("hidden_2",))
    ]
    probes, long, short = ["output_change", "features"], make_data(), make_data(steps=3)
    train_ = partial(train, a, loss="mse", optimizer=optimizer, probes=probes)
    kept = {}
    train_(members, short, log_steps=[1, 3], members_at_once=3, keep=kept.__setitem__)
    assert set(kept) == set(range(len(members)))
    whole = train_(members, long, log_steps=[1, 3, 4])
    order = [5, 0, 7, 2, 1]
    again = train_(
        [members[m] for m in order],
        long,
        log_steps=[1, 3, 4],
        begin=[kept[m] for m in order],
        members_at_once=4,
    )
    for place, m in enumerate(order):
        expected = {key: row for key, row in values(whole, m).items() if key[0] > 3}
        assert values(again, place) == expected
    early = [row for row in whole.rows if row["step"] <= 3]
    assert early == train_(members, short, log_steps=[1, 3]).rows


def test_seeds_decide_weights_and_batches_and_root_seed_decides_all():
    one = run([Member("mup", 0.1, 0), Member("mup", 0.1, 1), Member("mup", 0.1, 0)])
    assert_same_member(one, 0, one, 2)
    assert values(one, 0) != values(one, 1)
    assert values(run([Member("mup", 0.1, 0)], root_seed=1), 0) != values(one, 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("trainable", [("input",), ("hidden_1", "output"), ("hidden_2",), ()])
def test_frozen_roles_do_not_move(trainable, optimizer):
    """To the last bit, next to a neighbour that trains everything; the others do move."""
    a = Architecture(**SHAPE, block_layers=2)
    members = [
        Member("depth_mup", 0.3, 0),
        Member("depth_mup", 0.3, 0, coupling="decoupled", trainable=trainable),
    ]
    before = advanced(a, members, make_data(), optimizer=optimizer, steps=0).stack
    after = advanced(a, members, make_data(), optimizer=optimizer).stack
    for role in before.weights:
        for k, w in enumerate(before.weights[role]):
            moved = not torch.equal(after.weights[role][k][1], w[1])
            assert moved == (role in trainable)
            assert not torch.equal(after.weights[role][k][0], w[0])
            if role in before.backward_copy:
                moved = not torch.equal(after.backward_copy[role][k], before.backward_copy[role][k])
                assert moved == (role in trainable)


def test_rate_zero_trains_nothing():
    result = run([Member("mup", 0.0, 0)])
    assert {values(result, 0)[k, "probe", "output_change"][0] for k in range(STEPS + 1)} == {0.0}


# ------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
@pytest.mark.parametrize("rate", [1e4, 1e30])
def test_a_diverged_member_is_marked_and_kept_and_disturbs_nobody(rate, coupling):
    """Losses beyond all bounds, and losses that are not numbers."""
    calm = run(CROWD)
    crowd = [*CROWD[:2], Member("depth_mup", rate, 1, coupling=coupling), *CROWD[2:]]
    result = run(crowd)
    for m in range(len(CROWD)):
        assert_same_member(calm, m, result, m if m < 2 else m + 1)
    rows = values(result, 2)
    flags = [{bad for (k, _, _), (_, bad) in rows.items() if k == step} for step in range(6)]
    assert flags[0] == {False}
    assert flags[-1] == {True}
    assert flags == sorted(flags, key=lambda f: True in f)  # once diverged, diverged for good
    assert all(len(flag) == 1 for flag in flags)
    for key in ((STEPS, "test", "loss"), (STEPS, "batch", "loss")):
        assert np.isnan(rows[key][0])
    assert all(np.isnan(value) or np.isfinite(value) for value, _ in rows.values())


def test_divergence_is_a_hundredfold_loss_not_a_bad_one():
    """f is linear in V alone, whose single step multiplies the loss by a known factor."""
    a = Architecture(input_dim=1, outputs=1, width=2000, depth=1, activation="linear")
    x, y = np.ones((1, 1)), np.ones((1, 1))
    data = TrainingData(x, y, np.zeros((3, 1), int), {"train": (x, y)})
    network = reference.Network("mup", 2000, 1, 1, 1, seed=0, activation="linear")
    h = network.forward(x)[1][-1]
    curvature = float((h**2).mean())  # f - y shrinks by 1 - rate x curvature in a step
    for growth, expected in ((9.5, False), (10.5, True)):
        member = Member("mup", (1 + growth) / curvature, 0, trainable=("output",))
        result = train(a, [member], data, loss="mse", log_steps=range(2), dtype=torch.float64)
        rows = [row for row in result.rows if row["metric"] == "loss" and row["step"] == 1]
        assert {row["diverged"] for row in rows} == {expected}
        by_step = {k: values(result, 0)[k, "train", "loss"][0] for k in (0, 1)}
        assert by_step[1] / by_step[0] == pytest.approx(growth**2)


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
def test_a_stack_that_diverges_altogether_still_fills_its_table(coupling):
    members = [Member("depth_mup", 1e30, s, coupling=coupling) for s in (0, 1)]
    done = []
    for probes in (["output_change", "features"], ["coupling", "kernel", "outputs"]):
        result = train(
            Architecture(**SHAPE),
            members,
            make_data(),
            loss="mse",
            log_steps=range(STEPS + 1),
            probes=probes,
            progress=done.append,
        )
        for m in (0, 1):
            rows = values(result, m)
            assert {step for step, _, _ in rows} == set(range(STEPS + 1))
            assert rows[STEPS, "test", "loss"][1]
    assert sum(done) == 2 * 2 * STEPS


# --------------------------------------------------------------------- what is recorded, and when


def test_rows_hold_the_loss_and_accuracy_before_each_step():
    """Against the numpy reference, more than one evaluation chunk (256) long."""
    a = Architecture(**SHAPE)
    rng = np.random.default_rng(0)
    many = rng.standard_normal((600, 5)), rng.integers(0, 3, 600)
    data = make_data("cross_entropy")
    data = TrainingData(data.inputs, data.targets, data.batches, {"test": many})
    member = Member("mup", 0.3, 1)
    result = train(a, [member], data, log_steps=[0, 2, 3], dtype=torch.float64)
    network, y = reference_network(a, member), as_values(data.targets, 3)
    batch_losses, rows = [], values(result, 0)
    for step in range(STEPS + 1):
        if step in (0, 2, 3, STEPS):
            f = network.forward(many[0])[0]
            loss = reference.loss_and_chi(f, np.eye(3)[many[1]], "cross_entropy")[0].mean()
            close(rows[step, "test", "loss"][0], loss)
            close(rows[step, "test", "accuracy"][0], (f.argmax(1) == many[1]).mean())
            assert rows[step, "none", "flops"][0] == step * a.training_flops(BATCH)
            if step:
                close(rows[step, "batch", "loss"][0], np.mean(batch_losses))
            batch_losses = []
        if step < STEPS:
            ids = data.batches[1][step]
            loss = network.train_step(data.inputs[ids], y[ids], 0.3, "cross_entropy")
            batch_losses.append(loss)
    assert {step for step, _, _ in rows} == {0, 2, 3, STEPS}
    assert (0, "batch", "loss") not in rows


def test_the_first_and_the_last_step_are_always_recorded():
    result = train(Architecture(**SHAPE), [Member("mup", 0.1, 0)], make_data(), loss="mse")
    assert {row["step"] for row in result.rows} == {0, STEPS}
    assert result.outputs == {}
    more = train(Architecture(**SHAPE), CROWD, make_data(), loss="mse", log_steps=[3])
    assert {row["step"] for row in more.rows} == {0, 3, STEPS}
    assert result.wall_time_s > 0


def test_data_without_evaluation_samples_can_be_trained_on():
    data = make_data()
    data = TrainingData(data.inputs, data.targets, data.batches)
    result = train(Architecture(**SHAPE), [Member("mup", 0.1, 0)], data, loss="mse")
    assert {(row["step"], row["split"]) for row in result.rows} == {
        (0, "none"),
        (STEPS, "none"),
        (STEPS, "batch"),
    }


def test_shared_batches_are_everybodys():
    data = make_data()
    shared = TrainingData(data.inputs, data.targets, data.batches[0], data.evaluation)
    own = TrainingData(data.inputs, data.targets, dict.fromkeys(range(4), data.batches[0]))
    one, two = (
        advanced(Architecture(**SHAPE), CROWD, which).stack.weights for which in (shared, own)
    )
    for role, layers in one.items():
        for k, w in enumerate(layers):
            assert torch.equal(w, two[role][k])


# ------------------------------------------------------------------------------ batches and steps


def test_batches_are_epochs_of_permutations():
    order = draw_batches(samples=10, batch_size=3, steps=8, root_seed=0, seed=0)
    assert order.shape == (8, 3)
    for epoch in (order[:3], order[3:6]):  # 9 of 10 samples, none twice
        assert len(set(epoch.ravel())) == 9
        assert set(epoch.ravel()) <= set(range(10))
    assert len(set(order[6:].ravel())) == 6
    assert not np.array_equal(order[:3], order[3:6])
    assert (
        len({tuple(sorted(e.ravel())) for e in (order[:3], order[3:6])}) == 2
    )  # other one left out


def test_batches_depend_on_the_seeds_alone_and_a_longer_run_starts_the_same():
    order = draw_batches(100, 10, 25, 0, 3)
    np.testing.assert_array_equal(draw_batches(100, 10, 25, 0, 3), order)
    np.testing.assert_array_equal(draw_batches(100, 10, 40, 0, 3)[:25], order)
    for other in (draw_batches(100, 10, 25, 0, 4), draw_batches(100, 10, 25, 1, 3)):
        assert not np.array_equal(other, order)


def test_every_sample_is_as_likely_at_every_place():
    """First sample of 4000 seeds: counts of 8 ids are 500 +- 5 sqrt(500 x 7/8)."""
    first = [draw_batches(8, 4, 1, 0, seed)[0, 0] for seed in range(4000)]
    assert np.abs(np.bincount(first, minlength=8) - 500).max() < 5 * (500 * 7 / 8) ** 0.5


def test_batches_of_no_step_and_of_too_many_samples():
    assert draw_batches(10, 3, 0, 0, 0).shape == (0, 3)
    with pytest.raises(ValueError, match="batch_size: 11 exceeds the 10 training samples"):
        draw_batches(10, 11, 1, 0, 0)


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 50, 1000])
@pytest.mark.parametrize("count", [1, 2, 5, 20, 100])
def test_log_spaced_steps(steps, count):
    grid = log_spaced_steps(steps, count)
    assert grid[0] == 0
    assert grid[-1] == steps
    assert grid == sorted(set(grid))
    assert len(grid) <= max(count, 3)
    gaps = np.diff(grid)
    assert all(gaps[1:] >= gaps[:-1] - 1)  # dense at the start, up to rounding
    assert all(isinstance(step, int) for step in grid)


def test_log_spaced_steps_by_hand():
    assert log_spaced_steps(100, 4) == [0, 1, 10, 100]


# ----------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_chi_agree_with_torch(loss):
    """Large outputs included, where a naive softmax overflows."""
    rng = torch.Generator().manual_seed(0)
    f = torch.randn(3, 7, 4, dtype=torch.float64, generator=rng) * torch.tensor(
        [1.0, 30.0, 1000.0], dtype=torch.float64
    ).view(3, 1, 1)
    f.requires_grad_()
    ids = torch.randint(0, 4, (3, 7), generator=rng)
    targets = torch.nn.functional.one_hot(ids, 4).double()
    if loss == "mse":
        targets = torch.randn(3, 7, 4, dtype=torch.float64, generator=rng)
    expected = TORCH_LOSSES[loss](f, targets)
    expected.sum().backward()
    value, chi = LOSSES[loss].value_and_chi(f.detach(), targets)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(chi, f.grad, rtol=1e-12, atol=1e-12)
    in_numpy = LOSSES[loss].chi(f.detach().numpy(), targets.numpy())
    np.testing.assert_allclose(in_numpy, f.grad, rtol=1e-12, atol=1e-12)


def test_targets_become_values():
    np.testing.assert_array_equal(as_values([2, 0], 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(as_values([[0.5, -1.0]], 2), [[0.5, -1.0]])
    with pytest.raises(ValueError, match="targets: 2 columns for 3 outputs"):
        as_values([[0.5, -1.0]], 3)
    for ids in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"targets: class ids must lie in 0\.\.2"):
            as_values(ids, 3)


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parametrization": "mu-p"},
            "parametrization: 'mu-p' is not one of standard, standard_sqrt_depth, ntk, mup",
        ),
        ({"coupling": "coupled"}, "coupling: 'coupled' is not one of standard, decoupled"),
        ({"learning_rate": -0.1}, "learning_rate: -0.1 is not a finite number >= 0"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"learning_rate": float("inf")}, "learning_rate: inf"),
        (
            {"trainable": ("hidden",)},
            "trainable: 'hidden' is not one of input, hidden_1",
        ),
    ],
)
def test_an_impossible_member_is_refused_with_the_field_named(change, message):
    with pytest.raises(ValueError, match=message):
        Member(**{"parametrization": "mup", "learning_rate": 0.1, "seed": 0} | change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "loss: 'hinge' is not one of mse, cross_entropy"),
        ({"optimizer": "lion"}, "optimizer: 'lion' is not one of sgd, adam, momentum"),
        ({"members": []}, "members: at least one network is needed"),
        ({"probes": ["outputs", "hessian"]}, "probes: 'hessian' is not one of outputs, output_"),
        ({"log_steps": [0, STEPS + 1]}, rf"log_steps: {STEPS + 1} .*0\.\.{STEPS}"),
        ({"log_steps": [-1]}, rf"log_steps: -1 .*0\.\.{STEPS}"),
        ({"members": [Member("mup", 0.1, 9)]}, r"batches: .*seed 9"),
        ({"architecture": Architecture(7, 3, 8, 2)}, "inputs: 5 columns for input_dim 7"),
        ({"architecture": Architecture(5, 2, 8, 2)}, "targets: 3 columns for 2 outputs"),
        (
            {"architecture": Architecture(5, 3, 8, 2, block_layers=2), "probes": ["coupling"]},
            "probes: 'coupling' is defined for one-layer blocks",
        ),
    ],
)
def test_an_impossible_training_is_refused_with_the_argument_named(options, message):
    arguments = {
        "architecture": Architecture(**SHAPE),
        "members": [Member("mup", 0.1, 0)],
        "data": make_data(),
        "loss": "mse",
    }
    with pytest.raises(ValueError, match=message):
        train(**arguments | options)


def test_probes_need_samples_to_look_at():
    data = make_data()
    data = TrainingData(data.inputs, data.targets, data.batches)
    with pytest.raises(ValueError, match=r"probes: data\.probe holds no samples"):
        train(Architecture(**SHAPE), [Member("mup", 0.1, 0)], data, probes=["kernel"])
