"""Checkpoints: what an interrupted job needs to go on, bit for bit, where it stopped.

A job has at most one checkpoint file, written beside and renamed, at most once a minute and when the job
is asked to stop (SIGTERM, as Slurm sends before it ends or requeues a job, or Ctrl-C). It carries the
key of the job: one of other settings, data, code or device is refused, as is one that cannot be read,
and the job starts afresh. It is read without running anything from it. A job that ends leaves none.
"""

import hashlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import numpy as np
import torch

from nfd.files import atomic_path

log = logging.getLogger(__name__)

State = dict[str, Any]

INTERVAL_S = 60.0
# Saving may take this share of the time, so a stack of many GB is saved less often than once a minute.
SHARE = 0.05


class Interrupted(Exception):
    """The job was asked to stop; ``exit_code`` is the one a shell gives for the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def job_key(experiment: str, addresses: Sequence[str], device: str) -> str:
    """Digest of all that the bits of a job's numbers depend on.

    ``addresses`` are those of the networks it computes (:func:`nfd.pipeline.store.address_of`), in its
    order; ``device`` is the very device, for bits differ from one kind of GPU to the next.
    """
    facts = (experiment, *addresses, device, torch.__version__, np.__version__)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class Checkpoint:
    """The checkpoint of one job at ``path``; ``key`` is the job's (:func:`job_key`)."""

    def __init__(self, path: str | Path, key: str, interval_s: float = INTERVAL_S) -> None:
        self.path, self.key = Path(path), key
        self.interval_s = interval_s
        self.next_save = monotonic() + interval_s
        self.signal: int | None = None

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Within: SIGTERM and SIGINT have the next :meth:`offer` save and raise Interrupted."""

        def note(number: int, _: FrameType | None) -> None:
            self.signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def load(self) -> State | None:
        """The state saved last by a job of the same key; None if there is none that can be used."""
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            key = saved["key"]
            state: State = saved["state"]
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file can raise nearly anything
            log.warning("%s is not a whole checkpoint (%s); starting afresh", self.path, error)
            return None
        if key != self.key:
            log.warning("%s is of other settings, data, code or device; starting afresh", self.path)
            return None
        log.info("resuming from %s", self.path)
        return state

    def offer(self, state: Callable[[], State]) -> None:
        """Call between two units of work: saves what ``state`` returns, if it is time to.

        Raises Interrupted, after saving, if a signal has asked the job to stop.
        """
        if self.signal is None and monotonic() < self.next_save:
            return
        self._save(state())
        if self.signal is not None:
            raise Interrupted(self.signal)

    def _save(self, state: State) -> None:
        start = monotonic()
        try:
            with atomic_path(self.path) as temporary:
                torch.save({"key": self.key, "state": state}, temporary)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            log.warning("cannot save %s (%s); going on without", self.path, error)
        took = monotonic() - start
        self.next_save = monotonic() + max(self.interval_s, took / SHARE)

    def remove(self) -> None:
        """Remove the file, and what saves that were killed left beside it."""
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
            path.unlink(missing_ok=True)
