"""Every list of names that a reader meets is the list of the records there are."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch

from nfd.choices import check_choice
from nfd.drawing.style import DASHES
from nfd.evidence.table import series_label
from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import Architecture
from nfd.network.couplings import COUPLINGS, LIMIT_COUPLINGS
from nfd.network.losses import LOSSES
from nfd.network.parametrization import FEATURE_LEARNING, PARAMETRIZATIONS, RATE_COLUMNS, Cell
from nfd.network.roles import ROLE_NAMES, ROLES, Role, hidden_roles, hidden_symbols
from nfd.network.stack import LayerGradient, Stack
from nfd.pipeline.config import check, load_schema
from nfd.pipeline.cost import BYTES
from nfd.pipeline.jobs import expand
from nfd.training.optimizers import OPTIMIZERS
from nfd.training.probes import PROBES
from nfd.training.trainer import Member

ROOT = Path(__file__).parents[1]
DEFINITIONS = load_schema()["$defs"]
EXPERIMENT = DEFINITIONS["experiment"]["properties"]
NETWORK = DEFINITIONS["network"]["properties"]

# key of the configuration -> (names of the schema, names of the records)
LISTS = {
    "activation": (EXPERIMENT["activation"]["enum"], ACTIVATIONS),
    "loss": (EXPERIMENT["loss"]["enum"], LOSSES),
    "optimizers": (EXPERIMENT["optimizers"]["items"]["enum"], OPTIMIZERS),
    "probes": (EXPERIMENT["probes"]["items"]["enum"], PROBES),
    "couplings": (DEFINITIONS["couplings"]["items"]["enum"], COUPLINGS),
    "parametrization": (NETWORK["parametrization"]["enum"], PARAMETRIZATIONS),
    "trainable": (NETWORK["trainable"]["items"]["enum"], ROLES),
}


@pytest.mark.parametrize("key", LISTS)
def test_the_schema_accepts_the_records_and_nothing_else(key):
    in_schema, records = LISTS[key]
    assert list(in_schema) == list(records)


@pytest.mark.parametrize("key", LISTS)
def test_the_page_of_the_configuration_names_every_record(key):
    """In the cell of accepted values, or, for probes, where each is explained."""
    page = (ROOT / "config/README.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
    named = re.findall(r"`([a-z_0-9]+)`", row)
    assert [name for name in named if name in LISTS[key][1]][: len(LISTS[key][1])] == list(
        LISTS[key][1]
    )


def test_the_schema_accepts_the_couplings_that_have_a_limit():
    assert tuple(DEFINITIONS["limit_couplings"]["items"]["enum"]) == LIMIT_COUPLINGS


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
    assert FEATURE_LEARNING == ("mup", "depth_mup", "depth_mup_corrected", "complete_p")


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
    assert extra == {"sgd": 0, "adam": 2 * weights, "momentum": weights, "adamw": 2 * weights}


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
