"""The configuration: what may stand in it, what fills its gaps, and the one sentence that says what is wrong.

An experiment is data: kinds of network, grids of widths and depths, learning rates, couplings, seeds.
The Snakefile imports this module, so it loads nothing heavy.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from nfd.network.couplings import COUPLINGS
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.pipeline.settings import as_argument
from nfd.pipeline.vocabulary import schema_definitions
from nfd.training.probes import PROBES

SCHEMA = Path(__file__).with_name("config.schema.yaml")

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
    "initial_weights": "independent",
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
# The folder under figures/ of what is published, which no run may write.
RECORD = "record"


class ConfigError(ValueError):
    """A configuration that cannot be run; the message is one sentence naming the key."""


def load_schema() -> dict[str, Any]:
    """The JSON schema of the configuration, with the names that the registries hold today."""
    schema = _written_schema()
    return {**schema, "$defs": schema["$defs"] | schema_definitions()}


@cache
def _written_schema() -> dict[str, Any]:
    schema: dict[str, Any] = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    return schema


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with defaults filled in.

    Raises ConfigError in one sentence that names the key and says what would be accepted.
    """
    error = best_match(Draft202012Validator(load_schema()).iter_errors(dict(config)), _depth)
    if error is not None:
        raise ConfigError(_sentence(error))
    _check_keys_and_numbers("", config)
    if config["preset"] == RECORD:
        raise ConfigError(
            f"config key preset: {RECORD!r} is the folder of the published results; choose another name"
        )
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
    if "looks" in settings:
        _check_looks(where, settings)
    if settings["limit"] is not None:
        _check_limit(where, settings)
    return settings


def _check_looks(where: str, settings: Mapping[str, Any]) -> None:
    looks = settings["looks"]
    if looks != sorted(looks):
        raise ConfigError(f"config key {where}.looks: {looks} must increase")
    seeds = settings["seeds"]
    count = seeds if isinstance(seeds, int) else len(seeds)
    if count not in looks:
        raise ConfigError(
            f"config key {where}.seeds: {count} seeds are no look of the schedule {looks}; "
            "take one of its numbers, or drop looks"
        )


def _check_network(where: str, network: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    block_layers = network.get("block_layers", settings["block_layers"])
    if not network.get("skip", True) and block_layers != 1:
        raise ConfigError(
            f"config key {where}.skip: false needs block_layers 1, not {block_layers}"
        )
    if block_layers == 1 and "hidden_1" in network.get("trainable", ()):
        raise ConfigError(f"config key {where}.trainable: hidden_1 exists only with block_layers 2")
    for name in settings["probes"]:
        if block_layers not in PROBES[name].block_layers:
            (needed,) = PROBES[name].block_layers
            raise ConfigError(f"config key {where}: the probe '{name}' needs block_layers {needed}")
    for name in network.get("couplings", settings["couplings"]):
        if block_layers not in COUPLINGS[name].block_layers:
            raise ConfigError(
                f"config key {where}.couplings: {name} is defined for two-layer blocks (block_layers 2) only"
            )
    row = PARAMETRIZATIONS[network["parametrization"]]
    if "correction" in network and not row.has_correction:
        raise ConfigError(
            f"config key {where}.correction: {row.name} has no exponent p; "
            f"use {_either(other.name for other in PARAMETRIZATIONS.values() if other.has_correction)}"
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
    if not [n for n in settings["networks"] if has_limit(n)]:
        raise ConfigError(
            f"config key {where}.limit: none of the networks has a limit; "
            f"add a {_either(row.name for row in PARAMETRIZATIONS.values() if row.has_depth_limit)} "
            "network with skips"
        )


def has_limit(network: Mapping[str, Any]) -> bool:
    """Whether a kind of network has an infinite-width limit that is simulated."""
    row = PARAMETRIZATIONS[network["parametrization"]]
    return row.has_depth_limit and network.get("skip", True)


def _either(names: Iterable[str]) -> str:
    """a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def config_digest(config: Mapping[str, Any]) -> str:
    """Short digest of a configuration's data and experiments: same settings, same digest."""
    return _digest(config, config["dataset"], config["experiments"])


def figure_digest(config: Mapping[str, Any], experiments: Iterable[str]) -> str:
    """Short digest of the settings that a figure of these ``experiments`` rests on, and of no others."""
    return _digest(config, without_label(config["dataset"]), experiments)


def _digest(config: Mapping[str, Any], dataset: Mapping[str, Any], names: Iterable[str]) -> str:
    chosen = {key: config[key] for key in ("precision", "tf32", "root_seed")}
    experiments = {name: config["experiments"][name] for name in names}
    text = as_argument({**chosen, "dataset": dataset, "experiments": experiments})
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def without_label(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a data set that numbers can depend on."""
    return {key: value for key, value in dataset.items() if key != "label"}
