# What all rules share: the checked configuration, the list of jobs, and every path.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from nfd import catalogue
from nfd.datasets import DataError, check_settings
from nfd.pipeline import config_files, cost, gpu, jobs, progress, replacing
from nfd.pipeline.config import ConfigError, check, figure_digest, without_label
from nfd.pipeline.settings import as_argument

try:
    for path in workflow.configfiles:
        config_files.read(path)  # stricter than Snakemake, which has read it already
    CONFIG = check(config)
    check_settings(CONFIG["dataset"])
except (ConfigError, DataError) as error:
    raise WorkflowError(str(error)) from None

PRESET = CONFIG["preset"]
RESULTS = f"results/{PRESET}"
FIGURES = f"figures/{PRESET}"
LOGS = f"logs/{PRESET}"
BENCHMARKS = f"{RESULTS}/benchmarks"
DATA = f"{RESULTS}/data.npz"
CLAIMS_TABLE = f"{RESULTS}/claims.csv"
ENVIRONMENT = "../../envs/nfd.yaml"
# The configuration as the record and the report show it, less what changes no number.
SHOWN_CONFIG = as_argument(
    {key: value for key, value in CONFIG.items() if key not in ("device", "threads_per_job")}
)
FORMATS = ("pdf", "png", "svg", "csv")

TRAINING_JOBS, LIMIT_JOBS = (
    {(job.experiment, job.name): job for job in found} for found in jobs.expand(CONFIG)
)
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
    for name, figure in catalogue.FIGURES.items()
    if set(figure.experiments) <= set(CONFIG["experiments"])
]


wildcard_constraints:
    experiment="[a-z][a-z0-9_]*",
    job="[a-z0-9_]+",
    figure="[a-z][a-z0-9_]*",


DEVICE = CONFIG["device"]
ON_GPU = gpu.wanted(DEVICE)


def source(*modules):
    """Files of the package that a rule's numbers depend on; Snakemake compares their content.

    A subpackage stands for all its modules.
    """
    files = []
    for module in modules:
        inside = sorted(Path("src/nfd", module).glob("*.py"))
        files += map(str, inside) if inside else [f"src/nfd/{module}.py"]
    return files


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


def experiments_of(wildcards):
    """The experiments that a figure rests on."""
    if wildcards.figure not in SHOWN:
        sys.exit(f"error: {jobs.no_such('figure', wildcards.figure, SHOWN)}")
    return catalogue.FIGURES[wildcards.figure].experiments


def estimate_s(job):
    """Rough seconds of a job of the DAG."""
    found = {"train_networks": training_job, "simulate_limit": limit_job}.get(job.rule.name)
    return found(job.wildcards).cost.estimate_s if found else cost.START_S


onstart:
    progress.watch(
        PRESET,
        {job: estimate_s(job) for job in workflow.dag.needrun_jobs()},
        workflow.dag.finished,
    )


def tables_of(experiment):
    """All result tables of an experiment, of networks and of limits."""
    runs = [f"{RESULTS}/runs/{e}/{n}.parquet" for e, n in TRAINING_JOBS if e == experiment]
    limits = [f"{RESULTS}/limits/{e}/{n}.parquet" for e, n in LIMIT_JOBS if e == experiment]
    return runs + limits


def outputs_of(experiment):
    """The tables of network outputs that lie beside the result tables."""
    return [path.replace(".parquet", ".outputs.parquet") for path in tables_of(experiment)]


def evidence_inputs(wildcards):
    """What a figure's evidence is computed from."""
    return [path for name in experiments_of(wildcards) for path in tables_of(name)]
