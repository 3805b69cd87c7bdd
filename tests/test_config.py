"""From configurations to jobs: what is expanded, what a job depends on, what shipped presets hold."""

import copy
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from nfd.claims.registry import EXPERIMENTS
from nfd.pipeline.config import (
    CONFIG_DEFAULTS,
    EXPERIMENT_DEFAULTS,
    ConfigError,
    check,
    config_digest,
    figure_digest,
    load_schema,
)
from nfd.pipeline.config_files import lay_over
from nfd.pipeline.jobs import TrainingJob, expand, no_such

ROOT = Path(__file__).parents[1]
BASE = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
PRESETS = sorted((ROOT / "config").glob("*.yaml"))


def small(**changes: object) -> dict:
    """A configuration with one experiment of two shapes."""
    experiment = {
        "networks": [{"parametrization": "depth_mup"}, {"parametrization": "mup", "max_depth": 4}],
        "grids": [{"widths": [8], "depths": [4, 16]}, {"widths": [8], "depths": [4]}],
        "learning_rates": [0.1, 0.2],
        "seeds": 3,
        "steps": 10,
        "batch_size": 4,
        **changes,
    }
    return {"preset": "test", "dataset": {"name": "digits"}, "experiments": {"trial": experiment}}


def jobs_of(config: dict) -> dict[str, TrainingJob]:
    return {job.name: job for job in expand(check(config))[0]}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_shipped_preset_is_accepted_and_expands(path: Path) -> None:
    config = check(lay_over(BASE, yaml.safe_load(path.read_text())))
    training, limits = expand(config)
    assert training
    assert set(config["experiments"]) <= set(EXPERIMENTS)
    names = [(job.experiment, job.name) for job in [*training, *limits]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", job.name) for job in [*training, *limits])


def test_presets_have_names_of_their_own() -> None:
    names = [yaml.safe_load(path.read_text())["preset"] for path in PRESETS]
    assert len(set(names)) == len(names)


def test_a_shape_is_one_job_with_all_its_networks() -> None:
    jobs = jobs_of(small())
    assert set(jobs) == {"width8_depth4_block1_sgd", "width8_depth16_block1_sgd"}
    shallow, deep = jobs["width8_depth4_block1_sgd"], jobs["width8_depth16_block1_sgd"]
    assert [n.parametrization for n in shallow.settings.networks] == ["depth_mup", "mup"]
    assert [n.parametrization for n in deep.settings.networks] == ["depth_mup"]  # max_depth
    assert shallow.members == 2 * 2 * 3
    assert deep.members == 2 * 3
    assert deep.settings.seeds == (0, 1, 2)


def test_kinds_that_cannot_be_stacked_are_separate_jobs() -> None:
    networks = [
        {"parametrization": "mup"},
        {"parametrization": "mup", "skip": False},
        {"parametrization": "mup", "block_layers": 2},
    ]
    jobs = jobs_of(small(networks=networks, optimizers=["sgd", "adam"]))
    kinds = {name.split("depth4_")[1] for name in jobs if "depth4_" in name}
    assert kinds == {f"{k}_{o}" for k in ("block1", "noskip", "block2") for o in ("sgd", "adam")}


def test_the_most_expensive_job_comes_first() -> None:
    seconds = [job.cost.estimate_s for job in expand(check(small()))[0]]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > seconds[-1]


def test_one_rate_changes_only_the_jobs_that_contain_it() -> None:
    config = small()
    config["experiments"]["other"] = copy.deepcopy(config["experiments"]["trial"])
    before = {(j.experiment, j.name): j.settings.to_json() for j in expand(check(config))[0]}
    config["experiments"]["trial"]["networks"][1]["learning_rates"] = [0.3]  # mup: depth 4 only
    after = {(j.experiment, j.name): j.settings.to_json() for j in expand(check(config))[0]}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {("trial", "width8_depth4_block1_sgd")}


@pytest.mark.parametrize(
    ("key", "value"), [("device", "cpu"), ("threads_per_job", 7), ("preset", "elsewhere")]
)
def test_what_changes_no_number_is_in_no_job(key: str, value: object) -> None:
    before = [job.settings.to_json() for job in expand(check(small()))[0]]
    assert [j.settings.to_json() for j in expand(check({**small(), key: value}))[0]] == before


@pytest.mark.parametrize(("key", "value"), [("root_seed", 1), ("precision", "float64")])
def test_what_changes_numbers_is_in_every_job(key: str, value: object) -> None:
    before = [job.settings.to_json() for job in expand(check(small()))[0]]
    after = [j.settings.to_json() for j in expand(check({**small(), key: value}))[0]]
    assert not set(before) & set(after)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"couplings": ["third"]}, "couplings: third is defined for two-layer blocks"),
        ({"limit": {"particles": 8, "depths": [2], "couplings": ["third"]}}, "couplings"),
    ],
)
def test_a_third_copy_is_for_two_layer_networks_and_has_no_limit(
    change: dict[str, object], said: str
) -> None:
    changes = {"train_size": 8, "batch_size": 4, **change}
    with pytest.raises(ConfigError, match=said):
        check(small(**changes))
    assert expand(check(small(couplings=["third"], block_layers=2, probes=[])))[0]


@pytest.mark.parametrize(("probe", "defined", "other"), [("coupling", 1, 2), ("gradients", 2, 1)])
def test_a_probe_is_for_its_kind_of_block(probe: str, defined: int, other: int) -> None:
    check(small(probes=[probe], block_layers=defined))
    with pytest.raises(ConfigError, match=f"the probe '{probe}' needs block_layers {defined}"):
        check(small(probes=[probe], block_layers=other))


def test_the_digest_follows_the_settings_and_nothing_else() -> None:
    digest = config_digest(check(small()))
    assert config_digest(check({**small(), "threads_per_job": 3})) == digest
    assert config_digest(check(small(steps=11))) != digest


def test_a_figure_s_digest_follows_what_it_rests_on() -> None:
    config = small()
    config["experiments"]["other"] = copy.deepcopy(config["experiments"]["trial"])
    before = check(config)
    config["experiments"]["other"]["steps"] = 11
    after = check(config)
    assert figure_digest(after, ["trial"]) == figure_digest(before, ["trial"])
    assert figure_digest(after, ["other"]) != figure_digest(before, ["other"])
    assert figure_digest(before, ["trial"]) != figure_digest(before, ["other"])
    for change in ({"root_seed": 1}, {"dataset": {"name": "mnist"}}):
        changed = check({**config, **change})
        assert figure_digest(changed, ["trial"]) != figure_digest(before, ["trial"])
    labelled = check({**config, "dataset": {"name": "digits", "label": "8 x 8"}})
    assert figure_digest(labelled, ["trial"]) == figure_digest(before, ["trial"])


def test_an_unknown_name_is_told_with_its_neighbours() -> None:
    known = ["scaling/width8", "scaling/width16", "transfer/width8"]
    assert "near ones are scaling/width8" in no_such("job", "scalin/width8", known)
    assert no_such("figure", "x", ["a", "b"]) == "there is no figure x; there are a, b"
    assert no_such("figure", "x", [f"name{n}" for n in range(99)]).endswith("name14, ...")


def test_defaults_of_the_experiment_are_overridden_by_those_of_the_config() -> None:
    config = small()
    config["defaults"] = {"log_points": 3, "steps": 99}
    settings = check(config)["experiments"]["trial"]
    assert (settings["log_points"], settings["steps"]) == (3, 10)
    assert settings["probe_size"] == EXPERIMENT_DEFAULTS["probe_size"]


def test_null_switches_an_experiment_off() -> None:
    config = small()
    config["experiments"]["other"] = None
    assert set(check(config)["experiments"]) == {"trial"}


def test_a_limit_follows_the_networks_that_have_one() -> None:
    limit = {"particles": 64, "depths": [4, 8], "seeds": [7], "couplings": ["decoupled"]}
    config = small(limit=limit, data_order="shared", train_size=8)
    jobs = expand(check(config))[1]
    assert [job.settings.depth for job in jobs] == [4, 8]
    assert all(job.settings.parametrization == "depth_mup" for job in jobs)
    assert all(job.settings.noise_depth == 8 for job in jobs)
    config["experiments"]["trial"]["limit"] = {**limit, "depths": [4, 6]}
    assert [j.settings.noise_depth for j in expand(check(config))[1]] == [4, 6]


def test_a_stack_is_as_large_as_its_budget_allows() -> None:
    job = jobs_of(small())["width8_depth16_block1_sgd"]
    assert job.cost.members_at_once(10 * job.cost.bytes_per_member) == job.members == 6
    assert job.cost.members_at_once(5 * job.cost.bytes_per_member) == 5
    assert job.cost.members_at_once(0) == 4  # MIN_STACK


def test_a_wider_job_asks_for_more() -> None:
    jobs = jobs_of(small(grids=[{"widths": [8, 4096], "depths": [64]}]))
    narrow, wide = jobs["width8_depth64_block1_sgd"], jobs["width4096_depth64_block1_sgd"]
    # Weights of one network alone: 64 x 4096^2 x 4 bytes = 4 GiB.
    assert wide.cost.memory_mb > 4096 > narrow.cost.memory_mb
    assert wide.cost.runtime_min > narrow.cost.runtime_min


def test_schema_describes_every_key_and_config_readme_every_key() -> None:
    text = (ROOT / "config" / "README.md").read_text()

    def keys(node: object) -> list[tuple[str, dict]]:
        found = []
        if isinstance(node, dict):
            found += list(node.get("properties", {}).items())
            for value in node.values():
                found += keys(value)
        elif isinstance(node, list):
            for value in node:
                found += keys(value)
        return found

    described = keys(load_schema())
    assert len(described) > 40
    for name, schema in described:
        assert "description" in schema or "$ref" in schema, name
        assert f"`{name}`" in text or f"{name}:" in text, (
            f"config/README.md does not explain {name}"
        )


def test_schema_defaults_are_those_of_the_code() -> None:
    for key, value in CONFIG_DEFAULTS.items():
        assert load_schema()["properties"][key]["default"] == value


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"limit": {"particles": 9, "depths": [2]}, "train_size": 8}, "data_order"),
        ({"limit": {"particles": 9, "depths": [2]}, "data_order": "shared"}, "train_size"),
        ({"batch_size": 9, "train_size": 8}, "batch_size"),
        ({"networks": [{"parametrization": "mup", "correction": 0.5}]}, "correction"),
        ({"networks": [{"parametrization": "mup", "trainable": ["hidden_1"]}]}, "hidden_1"),
    ],
)
def test_rules_across_keys(change: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        check(small(**change))
    assert "\n" not in str(caught.value)


def test_environments_carry_the_version_ranges_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda_names = {"torch": "pytorch", "snakemake[reports]": "snakemake"}
    wanted = {f"python{project['requires-python']}"}
    for requirement in project["dependencies"]:
        name, version = re.fullmatch(r"([^>=]+)(>=.*)", requirement).groups()
        wanted.add(conda_names.get(name, name) + version)
    environment = yaml.safe_load((ROOT / "envs" / "nfd.yaml").read_text())
    assert set(environment["dependencies"]) == wanted


def test_the_lock_pins_every_dependency_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name = re.split(r"[\[>=]", requirement)[0]
        assert re.search(rf"^{name}(\[\w+\])?==\S+", lock, re.MULTILINE), name
    assert "://" not in lock
    pinned = re.findall(r"^[a-z0-9].*==", lock, re.MULTILINE)
    assert lock.count("--hash=sha256:") >= len(pinned)


def test_the_snakefile_loads_nothing_heavy() -> None:
    own = ["config", "config_files", "cost", "gpu", "jobs", "progress", "replacing", "vocabulary"]
    modules = ", ".join(
        ["nfd.claims.registry", "nfd.data.sources", *(f"nfd.pipeline.{m}" for m in own)]
    )
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "pandas", "matplotlib", "sklearn", "pyarrow"} & set(loaded.stdout.split())
