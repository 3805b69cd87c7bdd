"""Training a stack of networks: SGD and Adam with one learning rate per member and role.

All members of one shape (learning rates x seeds x parametrizations x couplings) are trained together
as a :class:`nfd.resnet.Stack`. A member's numbers depend on its own seed and settings only. A member
whose loss leaves all bounds is marked diverged, dropped from the stack and kept in the results; it
stops nothing.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nfd import probes as probing
from nfd.parametrization import PARAMETRIZATIONS, ROLES, Role
from nfd.resnet import COUPLINGS, Architecture, LayerGradient, Stack, Trace
from nfd.seeds import generator

if TYPE_CHECKING:
    from nfd.checkpoint import Checkpoint

log = logging.getLogger(__name__)

LOSSES = ("mse", "cross_entropy")
OPTIMIZERS = ("sgd", "adam")
ADAM_BETAS = (0.9, 0.999)
# On the gradient of the N(0, 1) weight. Small, because that gradient shrinks with the width.
ADAM_EPSILON = 1e-12
# A member has diverged when a loss is not finite or exceeds this many times its loss at step 0.
DIVERGENCE_FACTOR = 100.0


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
    trainable: tuple[Role, ...] = ROLES
    correction: float = 0.5

    def __post_init__(self) -> None:
        if self.parametrization not in PARAMETRIZATIONS:
            known = ", ".join(PARAMETRIZATIONS)
            raise ValueError(f"parametrization: {self.parametrization!r} is not one of {known}")
        if self.coupling not in COUPLINGS:
            raise ValueError(f"coupling: {self.coupling!r} is not one of {', '.join(COUPLINGS)}")
        if not (self.learning_rate >= 0 and isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate: {self.learning_rate} is not a finite number >= 0")
        unknown = [role for role in self.trainable if role not in ROLES]
        if unknown:
            raise ValueError(f"trainable: {unknown} not among the roles {', '.join(ROLES)}")


@dataclass(frozen=True)
class TrainingData:
    """Samples and their order.

    ``inputs`` (N, d); ``targets`` (N,) class ids or (N, C) values; ``batches`` (K, B) sample ids of K
    steps, shared by all members, or a mapping from seed to such an array. ``evaluation`` maps a split
    ('train', 'test') to (inputs, targets); ``probe`` is the (inputs, targets) the probes look at.
    """

    inputs: np.ndarray
    targets: np.ndarray
    batches: np.ndarray | Mapping[int, np.ndarray]
    evaluation: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    probe: tuple[np.ndarray, np.ndarray] | None = None


@dataclass
class TrainingResult:
    """What training yields.

    ``rows``: one dict per number, with keys member (index into ``members``), step, split, metric,
    value, diverged. ``outputs``: (member, step) -> (P, C) outputs on the probe samples, if asked for.
    ``wall_time_s``: seconds spent in this call.
    """

    members: list[Member]
    rows: list[dict[str, Any]]
    outputs: dict[tuple[int, int], np.ndarray]
    wall_time_s: float = 0.0


def draw_batches(
    samples: int, batch_size: int, steps: int, root_seed: int, seed: int | str
) -> np.ndarray:
    """Sample ids (steps, batch_size): whole epochs in random order, one permutation each."""
    if batch_size > samples:
        raise ValueError(f"batch_size: {batch_size} exceeds the {samples} training samples")
    per_epoch = samples // batch_size
    epochs = max(-(-steps // per_epoch), 1)
    order = [
        generator(root_seed, "batches", seed, epoch).permutation(samples)[: per_epoch * batch_size]
        for epoch in range(epochs)
    ]
    return np.concatenate(order).reshape(-1, batch_size)[:steps]


def log_spaced_steps(steps: int, count: int) -> list[int]:
    """About ``count`` steps from 0 to ``steps``, both included, dense at the start."""
    if steps == 0:
        return [0]
    grid = np.unique(np.rint(np.geomspace(1, steps, max(count - 1, 2))).astype(int))
    return [0, *grid.tolist()]


def loss_and_chi(f: Tensor, targets: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Per-sample loss (..., batch) and chi = d loss / d f (..., batch, C).

    ``targets``: one-hot or real values (..., batch, C). 'mse' is half the squared error summed over
    the outputs; 'cross_entropy' the negative log-likelihood of the softmax.
    """
    if loss == "mse":
        chi = f - targets
        return 0.5 * chi.square().sum(-1), chi
    log_p = torch.log_softmax(f, -1)
    return -(log_p * targets).sum(-1), log_p.exp() - targets


def as_values(targets: np.ndarray, outputs: int) -> np.ndarray:
    """Class ids (N,) as one-hot rows (N, C); values (N, C) as they are."""
    targets = np.asarray(targets)
    if targets.ndim == 2:
        if targets.shape[1] != outputs:
            raise ValueError(f"targets: {targets.shape[1]} columns for {outputs} outputs")
        return targets
    if targets.size and not 0 <= targets.min() <= targets.max() < outputs:
        raise ValueError(f"targets: class ids must lie in 0..{outputs - 1}")
    return np.eye(outputs)[targets]


class _Optimizer:
    """Per-member, per-role rates on effective weights, and Adam's moments."""

    def __init__(
        self, stack: Stack, members: Sequence[Member], optimizer: str, batch_size: int
    ) -> None:
        self.stack, self.kind = stack, optimizer
        self.step = 0
        self.rates: dict[Role, Tensor] = {}
        self.epsilon: dict[Role, Tensor] = {}
        # Gradients are of the batch mean, the errors a backward pass yields are per sample.
        self.per_batch = 1.0 / batch_size
        self.descent: dict[Role, Tensor] = {}
        for role in stack.weights:
            rates, epsilon = [], []
            for member, scales in zip(members, stack.scales, strict=True):
                m = stack.architecture.multiplier(role, scales)
                rate = (
                    member.learning_rate * scales[role].learning_rate * (role in member.trainable)
                )
                rates.append(rate * (m * m if optimizer == "sgd" else m))
                epsilon.append(ADAM_EPSILON / m)
            column = {"dtype": stack.dtype, "device": stack.device}
            self.rates[role] = torch.tensor(rates, **column).view(-1, 1, 1)
            self.epsilon[role] = torch.tensor(epsilon, **column).view(-1, 1, 1)
            self.descent[role] = -self.per_batch * self.rates[role]
        # A list: the order of the moments must be the same in the process that resumes.
        self.trained = [role for role, rate in self.rates.items() if bool((rate != 0).any())]
        self.moments: dict[Role, list[tuple[Tensor, Tensor]]] = {}
        if optimizer == "adam":
            self.moments = {
                role: [(torch.zeros_like(w), torch.zeros_like(w)) for w in stack.weights[role]]
                for role in self.trained
            }

    def update(self, gradient: LayerGradient) -> None:
        """One step on one layer, in place."""
        role, layer = gradient.role, gradient.layer
        if role not in self.trained:
            return
        if self.kind == "sgd":
            error = gradient.error * self.descent[role]
            self.stack.add_to_weight(role, layer, error, gradient.feature)
        else:
            self._adam(role, layer, gradient)

    def _adam(self, role: Role, layer: int, gradient: LayerGradient) -> None:
        slope = torch.bmm(gradient.error.transpose(1, 2), gradient.feature).mul_(self.per_batch)
        first, second = self.moments[role][layer]
        beta_1, beta_2 = ADAM_BETAS
        first.lerp_(slope, 1 - beta_1)
        second.mul_(beta_2).addcmul_(slope, slope, value=1 - beta_2)
        spread = (second / (1 - beta_2**self.step)).sqrt_().add_(self.epsilon[role])
        change = (first / spread).mul_(self.rates[role] / (beta_1**self.step - 1))
        self.stack.weights[role][layer].add_(change)
        if role in self.stack.backward_copy:
            self.stack.backward_copy[role][layer].add_(change[self.stack.standard :])

    def keep(self, index: Tensor) -> None:
        for table in (self.rates, self.epsilon, self.descent):
            for role in table:
                table[role] = table[role].index_select(0, index)
        for layers in self.moments.values():
            layers[:] = [(a.index_select(0, index), b.index_select(0, index)) for a, b in layers]


class Trainer:
    """The state of one stack in training; :func:`train` drives it.

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
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        self.architecture, self.members, self.loss = architecture, list(members), loss
        self.alive = sorted(range(len(members)), key=lambda m: COUPLINGS.index(members[m].coupling))
        ordered = [members[m] for m in self.alive]
        sizes = (architecture.width, architecture.depth, architecture.input_dim)
        scales = [
            PARAMETRIZATIONS[m.parametrization].scales(
                *sizes, horizon=architecture.horizon, optimizer=optimizer, correction=m.correction
            )
            for m in ordered
        ]
        self.stack = Stack(
            architecture,
            scales,
            [m.seed for m in ordered],
            [m.coupling for m in ordered],
            root_seed=root_seed,
            device=device,
            dtype=dtype,
        )
        self._load(data, ordered)
        self.optimizer = _Optimizer(self.stack, ordered, optimizer, self.batch_size)
        self.trace = Trace(self.stack, self.batch_size)
        self.step = 0
        self.loss_sum = torch.zeros(len(ordered), dtype=dtype, device=device)
        self.first_loss: dict[int, float] = {}

    def _load(self, data: TrainingData, ordered: Sequence[Member]) -> None:
        """Put samples and batch order on the device, so that a step moves nothing."""
        seeds = sorted({m.seed for m in ordered})
        shared = not isinstance(data.batches, Mapping)
        lacking = [] if shared else [seed for seed in seeds if seed not in data.batches]
        if lacking:
            raise ValueError(f"batches: none given for seed {lacking[0]}")
        order = [data.batches] if shared else [data.batches[seed] for seed in seeds]
        self.order = torch.as_tensor(np.stack(order), device=self.stack.device)
        slots = [0 if shared else seeds.index(m.seed) for m in ordered]
        self.order_of = torch.tensor(slots, device=self.stack.device)
        self.steps, self.batch_size = self.order.shape[1:]
        self.inputs, self.targets = self.place(data.inputs, data.targets)
        self.evaluation = {
            split: self.place(*samples) for split, samples in data.evaluation.items()
        }
        self.probe = None if data.probe is None else self.place(*data.probe)

    def place(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[Tensor, Tensor]:
        """Inputs (N, d) and targets as values (N, C), on the stack's device."""
        values = as_values(targets, self.architecture.outputs)
        inputs, d = np.asarray(inputs), self.architecture.input_dim
        if inputs.shape[1] != d:
            raise ValueError(f"inputs: {inputs.shape[1]} columns for input_dim {d}")
        where = {"device": self.stack.device, "dtype": self.stack.dtype}
        return torch.as_tensor(inputs, **where), torch.as_tensor(values, **where)

    def advance(self) -> None:
        """One optimizer step for every member; no synchronisation with the host."""
        batch = self.order[:, self.step].index_select(0, self.order_of)
        f = self.stack.forward(self.inputs[batch], self.trace)
        loss, chi = loss_and_chi(f, self.targets[batch], self.loss)
        self.loss_sum += loss.mean(1)
        self.optimizer.step += 1
        self.stack.backward(chi, self.trace, self.optimizer.update)
        self.step += 1

    def evaluate(self, inputs: Tensor, targets: Tensor, chunk: int = 256) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy (members,) over the samples (N, d), (N, C)."""
        loss = torch.zeros(self.stack.members, dtype=self.stack.dtype, device=self.stack.device)
        hits = torch.zeros_like(loss)
        for x, y in zip(inputs.split(chunk), targets.split(chunk), strict=True):
            f = self.stack.forward(self.expand(x))
            loss += loss_and_chi(f, y, self.loss)[0].sum(1)
            hits += (f.argmax(-1) == y.argmax(-1)).sum(1)
        return loss / len(inputs), hits / len(inputs)

    def expand(self, x: Tensor) -> Tensor:
        """Samples (N, d) seen by every member: (members, N, d), without a copy."""
        return x.expand(self.stack.members, *x.shape)

    def find_diverged(self, losses: Iterable[Tensor]) -> list[int]:
        """Slots with a loss that is not finite or beyond DIVERGENCE_FACTOR times the first one."""
        losses = list(losses)
        if not losses:  # step 0 without evaluation samples
            return []
        worst = torch.stack(losses).double().cpu().numpy()
        diverged = []
        for slot, member in enumerate(self.alive):
            column = worst[:, slot]
            limit = DIVERGENCE_FACTOR * self.first_loss.setdefault(member, float(column.max()))
            if not (np.isfinite(column).all() and column.max() <= limit):
                diverged.append(slot)
        return diverged

    def state(self) -> dict[str, Any]:
        """All that training changes, for a checkpoint."""
        return {
            "step": self.step,
            "alive": self.alive,
            "first_loss": self.first_loss,
            "tensors": self._changing(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state`; the trainer must be new and of the same members."""
        kept = set(state["alive"])
        gone = [slot for slot, member in enumerate(self.alive) if member not in kept]
        if gone:
            self.drop(gone)
        self.step = self.optimizer.step = state["step"]
        self.first_loss = state["first_loss"]
        for mine, saved in zip(self._changing(), state["tensors"], strict=True):
            mine.copy_(saved)

    def _changing(self) -> list[Tensor]:
        stack, moments = self.stack, self.optimizer.moments.values()
        weights = [*stack.weights.values(), *stack.backward_copy.values()]
        pairs = [pair for layers in moments for pair in layers]
        return [self.loss_sum, *chain.from_iterable(weights), *chain.from_iterable(pairs)]

    def drop(self, slots: Sequence[int]) -> None:
        """Take these slots out of the stack for good."""
        gone = set(slots)
        rest = [slot for slot in range(self.stack.members) if slot not in gone]
        index = torch.tensor(rest, dtype=torch.long, device=self.stack.device)
        self.stack.keep(rest)
        self.optimizer.keep(index)
        self.order_of = self.order_of.index_select(0, index)
        self.loss_sum = self.loss_sum.index_select(0, index)
        self.alive = [self.alive[slot] for slot in rest]
        self.trace = Trace(self.stack, self.batch_size)


class _Recorder:
    """Turns what is measured at the logged steps into rows."""

    def __init__(self, trainer: Trainer, probes: Sequence[str]) -> None:
        self.trainer = trainer
        self.probes = [probing.PROBES[name](trainer) for name in probes if name != "outputs"]
        self.keep_outputs = "outputs" in probes
        self.rows: list[dict[str, Any]] = []
        self.outputs: dict[tuple[int, int], Tensor] = {}
        self.last: dict[int, dict[tuple[str, str], float]] = {}
        self.last_step = 0

    def state(self) -> dict[str, Any]:
        """All that a stack's training has changed and yielded, for a checkpoint."""
        kept = ("rows", "outputs", "last", "last_step")
        return {"trainer": self.trainer.state(), **{key: getattr(self, key) for key in kept}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state`; probes remember step 0, so the recorder must be from there."""
        self.trainer.restore(state["trainer"])
        self.rows, self.outputs = state["rows"], state["outputs"]
        self.last, self.last_step = state["last"], state["last_step"]

    def record(self) -> None:
        trainer = self.trainer
        measured, losses = self._measure()
        for slot in range(trainer.stack.members):
            values = {key: float(column[slot]) for key, column in measured.items()}
            self.last[trainer.alive[slot]] = values
        gone = trainer.find_diverged(losses)
        for slot, member in enumerate(trainer.alive):
            self._add(member, self.last[member], diverged=slot in gone)
        for member in set(range(len(trainer.members))) - set(trainer.alive):
            nothing = dict.fromkeys(self.last[member], float("nan"))
            self._add(member, nothing, diverged=True)
        if gone:
            trainer.drop(gone)
        self.last_step = trainer.step
        trainer.loss_sum.zero_()

    def _measure(self) -> tuple[dict[tuple[str, str], np.ndarray], list[Tensor]]:
        trainer = self.trainer
        columns: dict[tuple[str, str], Tensor] = {}
        losses = []
        for split, samples in trainer.evaluation.items():
            columns[split, "loss"], columns[split, "accuracy"] = trainer.evaluate(*samples)
            losses.append(columns[split, "loss"])
        if trainer.step > self.last_step:
            columns["batch", "loss"] = trainer.loss_sum / (trainer.step - self.last_step)
            losses.append(columns["batch", "loss"])
        for probe in self.probes:
            for metric, column in probe.measure().items():
                columns["probe", metric] = column
        if self.keep_outputs:
            self._record_outputs()
        flops = trainer.step * trainer.architecture.training_flops(trainer.batch_size)
        measured = {key: column.double().cpu().numpy() for key, column in columns.items()}
        measured["none", "flops"] = np.full(trainer.stack.members, float(flops))
        return measured, losses

    def _record_outputs(self) -> None:
        f = self.trainer.stack.forward(self.trainer.expand(self.trainer.probe[0])).double().cpu()
        for slot, member in enumerate(self.trainer.alive):
            self.outputs[member, self.trainer.step] = f[slot]

    def _add(self, member: int, values: Mapping[tuple[str, str], float], *, diverged: bool) -> None:
        for (split, metric), value in values.items():
            self.rows.append(
                {
                    "member": member,
                    "step": self.trainer.step,
                    "split": split,
                    "metric": metric,
                    "value": value if isfinite(value) else float("nan"),
                    "diverged": diverged,
                }
            )


def train(
    architecture: Architecture,
    members: Sequence[Member],
    data: TrainingData,
    *,
    loss: str = "cross_entropy",
    optimizer: str = "sgd",
    root_seed: int = 0,
    log_steps: Sequence[int] = (),
    probes: Sequence[str] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    members_at_once: int | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: "Checkpoint | None" = None,
) -> TrainingResult:
    """Train all ``members`` of one shape on the steps of ``data.batches``.

    ``log_steps``: steps at which rows are written (value before that step; K, the number of steps, is
    the trained network), besides 0 and K, which always are. ``probes``: names from :data:`nfd.probes.PROBES`.
    ``members_at_once`` bounds how many are stacked (default: all); it changes no number.
    ``progress`` is called with the number of member-steps done since its last call. A ``checkpoint``
    is resumed from, and offered the state after every step; removing it in the end is the caller's.
    When a GPU's memory does not suffice, half as many members are stacked from there on.

    Raises ValueError naming the argument at fault.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: {loss!r} is not one of {', '.join(LOSSES)}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: {optimizer!r} is not one of {', '.join(OPTIMIZERS)}")
    if not members:
        raise ValueError("members: at least one network is needed")
    unknown = [name for name in probes if name not in probing.PROBES and name != "outputs"]
    if unknown:
        raise ValueError(f"probes: {unknown} not among outputs, {', '.join(probing.PROBES)}")
    if probes and data.probe is None:
        raise ValueError("probes: data.probe holds no samples to look at")
    start = perf_counter()
    done, part = _Finished(together=members_at_once or len(members)), None
    saved = checkpoint.load() if checkpoint else None
    if saved:
        done, part = _Finished(**saved["done"]), saved["part"]

    def after_steps(recorder: _Recorder, steps: int) -> None:
        if progress:
            progress(steps * len(recorder.trainer.members))
        if checkpoint:
            checkpoint.offer(lambda: {"done": vars(done), "part": recorder.state()})

    while done.members < len(members):
        stacked = members[done.members : done.members + done.together]
        try:
            trainer = Trainer(
                architecture,
                stacked,
                data,
                loss=loss,
                optimizer=optimizer,
                root_seed=root_seed,
                device=device,
                dtype=dtype,
            )
            if part and progress:
                progress(done.members * trainer.steps + len(stacked) * part["trainer"]["step"])
            finished = _train_together(trainer, log_steps, probes, after_steps, part)
        except torch.OutOfMemoryError:
            if len(stacked) == 1:
                raise
            finished = None
        part, trainer = None, None  # give the memory back before the next stack is made
        if finished:
            done.add(stacked, *finished)
        else:
            done.together = (len(stacked) + 1) // 2
            log.warning("out of GPU memory; going on with %d networks at once", done.together)
            torch.cuda.empty_cache()
    outputs = {key: f.numpy() for key, f in done.outputs.items()}
    return TrainingResult(list(members), done.rows, outputs, perf_counter() - start)


@dataclass
class _Finished:
    """What the first ``members`` members have yielded; the next ``together`` are stacked next."""

    together: int
    members: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def add(self, stacked: Sequence[Member], rows: list, outputs: dict) -> None:
        first = self.members
        self.rows += [{**row, "member": row["member"] + first} for row in rows]
        self.outputs |= {(member + first, step): f for (member, step), f in outputs.items()}
        self.members += len(stacked)


def _train_together(
    trainer: Trainer,
    log_steps: Sequence[int],
    probes: Sequence[str],
    after_steps: Callable[[_Recorder, int], None],
    state: Mapping[str, Any] | None,
) -> tuple[list[dict[str, Any]], dict[tuple[int, int], Tensor]]:
    """Rows and outputs of one stack, from the beginning or from where ``state`` was saved."""
    outside = [step for step in log_steps if not 0 <= step <= trainer.steps]
    if outside:
        raise ValueError(f"log_steps: {outside[0]} is not one of the steps 0..{trainer.steps}")
    recorder = _Recorder(trainer, probes)
    if state:
        recorder.restore(state)
    # Step 0 always, for divergence is measured against the loss there.
    for target in sorted({0, *log_steps, trainer.steps}):
        if target < trainer.step:  # recorded before the interruption
            continue
        while trainer.step < target:
            before = trainer.step
            if trainer.alive:
                trainer.advance()
            else:
                trainer.step = target
            after_steps(recorder, trainer.step - before)
        recorder.record()
    return recorder.rows, recorder.outputs
