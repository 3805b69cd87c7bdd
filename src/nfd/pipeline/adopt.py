"""Networks that other code, or other versions of torch and numpy, trained: kept on, if they are the same.

An address covers the code, so a change of the code loses a store even where it changes no number. Here
today's code trains the beginning of each such network again. If all of a job come out as kept, they are kept
at today's addresses too. Their origin goes on to say by what they were trained and how far that was checked.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from nfd.data.prepared import PreparedData, load
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand
from nfd.pipeline.reuse import Part, Reuse, origin_of
from nfd.pipeline.settings import JobSettings, TrainingSettings, as_argument
from nfd.pipeline.store import ADOPTED, Origin, Store
from nfd.pipeline.upkeep import KINDS, Kind, differences

# By so much of the largest number of its metric may a number differ: other processors, stacks and versions
# round otherwise, by 1e-6 at first, and training enlarges that.
TOLERANCE = 1e-3
# What made a network: told from its settings and samples, which must be today's.
MAKERS = ("code", "torch", "numpy")


@dataclass(frozen=True)
class Adoption:
    """What became of the ``networks`` of one job that ``maker`` had made.

    ``checked`` of them were trained again up to ``checked_steps`` of ``steps``; ``difference`` is the
    largest of all.
    """

    experiment: str
    job: str
    maker: Mapping[str, str]
    networks: int
    checked: int
    checked_steps: int
    steps: int
    difference: float

    @property
    def passed(self) -> bool:
        """Whether all that were checked are as kept, so that all were adopted."""
        return self.difference <= TOLERANCE


@dataclass(frozen=True)
class _Former:
    """Kept networks of one maker: their addresses by what they are (:meth:`key`); two of their settings."""

    maker: Mapping[str, str]
    templates: list[Mapping[str, Any]]
    addresses: dict[str, str]

    def find(self, now: Origin, part: Part) -> str | None:
        """Address of the part, as this maker made it.

        A setting that did not exist then cannot be compared: whether today's is what was done without it
        shows when the network is trained again.
        """
        settings = asdict(part.settings)
        for template in self.templates:
            try:
                key = _key(now.samples, now.device, _as_known(settings, template))
            except KeyError:
                continue
            if key in self.addresses:
                return self.addresses[key]
        return None


def adopt(store: Store, config: Mapping[str, Any], device: str, share: float) -> Iterator[Adoption]:
    """Keep at today's addresses what a checked configuration asks for and others have made; job by job.

    Every network is trained again up to its last logged step within ``share`` of its training, and at least
    to its first; of a limit job the first simulation is made again whole. Nothing of a job is adopted if one
    differs by more than :data:`TOLERANCE`. Raises DataError if the prepared data
    set, results/<preset>/data.npz, is not there.
    """
    data = load(Path("results") / config["preset"] / "data.npz")
    both: tuple[Sequence[TrainingJob | LimitJob], ...] = expand(config)
    for kind, jobs in zip(KINDS.values(), both, strict=True):
        now = origin_of(kind.run, data, device)
        for former in _formers(store, now):
            for job in jobs:
                adoption = _adopt_job(store, kind, job, former, now, data, share)
                if adoption is not None:
                    yield adoption


def _formers(store: Store, now: Origin) -> list[_Former]:
    """What others than ``now`` have made on its samples and kind of device, by maker."""
    found: dict[str, _Former] = {}
    for address, text in store.origins().items():
        origin = json.loads(text)
        maker, settings = {name: origin[name] for name in MAKERS}, origin["settings"]
        if maker == {name: getattr(now, name) for name in MAKERS}:
            continue
        if (origin["samples"], origin["device"]) != (now.samples, now.device):
            continue
        former = found.setdefault(as_argument(maker), _Former(maker, [], {}))
        if not any(settings.keys() == other.keys() for other in former.templates):
            former.templates.append(settings)
        former.addresses[_key(now.samples, now.device, settings)] = address
    return list(found.values())


def _key(samples: str, device: str, settings: Any) -> str:
    return as_argument({"samples": samples, "device": device, "settings": settings})


def _as_known(value: Any, template: Any) -> Any:
    """Of settings those keys that a ``template`` has. Raises KeyError if one is missing."""
    if isinstance(template, Mapping):
        return {name: _as_known(value[name], known) for name, known in template.items()}
    if isinstance(template, list) and template and isinstance(template[0], Mapping):
        return [_as_known(item, template[0]) for item in value]
    return value


def _adopt_job(
    store: Store,
    kind: Kind,
    job: TrainingJob | LimitJob,
    former: _Former,
    now: Origin,
    data: PreparedData,
    share: float,
) -> Adoption | None:
    """Check and adopt what ``former`` has of a job and the store lacks; None if that is nothing."""
    reuse = Reuse(store, now, kind.parts_of(job.settings))
    found = {place: former.find(now, reuse.parts[place]) for place in reuse.lacking}
    kept = {place: address for place, address in found.items() if address is not None}
    if not kept:
        return None
    shorter = _beginning(job.settings, share)
    places = list(kept) if isinstance(shorter, TrainingSettings) else list(kept)[:1]
    again = Reuse(Store("nowhere"), now, kind.parts_of(shorter))
    tables = kind.run(job.experiment, shorter, data, device=torch.device(now.device), only=places)
    made, rows = again.rows_of(*tables), store.load(kept.values())
    begun, worst = rows[rows["step"] <= shorter.steps], 0.0
    for place in places:
        before = begun[begun["address"] == kept[place]]
        anew = made[made["address"] == again.addresses[place]]
        worst = max(worst, *differences(before, anew).values())
    adoption = Adoption(
        job.experiment,
        job.name,
        former.maker,
        len(kept),
        len(places),
        shorter.steps,
        job.settings.steps,
        worst,
    )
    if adoption.passed:
        trace = {**former.maker, "checked_steps": shorter.steps, "difference": worst}
        for place, address in kept.items():
            store.add(_readdressed(rows[rows["address"] == address], reuse, place, trace))
    return adoption


def _beginning(settings: JobSettings, share: float) -> Any:
    """The training that ends at the last logged step within ``share`` of this one; of a limit all of it."""
    if not isinstance(settings, TrainingSettings):
        return settings
    within = [step for step in settings.logged_steps if step <= share * settings.steps]
    logged = settings.logged_steps[: max(2, len(within))]
    return replace(settings, steps=logged[-1], logged_steps=logged)


def _readdressed(
    rows: pd.DataFrame, reuse: Reuse, place: int, trace: Mapping[str, Any]
) -> pd.DataFrame:
    """A network's rows at today's address; its origin keeps the traces of all adoptions, oldest first."""
    before = json.loads(rows["origin"].iloc[0]).get(ADOPTED, [])
    origin = {**json.loads(reuse.origins[place]), ADOPTED: [*before, trace]}
    return rows.assign(address=reuse.addresses[place], origin=as_argument(origin))
