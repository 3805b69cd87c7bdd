"""One sweep, trained in several ways: stacked by nfd, and as a user of torch would.

All train the same networks on the same batches in float32. Each is a callable that takes a number
of steps, advances all networks of the sweep by that many, and returns their last mini-batch losses.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from nfd.network import products
from nfd.network.architecture import Architecture, training_bytes
from nfd.network.parametrization import PARAMETRIZATIONS, Scales
from nfd.network.stack import initial_weight
from nfd.pipeline.cost import CPU_STACK_BYTES, stack_size
from nfd.training import trainer
from nfd.training.batches import TrainingData, draw_batches
from nfd.training.trainer import Member, Trainer

Training = Callable[[int], list[float]]


@dataclass(frozen=True)
class Sweep:
    """``members`` networks: learning rates x seeds of depth_mup with one-layer blocks."""

    width: int
    depth: int
    members: int
    batch_size: int = 32
    input_dim: int = 64
    outputs: int = 10
    samples: int = 1500
    steps: int = 400
    first_seed: int = 0
    device: str = "cpu"

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.input_dim, self.outputs, self.width, self.depth)

    @property
    def scales(self) -> Scales:
        return PARAMETRIZATIONS["depth_mup"].scales(self.width, self.depth, self.input_dim)

    @cached_property
    def networks(self) -> list[Member]:
        rates = [0.0625, 0.125, 0.25, 0.5]
        return [
            Member("depth_mup", rates[m % len(rates)], self.first_seed + m // len(rates))
            for m in range(self.members)
        ]

    @cached_property
    def data(self) -> TrainingData:
        rng = np.random.default_rng(0)
        inputs = rng.standard_normal((self.samples, self.input_dim), dtype=np.float32)
        targets = rng.integers(0, self.outputs, self.samples)
        seeds = {member.seed for member in self.networks}
        sizes = (self.samples, self.batch_size, self.steps)
        batches = {seed: draw_batches(*sizes, 0, seed) for seed in seeds}
        return TrainingData(inputs, targets, batches)

    def split(self, parts: int) -> "list[Sweep]":
        """The same networks as ``parts`` smaller sweeps; whole seeds stay together."""
        each = self.members // parts
        return [
            replace(self, members=each, first_seed=self.first_seed + part * each // 4)
            for part in range(parts)
        ]

    def resized(self, members: int) -> "Sweep":
        """The same sweep with another number of networks."""
        return replace(self, members=members)

    @property
    def stack_size(self) -> int:
        """How many networks the pipeline would stack on a CPU; on a GPU, all."""
        if self.device == "cuda":
            return self.members
        each = training_bytes(width=self.width, depth=self.depth, samples=self.batch_size)
        return stack_size(self.members, each, CPU_STACK_BYTES)


def stacked(sweep: Sweep, stack_size: int | None = None) -> Training:
    """nfd: the stacks the pipeline would form, one after another."""
    size = stack_size or sweep.stack_size
    trainers = [
        Trainer(
            sweep.architecture,
            sweep.networks[first : first + size],
            sweep.data,
            loss="cross_entropy",
            optimizer="sgd",
            root_seed=0,
            device=sweep.device,
            dtype=torch.float32,
        )
        for first in range(0, sweep.members, size)
    ]

    def train(steps: int) -> list[float]:
        losses: list[float] = []
        for each in trainers:
            for _ in range(steps):
                each.loss_sum.zero_()
                each.step %= each.steps
                each.advance()
            losses += each.loss_sum.tolist()
        return losses

    return train


def apart(sweep: Sweep) -> Training:
    """nfd with every member's products by themselves, in one batched product of the BLAS per layer."""
    with _apart():
        train = stacked(sweep)

    def train_apart(steps: int) -> list[float]:
        with _apart():
            return train(steps)

    return train_apart


@contextmanager
def _apart() -> Iterator[None]:
    before = trainer.SHARED, products.LARGE
    trainer.SHARED = products.LARGE = 2**62
    try:
        yield
    finally:
        trainer.SHARED, products.LARGE = before


class ResNet(nn.Module):
    """The network as one would write it with torch.nn.Linear."""

    def __init__(self, sweep: Sweep, seed: int) -> None:
        super().__init__()
        n, scales = sweep.width, sweep.scales

        def linear(inputs: int, outputs: int, role: str, layer: int = 0) -> nn.Linear:
            made = nn.Linear(inputs, outputs, bias=False)
            weight = initial_weight(0, seed, role, layer, (outputs, inputs))
            made.weight.data.copy_(torch.from_numpy(weight) * scales[role].multiplier)
            return made

        self.branch = scales.branch
        self.input = linear(sweep.input_dim, n, "input")
        self.hidden = nn.ModuleList(linear(n, n, "hidden_2", layer) for layer in range(sweep.depth))
        self.output = linear(n, sweep.outputs, "output")

    def forward(self, x: Tensor) -> Tensor:
        h = self.input(x)
        for layer in self.hidden:
            h = h + self.branch * layer(torch.relu(h))
        return self.output(h)


def learning_rates(sweep: Sweep, member: Member) -> dict[str, float]:
    """Rates of the weights of :class:`ResNet`, which contain the multiplier."""
    scales = sweep.scales
    return {
        layer: member.learning_rate * scales[role].learning_rate * scales[role].multiplier ** 2
        for layer, role in (("input", "input"), ("hidden", "hidden_2"), ("output", "output"))
    }


def serial(sweep: Sweep, compiled: bool = False) -> Training:
    """One network after another: torch.nn.Linear, autograd and torch.optim.SGD."""
    x = torch.from_numpy(sweep.data.inputs).to(sweep.device)
    y = torch.from_numpy(sweep.data.targets).to(sweep.device)
    batches = {
        seed: torch.from_numpy(ids).to(sweep.device) for seed, ids in sweep.data.batches.items()
    }
    runs = []
    for member in sweep.networks:
        net = ResNet(sweep, member.seed).to(sweep.device)
        groups = [
            {"params": list(getattr(net, layer).parameters()), "lr": rate}
            for layer, rate in learning_rates(sweep, member).items()
        ]
        optimizer = torch.optim.SGD(groups, lr=1.0)
        runs.append((torch.compile(net) if compiled else net, optimizer, batches[member.seed]))
    done = 0

    def train(steps: int) -> list[float]:
        nonlocal done
        losses = []
        for net, optimizer, order in runs:
            for step in range(done, done + steps):
                ids = order[step % sweep.steps]
                loss = nn.functional.cross_entropy(net(x[ids]), y[ids])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(float(loss.detach()))
        done += steps
        return losses

    return train


def compiled(sweep: Sweep) -> Training:
    """:func:`serial` under torch.compile."""
    return serial(sweep, compiled=True)


def vmapped(sweep: Sweep) -> Training:
    """All networks at once by torch.func: vmap over members of the gradient of one network."""
    device = sweep.device
    x = torch.from_numpy(sweep.data.inputs).to(device)
    y = torch.from_numpy(sweep.data.targets).to(device)
    order = torch.from_numpy(np.stack([sweep.data.batches[m.seed] for m in sweep.networks]))
    order = order.to(device)
    nets = [ResNet(sweep, member.seed).to(device) for member in sweep.networks]
    weights, _ = torch.func.stack_module_state(nets)
    weights = {name: weight.detach() for name, weight in weights.items()}
    of_member = [learning_rates(sweep, member) for member in sweep.networks]
    rates = {
        name: torch.tensor([r[name.split(".")[0]] for r in of_member], device=device).view(-1, 1, 1)
        for name in weights
    }
    one = nets[0]

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(one, weights, (x,)), y)

    step_of_all = torch.func.vmap(torch.func.grad_and_value(loss))
    done = 0

    def train(steps: int) -> list[float]:
        nonlocal done
        for step in range(done, done + steps):
            ids = order[:, step % sweep.steps]
            gradients, losses = step_of_all(weights, x[ids], y[ids])
            with torch.no_grad():
                for name, gradient in gradients.items():
                    weights[name].addcmul_(gradient, rates[name], value=-1)
        done += steps
        return losses.tolist()

    return train


METHODS: dict[str, Callable[[Sweep], Training]] = {
    "stacked": stacked,
    "apart": apart,
    "serial": serial,
    "compiled": compiled,
    "vmap": vmapped,
}


def train_flops(sweeps: Sequence[Sweep]) -> int:
    """Floating-point operations of one step of all networks."""
    return sum(s.members * s.architecture.training_flops(s.batch_size) for s in sweeps)


def train_bytes(sweep: Sweep) -> int:
    """Least traffic of one step of all networks, float32, when no weights stay in a near cache.

    Each hidden weight is read forward, read backward, and read and written by the update. Features are
    smaller by batch size / width and left out.
    """
    return 4 * 4 * sweep.members * sweep.architecture.parameters
