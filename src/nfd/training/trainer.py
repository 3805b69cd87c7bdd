"""One stack of networks in training, with one learning rate per member and role.

All members of one shape (learning rates x seeds x parametrizations x couplings) are trained together
as a :class:`nfd.network.stack.Stack`. A member's numbers depend on its own seed and settings only. A member
whose loss leaves all bounds is dropped from the stack and stops nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfd.choices import check_choice
from nfd.network.architecture import Architecture
from nfd.network.couplings import COUPLINGS, stacking_order
from nfd.network.losses import LOSSES
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.roles import ROLES
from nfd.network.stack import Stack, Trace
from nfd.training.batches import TrainingData, as_values
from nfd.training.optimizers import OPTIMIZERS

# Multiply-adds of one member's input layer from which members share the product of their common batch.
SHARED = 2**20


@dataclass(frozen=True)
class Member:
    """One network of a stack.

    ``learning_rate`` is dimensionless: the parametrization's factors multiply it. ``trainable`` holds
    the roles that are trained (default: all the architecture has); ``correction`` is the exponent p.
    """

    parametrization: str
    learning_rate: float
    seed: int
    coupling: str = "standard"
    trainable: tuple[str, ...] = ROLES
    correction: float = 0.5

    def __post_init__(self) -> None:
        check_choice("parametrization", self.parametrization, PARAMETRIZATIONS)
        check_choice("coupling", self.coupling, COUPLINGS)
        if not (self.learning_rate >= 0 and isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate: {self.learning_rate} is not a finite number >= 0")
        for role in self.trainable:
            check_choice("trainable", role, ROLES)


@dataclass(frozen=True)
class NetworkState:
    """One network after ``step`` steps, from which a longer training goes on.

    ``tensors``: all that training changes, by name; ``first_loss``: against which divergence is measured.
    """

    step: int
    first_loss: float
    tensors: dict[str, Tensor]


class Trainer:
    """The state of one stack in training; :func:`nfd.training.train.train` drives it.

    ``alive`` maps slots of the stack to indices of ``members``.
    """

    def __init__(
        self,
        architecture: Architecture,
        members: Sequence[Member],
        data: TrainingData,
        *,
        loss: str,
        optimizer: str,
        root_seed: int,
        nested: bool = False,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        self.architecture, self.members, self.loss = architecture, list(members), LOSSES[loss]
        rule = OPTIMIZERS[optimizer]
        self.alive = sorted(range(len(members)), key=lambda m: stacking_order(members[m].coupling))
        ordered = [members[m] for m in self.alive]
        sizes = (architecture.width, architecture.depth, architecture.input_dim)
        scales = [
            PARAMETRIZATIONS[m.parametrization].scales(
                *sizes, horizon=architecture.horizon, optimizer=rule.column, correction=m.correction
            )
            for m in ordered
        ]
        self.stack = Stack(
            architecture,
            scales,
            [m.seed for m in ordered],
            [m.coupling for m in ordered],
            root_seed=root_seed,
            nested=nested,
            device=device,
            dtype=dtype,
        )
        self._load(data, ordered)
        self.optimizer = rule(self.stack, ordered, self.batch_size)
        self.trace = Trace(self.stack, self.batch_size)
        self.loss_sum = torch.zeros(len(ordered), dtype=dtype, device=device)

    @property
    def step(self) -> int:
        """Steps done. The stack keeps it, for some backward copies are drawn anew at every step."""
        return self.stack.step

    @step.setter
    def step(self, step: int) -> None:
        self.stack.step = step

    def _load(self, data: TrainingData, ordered: Sequence[Member]) -> None:
        """Put samples and batch order on the device, so that a step moves nothing."""
        seeds = sorted({m.seed for m in ordered})
        if isinstance(data.batches, Mapping):
            lacking = [seed for seed in seeds if seed not in data.batches]
            if lacking:
                raise ValueError(f"batches: none given for seed {lacking[0]}")
            order = np.stack([data.batches[seed] for seed in seeds])
            slots = [seeds.index(m.seed) for m in ordered]
        else:
            order, slots = np.asarray(data.batches)[None], [0] * len(ordered)
        self.order = torch.as_tensor(order, device=self.stack.device)
        self.steps, self.batch_size = self.order.shape[1:]
        self._see(slots)
        self.inputs, self.targets = self.place(data.inputs, data.targets)
        self.evaluation = {
            split: self.place(*samples) for split, samples in data.evaluation.items()
        }
        self.probe = None if data.probe is None else self.place(*data.probe)

    groups: tuple[int, ...] | None

    def _see(self, slots: Sequence[int]) -> None:
        """Take note of the places of members' batches in ``order``.

        Neighbours with the same batches form a group, where its one large product costs less than theirs.
        """
        where = partial(torch.tensor, dtype=torch.long, device=self.stack.device)
        self.order_of = self.seen = where(slots)
        self.groups = None
        if self.batch_size * self.architecture.input_dim * self.architecture.width >= SHARED:
            runs = [(slot, len([*run])) for slot, run in groupby(slots)]
            self.seen = where([slot for slot, _ in runs])
            self.groups = tuple(length for _, length in runs)

    def place(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[Tensor, Tensor]:
        """Inputs (N, d) and targets as values (N, C), on the stack's device."""
        values = as_values(targets, self.architecture.outputs)
        inputs, d = np.asarray(inputs), self.architecture.input_dim
        if inputs.shape[1] != d:
            raise ValueError(f"inputs: {inputs.shape[1]} columns for input_dim {d}")
        where = partial(torch.as_tensor, device=self.stack.device, dtype=self.stack.dtype)
        return where(inputs), where(values)

    def advance(self) -> None:
        """One optimizer step for every member; no synchronisation with the host."""
        batches = self.order[:, self.step]
        mine = batches.index_select(0, self.order_of)
        seen = mine if self.groups is None else batches.index_select(0, self.seen)
        f = self.stack.forward(self.inputs[seen], self.trace, self.groups)
        loss, chi = self.loss.value_and_chi(f, self.targets[mine])
        self.loss_sum += loss.mean(1)
        self.optimizer.step += 1
        self.stack.backward(chi, self.trace, self.optimizer.update)
        self.step += 1

    def evaluate(self, inputs: Tensor, targets: Tensor, chunk: int = 256) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy (members,) over the samples (N, d), (N, C)."""
        loss = torch.zeros(self.stack.members, dtype=self.stack.dtype, device=self.stack.device)
        hits = torch.zeros_like(loss)
        for x, y in zip(torch.split(inputs, chunk), torch.split(targets, chunk), strict=True):
            f = self.stack.forward(x)
            loss += self.loss.value_and_chi(f, y)[0].sum(1)
            hits += (f.argmax(-1) == y.argmax(-1)).sum(1)
        return loss / len(inputs), hits / len(inputs)

    def state(self) -> dict[str, Any]:
        """All that training changes, for a checkpoint."""
        return {
            "step": self.step,
            "alive": self.alive,
            "tensors": self._changing(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state`; the trainer must be new and of the same members."""
        kept = set(state["alive"])
        gone = [slot for slot, member in enumerate(self.alive) if member not in kept]
        if gone:
            self.drop(gone)
        self.step = self.optimizer.step = state["step"]
        for mine, saved in zip(self._changing(), state["tensors"], strict=True):
            mine.copy_(saved)

    def of_member(self, slot: int) -> dict[str, Tensor]:
        """All of one member's numbers that training changes, by name, as views."""
        return self.stack.of_member(slot) | self.optimizer.of_member(slot)

    def go_on(self, states: Sequence[NetworkState]) -> None:
        """Take each member, in the order of ``members``, from one step of an earlier training."""
        (step,) = {state.step for state in states}
        self.step = self.optimizer.step = step
        for slot, member in enumerate(self.alive):
            saved = states[member].tensors
            # State of a role that another member trains is not used, and may be in one of the two only.
            for name, mine in self.of_member(slot).items():
                if name in saved:
                    mine.copy_(saved[name])

    def _changing(self) -> list[Tensor]:
        return [self.loss_sum, *self.stack.changing(), *self.optimizer.tensors()]

    def drop(self, slots: Sequence[int]) -> None:
        """Take these slots out of the stack for good."""
        gone = set(slots)
        rest = [slot for slot in range(self.stack.members) if slot not in gone]
        index = torch.tensor(rest, dtype=torch.long, device=self.stack.device)
        self.stack.keep(rest)
        self.optimizer.keep(index)
        self._see([slot for m, slot in enumerate(self.order_of.tolist()) if m not in gone])
        self.loss_sum = self.loss_sum.index_select(0, index)
        self.alive = [self.alive[slot] for slot in rest]
        self.trace = Trace(self.stack, self.batch_size)
