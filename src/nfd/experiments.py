"""From a configuration to the list of jobs: one pure function, :func:`expand`.

An experiment is data: kinds of network, grids of widths and depths, learning rates, couplings, seeds.
All runs of one shape form one :class:`TrainingJob`, trained as a stack. This module is what the
Snakefile imports, so it loads nothing heavy.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from nfd.closed_form import limit_bytes
from nfd.parametrization import PARAMETRIZATIONS, ROLES

SCHEMA = Path(__file__).parents[2] / "workflow" / "schemas" / "config.schema.yaml"

# Settings of an experiment for which neither it nor the config's 'defaults' give a value.
EXPERIMENT_DEFAULTS: dict[str, Any] = {
    "couplings": ["standard"],
    "optimizers": ["sgd"],
    "block_layers": 1,
    "activation": "relu",
    "loss": "cross_entropy",
    "horizon": 1.0,
    "train_size": None,
    "data_order": "per_seed",
    "log_points": 8,
    "evaluation_size": 256,
    "probe_size": 16,
    "probes": [],
    "limit": None,
}
REQUIRED = ("networks", "grids", "learning_rates", "seeds", "steps", "batch_size")
# Top-level settings with a default; the schema documents each.
CONFIG_DEFAULTS: dict[str, Any] = {
    "device": "auto",
    "precision": "float32",
    "tf32": False,
    "root_seed": 0,
    "threads_per_job": 1,
}
BYTES = {"float32": 4, "float64": 8}

# On a CPU a step streams all weights and features of a stack through the cache: beyond about this
# size a larger stack is slower (tried on a Xeon core at widths 32 to 512), below MIN_STACK calls dominate.
CPU_STACK_BYTES = 40 * 2**20
MIN_STACK = 4
LIBRARIES_MB = 1500  # torch and the data set
SLOWEST_FLOPS = 5e9  # per second: one core of an old machine
# Measured on the laptop preset: seconds to start a job, operations per second of one core.
START_S = 4.0
TRAINING_RATE = 6e10
LIMIT_RATE = 1.2e11


class ConfigError(ValueError):
    """A configuration that cannot be run; the message is one sentence naming the key."""


def load_schema() -> dict[str, Any]:
    """The JSON schema of the configuration."""
    return yaml.safe_load(SCHEMA.read_text())


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with defaults filled in.

    Raises ConfigError in one sentence that names the key and says what would be accepted.
    """
    error = best_match(Draft202012Validator(load_schema()).iter_errors(dict(config)), _depth)
    if error is not None:
        raise ConfigError(_sentence(error))
    _check_keys_and_numbers("", config)
    checked = {**CONFIG_DEFAULTS, **config}
    shared = {**EXPERIMENT_DEFAULTS, **(config.get("defaults") or {})}
    checked["experiments"] = {
        name: _check_experiment(f"experiments.{name}", {**shared, **settings})
        for name, settings in config["experiments"].items()
        if settings is not None  # null switches an experiment of the base configuration off
    }
    if not checked["experiments"]:
        raise ConfigError("experiments: all are switched off (null); give at least one")
    return checked


def _check_keys_and_numbers(where: str, value: Any) -> None:
    """A schema lets keys pass that are no text, and .nan and .inf, which compare with nothing."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(
                    f"config key {_join(where, key)}: a key must be text, not {key!r}"
                )
            _check_keys_and_numbers(_join(where, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys_and_numbers(f"{where}[{index}]", item)
    elif isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"config key {where}: {value} is not a finite number")


def _depth(error: ValidationError) -> Any:
    """Prefer the error deepest in the configuration: it names the most precise key."""
    return len(error.absolute_path)


def _sentence(error: ValidationError) -> str:
    where = _key(error.absolute_path)
    value, limit = _short(error.instance), error.validator_value
    match error.validator:
        case "additionalProperties":
            return _unknown_key(error, where)
        case "required":
            missing = next(key for key in limit if key not in error.instance)
            return f"config key {_join(where, missing)} is missing; {_meaning(error, missing)}"
        case "enum":
            near = get_close_matches(str(error.instance), map(str, limit), 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            return f"config key {where}: {value} is not one of {', '.join(map(str, limit))}{hint}"
        case "type":
            wanted = " or ".join([limit] if isinstance(limit, str) else limit)
            return f"config key {where}: {value} is not of type {wanted}{_as_text(error)}"
        case "minimum" | "exclusiveMinimum":
            sign = ">=" if error.validator == "minimum" else ">"
            return f"config key {where}: {value} is too small; accepted is {sign} {limit}"
        case "maximum":
            return f"config key {where}: {value} is too large; accepted is <= {limit}"
        case "pattern":
            return f"config key {where}: {value} does not match {limit}"
        case "minItems" | "minProperties" | "minLength":
            return f"config key {where}: empty; at least {limit} is needed"
        case "uniqueItems":
            return f"config key {where}: {value} holds an entry twice"
        case _:
            return f"config key {where}: {error.message}"


def _as_text(error: ValidationError) -> str:
    """Why a number or a truth value may have arrived as text."""
    if not isinstance(error.instance, str):
        return ""
    if "number" in error.validator_value:
        return " (write 1.0e-1 or 0.1, not 1e-1)"
    return " (without quotes; on the command line True or False, and a file for what is nested)"


def _unknown_key(error: ValidationError, where: str) -> str:
    accepted = list(error.schema["properties"])
    unknown = next(key for key in error.instance if key not in accepted)
    near = get_close_matches(str(unknown), accepted, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"config key {_join(where, unknown)} is unknown; {hint}accepted: {', '.join(accepted)}"


def _meaning(error: ValidationError, key: str) -> str:
    described = error.schema.get("properties", {}).get(key, {}).get("description")
    return described[0].lower() + described[1:].rstrip(".") if described else "it is required"


def _key(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "(top level)"


def _join(where: str, key: object) -> str:
    return str(key) if where in ("", "(top level)") else f"{where}.{key}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_experiment(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Cross-field rules a schema cannot state."""
    for key in REQUIRED:
        if key not in settings:
            raise ConfigError(f"config key {where}.{key} is missing; give it there or in defaults")
    for number, network in enumerate(settings["networks"]):
        _check_network(f"{where}.networks[{number}]", network, settings)
    train_size, batch_size = settings["train_size"], settings["batch_size"]
    if train_size is not None and batch_size > train_size:
        raise ConfigError(
            f"config key {where}.batch_size: {batch_size} exceeds train_size {train_size}"
        )
    if settings["limit"] is not None:
        _check_limit(where, settings)
    return settings


def _check_network(where: str, network: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    block_layers = network.get("block_layers", settings["block_layers"])
    if not network.get("skip", True) and block_layers != 1:
        raise ConfigError(
            f"config key {where}.skip: false needs block_layers 1, not {block_layers}"
        )
    if block_layers == 1 and "hidden_1" in network.get("trainable", ()):
        raise ConfigError(f"config key {where}.trainable: hidden_1 exists only with block_layers 2")
    if block_layers != 1 and "coupling" in settings["probes"]:
        raise ConfigError(f"config key {where}: the probe 'coupling' needs block_layers 1")
    row = PARAMETRIZATIONS[network["parametrization"]]
    if "correction" in network and not row.has_correction:
        raise ConfigError(
            f"config key {where}.correction: {row.name} has no exponent p; use depth_mup_corrected"
        )


def _check_limit(where: str, settings: Mapping[str, Any]) -> None:
    if settings["train_size"] is None:
        raise ConfigError(
            f"config key {where}.train_size is missing; a limit follows every sample, so give a small number"
        )
    if settings["data_order"] != "shared":
        raise ConfigError(
            f"config key {where}.data_order: a limit needs the same batches for all, 'shared', "
            f"not {settings['data_order']!r}"
        )
    if "sgd" not in settings["optimizers"]:
        raise ConfigError(f"config key {where}.optimizers: the limit is of SGD; add 'sgd'")
    if not [n for n in settings["networks"] if _has_limit(n)]:
        raise ConfigError(
            f"config key {where}.limit: none of the networks has a limit; "
            "add a depth_mup, depth_mup_corrected or complete_p network with skips"
        )


def _has_limit(network: Mapping[str, Any]) -> bool:
    row = PARAMETRIZATIONS[network["parametrization"]]
    return row.has_depth_limit and network.get("skip", True)


def seed_list(seeds: int | Sequence[int]) -> list[int]:
    """A number of seeds stands for 0, 1, ...; a list for itself."""
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


@dataclass(frozen=True)
class TrainingJob:
    """All runs of one shape of one experiment. ``settings`` is all that its results depend on."""

    experiment: str
    name: str
    settings: dict[str, Any]

    @property
    def members(self) -> int:
        """Number of networks trained."""
        per_network = (
            len(n["learning_rates"]) * len(n["couplings"]) for n in self.settings["networks"]
        )
        return sum(per_network) * len(self.settings["seeds"])

    @property
    def parameters(self) -> int:
        """Weights of one network's blocks, which outnumber those of the other layers."""
        s = self.settings
        return s["depth"] * s["block_layers"] * s["width"] ** 2

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole job, to order jobs by and to guess their time."""
        s = self.settings
        return 6.0 * self.parameters * s["batch_size"] * max(1, s["steps"]) * self.members

    @property
    def bytes_per_member(self) -> int:
        """Memory that one network's weights, their copies and its features take."""
        s = self.settings
        decoupled = any("decoupled" in n["couplings"] for n in s["networks"])
        copies = 1 + decoupled + 2 * (s["optimizer"] == "adam")
        samples = s["batch_size"] + 3 * s["probe_size"] * bool(s["probes"])
        features = s["depth"] * s["width"] * s["block_layers"] * samples
        return BYTES[s["precision"]] * (copies * self.parameters + features)

    def members_at_once(self, budget: int) -> int:
        """How many networks to stack so that they take about ``budget`` bytes; changes no number."""
        return max(1, min(self.members, max(MIN_STACK, budget // self.bytes_per_member)))

    @property
    def estimate_s(self) -> float:
        """Rough seconds of one core."""
        return START_S + self.flops / TRAINING_RATE

    @property
    def memory_mb(self) -> int:
        """Memory to ask for, in MiB: libraries and samples, and one stack of networks."""
        at_once = self.members_at_once(CPU_STACK_BYTES)
        return LIBRARIES_MB + ceil(2 * at_once * self.bytes_per_member / 2**20)

    @property
    def runtime_min(self) -> int:
        """Time to ask for, in minutes: generous, since a job that overruns is killed."""
        return 10 + ceil(self.flops / SLOWEST_FLOPS / 60)


@dataclass(frozen=True)
class LimitJob:
    """One limit simulation: a depth and a coupling, all its seeds."""

    experiment: str
    name: str
    settings: dict[str, Any]

    @property
    def samples(self) -> int:
        """Samples passed forward at every step, at most: those evaluated, probed and in the batch."""
        s = self.settings
        seen, trained = s["evaluation_size"], s["train_size"]
        batch = min(s["batch_size"], max(trained - seen, 0))
        return min(seen, trained) + max(s["probe_size"], seen) + batch

    @property
    def vectors(self) -> int:
        """Vectors a hidden matrix is multiplied with in one direction, at most."""
        return (self.settings["steps"] + 1) * (self.samples + self.settings["batch_size"])

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole job, to guess its time."""
        s = self.settings
        runs = len(s["seeds"]) * len(s["learning_rates"])
        return 16.0 * runs * s["depth"] * s["block_layers"] * s["particles"] * self.vectors**2

    @property
    def estimate_s(self) -> float:
        """Rough seconds of one core."""
        return START_S + self.flops / LIMIT_RATE

    @property
    def memory_mb(self) -> int:
        """Memory to ask for, in MiB: libraries and samples, and what one simulation holds."""
        s = self.settings
        needed = limit_bytes(
            s["particles"],
            depth=s["depth"],
            forward_vectors=(s["steps"] + 1) * self.samples,
            backward_vectors=(s["steps"] + 1) * (s["probe_size"] + s["batch_size"]),
            block=self.samples,
            block_layers=s["block_layers"],
            itemsize=BYTES[s["precision"]],
        )
        return LIBRARIES_MB + ceil(needed / 2**20)

    @property
    def runtime_min(self) -> int:
        """Time to ask for, in minutes."""
        return 10 + ceil(self.flops / SLOWEST_FLOPS / 60)


def expand(config: Mapping[str, Any]) -> tuple[list[TrainingJob], list[LimitJob]]:
    """All jobs of a checked configuration, most expensive first within an experiment."""
    training, limits = [], []
    for experiment, settings in config["experiments"].items():
        jobs = sorted(_training_jobs(config, experiment, settings), key=lambda j: -j.flops)
        training += jobs
        limits += _limit_jobs(config, experiment, settings)
    return training, limits


def _common(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings both kinds of job share."""
    keys = ("activation", "loss", "horizon", "steps", "batch_size", "train_size", "data_order")
    more = ("evaluation_size", "probe_size", "log_points")
    return {
        **{key: settings[key] for key in keys + more},
        **{key: config[key] for key in ("precision", "tf32", "root_seed")},
    }


def _training_jobs(
    config: Mapping[str, Any], experiment: str, settings: Mapping[str, Any]
) -> Iterator[TrainingJob]:
    seen: dict[str, dict[str, Any]] = {}
    for width, depth in _shapes(settings["grids"]):
        for optimizer in settings["optimizers"]:
            for network in settings["networks"]:
                if depth > (network.get("max_depth") or depth):
                    continue
                block_layers = network.get("block_layers", settings["block_layers"])
                skip = network.get("skip", True)
                kind = f"block{block_layers}" if skip else "noskip"
                name = f"width{width}_depth{depth}_{kind}_{optimizer}"
                job = seen.setdefault(
                    name,
                    {
                        "width": width,
                        "depth": depth,
                        "block_layers": block_layers,
                        "skip": skip,
                        "optimizer": optimizer,
                        "networks": [],
                        "seeds": seed_list(settings["seeds"]),
                        "probes": settings["probes"],
                        **_common(config, settings),
                    },
                )
                job["networks"].append(_resolved(network, settings, block_layers))
    for name, job in seen.items():
        yield TrainingJob(experiment, name, job)


def _shapes(grids: Sequence[Mapping[str, Sequence[int]]]) -> list[tuple[int, int]]:
    shapes = [(n, L) for grid in grids for n in grid["widths"] for L in grid["depths"]]
    return list(dict.fromkeys(shapes))


def _resolved(
    network: Mapping[str, Any], settings: Mapping[str, Any], block_layers: int
) -> dict[str, Any]:
    row = PARAMETRIZATIONS[network["parametrization"]]
    roles = [role for role in ROLES if role != "hidden_1" or block_layers == 2]
    trainable = network.get("trainable", roles)
    return {
        "parametrization": row.name,
        "correction": float(network.get("correction", 0.5)) if row.has_correction else 0.0,
        "trainable": [role for role in roles if role in trainable],
        "couplings": network.get("couplings", settings["couplings"]),
        "learning_rates": [
            float(r) for r in network.get("learning_rates", settings["learning_rates"])
        ],
    }


def _limit_jobs(
    config: Mapping[str, Any], experiment: str, settings: Mapping[str, Any]
) -> Iterator[LimitJob]:
    limit = settings["limit"]
    if limit is None:
        return
    rates = limit.get("learning_rates", settings["learning_rates"])
    for number, network in enumerate(n for n in settings["networks"] if _has_limit(n)):
        block_layers = network.get("block_layers", settings["block_layers"])
        resolved = _resolved(network, {**settings, "learning_rates": rates}, block_layers)
        for depth in limit["depths"]:
            for coupling in limit.get("couplings", ["standard", "decoupled"]):
                job = {
                    **{
                        key: resolved[key] for key in ("parametrization", "correction", "trainable")
                    },
                    "learning_rates": [float(rate) for rate in rates],
                    "particles": limit["particles"],
                    "depth": depth,
                    "coupling": coupling,
                    "block_layers": block_layers,
                    "skip": True,
                    "optimizer": "sgd",
                    "noise_depth": _common_noise(limit["depths"], depth),
                    "seeds": seed_list(limit.get("seeds", settings["seeds"])),
                    **_common(config, settings),
                }
                name = f"network{number}_particles{limit['particles']}_depth{depth}_{coupling}"
                yield LimitJob(experiment, name, job)


def _common_noise(depths: Sequence[int], depth: int) -> int:
    """Depths that divide the largest share its noise, so that their differences are less noisy."""
    finest = max(depths)
    return finest if all(finest % d == 0 for d in depths) else depth


def as_argument(settings: Mapping[str, Any]) -> str:
    """Settings as one canonical line of JSON, for a command line."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))


def config_digest(config: Mapping[str, Any], experiments: Iterable[str] | None = None) -> str:
    """Short digest of the data and of ``experiments`` (None: all): same settings, same digest.

    The data set's label is left out: it changes no number.
    """
    chosen = {key: config[key] for key in ("precision", "tf32", "root_seed")}
    chosen["dataset"] = without_label(config["dataset"])
    names = config["experiments"] if experiments is None else experiments
    chosen["experiments"] = {name: config["experiments"][name] for name in names}
    return hashlib.sha256(as_argument(chosen).encode()).hexdigest()[:12]


def without_label(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a data set that its preparation depends on."""
    return {key: value for key, value in dataset.items() if key != "label"}


def no_such(kind: str, name: str, known: Sequence[str]) -> str:
    """One sentence for a name that is none of the ``known``, with those it may have meant."""
    near = get_close_matches(name, known, 5, 0.5)
    hint = f"near ones are {', '.join(near)}" if near else f"there are {', '.join(known[:15])}"
    more = ", ..." if not near and len(known) > 15 else ""
    return f"there is no {kind} {name}; {hint}{more}"
