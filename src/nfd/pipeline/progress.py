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


def computed_since(start: float) -> Callable[[Iterable[str]], float | None]:
    """Of a job, known by its output files: None until it has written them all, after ``start`` (seconds
    of the epoch); then the share of its work that it did itself, and not the store.

    Snakemake's own job objects will not do: it makes new ones once the data are prepared.
    """

    def share(outputs: Iterable[str]) -> float | None:
        try:
            if any(os.stat(path).st_mtime < start for path in outputs):
                return None
            return min(map(_share_computed, outputs))
        except OSError:
            return None

    return share


def _share_computed(path: str) -> float:
    """What a table of runs says of itself; any other file was made from nothing."""
    if not path.endswith(".parquet"):
        return 1.0
    # It loads pandas, which planning a run does without.
    from nfd.pipeline.tables import read_provenance

    facts = read_provenance(path)
    computed, kept = int(facts.get("computed", 1)), int(facts.get("from_store", 0))
    return computed / (computed + kept)


def watch(
    preset: str, costs_s: Mapping[Hashable, float], computed: Callable[[Any], float | None]
) -> None:
    """Write :func:`line` to stderr every minute, from a thread that ends with the process.

    ``costs_s`` maps each job that will run to its estimated seconds. What the store answers is no work:
    else a sweep that is extended would seem to be nearly done as soon as it starts.
    """
    start = monotonic()

    def report() -> None:
        while True:
            sleep(REPORT_INTERVAL_S)
            shares = {job: computed(job) for job in costs_s}
            left = sum(cost for job, cost in costs_s.items() if shares[job] is None)
            done = sum(cost * (shares[job] or 0) for job, cost in costs_s.items())
            if left:
                text = line(preset, done + left, left, monotonic() - start)
                print(text, file=sys.stderr, flush=True)

    Thread(target=report, daemon=True).start()
