"""Training all networks of one shape: in stacks that fit the memory, from where it was interrupted."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nfd.choices import check_choice
from nfd.network.architecture import Architecture
from nfd.network.losses import LOSSES
from nfd.training.batches import TrainingData
from nfd.training.optimizers import OPTIMIZERS
from nfd.training.probes import PROBES
from nfd.training.recorder import Recorder
from nfd.training.trainer import Member, NetworkState, Trainer

if TYPE_CHECKING:
    from nfd.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)


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


def train(
    architecture: Architecture,
    members: Sequence[Member],
    data: TrainingData,
    *,
    loss: str = "cross_entropy",
    optimizer: str = "sgd",
    root_seed: int = 0,
    nested: bool = False,
    log_steps: Sequence[int] = (),
    probes: Sequence[str] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    members_at_once: int | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: "Checkpoint | None" = None,
    begin: Sequence[NetworkState] = (),
    keep: Callable[[int, NetworkState], None] | None = None,
) -> TrainingResult:
    """Train all ``members`` of one shape on the steps of ``data.batches``.

    ``log_steps``: steps at which rows are written (value before that step; K, the number of steps, is
    the trained network), besides 0 and K, which always are. ``loss``, ``optimizer`` and
    ``probes``: names from :data:`nfd.network.losses.LOSSES`, :data:`nfd.training.optimizers.OPTIMIZERS` and
    :data:`nfd.training.probes.PROBES`. ``nested``: as in :func:`nfd.network.stack.initial_weight`.
    ``members_at_once`` bounds how many are stacked (default: all); it changes no number.
    ``progress`` is called with the number of member-steps done since its last call. A ``checkpoint``
    is resumed from, and offered the state after every step; removing it in the end is the caller's.
    ``begin``: states of all members after one of ``log_steps`` of an earlier training of theirs, from which
    they go on; rows are of later steps then. ``keep`` is given the final state of every member that has not
    diverged.
    When a GPU's memory does not suffice, half as many members are stacked from there on.

    Raises ValueError naming the argument at fault.
    """
    check_choice("loss", loss, LOSSES)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    for name in probes:
        check_choice("probes", name, PROBES)
    if not members:
        raise ValueError("members: at least one network is needed")
    if probes and data.probe is None:
        raise ValueError("probes: data.probe holds no samples to look at")
    start = perf_counter()
    done, part = _Finished(together=members_at_once or len(members)), None
    saved = checkpoint.load() if checkpoint else None
    if saved:
        done, part = _Finished(**saved["done"]), saved["part"]

    def after_steps(recorder: Recorder, steps: int) -> None:
        if progress:
            progress(steps * len(recorder.trainer.members))
        if checkpoint:
            checkpoint.offer(lambda: {"done": vars(done), "part": recorder.state()})

    trainer: Trainer | None = None
    recorder: Recorder | None = None
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
                nested=nested,
                device=device,
                dtype=dtype,
            )
            if part and progress:
                start_step = begin[0].step if begin else 0
                progress(done.members * (trainer.steps - start_step))
                progress(len(stacked) * (part["trainer"]["step"] - start_step))
            recorder = Recorder(trainer, probes)
            if begin:
                recorder.go_on(begin[done.members : done.members + len(stacked)])
            finished = _train_together(recorder, log_steps, after_steps, part)
            if keep:
                for member, state in recorder.final_states().items():
                    keep(done.members + member, state)
        except torch.OutOfMemoryError:
            if len(stacked) == 1:
                raise
            finished = None
        part = trainer = recorder = None  # give the memory back before the next stack is made
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

    def add(
        self,
        stacked: Sequence[Member],
        rows: list[dict[str, Any]],
        outputs: dict[tuple[int, int], Tensor],
    ) -> None:
        first = self.members
        self.rows += [{**row, "member": row["member"] + first} for row in rows]
        self.outputs |= {(member + first, step): f for (member, step), f in outputs.items()}
        self.members += len(stacked)


def _train_together(
    recorder: Recorder,
    log_steps: Sequence[int],
    after_steps: Callable[[Recorder, int], None],
    state: Mapping[str, Any] | None,
) -> tuple[list[dict[str, Any]], dict[tuple[int, int], Tensor]]:
    """Rows and outputs of one stack, from where it begins or from where ``state`` was saved."""
    trainer, begin = recorder.trainer, recorder.trainer.step
    outside = [step for step in log_steps if not 0 <= step <= trainer.steps]
    if outside:
        raise ValueError(f"log_steps: {outside[0]} is not one of the steps 0..{trainer.steps}")
    if state:
        recorder.restore(state)
    # Step 0 always, for divergence is measured against the loss there.
    for target in sorted({0, *log_steps, trainer.steps}):
        # Recorded by the training that is gone on with, or before the interruption.
        if (begin and target <= begin) or target < trainer.step:
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
