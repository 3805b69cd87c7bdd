# What all rules share: the checked configuration, the list of jobs, and every path.
import os

from snakemake.exceptions import WorkflowError

from nfd import catalogue, experiments, progress
from nfd.datasets import DataError, check_settings
from nfd.pipeline import code

try:
    CONFIG = experiments.check(config)
    check_settings(CONFIG["dataset"])
except (experiments.ConfigError, DataError) as error:
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
SHOWN_CONFIG = experiments.as_argument(
    {key: value for key, value in CONFIG.items() if key not in ("device", "threads_per_job")}
)
FORMATS = ("pdf", "png", "svg", "csv")

TRAINING_JOBS, LIMIT_JOBS = (
    {(job.experiment, job.name): job for job in jobs} for jobs in experiments.expand(CONFIG)
)
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


ON_GPU = experiments.wants_gpu(CONFIG["device"])


def code_of(script, *loaded):
    """Digest of the code that a script's results depend on; a parameter, so that comments rerun nothing.

    ``loaded``: files of the package that the script imports by a name it computes.
    """
    try:
        return code.digest(f"scripts/{script}.py", *loaded)
    except code.HiddenCodeError as error:
        raise WorkflowError(str(error)) from None


def sources_of(script, *loaded):
    """A script and all files of the package that it loads; inputs, so that texts in them count."""
    path = f"scripts/{script}.py"
    return [path, *map(os.path.relpath, code.modules_of(path, *loaded))]


def training_job(wildcards):
    """The job that makes a table of runs."""
    return TRAINING_JOBS[wildcards.experiment, wildcards.job]


def limit_job(wildcards):
    """The job that makes a table of limits."""
    return LIMIT_JOBS[wildcards.experiment, wildcards.job]


def estimate_s(job):
    """Rough seconds of a job of the DAG."""
    found = {"train_networks": training_job, "simulate_limit": limit_job}.get(job.rule.name)
    return found(job.wildcards).estimate_s if found else experiments.START_S


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
    names = catalogue.FIGURES[wildcards.figure].experiments
    return [path for name in names for path in tables_of(name)]
