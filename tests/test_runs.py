"""One job from its settings to its tables, on real images."""

import numpy as np
import pandas as pd
import pytest
import torch

from nfd.data.prepared import PreparedData
from nfd.data.raw import DataError
from nfd.data.sources import prepare
from nfd.limit.memory import memory_bytes
from nfd.pipeline import run, tables
from nfd.pipeline.config import check
from nfd.pipeline.cost import LIBRARIES_MB
from nfd.pipeline.first_batch import first_batch
from nfd.pipeline.jobs import expand

EXPERIMENT = {
    "networks": [{"parametrization": "depth_mup"}],
    "couplings": ["standard", "decoupled"],
    "grids": [{"widths": [128], "depths": [3]}],
    "learning_rates": [1.0],
    "seeds": 24,
    "steps": 4,
    "batch_size": 4,
    "train_size": 8,
    "evaluation_size": 6,
    "probe_size": 4,
    "log_points": 4,
    "data_order": "shared",
    "precision": "float64",
    "probes": ["outputs", "output_change", "coupling", "kernel"],
    "limit": {"particles": 128, "depths": [3], "seeds": 24},
}


def jobs(**changes: object) -> tuple[list, list]:
    experiment = {key: value for key, value in EXPERIMENT.items() if key != "precision"}
    config = {
        "preset": "test",
        "precision": "float64",
        "dataset": {"name": "digits"},
        "experiments": {"trial": {**experiment, **changes}},
    }
    return expand(check(config))


@pytest.fixture(scope="module")
def digits() -> PreparedData:
    return prepare({"name": "digits"})


@pytest.fixture(scope="module")
def trained(digits: PreparedData) -> run.Tables:
    (job,) = jobs()[0]
    return run.run_training("trial", job.settings, digits, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def limits(digits: PreparedData) -> run.Tables:
    cpu = torch.device("cpu")
    parts = [run.run_limit("trial", job.settings, digits, device=cpu) for job in jobs()[1]]
    return tuple(pd.concat(part, ignore_index=True) for part in zip(*parts, strict=True))


def test_tables_obey_the_contract(trained: run.Tables, limits: run.Tables, tmp_path) -> None:
    for name, (results, outputs) in {"network": trained, "limit": limits}.items():
        tables.write_results(results, tmp_path / f"{name}.parquet", {})
        tables.write_outputs(outputs, tmp_path / f"{name}.outputs.parquet", {})
        assert set(results["source"]) == {name}
        assert len(outputs) == 2 * 24 * results["step"].nunique()
        assert outputs["outputs"].map(len).eq(4 * 10).all()


def test_a_row_is_what_the_run_computed(trained: run.Tables) -> None:
    """output_change recomputed from the outputs that were kept."""
    results, outputs = trained
    key = ["coupling", "seed", "step"]
    change = results[results["metric"] == "output_change"].set_index(key)["value"]
    kept = outputs.set_index(key)["outputs"]
    for (coupling, seed, step), value in change.items():
        moved = kept[coupling, seed, step] - kept[coupling, seed, 0]
        assert np.sqrt(np.mean(moved**2)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
@pytest.mark.parametrize(
    ("metric", "split"),
    [
        ("loss", "train"),
        ("loss", "test"),
        ("output_change", "probe"),
        ("coupling_layer", "probe"),
        ("coupling_accumulated", "probe"),
        ("coupling_sum_0", "probe"),
        ("coupling_part_7_0", "probe"),
        ("kernel_min_eigenvalue", "probe"),
    ],
)
def test_network_and_limit_measure_the_same_thing(
    trained: run.Tables, limits: run.Tables, metric: str, split: str, coupling: str
) -> None:
    """Real matrices and the matrix-free simulation at the same width, in law, at every step.

    24 seeds each: the means differ by less than 4 standard errors in all of 5 steps (chance of a
    false alarm about 1 in 1,000 for the whole test).
    """

    def by_step(results: pd.DataFrame) -> pd.core.groupby.SeriesGroupBy:
        chosen = results[
            (results["metric"] == metric)
            & (results["split"] == split)
            & (results["coupling"] == coupling)
        ]
        return chosen.groupby("step")["value"]

    network, limit = by_step(trained[0]), by_step(limits[0])
    assert list(network.groups) == list(limit.groups)
    error = np.sqrt(network.var() / 24 + limit.var() / 24) + 1e-12
    assert ((network.mean() - limit.mean()).abs() < 4 * error).all()


@pytest.mark.parametrize("steps", [4, 30])
def test_a_limit_costs_what_its_problem_passes(digits: PreparedData, steps: int) -> None:
    """Vectors and memory a job asks for bound those of its problem, and not by much."""
    for job in jobs(steps=steps)[1]:
        problem = run.limit_problem(job.settings, digits, 1.0)
        every = range(steps + 1)
        forward = sum(len(problem.forward_ids(step)) for step in every)
        backward = sum(len(problem.backward_ids(step)) for step in every)
        assert forward <= job.cost.forward_vectors < 1.2 * forward
        assert backward <= job.cost.backward_vectors < 1.2 * backward
        needed = memory_bytes(problem, job.settings.particles, itemsize=8) / 2**20
        assert needed <= job.cost.memory_mb - LIBRARIES_MB < 1.3 * needed + 1


def test_a_limit_diverges_by_the_rule_for_networks(digits: PreparedData) -> None:
    """A finite loss beyond 100 times the first counts, for both, from the step it was found at."""
    training, limit = jobs(learning_rates=[300.0], loss="mse", steps=2, couplings=["standard"])
    cpu = torch.device("cpu")
    networks, _ = run.run_training("trial", training[0].settings, digits, device=cpu)
    particles, _ = run.run_limit("trial", limit[0].settings, digits, device=cpu)
    assert np.isfinite(particles["value"]).all()
    for results in (networks, particles):
        assert (results["diverged"] == (results["step"] > 0)).all()


@pytest.mark.parametrize(
    ("n_train", "n_test", "said"),
    [
        (3, 360, "experiments.trial.train_size: 8 is more than the 3 train samples of digits"),
        (1437, 3, "experiments.trial.evaluation_size: 6 is more than the 3 test samples of digits"),
    ],
)
def test_too_few_samples_are_named_before_anything_is_computed(
    digits: PreparedData, n_train: int, n_test: int, said: str
) -> None:
    training, limits = jobs()
    few, cpu = digits.subset(n_train, n_test), torch.device("cpu")
    for compute, job in ((run.run_training, training[0]), (run.run_limit, limits[0])):
        with pytest.raises(DataError) as error:
            compute("trial", job.settings, few, device=cpu)
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_samples_that_just_suffice_are_accepted(digits: PreparedData) -> None:
    (job,) = jobs(seeds=1)[0]
    results, _ = run.run_training(
        "trial", job.settings, digits.subset(8, 6), device=torch.device("cpu")
    )
    assert np.isfinite(results["value"]).all()


def test_the_first_batch_is_what_the_first_step_learns(digits):
    (job,) = jobs()[0]
    inputs, targets, probes = first_batch(job.settings, digits)
    data = run.job_data(job.settings, digits)
    learned = data.batches[0]
    np.testing.assert_array_equal(inputs, data.inputs[learned])
    np.testing.assert_array_equal(targets.argmax(axis=1), data.targets[learned])
    np.testing.assert_array_equal(probes, data.probe[0])


def test_there_is_no_first_batch_where_every_seed_has_its_own(digits):
    (job,) = jobs(data_order="per_seed", limit=None)[0]
    assert first_batch(job.settings, digits) is None


@pytest.mark.parametrize(("drawn", "alike"), [("independent", False), ("nested", True)])
def test_nested_networks_of_a_seed_are_alike_over_widths(
    digits: PreparedData, drawn, alike
) -> None:
    """Outputs at step 0 of 24 seeds at n = 64 and 128, of all classes but the first, whose output weights are
    those of the narrower network either way; half of the output weights are shared, so about sqrt(1/2).
    """
    found = []
    for job in jobs(
        grids=[{"widths": [64, 128], "depths": [3]}], initial_weights=drawn, limit=None
    )[0]:
        _, outputs = run.run_training("trial", job.settings, digits, device=torch.device("cpu"))
        first = outputs[(outputs["step"] == 0) & (outputs["coupling"] == "standard")]
        f = np.stack(first.sort_values(["width", "seed"])["outputs"]).reshape(24, 4, 10)
        found.append((job.settings.width, f[:, :, 1:].ravel()))
    correlation = np.corrcoef([f for _, f in sorted(found, key=lambda pair: pair[0])])[0, 1]
    assert correlation > 0.5 if alike else abs(correlation) < 0.2
