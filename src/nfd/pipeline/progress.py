"""How far a run of the pipeline is, and how long it will take: one line on the console now and then."""

import os
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from math import isnan
from threading import Thread
from time import monotonic, sleep
from typing import Any

REPORT_INTERVAL_S = 60.0
# Jobs count once they have ended, so before this share of the work is done the pace is not known.
PACE_FROM = 0.1


def line(preset: str, total_s: float, left_s: float, elapsed_s: float) -> str:
    """The line: what share of the work is done and, by the pace so far, the time to the end.

    ``total_s`` and ``left_s`` are estimated seconds of work, in whatever unit: only their ratio counts.
    """
    done = 1 - left_s / total_s
    text = f"{preset}: {100 * done:.0f} % of the work done"
    if done < PACE_FROM:
        return f"{text} after {duration(elapsed_s)}"
    return f"{text} in {duration(elapsed_s)}, about {duration(elapsed_s * (1 - done) / done)} left"


def duration(seconds: float) -> str:
    """Seconds as '0.8 s', '42 s', '3 min 20 s' or '5 h 12 min'."""
    if isnan(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def written_since(start: float) -> Callable[[Iterable[str]], bool]:
    """Whether a job, known by its output files, has written them all since ``start`` (seconds of the epoch).

    Snakemake's own job objects will not do: it makes new ones once the data are prepared.
    """

    def finished(outputs: Iterable[str]) -> bool:
        try:
            return all(os.stat(path).st_mtime >= start for path in outputs)
        except OSError:
            return False

    return finished


def watch(preset: str, costs_s: Mapping[Hashable, float], finished: Callable[[Any], bool]) -> None:
    """Write :func:`line` to stderr every minute, from a thread that ends with the process.

    ``costs_s`` maps each job that will run to its estimated seconds.
    """
    start, total = monotonic(), sum(costs_s.values())

    def report() -> None:
        while True:
            sleep(REPORT_INTERVAL_S)
            left = sum(cost for job, cost in costs_s.items() if not finished(job))
            if left:
                print(line(preset, total, left, monotonic() - start), file=sys.stderr, flush=True)

    Thread(target=report, daemon=True).start()
