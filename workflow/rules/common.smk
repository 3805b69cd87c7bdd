# What all rules share: the checked configuration, the list of jobs, and every path.
import json
import os
import shlex
import sys
from functools import cache
from time import time

from snakemake.exceptions import WorkflowError

# This process and every job run the checkout's own code, whatever the environment has installed, and
# jobs run on the Python that runs Snakemake. A command names its script by $CHECKOUT, so that its text,
# which Snakemake compares, is the same wherever the checkout lies.
SOURCES = f"{CHECKOUT}/src"
sys.path.insert(0, SOURCES)
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
shell.prefix(
    "set -euo pipefail; "
    f"export CHECKOUT={shlex.quote(str(CHECKOUT))} PYTHONPATH={shlex.quote(SOURCES)}; "
)

import nfd
from nfd.claims import registry
from nfd.data import needs, sources
from nfd.data.raw import DataError
from nfd.pipeline import code, config_files, cost, gpu, jobs, looks, progress, replacing
from nfd.pipeline.config import ConfigError, check, figure_digest, without_label
from nfd.pipeline.settings import as_argument

if not Path(nfd.__file__).is_relative_to(SOURCES):
    raise WorkflowError(
        f"the code of {Path(nfd.__file__).parent} is loaded already, and is not that of {CHECKOUT}; "
        "start snakemake in a process of its own"
    )

try:
    for path in workflow.configfiles:
        config_files.read(path)  # stricter than Snakemake, which has read it already
    CONFIG = check(config)
    sources.check_settings(CONFIG["dataset"])
except (ConfigError, DataError) as error:
    raise WorkflowError(str(error)) from None

PRESET = CONFIG["preset"]
RESULTS = f"results/{PRESET}"
FIGURES_FOLDER = f"figures/{PRESET}"
LOGS = f"logs/{PRESET}"
BENCHMARKS = f"{RESULTS}/benchmarks"
DATA = f"{RESULTS}/data.npz"
FACTS = f"{RESULTS}/data.json"
CLAIMS_TABLE = f"{RESULTS}/claims.csv"
ENVIRONMENT = "../../envs/nfd.yaml"
# The configuration as the record and the report show it, less what changes no number.
SHOWN_CONFIG = as_argument(
    {key: value for key, value in CONFIG.items() if key not in ("device", "threads_per_job")}
)
FIGURE_FILES = ("pdf", "png", "svg", "csv")

TRAINING_JOBS, LIMIT_JOBS = (
    {(job.experiment, job.name): job for job in found} for found in jobs.expand(CONFIG)
)
WAITING = jobs.trained_by_longer(list(TRAINING_JOBS.values()))
DATASET_DIGEST = replacing.dataset_digest(CONFIG["dataset"])
REPLACED = replacing.made_otherwise(
    (
        f"{RESULTS}/{kind}/{job.experiment}/{job.name}.parquet",
        replacing.settings_digest(DATASET_DIGEST, job.settings.to_json()),
    )
    for kind, made in (("runs", TRAINING_JOBS), ("limits", LIMIT_JOBS))
    for job in made.values()
)
if REPLACED and workflow.is_main_process:
    print(replacing.announcement(PRESET, len(REPLACED)), file=sys.stderr)
# Figures whose experiments are all switched on.
SHOWN = [
    name
    for name, figure in registry.FIGURES.items()
    if set(figure.experiments) <= set(CONFIG["experiments"])
]


# Figures of sweeps that grow are judged at a look; scripts/decide.py writes such configurations.
LOOKS = looks.looks_of(CONFIG, {name: registry.FIGURES[name].experiments for name in SHOWN})


wildcard_constraints:
    experiment="[a-z][a-z0-9_]*",
    job="[a-z0-9_]+",
    figure="[a-z][a-z0-9_]*",


CODE = code.Code()
DEVICE = CONFIG["device"]
ON_GPU = gpu.wanted(DEVICE)


def in_checkout(path):
    """A file of the checkout as a job's inputs name it.

    The name is relative where the checkout is the working directory, so that nothing reruns when it moves.
    """
    return path if Path.cwd() == CHECKOUT else f"{CHECKOUT}/{path}"


@cache
def code_of(script, *modules):
    """Digest of the code that a script's results depend on; a parameter, so that comments rerun nothing.

    ``modules`` are those of a family of claims that the script loads by their names.
    """
    files = [f"{SOURCES}/{module.replace('.', '/')}.py" for module in modules]
    try:
        return CODE.digest(f"{CHECKOUT}/scripts/{script}.py", *files)
    except code.HiddenCodeError as error:
        raise WorkflowError(str(error)) from None


def sources_of(script):
    """A script and all files of the package that it loads; inputs, so that texts in them count."""
    modules = CODE.modules_of(f"{CHECKOUT}/scripts/{script}.py")
    files = [f"scripts/{script}.py", *(path.relative_to(CHECKOUT).as_posix() for path in modules)]
    return [in_checkout(file) for file in files]


def caption_of(figure):
    """The file with a figure's caption."""
    return in_checkout(registry.caption_path(figure).relative_to(CHECKOUT).as_posix())


# Functions of wildcards meet names that people typed; an exit is told in one line, without a traceback.
def job_of(known, wildcards):
    """The job, training or limit, that the wildcards name."""
    key = wildcards.experiment, wildcards.job
    if key not in known:
        names = [f"{experiment}/{job}" for experiment, job in known]
        sys.exit(f"error: {jobs.no_such('job', f'{key[0]}/{key[1]}', names)}")
    return known[key]


def training_job(wildcards):
    """The job that makes a table of runs."""
    return job_of(TRAINING_JOBS, wildcards)


def limit_job(wildcards):
    """The job that makes a table of limits."""
    return job_of(LIMIT_JOBS, wildcards)


def longest_first(job):
    """A job's priority, seconds: one that takes an hour must not be the last that starts.

    But for one that finds in the store what a longer one trains, once that has ended.
    """
    return 0 if (job.experiment, job.name) in WAITING else round(job.cost.estimate_s, 1)


def experiments_of(wildcards):
    """The experiments that a figure rests on."""
    if wildcards.figure not in SHOWN:
        sys.exit(f"error: {jobs.no_such('figure', wildcards.figure, SHOWN)}")
    return registry.FIGURES[wildcards.figure].experiments


def estimate_s(job):
    """Rough seconds of a job of the DAG."""
    found = {"train_networks": training_job, "simulate_limit": limit_job}.get(job.rule.name)
    return found(job.wildcards).cost.estimate_s if found else cost.START_S


onstart:
    progress.watch(
        PRESET,
        {
            tuple(job.output): estimate_s(job)
            for job in workflow.dag.needrun_jobs()
            if job.output
        },
        progress.computed_since(time()),
    )


def tables_of(experiment):
    """All result tables of an experiment, of networks and of limits."""
    runs = [f"{RESULTS}/runs/{e}/{n}.parquet" for e, n in TRAINING_JOBS if e == experiment]
    limits = [f"{RESULTS}/limits/{e}/{n}.parquet" for e, n in LIMIT_JOBS if e == experiment]
    return runs + limits


def outputs_of(experiment):
    """The tables of network outputs that lie beside the result tables."""
    return [path.replace(".parquet", ".outputs.parquet") for path in tables_of(experiment)]


def look_arguments(figure):
    """The look at which a figure's intervals are made, for the command line; empty for a single one."""
    if figure not in LOOKS:
        return []
    seeds, schedule = LOOKS[figure]
    return ["--look", str(seeds), "--schedule", *map(str, schedule)]


def first_batch_data(wildcards):
    """The prepared data, for figures with closed forms of the first step."""
    return [DATA] if registry.FIGURES[wildcards.figure].batch else []


def first_batch_arguments(wildcards):
    """The data and the settings that say which samples a figure's first step learned, for a command line."""
    if not registry.FIGURES[wildcards.figure].batch:
        return []
    experiment = experiments_of(wildcards)[0]
    job = next(job for (name, _), job in TRAINING_JOBS.items() if name == experiment)
    return ["--data", DATA, "--settings", job.settings.to_json()]


def evidence_inputs(wildcards):
    """What a figure's evidence is computed from."""
    return [path for name in experiments_of(wildcards) for path in tables_of(name)]


def needed(config):
    """What a checked configuration's experiments need of the data, for a command line; None: nothing."""
    found = needs.needs_of_all(config) if config else []
    listed = [[need.key, need.split, need.size] for need in found]
    return json.dumps(listed, separators=(",", ":"))


def lacking():
    """What the data that are prepared already lack for this configuration; empty if nothing."""
    try:
        sizes = json.loads(Path(FACTS).read_text(encoding="utf-8"))
        return needs.shortage(needs.needs_of_all(CONFIG), sizes, sizes["name"])
    except (OSError, ValueError, KeyError):
        return ""


def in_earnest():
    """The configuration without the smoke preset's file, which makes the networks tiny for a trial."""
    files = [Path(path) for path in workflow.configfiles]
    trial = [path for path in files if path.name == "smoke.yaml"]
    if not trial:
        return None
    try:
        return check(config_files.load([path for path in files if path not in trial]))
    except ConfigError:
        return None


def prepared_facts(wildcards):
    """The small file that identifies the prepared data.

    It is that of a checkpoint, so Snakemake looks at its content once the data are prepared: the jobs
    after it run again only if samples, labels or sizes are others.
    """
    return checkpoints.prepare_data.get().output.facts
