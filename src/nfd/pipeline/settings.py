"""All that a job's numbers depend on besides the data and the code: records, to and from one line of JSON.

The line is canonical (keys sorted, no spaces): Snakemake compares it to know whether a job must run again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar

T = TypeVar("T", bound="JobSettings | NetworkSettings")


class SettingsError(ValueError):
    """A line that holds no job's settings; the message names the key at fault."""


def as_argument(settings: Mapping[str, Any]) -> str:
    """Settings as one canonical line of JSON, for a command line."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """One kind of network of a training job; every coupling is trained at every rate, with every seed."""

    parametrization: str
    correction: float
    trainable: tuple[str, ...]
    couplings: tuple[str, ...]
    learning_rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What both kinds of job depend on. config/README.md explains each."""

    depth: int
    block_layers: int
    skip: bool
    activation: str
    horizon: float
    loss: str
    optimizer: str
    seeds: tuple[int, ...]
    steps: int
    batch_size: int
    train_size: int | None
    data_order: str
    evaluation_size: int
    probe_size: int
    logged_steps: tuple[int, ...]
    precision: str
    tf32: bool
    root_seed: int

    def to_json(self) -> str:
        """One canonical line, from which :meth:`from_json` makes an equal record."""
        return as_argument(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record of a line. Raises SettingsError if it is no JSON object of exactly these keys."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise SettingsError(f"settings: not JSON: {error}") from error
        return _record(cls, found)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(JobSettings):
    """All networks of one shape, trained with one optimizer."""

    width: int
    initial_weights: str
    networks: tuple[NetworkSettings, ...]
    probes: tuple[str, ...]

    @property
    def members(self) -> int:
        """Number of networks trained."""
        per_seed = sum(len(n.learning_rates) * len(n.couplings) for n in self.networks)
        return per_seed * len(self.seeds)


@dataclass(frozen=True, kw_only=True)
class LimitSettings(JobSettings):
    """The limit of one kind of network at one depth: a simulation for each rate and seed."""

    particles: int
    noise_depth: int
    parametrization: str
    correction: float
    trainable: tuple[str, ...]
    coupling: str
    learning_rates: tuple[float, ...]

    @property
    def simulations(self) -> int:
        """Number of simulations."""
        return len(self.learning_rates) * len(self.seeds)


def _record(kind: type[T], found: Any) -> T:
    """A record of ``kind`` from the object that JSON holds in its place."""
    if not isinstance(found, dict):
        raise SettingsError(f"settings: {found!r} is not a JSON object")
    names = {field.name for field in fields(kind)}
    for key in sorted(names ^ found.keys()):
        fault = "missing" if key in names else f"unknown; {kind.__name__} has no such key"
        raise SettingsError(f"settings: key {key} is {fault}")
    return kind(**{key: _value(key, value) for key, value in found.items()})


def _value(key: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(_record(NetworkSettings, item) if key == "networks" else item for item in value)
