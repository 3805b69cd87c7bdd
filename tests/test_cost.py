"""What jobs are estimated to take: operations by the architecture's own count, seconds as measured."""

import inspect
from dataclasses import replace

import pytest

from nfd.data.raw import SampleShape
from nfd.network import products
from nfd.network.architecture import Architecture
from nfd.pipeline import cost
from nfd.pipeline.config import check
from nfd.pipeline.cost import LimitCost, TrainingCost
from nfd.pipeline.jobs import expand
from nfd.pipeline.settings import LimitSettings, NetworkSettings, TrainingSettings
from nfd.training.probes import PROBES
from nfd.training.trainer import Trainer

PIXELS, DIGITS = SampleShape(3072, 10), SampleShape(64, 10)


def training(
    width: int,
    depth: int,
    block_layers: int = 1,
    *,
    rates: int = 4,
    seeds: int = 4,
    couplings: tuple[str, ...] = ("standard",),
    **more: object,
) -> TrainingSettings:
    """100 steps of batch 64, nothing evaluated, ``rates`` x ``seeds`` networks of each coupling."""
    network = NetworkSettings(
        parametrization="depth_mup",
        correction=0.0,
        trainable=("input", "hidden_2", "output"),
        couplings=couplings,
        learning_rates=tuple(1.0 * k for k in range(rates)),
    )
    plain = {
        "width": width, "depth": depth, "block_layers": block_layers, "skip": True, "activation": "relu",
        "horizon": 1.0, "loss": "cross_entropy", "optimizer": "sgd", "networks": (network,),
        "seeds": tuple(range(seeds)), "steps": 100, "batch_size": 64, "train_size": None,
        "data_order": "per_seed", "initial_weights": "independent", "evaluation_size": 0,
        "probe_size": 0, "probes": (),
        "logged_steps": (0, 100), "precision": "float32", "tf32": False, "root_seed": 0,
    }  # fmt: skip
    return TrainingSettings(**{**plain, **more})


@pytest.mark.parametrize("block_layers", [1, 2])
def test_operations_are_those_of_the_architecture(block_layers):
    """Of every step and network all layers; at each logged step 2 per weight and sample evaluated."""
    settings = training(64, 4, block_layers)
    network = Architecture(3072, 10, 64, 4, block_layers)
    steps = 100 * 16 * network.training_flops(64)
    assert TrainingCost(settings, PIXELS).flops == steps
    looked = replace(settings, evaluation_size=50, train_size=30, logged_steps=(0, 10, 100))
    assert TrainingCost(looked, PIXELS).flops == steps + 3 * 80 * 16 * 2 * network.parameters
    # The control: without the layers outside the blocks it is less than half.
    assert TrainingCost(settings, SampleShape(0, 0)).flops < 0.5 * steps


def test_a_copy_is_updated_too():
    """A third of the operations with hidden weights is the update; a decoupled network does it twice."""
    plain, decoupled = (
        TrainingCost(training(64, 4, couplings=(coupling,)), DIGITS)
        for coupling in ("standard", "decoupled")
    )
    assert decoupled.hidden_flops == pytest.approx(4 / 3 * plain.hidden_flops)
    assert decoupled.outer_flops == plain.outer_flops


# (width, blocks, layers of a block) -> seconds per 100 steps of 16 networks, batches of 64, CIFAR-10's
# pixels, on one core of an EPYC with AVX-512.
MEASURED = {
    (128, 16, 1): 2.8,
    (64, 4, 2): 0.78,
    (64, 16, 2): 1.5,
    (64, 64, 2): 5.1,
    (64, 128, 2): 8.7,
    (512, 8, 1): 13.0,
}


@pytest.mark.parametrize("shape", MEASURED)
def test_seconds_of_training_on_pixels(shape):
    """Within a factor of 1.5 of what was measured, for 400 steps, in which the start hardly counts."""
    estimate = TrainingCost(training(*shape, steps=400), PIXELS).estimate_s - cost.START_S
    assert 4 * MEASURED[shape] / 1.5 < estimate < 4 * MEASURED[shape] * 1.5


def test_without_pixels_shallow_networks_would_seem_to_take_half():
    estimate = TrainingCost(training(64, 4, 2), SampleShape(0, 0)).estimate_s - cost.START_S
    assert estimate < 0.5 * MEASURED[64, 4, 2]


# Jobs of the laptop preset: wall-clock seconds of a whole job on one of two busy cores of the same machine.
# Other load can only have made them longer, so an estimate may be lower by half.
SMALL = {
    "batch_size": 32,
    "steps": 150,
    "evaluation_size": 256,
    "logged_steps": (0, 1, 5, 20, 60, 150),
}
LAPTOP = {
    "scaling 64x4": (training(64, 4, rates=5, seeds=8, **SMALL), 2.6),
    "width_transfer 512x2": (training(512, 2, rates=34, seeds=5, **{**SMALL, "steps": 100}), 24.1),
    "limit_convergence 256x32": (
        training(
            256, 32, rates=1, seeds=16, couplings=("standard", "decoupled", "fresh"),
            steps=8, batch_size=4, train_size=16, evaluation_size=16, probe_size=16,
            logged_steps=tuple(range(7)), probes=("outputs", "output_change", "coupling", "kernel"),
        ),
        21.1,
    ),
    "internal_collapse 128x128": (
        training(
            128, 128, 2, rates=1, seeds=5,
            couplings=(*["standard"] * 3, *["decoupled"] * 2, "fresh", "third"),
            steps=10, batch_size=32, evaluation_size=32, probe_size=16, logged_steps=(0, 1, 3, 10),
            probes=("output_change", "features", "gradients"),
        ),
        30.2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("job", LAPTOP)
def test_seconds_of_small_jobs(job):
    settings, seconds = LAPTOP[job]
    assert seconds / 2 < TrainingCost(settings, DIGITS).estimate_s < seconds * 1.5


def test_numbers_that_an_optimizer_keeps_take_time():
    """On digits at 64 x 64 Adam took 2.5 to 3.5 times as long as SGD in the same run."""
    sgd, adam = (
        TrainingCost(training(64, 64, rates=50, batch_size=32, optimizer=name), DIGITS).estimate_s
        for name in ("sgd", "adam")
    )
    assert 2 < adam / sgd < 4


def test_samples_take_memory_and_change_no_stack():
    few, many = (TrainingCost(training(1024, 2), shape) for shape in (DIGITS, PIXELS))
    # 16 networks at twice their size: 3,008 more weights per neuron, and a batch.
    assert few.members_at_once(10**9) == many.members_at_once(10**9)
    at_once = few.members_at_once(cost.CPU_STACK_BYTES)
    more = 2 * at_once * 4 * 3008 * (1024 + 64) / 2**20
    assert many.memory_mb - few.memory_mb == pytest.approx(more, abs=1)


def test_what_is_copied_from_where_torch_is_loaded_is_the_same():
    assert products.LARGE == cost.LARGE_PRODUCT
    chunk = inspect.signature(Trainer.evaluate).parameters["chunk"].default
    assert chunk == cost.EVALUATED_AT_ONCE
    assert set(PROBES) > cost.DRAWING_PROBES


LIMIT = {
    "depth": 8, "block_layers": 1, "skip": True, "activation": "relu", "horizon": 1.0,
    "loss": "cross_entropy", "optimizer": "sgd", "seeds": tuple(range(8)), "data_order": "shared",
    "precision": "float32", "tf32": False, "root_seed": 0,
    "noise_depth": 8, "parametrization": "depth_mup", "correction": 0.0,
    "trainable": ("input", "hidden_2", "output"), "coupling": "standard", "learning_rates": (0.5,),
}  # fmt: skip
# As the laptop preset has them: a few steps with matrices revealed, a whole training with them written out.
SHORT = LimitSettings(
    **LIMIT, particles=4096, steps=8, batch_size=4, train_size=16, evaluation_size=16,
    probe_size=16, logged_steps=(0, 1, 2, 4, 8),
)  # fmt: skip
WHOLE = LimitSettings(
    **LIMIT, particles=512, steps=300, batch_size=8, train_size=512, evaluation_size=256,
    probe_size=16, logged_steps=(0, 1, 2, 3, 6, 10, 17, 29, 51, 91, 165, 300),
)  # fmt: skip


@pytest.mark.parametrize(("settings", "seconds"), [(SHORT, 7.5), (WHOLE, 14.9)])
def test_seconds_of_limits(settings, seconds):
    """As above, of two jobs of the laptop preset."""
    assert seconds / 2 < LimitCost(settings, DIGITS).estimate_s < seconds * 1.5


def test_a_limit_s_input_layer_counts():
    """2 per particle, pixel and vector: of all vectors forward, and of those learned."""
    more = LimitCost(SHORT, PIXELS).flops - LimitCost(SHORT, DIGITS).flops
    forward = LimitCost(SHORT, DIGITS).forward_vectors
    assert more == 2 * 8 * 4096 * (3072 - 64) * (forward + 8 * 4)


def test_jobs_know_the_data_of_their_configuration():
    small = {
        "preset": "trial",
        "experiments": {
            "scaling": {
                "networks": [{"parametrization": "depth_mup"}],
                "grids": [{"widths": [64], "depths": [4]}],
                "learning_rates": [0.5],
                "seeds": 2,
                "steps": 10,
                "batch_size": 4,
            }
        },
    }
    for name, inputs in (("digits", 64), ("mnist", 784), ("cifar10", 3072)):
        (job,), _ = expand(check({**small, "dataset": {"name": name}}))
        assert job.data.inputs == inputs
        assert job.cost.flops == TrainingCost(job.settings, job.data).flops
