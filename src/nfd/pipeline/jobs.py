"""From a checked configuration to the list of jobs: one pure function, :func:`expand`.

All runs of one shape of an experiment form one :class:`TrainingJob`, trained as a stack. The Snakefile
imports this module, so it loads nothing heavy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from typing import Any

from nfd.data.raw import SampleShape
from nfd.data.sources import shape_of
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.roles import ROLES
from nfd.pipeline.config import has_limit
from nfd.pipeline.cost import LimitCost, TrainingCost
from nfd.pipeline.settings import LimitSettings, NetworkSettings, TrainingSettings
from nfd.training.batches import log_spaced_steps


@dataclass(frozen=True)
class TrainingJob:
    """All runs of one shape of one experiment.

    ``settings`` is all that its results depend on besides the data, of which ``data`` is the expected shape.
    """

    experiment: str
    name: str
    settings: TrainingSettings
    data: SampleShape

    @property
    def members(self) -> int:
        """Number of networks trained."""
        return self.settings.members

    @property
    def cost(self) -> TrainingCost:
        """What it takes."""
        return TrainingCost(self.settings, self.data)


@dataclass(frozen=True)
class LimitJob:
    """One limit simulation: a depth and a coupling, all its seeds; ``data`` as of a :class:`TrainingJob`."""

    experiment: str
    name: str
    settings: LimitSettings
    data: SampleShape

    @property
    def cost(self) -> LimitCost:
        """What it takes."""
        return LimitCost(self.settings, self.data)


Section = Mapping[str, Any]


def expand(config: Section) -> tuple[list[TrainingJob], list[LimitJob]]:
    """All jobs of a checked configuration, most expensive first within an experiment."""
    training: list[TrainingJob] = []
    limits: list[LimitJob] = []
    for experiment, settings in config["experiments"].items():
        jobs = _training_jobs(config, experiment, settings)
        training += sorted(jobs, key=lambda job: -job.cost.estimate_s)
        limits += _limit_jobs(config, experiment, settings)
    return training, limits


def trained_by_longer(jobs: Sequence[TrainingJob]) -> set[tuple[str, str]]:
    """(experiment, name) of those some of whose networks a longer one of the ``jobs`` trains too.

    Started after it, such a job finds these networks in the store; started beside it, both train them.
    """
    alike: dict[TrainingSettings, list[TrainingJob]] = {}
    for job in jobs:
        alike.setdefault(replace(job.settings, networks=(), seeds=()), []).append(job)
    found = set()
    for group in alike.values():
        longest_first = sorted(group, key=lambda job: -job.cost.estimate_s)
        for place, job in enumerate(longest_first):
            if any(_networks(job) & _networks(longer) for longer in longest_first[:place]):
                found.add((job.experiment, job.name))
    return found


def _networks(job: TrainingJob) -> set[tuple[object, ...]]:
    """What tells apart the networks of jobs that are alike but for their networks and seeds."""
    return {
        (n.parametrization, n.correction, n.trainable, *which)
        for n in job.settings.networks
        for which in product(n.couplings, n.learning_rates, job.settings.seeds)
    }


def seed_list(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """A number of seeds stands for 0, 1, ...; a list for itself."""
    return tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)


def no_such(kind: str, name: str, known: Sequence[str]) -> str:
    """One sentence for a name that is none of the ``known``, with those it may have meant."""
    near = get_close_matches(name, known, 5, 0.5)
    hint = f"near ones are {', '.join(near)}" if near else f"there are {', '.join(known[:15])}"
    more = ", ..." if not near and len(known) > 15 else ""
    return f"there is no {kind} {name}; {hint}{more}"


def _common(config: Section, settings: Section) -> dict[str, Any]:
    """Settings both kinds of job share."""
    keys = ("activation", "loss", "horizon", "steps", "batch_size", "train_size", "data_order")
    more = ("evaluation_size", "probe_size")
    return {
        **{key: settings[key] for key in keys + more},
        **{key: config[key] for key in ("precision", "tf32", "root_seed")},
        "logged_steps": _logged_steps(settings["steps"], settings["log_points"]),
    }


def _logged_steps(steps: int, points: int | Sequence[int]) -> tuple[int, ...]:
    """A number of points is spaced evenly in log(step); of a list count those that there are.

    So the points of a shorter run with the same list are among those of a longer one.
    """
    if isinstance(points, int):
        return tuple(log_spaced_steps(steps, points))
    return tuple(sorted({0, *(step for step in points if step < steps), steps}))


@dataclass(frozen=True)
class _Shape:
    """What all networks of a training job have in common."""

    width: int
    depth: int
    block_layers: int
    skip: bool
    optimizer: str

    @property
    def name(self) -> str:
        kind = f"block{self.block_layers}" if self.skip else "noskip"
        return f"width{self.width}_depth{self.depth}_{kind}_{self.optimizer}"


def _training_jobs(config: Section, experiment: str, settings: Section) -> Iterator[TrainingJob]:
    found: dict[_Shape, list[NetworkSettings]] = {}
    for width, depth in _sizes(settings["grids"]):
        for optimizer in settings["optimizers"]:
            for network in settings["networks"]:
                if depth > (network.get("max_depth") or depth):
                    continue
                block_layers = network.get("block_layers", settings["block_layers"])
                shape = _Shape(width, depth, block_layers, network.get("skip", True), optimizer)
                resolved = _resolved(network, settings, block_layers)
                found.setdefault(shape, []).append(resolved)
    for shape, networks in found.items():
        job = TrainingSettings(
            width=shape.width,
            depth=shape.depth,
            block_layers=shape.block_layers,
            skip=shape.skip,
            optimizer=shape.optimizer,
            networks=tuple(networks),
            seeds=seed_list(settings["seeds"]),
            initial_weights=settings["initial_weights"],
            probes=tuple(settings["probes"]),
            **_common(config, settings),
        )
        yield TrainingJob(experiment, shape.name, job, shape_of(config["dataset"]))


def _sizes(grids: Sequence[Mapping[str, Sequence[int]]]) -> list[tuple[int, int]]:
    sizes = [(n, L) for grid in grids for n in grid["widths"] for L in grid["depths"]]
    return list(dict.fromkeys(sizes))


def _resolved(network: Section, settings: Section, block_layers: int) -> NetworkSettings:
    row = PARAMETRIZATIONS[network["parametrization"]]
    roles = [role for role in ROLES if role != "hidden_1" or block_layers == 2]
    trainable = network.get("trainable", roles)
    rates = network.get("learning_rates", settings["learning_rates"])
    return NetworkSettings(
        parametrization=row.name,
        correction=float(network.get("correction", 0.5)) if row.has_correction else 0.0,
        trainable=tuple(role for role in roles if role in trainable),
        couplings=tuple(network.get("couplings", settings["couplings"])),
        learning_rates=tuple(map(float, rates)),
    )


def _limit_jobs(config: Section, experiment: str, settings: Section) -> Iterator[LimitJob]:
    limit = settings["limit"]
    if limit is None:
        return
    rates = limit.get("learning_rates", settings["learning_rates"])
    for number, network in enumerate(n for n in settings["networks"] if has_limit(n)):
        block_layers = network.get("block_layers", settings["block_layers"])
        resolved = _resolved(network, settings, block_layers)
        for depth in limit["depths"]:
            for coupling in limit.get("couplings", ["standard", "decoupled"]):
                job = LimitSettings(
                    parametrization=resolved.parametrization,
                    correction=resolved.correction,
                    trainable=resolved.trainable,
                    learning_rates=tuple(map(float, rates)),
                    particles=limit["particles"],
                    depth=depth,
                    coupling=coupling,
                    block_layers=block_layers,
                    skip=True,
                    optimizer="sgd",
                    noise_depth=_common_noise(limit["depths"], depth),
                    seeds=seed_list(limit.get("seeds", settings["seeds"])),
                    **_common(config, settings),
                )
                name = f"network{number}_particles{limit['particles']}_depth{depth}_{coupling}"
                yield LimitJob(experiment, name, job, shape_of(config["dataset"]))


def _common_noise(depths: Sequence[int], depth: int) -> int:
    """Depths that divide the largest share its noise, so that their differences are less noisy."""
    finest = max(depths)
    return finest if all(finest % d == 0 for d in depths) else depth
