"""Settings of a job, to a line of JSON and back: nothing is lost, and a wrong line is told by its key."""

import json
from pathlib import Path

import pytest

from nfd.pipeline.config import check
from nfd.pipeline.config_files import load
from nfd.pipeline.jobs import LimitJob, TrainingJob, expand
from nfd.pipeline.settings import LimitSettings, SettingsError, TrainingSettings

ROOT = Path(__file__).parents[1]
Jobs = tuple[list[TrainingJob], list[LimitJob]]


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    return expand(check(load([ROOT / "config/config.yaml"])))


def test_json_and_back_is_the_same_record(jobs: Jobs) -> None:
    for job in [*jobs[0], *jobs[1]]:
        again = type(job.settings).from_json(job.settings.to_json())
        assert again == job.settings
        assert again.to_json() == job.settings.to_json()
        assert hash(again) == hash(job.settings)


def test_the_line_is_canonical(jobs: Jobs) -> None:
    """However a line is ordered and spaced, the record's own line is the one that is compared."""
    wanted = jobs[0][0].settings.to_json()
    values = json.loads(wanted)
    shuffled = json.dumps(dict(reversed(values.items())), indent=1)
    assert TrainingSettings.from_json(shuffled).to_json() == wanted
    assert wanted == json.dumps(values, sort_keys=True, separators=(",", ":"))


def test_the_line_holds_what_the_configuration_says() -> None:
    """The wire format, written by hand: a job of another version of the code must not read it differently."""
    experiment = {
        "networks": [{"parametrization": "depth_mup_corrected", "couplings": ["decoupled"]}],
        "grids": [{"widths": [8], "depths": [2]}],
        "learning_rates": [1],
        "seeds": 2,
        "steps": 3,
        "batch_size": 4,
    }
    config = {"preset": "a", "dataset": {"name": "digits"}, "experiments": {"e": experiment}}
    ((job,), _) = expand(check(config))
    assert job.settings.to_json() == (
        '{"activation":"relu","batch_size":4,"block_layers":1,"data_order":"per_seed","depth":2,'
        '"evaluation_size":256,"horizon":1.0,"initial_weights":"independent",'
        '"logged_steps":[0,1,2,3],"loss":"cross_entropy","networks":'
        '[{"correction":0.5,"couplings":["decoupled"],"learning_rates":[1.0],"parametrization":'
        '"depth_mup_corrected","trainable":["input","hidden_2","output"]}],"optimizer":"sgd",'
        '"precision":"float32","probe_size":16,"probes":[],"root_seed":0,"seeds":[0,1],"skip":true,'
        '"steps":3,"tf32":false,"train_size":null,"width":8}'
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda values: values.pop("steps"), "key steps is missing"),
        (lambda values: values.update(step=1), "key step is unknown"),
        (lambda values: values.update(particles=1), "key particles is unknown"),
        (lambda values: values["networks"][0].pop("couplings"), "key couplings is missing"),
        (lambda values: values.update(networks=["mup"]), "'mup' is not a JSON object"),
    ],
)
def test_a_wrong_line_is_told_by_its_key(jobs: Jobs, change, named: str) -> None:
    values = json.loads(jobs[0][0].settings.to_json())
    change(values)
    with pytest.raises(SettingsError, match=named):
        TrainingSettings.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"steps"', "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="settings: "):
        LimitSettings.from_json(text)


def test_members_and_simulations_are_counted(jobs: Jobs) -> None:
    from nfd.pipeline.run import job_members

    for job in jobs[0]:
        assert job.members == len(job_members(job.settings))
    for limit in jobs[1]:
        settings = limit.settings
        assert settings.simulations == len(settings.seeds) * len(settings.learning_rates)
