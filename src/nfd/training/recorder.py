"""What a stack in training leaves behind: rows at the logged steps, outputs, and who has diverged."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfd.training.probes import PROBES, Probe
from nfd.training.snapshot import Snapshot
from nfd.training.trainer import NetworkState, Trainer

# A member has diverged when a loss is not finite or exceeds this many times its loss at step 0.
DIVERGENCE_FACTOR = 100.0


class Recorder:
    """Turns what is measured at the logged steps into rows."""

    def __init__(self, trainer: Trainer, probes: Sequence[str]) -> None:
        self.trainer = trainer
        self.probes: list[Probe] = []
        if probes:
            start = self._snapshot()
            self.probes = [PROBES[name](start) for name in probes]
        self.rows: list[dict[str, Any]] = []
        self.outputs: dict[tuple[int, int], Tensor] = {}
        self.last: dict[int, dict[tuple[str, str], float]] = {}
        self.last_step = 0
        self.first_loss: dict[int, float] = {}

    def state(self) -> dict[str, Any]:
        """All that a stack's training has changed and yielded, for a checkpoint."""
        kept = ("rows", "outputs", "last", "last_step", "first_loss")
        return {"trainer": self.trainer.state(), **{key: getattr(self, key) for key in kept}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state`; probes remember step 0, so the recorder must be from there."""
        self.trainer.restore(state["trainer"])
        self.rows, self.outputs = state["rows"], state["outputs"]
        self.last, self.last_step = state["last"], state["last_step"]
        self.first_loss = state["first_loss"]

    def go_on(self, states: Sequence[NetworkState]) -> None:
        """Begin where the members were left by an earlier training; its rows are not repeated."""
        self.trainer.go_on(states)
        self.last_step = self.trainer.step
        self.first_loss = {member: state.first_loss for member, state in enumerate(states)}

    def final_states(self) -> dict[int, NetworkState]:
        """Member -> its state, of those that have not diverged."""
        trainer, states = self.trainer, {}
        for slot, member in enumerate(trainer.alive):
            tensors = {name: t.clone().cpu() for name, t in trainer.of_member(slot).items()}
            states[member] = NetworkState(trainer.step, self.first_loss[member], tensors)
        return states

    def record(self) -> None:
        """Write the rows of the present step, and drop the members found diverged."""
        trainer = self.trainer
        measured, losses = self._measure()
        for slot in range(trainer.stack.members):
            values = {key: float(column[slot]) for key, column in measured.items()}
            self.last[trainer.alive[slot]] = values
        gone = self._find_diverged(losses)
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
        losses: list[Tensor] = []
        for split, samples in trainer.evaluation.items():
            columns[split, "loss"], columns[split, "accuracy"] = trainer.evaluate(*samples)
            losses.append(columns[split, "loss"])
        if trainer.step > self.last_step:
            columns["batch", "loss"] = trainer.loss_sum / (trainer.step - self.last_step)
            losses.append(columns["batch", "loss"])
        columns |= self._measure_probes()
        flops = trainer.step * trainer.architecture.training_flops(trainer.batch_size)
        measured = {key: column.double().cpu().numpy() for key, column in columns.items()}
        measured["none", "flops"] = np.full(trainer.stack.members, float(flops))
        return measured, losses

    def _snapshot(self) -> Snapshot:
        trainer = self.trainer
        assert trainer.probe is not None  # train() refuses probes without samples
        inputs, targets = trainer.probe
        return Snapshot(trainer.stack, tuple(trainer.alive), inputs, targets, trainer.loss)

    def _measure_probes(self) -> dict[tuple[str, str], Tensor]:
        """One number per member goes to the rows; what is more than a number is kept as outputs."""
        if not self.probes:
            return {}
        snapshot, columns = self._snapshot(), {}
        for probe in self.probes:
            for metric, values in probe.measure(snapshot).items():
                if values.ndim == 1:
                    columns["probe", metric] = values
                    continue
                for member, kept in zip(snapshot.members, values.double().cpu(), strict=True):
                    self.outputs[member, self.trainer.step] = kept
        return columns

    def _find_diverged(self, losses: Iterable[Tensor]) -> list[int]:
        """Slots with a loss that is not finite or beyond DIVERGENCE_FACTOR times the first one."""
        losses = list(losses)
        if not losses:  # step 0 without evaluation samples
            return []
        worst = torch.stack(losses).double().cpu().numpy()
        diverged = []
        for slot, member in enumerate(self.trainer.alive):
            column = worst[:, slot]
            limit = DIVERGENCE_FACTOR * self.first_loss.setdefault(member, float(column.max()))
            if not (np.isfinite(column).all() and column.max() <= limit):
                diverged.append(slot)
        return diverged

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
