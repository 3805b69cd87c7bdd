"""Processes that time trainings: one with two threads, or two with one thread each, in step."""

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

Work = Callable[[int], Any]


class Crew:
    """``jobs`` processes with ``threads`` threads; as a context manager it ends them.

    With ``processor`` times are a process's processor seconds instead of the wall clock's: with one
    thread they say what a quiet machine's clock would, whatever else the machine does.
    """

    def __init__(
        self, jobs: int, threads: int, device: str = "cpu", processor: bool = False
    ) -> None:
        self._processor = processor
        context = get_context("spawn")
        self._barrier = context.Barrier(jobs)
        pipes = [context.Pipe() for _ in range(jobs)]
        self._pipes = [mine for mine, _ in pipes]
        self._processes = [
            context.Process(
                target=_serve, args=(theirs, self._barrier, threads, device, processor), daemon=True
            )
            for _, theirs in pipes
        ]
        for process in self._processes:
            process.start()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join()

    @property
    def jobs(self) -> int:
        return len(self._pipes)

    def prepare(self, name: str, make: Callable[[Any], Work], parts: list[Any]) -> float:
        """Make a work of each part, one a process, and do it once; seconds that took."""
        return self._all([(name, make, part) for part in parts])

    def seconds(self, name: str, steps: int) -> float:
        """Seconds from the first process's start to the last one's end; of processors, the longest."""
        return self._all([(name, None, steps)] * self.jobs)

    def _all(self, requests: list[tuple]) -> float:
        for pipe, request in zip(self._pipes, requests, strict=True):
            pipe.send(request)
        answers = [pipe.recv() for pipe in self._pipes]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if self._processor:
            return max(end - start for start, end in answers)
        return max(end for _, end in answers) - min(start for start, _ in answers)


def _serve(pipe: Connection, barrier: Any, threads: int, device: str, processor: bool) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with TemporaryDirectory() as empty:
        # So that a first step under torch.compile compiles, instead of finding an earlier run's code.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
        _answer(pipe, barrier, threads, device, process_time if processor else perf_counter)


def _answer(
    pipe: Connection, barrier: Any, threads: int, device: str, clock: Callable[[], float]
) -> None:
    import torch

    from benchmarks.machine import synchronize

    torch.set_num_threads(threads)
    works: dict[str, Work] = {}
    while (request := pipe.recv()) is not None:
        name, make, argument = request
        try:
            barrier.wait()
            start = clock()
            if make:
                works[name] = make(argument)
                argument = 1
            works[name](argument)
            synchronize(device)
            pipe.send((start, clock()))
        except Exception as error:
            pipe.send(error)
