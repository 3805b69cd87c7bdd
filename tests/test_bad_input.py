"""Wrong configurations and data: refused before work starts, in one sentence that names the fault."""

import copy
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nfd.data.raw import DataError
from nfd.data.sources import check_settings, prepare
from nfd.pipeline.config import ConfigError, check, load_schema
from nfd.pipeline.jobs import expand

ROOT = Path(__file__).parents[1]
BASE = {
    "preset": "test",
    "dataset": {"name": "digits"},
    "experiments": {
        "small": {
            "networks": [{"parametrization": "depth_mup"}],
            "grids": [{"widths": [8], "depths": [2]}],
            "learning_rates": [0.5],
            "seeds": 2,
            "steps": 2,
            "batch_size": 4,
            "train_size": 8,
            "data_order": "shared",
            "limit": {"particles": 16, "depths": [2]},
        }
    },
}
REMOVE = "(removed)"


def changed(path, value):
    """BASE with the key at the dotted ``path`` set to ``value``, or removed."""
    config = copy.deepcopy(BASE)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    section = config
    for part in parents:
        section = section.setdefault(part, {}) if isinstance(section, dict) else section[part]
    if value is REMOVE:
        del section[last]
    else:
        section[last] = value
    return config


E = "experiments.small"
N = f"{E}.networks.0"
# (key, value, what the sentence must name)
BAD = [
    ("presett", "x", "did you mean 'preset'"),
    ("preset", REMOVE, "preset is missing"),
    ("preset", "../escape", "preset"),
    ("preset", "a;b", "preset"),
    ("preset", "Upper", "preset"),
    ("preset", "", "preset"),
    ("preset", 3, "preset"),
    ("device", "gpu", "auto, cpu, cuda"),
    ("precision", "float16", "float32, float64"),
    ("tf32", "yes", "tf32"),
    ("root_seed", -1, ">= 0"),
    ("root_seed", 0.5, "root_seed"),
    ("threads_per_job", 0, ">= 1"),
    ("dataset", REMOVE, "dataset is missing"),
    ("dataset", "digits", "dataset"),
    ("dataset.name", "imagenet", "cifar10"),
    ("dataset.nam", "digits", "did you mean 'name'"),
    ("dataset.train_size", 0, ">= 1"),
    ("dataset.download", "no", "boolean"),
    ("dataset.label", "x" * 61, "label"),
    ("experiments", REMOVE, "experiments is missing"),
    ("experiments", {}, "experiments"),
    ("experiments", [], "experiments"),
    ("experiments", {"small": None}, "switched off"),
    ("experiments", {"../x": BASE["experiments"]["small"]}, "experiments"),
    ("experiments", {"a b;c": BASE["experiments"]["small"]}, "experiments"),
    (f"{E}.networks", REMOVE, "networks is missing"),
    (f"{E}.networks", [], "networks"),
    (f"{E}.network", [], "did you mean 'networks'"),
    (f"{N}.parametrization", "depthmup", "did you mean 'depth_mup'"),
    (f"{N}.parametrization", REMOVE, "parametrization is missing"),
    (f"{N}.correction", 0.5, "depth_mup_corrected"),
    (f"{N}.correction", -1, ">= 0"),
    (f"{N}.block_layers", 3, "1, 2"),
    (f"{N}.trainable", ["hidden"], "hidden_1"),
    (f"{N}.trainable", ["hidden_1"], "block_layers 2"),
    (f"{N}.trainable", ["input", "input"], "twice"),
    (f"{N}.couplings", ["independent"], "standard, decoupled"),
    (f"{N}.max_depth", 0, ">= 1"),
    (f"{N}.width", 8, "width is unknown"),
    (f"{E}.grids", REMOVE, "grids is missing"),
    (f"{E}.grids", [], "grids"),
    (f"{E}.grids.0.widths", [-8], "too small"),
    (f"{E}.grids.0.widths", [8.5], "integer"),
    (f"{E}.grids.0.widths", [], "at least 1"),
    (f"{E}.grids.0.widths", [8, 8], "twice"),
    (f"{E}.grids.0.widths", 8, "array"),
    (f"{E}.grids.0.depths", [0], "too small"),
    (f"{E}.grids.0.depths", REMOVE, "depths is missing"),
    (f"{E}.learning_rates", REMOVE, "learning_rates is missing"),
    (f"{E}.learning_rates", ["1e-1"], "0.1, not 1e-1"),
    (f"{E}.learning_rates", [-0.1], "too small"),
    (f"{E}.learning_rates", [math.nan], "learning_rates"),
    (f"{E}.learning_rates", [math.inf], "learning_rates"),
    (f"{E}.seeds", 0, "seeds"),
    (f"{E}.seeds", [1, 1], "twice"),
    (f"{E}.seeds", REMOVE, "seeds is missing"),
    (f"{E}.steps", -1, ">= 0"),
    (f"{E}.steps", True, "integer"),
    (f"{E}.batch_size", 0, ">= 1"),
    (f"{E}.batch_size", 9, "exceeds train_size 8"),
    (f"{E}.optimizers", ["lion"], "sgd, adam"),
    (f"{E}.optimizers", ["adam"], "add 'sgd'"),
    (f"{E}.activation", "swish", "relu, tanh, linear"),
    (f"{E}.loss", "hinge", "cross_entropy"),
    (f"{E}.horizon", 0, "horizon"),
    (f"{E}.log_points", 1, ">= 2"),
    (f"{E}.probes", ["loss"], "output_change"),
    (f"{E}.probe_size", 0, ">= 1"),
    (f"{E}.data_order", "random", "per_seed, shared"),
    (f"{E}.data_order", "per_seed", "'shared'"),
    (f"{E}.train_size", REMOVE, "train_size"),
    (f"{E}.limit", {"particles": 16}, "depths is missing"),
    (f"{E}.steps", "10", "without quotes"),
    (f"{E}.{1}", 2, "is unknown"),
    ("experiments", {7: BASE["experiments"]["small"]}, "a key must be text, not 7"),
    (f"{E}.limit.particles", 0, ">= 1"),
    (f"{E}.limit.particle", 16, "did you mean 'particles'"),
    (f"{E}.networks", [{"parametrization": "mup"}], "none of the networks has a limit"),
]


def jobs_of(config):
    """What the Snakefile does before it makes a job."""
    checked = check(config)
    check_settings(checked["dataset"])
    return expand(checked)


def assert_one_sentence(message, named):
    assert named in message, message
    assert "\n" not in message
    assert "Traceback" not in message
    assert len(message) < 400, message


def test_the_base_is_accepted():
    training, limits = jobs_of(BASE)
    assert len(training) == 1
    assert len(limits) == 2


@pytest.mark.parametrize(("key", "value", "named"), BAD, ids=[f"{k}={v}"[:60] for k, v, _ in BAD])
def test_a_wrong_key_or_value_is_named(key, value, named):
    with pytest.raises(ConfigError) as caught:
        jobs_of(changed(key, value))
    assert_one_sentence(str(caught.value), named)


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "config").glob("*.yaml")))
def test_shipped_files_have_known_keys_only(name):
    """Each shipped preset, laid over the base, is accepted and expands."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    _merge(config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    training, _ = jobs_of(config)
    assert training


def _merge(base, changes):
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


# ------------------------------------------------------------------------------ data folders


def images(root, names=("train/a", "train/b", "test/a", "test/b"), size=(4, 4)):
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        Image.new("RGB", size, (40 * number, 9, 9)).save(root / name / "1.png")


def no_root(root):
    return {}


def absent(root):
    return {"root": str(root / "nowhere")}


def a_file(root):
    (root / "file").touch()
    return {"root": str(root / "file")}


def no_test(root):
    images(root, ("train/a", "train/b"))
    return {"root": str(root)}


def no_classes(root):
    (root / "train").mkdir()
    (root / "test").mkdir()
    return {"root": str(root)}


def other_classes(root):
    images(root, ("train/a", "train/b", "test/a", "test/c"))
    return {"root": str(root)}


def an_empty_class(root):
    images(root)
    (root / "train/a/1.png").unlink()
    return {"root": str(root)}


def truncated(root):
    images(root, size=(64, 64))
    path = root / "train/b/1.png"
    path.write_bytes(path.read_bytes()[:60])
    return {"root": str(root)}


def not_an_image(root):
    images(root)
    (root / "test/b/1.png").write_text("text")
    return {"root": str(root)}


def empty_image(root):
    images(root)
    (root / "test/b/1.png").write_bytes(b"")
    return {"root": str(root)}


def other_sizes(root):
    images(root)
    Image.new("RGB", (5, 4)).save(root / "test/b/2.png")
    return {"root": str(root)}


def sixteen_bits(root):
    images(root)
    Image.new("I;16", (4, 4)).save(root / "test/b/1.png")
    return {"root": str(root)}


def one_colour(root):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (7, 7, 7)).save(root / name / "1.png")
    return {"root": str(root)}


def too_few(root):
    images(root)
    return {"root": str(root), "train_size": 3}


FOLDERS = {
    no_root: "dataset.root",
    absent: "no folder",
    a_file: "no folder",
    no_test: "test",
    no_classes: "no class folders",
    other_classes: "but not in",
    an_empty_class: "holds no .png",
    truncated: "train/b/1.png is not a whole PNG",
    not_an_image: "test/b/1.png is not a whole PNG",
    empty_image: "test/b/1.png is not a whole PNG",
    other_sizes: "image_size",
    sixteen_bits: "8 bits",
    one_colour: "plain colour",
    too_few: "dataset.train_size",
}


@pytest.mark.parametrize("broken", FOLDERS, ids=lambda f: f.__name__)
def test_a_broken_image_folder_is_named(tmp_path, broken):
    with pytest.raises(DataError) as caught:
        prepare({"name": "image_folder", **broken(tmp_path)})
    assert_one_sentence(str(caught.value), FOLDERS[broken])


# ------------------------------------------------------------------------------------ fuzzing


def keys_of(schema):
    """Every property name of the schema."""
    found = set()
    if isinstance(schema, dict):
        found |= set(schema.get("properties", {}))
        for value in schema.values():
            found |= keys_of(value)
    elif isinstance(schema, list):
        for value in schema:
            found |= keys_of(value)
    return found


KEYS = [*sorted(keys_of(load_schema())), "small", "../x", "", "a;b", "0"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70000)
    | st.floats()
    | st.sampled_from(["digits", "mup", "depth_mup", "sgd", "standard", "auto", "1e-1", "", "$(x)"])
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


def paths(value, before=()):
    """Paths to every place in a configuration."""
    if before:
        yield before
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from paths(inner, (*before, key))


def accepted_or_refused(config):
    checked, sentence = None, ""
    try:
        checked = check(config)
    except ConfigError as refusal:
        sentence = str(refusal)
    if checked is None:
        assert len(sentence.splitlines()) == 1
        return
    training, limits = expand(checked)
    for job in [*training, *limits]:
        assert job.cost.memory_mb > 0
        assert job.cost.runtime_min > 0
        assert type(job.settings).from_json(job.settings.to_json()) == job.settings


FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@FUZZ
@given(st.data())
def test_one_place_changed_at_random(data):
    """Whatever stands in one place of a good configuration: accepted and expanded, or refused."""
    config = copy.deepcopy(BASE)
    path = data.draw(st.sampled_from(sorted(paths(config), key=str)))
    section = config
    for part in path[:-1]:
        section = section[part]
    section[path[-1]] = data.draw(VALUES)
    accepted_or_refused(config)


@FUZZ
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_any_dictionary(config):
    accepted_or_refused(config)


@FUZZ
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_experiment(experiment):
    config = copy.deepcopy(BASE)
    config["experiments"]["small"] = {**config["experiments"]["small"], **experiment}
    accepted_or_refused(config)
