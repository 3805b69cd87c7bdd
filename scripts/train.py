"""Train all networks of one job (one shape of one experiment) and write their tables."""

import argparse
import json
import sys
from collections.abc import Sequence
from time import perf_counter

from tqdm import tqdm

from nfd import datasets, runs, tables


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--settings", required=True, type=json.loads, help="the job, as JSON")
    parser.add_argument("--data", required=True, help="prepared data set, .npz")
    parser.add_argument("--results", required=True, help="table of results to write")
    parser.add_argument("--outputs", required=True, help="table of network outputs to write")
    parser.add_argument("--gpus", type=int, default=0, help="0: train on the CPU")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args(argv)
    settings = arguments.settings
    start = perf_counter()
    try:
        device = runs.use_device(
            "cuda" if arguments.gpus else "cpu", arguments.threads, settings["tf32"]
        )
        data = datasets.load(arguments.data)
        total = len(runs.job_members(settings)) * settings["steps"]
        with tqdm(total=total, unit="step", mininterval=5, desc=arguments.experiment) as bar:
            results, outputs = runs.run_training(
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


if __name__ == "__main__":
    sys.exit(main())
