"""What the commands that run one job share: arguments, device, progress bar, provenance, tables."""

import argparse
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

from nfd.data.prepared import load
from nfd.data.raw import DataError
from nfd.pipeline import device, tables
from nfd.pipeline.provenance import provenance
from nfd.pipeline.replacing import settings_digest
from nfd.pipeline.reuse import Group, Part, Reuse, origin_of
from nfd.pipeline.run import Tables
from nfd.pipeline.settings import JobSettings, SettingsError, TrainingSettings
from nfd.pipeline.states import States
from nfd.pipeline.store import Store, default_folder
from nfd.training.checkpoint import Checkpoint, Interrupted, job_key
from nfd.training.trainer import NetworkState

log = logging.getLogger(__name__)


def job_parser(description: str | None, kind: type[JobSettings]) -> argparse.ArgumentParser:
    """Arguments of scripts/train.py and scripts/simulate_limit.py, whose settings are of ``kind``."""

    def settings(text: str) -> JobSettings:
        try:
            return kind.from_json(text)
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--experiment", required=True, help="name of the experiment")
    parser.add_argument("--settings", required=True, type=settings, help="the job, as JSON")
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
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: the GPU if this job was given one that works",
    )
    parser.add_argument("--gpus", type=int, default=1, help="GPUs this job was given")
    parser.add_argument(
        "--store",
        default=default_folder(),
        type=Path,
        help="folder of trained networks that are not trained again (NFD_STORE, or work/store)",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--dataset-digest", default="", help="digest of the data set's settings, to be recorded"
    )
    return parser


def run_job(
    arguments: argparse.Namespace,
    run: Callable[..., Tables],
    parts: Sequence[Part],
    *,
    each: int,
    unit: str,
    done: str,
) -> int:
    """Compute what the store lacks of one job and write its tables; returns the exit code.

    ``run`` is called as ``run(experiment, settings, data, device=..., only=..., progress=...,
    checkpoint=...)``, and with ``begin`` and ``keep`` where it trains networks; it reports ``each`` for each
    of ``parts`` to ``progress``, in ``unit``. ``done`` says what has been done: 'trained {} networks'.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, start = arguments.settings, perf_counter()
    try:
        used = device.use_device(
            arguments.device,
            gpus=arguments.gpus,
            threads=arguments.threads,
            tf32=settings.tf32,
        )
        data = load(arguments.data)
        described = device.describe_device(used)
        reuse = Reuse(Store(arguments.store), origin_of(run, data, used.type), parts)
        states = States.beside(arguments.store)
        groups = reuse.groups(states)
        checkpoint = Checkpoint(_checkpoint_path(arguments), key="")
        # Heeded to the end: a signal that comes after the last step lets the tables be written.
        with checkpoint.heeding_signals():
            with (
                tqdm(
                    total=each * len(parts), unit=unit, mininterval=5, desc=arguments.experiment
                ) as bar,
                logging_redirect_tqdm(),
            ):
                bar.update(each * reuse.kept)
                for group in groups:
                    addresses = [reuse.addresses[place] for place in group.places]
                    begin = [f"from {state.step}" for state in group.begin]
                    checkpoint.key = job_key(arguments.experiment, addresses + begin, described)
                    bar.update(sum(state.step for state in group.begin))
                    computed = run(
                        arguments.experiment,
                        settings,
                        data,
                        device=used,
                        only=group.places,
                        progress=bar.update,
                        checkpoint=checkpoint,
                        **_from_and_to(states, group, addresses, settings),
                    )
                    reuse.add(*computed, before=group.rows)
                    if group is not groups[-1]:
                        checkpoint.remove()
            log.info("%s", _summary(done, groups, reuse.kept))
            facts = provenance(
                dataset=data.name,
                dataset_digest=data.digest,
                dataset_not_read=data.skipped or "nothing",
                settings_digest=settings_digest(arguments.dataset_digest, settings.to_json()),
                device=described,
                precision=settings.precision,
                tf32=settings.tf32,
                wall_time_s=round(perf_counter() - start, 2),
                computed=len(parts) - reuse.kept,
                from_store=reuse.kept,
                adopted=reuse.adopted,
            )
            _write(*reuse.tables(arguments.experiment), arguments, facts)
            checkpoint.remove()  # last: whatever fails before, the work is not lost
    except (DataError, device.DeviceError, _NotWritten) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError as error:
        print(f"error: not even one network or simulation fits the GPU: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    return 0


def _from_and_to(
    states: States, group: Group, addresses: Sequence[str], settings: JobSettings
) -> dict[str, Any]:
    """Arguments of ``run`` for the states that networks begin with and leave; simulations have none."""
    if not isinstance(settings, TrainingSettings):
        return {}

    def keep(place: int, state: NetworkState) -> None:
        states.add(addresses[place], state)

    return {"begin": group.begin, "keep": keep if states.adds else None}


def _summary(done: str, groups: Sequence[Group], kept: int) -> str:
    """'trained 40 networks, 320 from the store, 12 continued'."""
    continued = sum(len(group.begin) for group in groups)
    made = sum(len(group.places) for group in groups) - continued
    more = f", {continued} continued" if continued else ""
    return f"{done.format(made)}, {kept} from the store{more}"


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
    folder, results = Path(arguments.checkpoints), Path(arguments.results)
    return folder / results.relative_to(results.anchor).with_suffix(".pt")
