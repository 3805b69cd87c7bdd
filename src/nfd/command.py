"""What the commands that run one job share: arguments, device, progress bar, provenance, tables."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from nfd import datasets, runs, tables
from nfd.checkpoint import Checkpoint, Interrupted, job_key
from nfd.pipeline.reuse import Part, Reuse, origin_of
from nfd.pipeline.store import Store, default_folder

log = logging.getLogger(__name__)

Settings = Mapping[str, Any]


def job_parser(description: str) -> argparse.ArgumentParser:
    """Arguments of scripts/train.py and scripts/simulate_limit.py."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--settings", required=True, type=json.loads, help="the job, as JSON")
    parser.add_argument("--data", required=True, help="prepared data set, .npz")
    parser.add_argument("--results", required=True, help="table of results to write")
    parser.add_argument("--outputs", required=True, help="table of network outputs to write")
    parser.add_argument(
        "--checkpoints",
        default="work/checkpoints",
        type=Path,
        help="folder in which an unfinished job saves its state, at the path of --results",
    )
    parser.add_argument(
        "--store",
        default=default_folder(),
        type=Path,
        help="folder of trained networks that are not trained again (NFD_STORE, or work/store)",
    )
    parser.add_argument("--gpus", type=int, default=0, help="0: work on the CPU")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser


def run_job(
    arguments: argparse.Namespace,
    run: Callable[..., runs.Tables],
    parts: Sequence[Part],
    *,
    each: int,
    unit: str,
    done: str,
) -> int:
    """Compute what the store lacks of one job and write its tables; returns the exit code.

    ``run`` is called as ``run(experiment, settings, data, device=..., only=..., progress=...,
    checkpoint=...)``; it reports ``each`` for each of ``parts`` to ``progress``, in ``unit``. ``done``
    says what has been done to parts: 'trained {} networks'.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, start = arguments.settings, perf_counter()
    try:
        device = "cuda" if arguments.gpus else "cpu"
        device = runs.use_device(device, arguments.threads, settings["tf32"])
        data = datasets.load(arguments.data)
        reuse = Reuse(Store(arguments.store), origin_of(run, data, device.type), parts)
        lacking = [reuse.addresses[place] for place in reuse.lacking]
        key = job_key(arguments.experiment, lacking, runs.describe_device(device))
        checkpoint = Checkpoint(_checkpoint_path(arguments), key)
        # Heeded to the end: a signal that comes after the last step lets the tables be written.
        with checkpoint.heeding_signals():
            with (
                tqdm(
                    total=each * len(parts), unit=unit, mininterval=5, desc=arguments.experiment
                ) as bar,
                logging_redirect_tqdm(),
            ):
                bar.update(each * reuse.kept)
                if reuse.lacking:
                    computed = run(
                        arguments.experiment,
                        settings,
                        data,
                        device=device,
                        only=reuse.lacking,
                        progress=bar.update,
                        checkpoint=checkpoint,
                    )
                    reuse.add(*computed)
            log.info("%s, %d from the store", done.format(len(reuse.lacking)), reuse.kept)
            facts = tables.provenance(
                dataset=data.label,
                dataset_digest=data.digest,
                device=runs.describe_device(device),
                precision=settings["precision"],
                tf32=settings["tf32"],
                wall_time_s=round(perf_counter() - start, 2),
            )
            _write(*reuse.tables(arguments.experiment), arguments, facts)
            checkpoint.remove()  # last: whatever fails before, the work is not lost
    except (datasets.DataError, runs.DeviceError, _NotWritten) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError as error:
        print(f"error: not even one network or simulation fits the GPU: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    return 0


class _NotWritten(Exception):
    pass


def _write(
    results: pd.DataFrame,
    outputs: pd.DataFrame,
    arguments: argparse.Namespace,
    facts: Mapping[str, str],
) -> None:
    try:
        tables.write_outputs(outputs, arguments.outputs, facts)
        tables.write_results(results, arguments.results, facts)
    except OSError as error:
        raise _NotWritten(f"cannot write the tables: {error}") from error


def _checkpoint_path(arguments: argparse.Namespace) -> Path:
    results = Path(arguments.results)
    return arguments.checkpoints / results.relative_to(results.anchor).with_suffix(".pt")
