# What all rules share: the checked configuration, the list of jobs, and every path.
import json
import os
import shlex
import sys
from time import time

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

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
from nfd import experiments, progress
from nfd.claims import registry
from nfd.data import needs, sources
from nfd.data.raw import DataError
from nfd.pipeline import code

if not Path(nfd.__file__).is_relative_to(SOURCES):
    raise WorkflowError(
        f"the code of {Path(nfd.__file__).parent} is loaded already, and is not that of {CHECKOUT}; "
        "start snakemake in a process of its own"
    )

try:
    CONFIG = experiments.check(config)
    sources.check_settings(CONFIG["dataset"])
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
    for name, figure in registry.FIGURES.items()
    if set(figure.experiments) <= set(CONFIG["experiments"])
]


wildcard_constraints:
    experiment="[a-z][a-z0-9_]*",
    job="[a-z0-9_]+",
    figure="[a-z][a-z0-9_]*",


ON_GPU = experiments.wants_gpu(CONFIG["device"])


def in_checkout(path):
    """A file of the checkout as a job's inputs name it.

    The name is relative where the checkout is the working directory, so that nothing reruns when it moves.
    """
    return path if Path.cwd() == CHECKOUT else f"{CHECKOUT}/{path}"


def code_of(script, *modules):
    """Digest of the code that a script's results depend on; a parameter, so that comments rerun nothing.

    ``modules`` are those of a family of claims that the script loads by their names.
    """
    files = [f"{SOURCES}/{module.replace('.', '/')}.py" for module in modules]
    try:
        return code.digest(f"{CHECKOUT}/scripts/{script}.py", *files)
    except code.HiddenCodeError as error:
        raise WorkflowError(str(error)) from None


def sources_of(script):
    """A script and all files of the package that it loads; inputs, so that texts in them count."""
    modules = code.modules_of(f"{CHECKOUT}/scripts/{script}.py")
    files = [f"scripts/{script}.py", *(path.relative_to(CHECKOUT).as_posix() for path in modules)]
    return [in_checkout(file) for file in files]


def caption_of(figure):
    """The file with a figure's caption."""
    return in_checkout(registry.caption_path(figure).relative_to(CHECKOUT).as_posix())


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
        {
            tuple(job.output): estimate_s(job)
            for job in workflow.dag.needrun_jobs()
            if job.output
        },
        progress.written_since(time()),
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
    names = registry.FIGURES[wildcards.figure].experiments
    return [path for name in names for path in tables_of(name)]
