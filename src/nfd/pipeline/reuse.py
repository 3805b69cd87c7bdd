"""A job that computes only those of its networks, or simulations, that the store lacks.

Both kinds are *parts* here: a job is its parts, each with the settings of the job that would compute it
alone. Which others are stacked with a network can change the last bits of its numbers (none at small
widths; 1e-6 in float32 from about width 128, see tests/test_training.py), and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from nfd.data.prepared import PreparedData, contents_digest, load
from nfd.pipeline import code
from nfd.pipeline.settings import JobSettings, TrainingSettings
from nfd.pipeline.states import States
from nfd.pipeline.store import ADOPTED, STORE_COLUMNS, Origin, Store, address_of
from nfd.pipeline.tables import IDENTITY, OUTPUT_COLUMNS, RESULT_COLUMNS
from nfd.training.trainer import NetworkState

_KEY = [name for name in IDENTITY if name != "experiment"]


@dataclass(frozen=True)
class Part:
    """One network or simulation: a job's ``settings`` with it alone, and its IDENTITY columns."""

    settings: JobSettings
    identity: Mapping[str, Any]


def origin_of(run: Callable[..., Any], data: PreparedData, device: str) -> Origin:
    """The origin of what ``run`` computes today from ``data`` on a kind of device, 'cpu' or 'cuda'."""
    return Origin(contents_digest(data), code.digest(run, load), device)


@dataclass
class Group:
    """Parts, by their ``places``, that are computed together: from nothing, or all from one step on.

    ``begin``: their states there; ``rows``: what the store has of them up to that step.
    """

    places: list[int]
    begin: list[NetworkState] = field(default_factory=list)
    rows: pd.DataFrame | None = None


class Reuse:
    """What of a job's ``parts`` the store has, and which are ``lacking``, by their places."""

    def __init__(self, store: Store, origin: Origin, parts: Sequence[Part]) -> None:
        self.store, self.origin, self.parts = store, origin, parts
        self.origins = [origin.of(asdict(part.settings)) for part in parts]
        self.addresses = [address_of(text) for text in self.origins]
        self.rows = store.load(self.addresses)
        kept = set(self.rows["address"])
        self.lacking = [n for n, address in enumerate(self.addresses) if address not in kept]
        self.kept = len(parts) - len(self.lacking)
        traced = self.rows["origin"].str.contains(f'"{ADOPTED}":', regex=False)
        self.adopted = int(self.rows.loc[traced.astype(bool), "address"].nunique())

    def groups(self, states: States) -> list[Group]:
        """The lacking parts: those that go on from a kept shorter run by its steps, and all others."""
        fresh, longer = Group([]), dict[int, Group]()
        for place in self.lacking:
            shorter = self._longest_kept(place, states)
            state = states.load(shorter) if shorter else None
            if shorter is None or state is None:
                fresh.places.append(place)
                continue
            rows = self.store.load([shorter])
            rows = rows.assign(address=self.addresses[place], origin=self.origins[place])
            group = longer.setdefault(state.step, Group([]))
            group.places.append(place)
            group.begin.append(state)
            group.rows = rows if group.rows is None else pd.concat([group.rows, rows])
        return [group for group in (fresh, *longer.values()) if group.places]

    def _longest_kept(self, place: int, states: States) -> str | None:
        """Address of the longest run whose logged steps are the first of this part's, and that is kept."""
        settings = self.parts[place].settings
        if not isinstance(settings, TrainingSettings):
            return None
        for number in range(len(settings.logged_steps) - 1, 1, -1):
            logged = settings.logged_steps[:number]
            shorter = replace(settings, steps=logged[-1], logged_steps=logged)
            address = address_of(self.origin.of(asdict(shorter)))
            if states.has(address) and not self.store.missing([address]):
                return address
        return None

    def add(
        self, results: pd.DataFrame, outputs: pd.DataFrame, before: pd.DataFrame | None = None
    ) -> None:
        """Take the tables of lacking parts, in the store too; ``before``: their rows of earlier steps."""
        rows = self.rows_of(results, outputs)
        if before is not None:
            rows = pd.concat([before, rows], ignore_index=True)
        self.store.add(rows)
        self.rows = pd.concat([self.rows, rows]) if len(self.rows) else rows

    def rows_of(self, results: pd.DataFrame, outputs: pd.DataFrame) -> pd.DataFrame:
        """The tables of the lacking parts as rows of a store."""
        marked = outputs.assign(split="probe", metric="outputs", value=float("nan"), diverged=False)
        rows = pd.concat([results.assign(outputs=None), marked], ignore_index=True)
        places = {tuple(self.parts[n].identity[key] for key in _KEY): n for n in self.lacking}
        place = [places[key] for key in rows[_KEY].itertuples(index=False, name=None)]
        rows["address"] = [self.addresses[n] for n in place]
        rows["origin"] = [self.origins[n] for n in place]
        return rows[list(STORE_COLUMNS)]

    def tables(self, experiment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(results, outputs) of the whole job, part by part in the order of the job."""
        place = {address: n for n, address in reversed(list(enumerate(self.addresses)))}
        order = self.rows["address"].map(place).argsort(kind="stable")
        rows = self.rows.iloc[order].assign(experiment=experiment)
        is_output = rows["metric"] == "outputs"
        results = rows.loc[~is_output, list(RESULT_COLUMNS)]
        outputs = rows.loc[is_output, list(OUTPUT_COLUMNS)]
        return results.reset_index(drop=True), outputs.reset_index(drop=True)
