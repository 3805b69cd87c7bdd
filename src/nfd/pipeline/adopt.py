"""Networks that other code, or other versions of torch and numpy, trained: kept on, if they are the same.

An address covers the code, so a change of the code loses a store even where it changes no number. Here
today's code trains the beginning of each such network again. Those that come out as kept are kept at today's
addresses too. Their origin goes on to say by what they were trained and how far that was checked.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nfd.data.prepared import PreparedData, load
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand
from nfd.pipeline.reuse import Part, origin_of
from nfd.pipeline.settings import JobSettings, TrainingSettings, as_argument
from nfd.pipeline.store import ADOPTED, Origin, Store, address_of
from nfd.pipeline.upkeep import KINDS, Kind, differences, made_again

# What made a network: told from its settings and samples, which must be today's.
MAKERS = ("code", "torch", "numpy")
# By so much of the largest number of its metric may a number differ: other processors, stacks and versions
# round otherwise, by 1e-6 at first, and training enlarges that.
ADOPTION_TOLERANCE = 1e-3
# Close to the edge of stability training enlarges it beyond that in a few steps. If more networks of a job
# differ than those that may stand there, it is the code that is another.
AT_THE_EDGE = 0.1


@dataclass(frozen=True)
class Adoption:
    """What became of the ``found`` networks of one job that ``maker`` had made.

    ``checked`` of them were trained again up to ``checked_steps`` of ``steps``, and ``as_kept`` came out as
    kept, with differences of at most ``difference``.
    """

    experiment: str
    job: str
    maker: Mapping[str, str]
    found: int
    checked: int
    checked_steps: int
    steps: int
    as_kept: int
    difference: float

    @property
    def adopted(self) -> int:
        """Those that came out as kept, with those that were not checked; none if the code is another."""
        differ = self.checked - self.as_kept
        return self.found - differ if differ <= AT_THE_EDGE * self.checked else 0


@dataclass(frozen=True)
class _Former:
    """Kept networks of one maker: their addresses by what they are (:func:`_key`); one of each set of keys
    that their settings have."""

    maker: Mapping[str, str]
    templates: list[Mapping[str, Any]]
    addresses: dict[str, str]

    def find(self, part: Part) -> str | None:
        """Address of the part, as this maker made it.

        A setting that did not exist then cannot be compared: whether today's is what was done without it
        shows when the network is trained again.
        """
        settings = asdict(part.settings)
        for template in self.templates:
            try:
                key = as_argument(_as_known(settings, template))
            except KeyError:
                continue
            if key in self.addresses:
                return self.addresses[key]
        return None


def adopt(store: Store, config: Mapping[str, Any], device: str, share: float) -> Iterator[Adoption]:
    """Keep at today's addresses what a checked configuration asks for and others have made; job by job.

    Every network is trained again up to its last logged step within ``share`` of its training, and at least
    to its first; of a limit job the first simulation is made again whole. A network is adopted if it differs
    by no more than :data:`ADOPTION_TOLERANCE`, and none of a job where more than :data:`AT_THE_EDGE` of its
    networks differ by more.
    Raises DataError if the prepared data set, results/<preset>/data.npz, is not there.
    """
    data = load(Path("results") / config["preset"] / "data.npz")
    both: tuple[Sequence[TrainingJob | LimitJob], ...] = expand(config)
    for kind, jobs in zip(KINDS.values(), both, strict=True):
        now = origin_of(kind.run, data, device)
        for former in _formers(store, now):
            rows = store.load(former.addresses.values())
            kept = {str(address): part for address, part in rows.groupby("address")}
            for job in jobs:
                adoption = _adopt_job(store, kind, job, former, kept, now, data, share)
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
        former.addresses[as_argument(settings)] = address
    return list(found.values())


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
    kept: Mapping[str, pd.DataFrame],
    now: Origin,
    data: PreparedData,
    share: float,
) -> Adoption | None:
    """Check and adopt what ``former`` has of a job and the store lacks; None if that is nothing.

    ``kept``: the rows of this maker's networks, by address.
    """
    parts = kind.parts_of(job.settings)
    origins = [now.of(asdict(part.settings)) for part in parts]
    missing = set(store.missing(map(address_of, origins)))
    lacking = [place for place, text in enumerate(origins) if address_of(text) in missing]
    addresses = {place: former.find(parts[place]) for place in lacking}
    found = {place: kept[address] for place, address in addresses.items() if address is not None}
    if not found:
        return None
    shorter = _beginning(job.settings, share)
    checked = list(found) if isinstance(shorter, TrainingSettings) else list(found)[:1]
    made = made_again(kind, job.experiment, shorter, now, data, checked)
    again = {str(address): rows for address, rows in made.groupby("address")}
    shorter_parts = kind.parts_of(shorter)
    apart = {}
    for place in checked:
        begun = found[place][found[place]["step"] <= shorter.steps]
        address = address_of(now.of(asdict(shorter_parts[place].settings)))
        apart[place] = max(differences(begun, again[address]).values())
    as_kept = [difference for difference in apart.values() if difference <= ADOPTION_TOLERANCE]
    adoption = Adoption(
        job.experiment,
        job.name,
        former.maker,
        len(found),
        len(checked),
        shorter.steps,
        job.settings.steps,
        len(as_kept),
        max(as_kept, default=0.0),
    )
    if adoption.adopted:
        trace = {**former.maker, "checked_steps": shorter.steps}
        store.add(
            pd.concat(
                [
                    _readdressed(rows, origins[place], {**trace, "difference": apart.get(place)})
                    for place, rows in found.items()
                    if apart.get(place, 0.0) <= ADOPTION_TOLERANCE
                ]
            )
        )
    return adoption


def _beginning(settings: JobSettings, share: float) -> Any:
    """The training that ends at the last logged step within ``share`` of this one; of a limit all of it."""
    if not isinstance(settings, TrainingSettings):
        return settings
    within = [step for step in settings.logged_steps if step <= share * settings.steps]
    logged = settings.logged_steps[: max(2, len(within))]
    return replace(settings, steps=logged[-1], logged_steps=logged)


def _readdressed(rows: pd.DataFrame, origin: str, trace: Mapping[str, Any]) -> pd.DataFrame:
    """A network's rows at the address of ``origin``, which keeps the traces of all adoptions, oldest first.

    A trace has no difference where another part of its job was checked in its place.
    """
    before = json.loads(rows["origin"].iloc[0]).get(ADOPTED, [])
    text = as_argument({**json.loads(origin), ADOPTED: [*before, trace]})
    return rows.assign(address=address_of(origin), origin=text)
