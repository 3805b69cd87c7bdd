"""What the commands that run one job share: arguments, device, progress bar, provenance, tables."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from tqdm import tqdm

from nfd import datasets, runs, tables

Settings = Mapping[str, Any]


def job_parser(description: str) -> argparse.ArgumentParser:
    """Arguments of scripts/train.py and scripts/simulate_limit.py."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--settings", required=True, type=json.loads, help="the job, as JSON")
    parser.add_argument("--data", required=True, help="prepared data set, .npz")
    parser.add_argument("--results", required=True, help="table of results to write")
    parser.add_argument("--outputs", required=True, help="table of network outputs to write")
    parser.add_argument("--gpus", type=int, default=0, help="0: work on the CPU")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser


def run_job(
    arguments: argparse.Namespace,
    run: Callable[..., runs.Tables],
    *,
    total: int,
    unit: str,
) -> int:
    """Run one job and write its tables; returns the exit code.

    ``run`` is called as ``run(experiment, settings, data, device=..., progress=...)``; ``total``
    counts what it reports to ``progress``, in ``unit``.
    """
    settings, start = arguments.settings, perf_counter()
    try:
        device = "cuda" if arguments.gpus else "cpu"
        device = runs.use_device(device, arguments.threads, settings["tf32"])
        data = datasets.load(arguments.data)
        with tqdm(total=total, unit=unit, mininterval=5, desc=arguments.experiment) as bar:
            results, outputs = run(
                arguments.experiment, settings, data, device=device, progress=bar.update
            )
    except (datasets.DataError, runs.DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    facts = tables.provenance(
        dataset=data.label,
        dataset_digest=data.digest,
        device=runs.describe_device(device),
        precision=settings["precision"],
        tf32=settings["tf32"],
        wall_time_s=round(perf_counter() - start, 2),
    )
    tables.write_outputs(outputs, arguments.outputs, facts)
    tables.write_results(results, arguments.results, facts)
    return 0
