"""Every list of names that a reader meets is the list of the records there are."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from nfd.choices import check_choice
from nfd.data.sources import SOURCES, label_of, prepare
from nfd.drawing.style import DASHES
from nfd.evidence.table import series_label
from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import Architecture
from nfd.network.couplings import COUPLINGS, LIMIT_COUPLINGS
from nfd.network.losses import LOSSES
from nfd.network.parametrization import FEATURE_LEARNING, PARAMETRIZATIONS, RATE_COLUMNS, Cell
from nfd.network.roles import ROLE_NAMES, ROLES, Role, hidden_roles, hidden_symbols
from nfd.network.stack import LayerGradient, Stack
from nfd.pipeline.config import SCHEMA, ConfigError, check
from nfd.pipeline.cost import BYTES
from nfd.pipeline.jobs import expand
from nfd.pipeline.run import run_training
from nfd.pipeline.vocabulary import KEYS, VOCABULARY, with_names
from nfd.training.optimizers import OPTIMIZERS
from nfd.training.probes import PROBES
from nfd.training.trainer import Member

ROOT = Path(__file__).parents[1]
TRIAL = {
    "networks": [{"parametrization": "depth_mup"}],
    "grids": [{"widths": [6], "depths": [2]}],
    "learning_rates": [0.1],
    "seeds": 1,
    "steps": 2,
    "batch_size": 4,
    "log_points": 2,
    "evaluation_size": 8,
    "probe_size": 3,
}


def config_of(key, name):
    """A small configuration in which ``name`` stands where ``key`` takes a kind of record."""
    trial, dataset = dict(TRIAL), {"name": "digits", "train_size": 40, "test_size": 20}
    if key == "name":
        dataset = {**dataset, "name": name}
    elif key in ("parametrization", "trainable"):
        value = name if key == "parametrization" else [name]
        blocks = {"block_layers": 2} if name == "hidden_1" else {}
        trial["networks"] = [{"parametrization": "depth_mup", key: value, **blocks}]
    else:
        trial[key] = name if key in ("activation", "loss") else [name]
        trial["block_layers"] = 2 if name in ("third", "gradients") else 1
    return {"preset": "test", "dataset": dataset, "experiments": {"trial": trial}}


@pytest.mark.parametrize("key", KEYS)
def test_the_configuration_accepts_the_records_and_nothing_else(key):
    for name in VOCABULARY[KEYS[key]]:
        check(config_of(key, name))
    known = ", ".join(VOCABULARY[KEYS[key]])
    with pytest.raises(ConfigError, match=f"'nonesuch' is not one of {known}$"):
        check(config_of(key, "nonesuch"))


def test_the_schema_holds_no_list_of_its_own():
    """What is left are choices that no registry holds."""
    lists = re.findall(r"enum: \[(.*)\]", SCHEMA.read_text(encoding="utf-8"))
    drawn = ["per_seed, shared", "independent, nested"]
    assert lists == ["auto, cpu, cuda", "float32, float64", "1, 2", "1, 2", *drawn]


def test_the_page_of_the_configuration_lists_the_records():
    page = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert with_names(page) == page, "config/README.md: run scripts/update_verdicts.py"
    for key, kind in KEYS.items():
        names = ", ".join(f"`{name}`" for name in VOCABULARY[kind])
        assert f"\n| `{key}` | {names} |" in page, key
    meant = next(line for line in page.splitlines() if line.startswith("| `probes` |"))
    assert set(re.findall(r"`(\w+)`", meant.split("|")[4])) == set(PROBES)
    limits = [name for name, row in PARAMETRIZATIONS.items() if row.has_depth_limit]
    told = re.search(r"It is run for the experiment's (.*) networks", page)[1]
    assert re.findall(r"`(\w+)`", told) == limits


# key -> (registry, the record that gets a second name); none of them is a default
SECOND_NAMES = {
    "activation": (ACTIVATIONS, "tanh"),
    "loss": (LOSSES, "mse"),
    "optimizers": (OPTIMIZERS, "momentum"),
    "parametrization": (PARAMETRIZATIONS, "complete_p"),
    "probes": (PROBES, "kernel"),
    "name": (SOURCES, "digits"),
}


def named_anew(record):
    return replace(record, name="newcomer") if hasattr(record, "name") else record


@pytest.mark.parametrize("key", SECOND_NAMES)
def test_one_more_record_is_all_it_takes(key, monkeypatch):
    """A record under a new name is accepted, trained, and gives the table of the one it copies."""
    records, known = SECOND_NAMES[key]
    monkeypatch.setitem(records, "newcomer", named_anew(records[known]))
    tables = {}
    for name in (known, "newcomer"):
        config = check(config_of(key, name))
        (job,), _ = expand(config)
        data = prepare(config["dataset"])
        results, _ = run_training("trial", job.settings, data, device=torch.device("cpu"))
        tables[name] = results
        assert job.cost.flops > 0
        assert label_of(config["dataset"])
    ours = tables["newcomer"]
    same = ours.replace("newcomer", known)
    pd.testing.assert_frame_equal(same, tables[known], check_exact=True)
    columns = {"optimizers": "optimizer", "activation": "activation", "loss": "loss"}
    if (column := columns.get(key, key)) in ours:
        assert (ours[column] == "newcomer").all()
    plain, _ = run_training("trial", *_plain(), device=torch.device("cpu"))
    assert key == "name" or not np.array_equal(plain["value"], ours["value"])


def _plain():
    config = check(config_of("name", "digits"))
    return expand(config)[0][0].settings, prepare(config["dataset"])


def test_a_limit_takes_the_couplings_that_have_one():
    assert tuple(VOCABULARY["limit_coupling"]) == LIMIT_COUPLINGS
    limit = {"particles": 8, "depths": [2], "couplings": ["third"]}
    config = config_of("name", "digits")
    config["experiments"]["trial"]["limit"] = limit
    with pytest.raises(ConfigError, match="'third' is not one of standard, decoupled, fresh"):
        check(config)


@pytest.mark.parametrize("records", [ACTIVATIONS, COUPLINGS, LOSSES, PARAMETRIZATIONS])
def test_records_stand_under_their_own_name(records):
    assert {name: record.name for name, record in records.items()} == {
        name: name for name in records
    }


def test_roles_are_told_in_one_order_everywhere():
    assert ROLES == get_args(Role) == tuple(ROLE_NAMES)
    assert all(tuple(row.cells) == ROLES for row in PARAMETRIZATIONS.values())
    assert hidden_roles(1) == ("hidden_2",)
    assert hidden_roles(2) == ("hidden_1", "hidden_2") == ROLES[1:3]
    assert hidden_symbols(1) == {"hidden_2": "W"}
    assert hidden_symbols(2) == {"hidden_1": "W₁", "hidden_2": "W₂"}
    assert set(RATE_COLUMNS) == set(Cell.__dataclass_fields__) - {"multiplier"}


def test_printed_names_tell_records_apart():
    for records in (COUPLINGS, PARAMETRIZATIONS, OPTIMIZERS):
        printed = [record.printed_name for record in records.values()]
        assert len(set(printed)) == len(printed)
        assert all(printed)
    assert len({row.long_name for row in PARAMETRIZATIONS.values()}) == len(PARAMETRIZATIONS)


def test_lines_of_different_couplings_have_different_labels():
    labels = {series_label({"parametrization": "mup", "coupling": name}) for name in COUPLINGS}
    assert labels == {"mup", "mup, decoupled", "mup, fresh copies", "mup, third copy"}
    assert set(DASHES) == set(COUPLINGS)


def test_the_rows_that_learn_features():
    assert {"mup", "depth_mup", "depth_mup_corrected", "complete_p"} <= set(FEATURE_LEARNING)
    assert not {"standard", "ntk"} & set(FEATURE_LEARNING)


def test_an_unknown_name_is_one_sentence_with_all_that_is_known():
    with pytest.raises(ValueError, match=r"^loss: 'hinge' is not one of mse, cross_entropy$"):
        check_choice("loss", "hinge", LOSSES)
    check_choice("loss", "mse", LOSSES)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_an_optimizer_is_of_the_size_it_says(name):
    """What a job's memory is reckoned with, against the tensors there are."""
    a = Architecture(5, 3, 8, 4, block_layers=2)
    row, kind = PARAMETRIZATIONS["mup"], OPTIMIZERS[name]
    scales = row.scales(8, 4, 5, optimizer=kind.column)
    optimizer = kind(Stack(a, [scales], [0], ["standard"]), [Member("mup", 0.1, 0)], batch_size=2)
    assert sum(t.numel() for t in optimizer.tensors()) == kind.state_per_weight * a.parameters


def test_a_job_counts_the_state_of_its_optimizer():
    settings = {
        "networks": [{"parametrization": "mup"}],
        "grids": [{"widths": [16], "depths": [2]}],
        "optimizers": list(OPTIMIZERS),
        "learning_rates": [0.1],
        "seeds": 1,
        "steps": 1,
        "batch_size": 4,
    }
    config = {"preset": "test", "dataset": {"name": "digits"}, "experiments": {"one": settings}}
    jobs = {job.settings.optimizer: job for job in expand(check(config))[0]}
    assert set(jobs) == set(OPTIMIZERS)
    extra = {
        name: job.cost.bytes_per_member - jobs["sgd"].cost.bytes_per_member
        for name, job in jobs.items()
    }
    weights = BYTES["float32"] * 2 * 16**2
    assert extra == {name: kind.state_per_weight * weights for name, kind in OPTIMIZERS.items()}
    assert [extra[name] // weights for name in ("sgd", "momentum", "adam", "adamw")] == [0, 1, 2, 2]


@pytest.mark.parametrize("width", [16, 256])
def test_weight_decay_takes_the_same_share_at_every_width(width):
    """A step without gradient: (1 - eta * decay) of every weight is left; Adam leaves all of it."""
    for name, left in (("adam", 1.0), ("adamw", 1 - 0.5 * 0.1)):
        a, kind = Architecture(5, 3, width, 2), OPTIMIZERS[name]
        scales = [PARAMETRIZATIONS["depth_mup"].scales(width, 2, 5, optimizer=kind.column)] * 3
        stack = Stack(a, scales, [0, 1, 1], ["standard", "standard", "decoupled"])
        before = stack.weights["hidden_2"][0].clone()
        copy = stack.backward_copy["hidden_2"][0].clone()
        members = [Member("depth_mup", 0.5, 0), Member("depth_mup", 0.5, 1, trainable=("input",))]
        members.append(Member("depth_mup", 0.5, 1, coupling="decoupled"))
        optimizer = kind(stack, members, batch_size=2)
        optimizer.step = 1
        nothing = torch.zeros(3, 2, width)
        optimizer.update(LayerGradient("hidden_2", 0, nothing, nothing))
        torch.testing.assert_close(stack.weights["hidden_2"][0][0], left * before[0])
        assert torch.equal(stack.weights["hidden_2"][0][1], before[1])  # frozen
        torch.testing.assert_close(stack.weights["hidden_2"][0][2], left * before[2])
        torch.testing.assert_close(stack.backward_copy["hidden_2"][0][0], left * copy[0])
