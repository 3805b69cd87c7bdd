# The replication of arXiv:2512.21075, from data to verdicts. README.md shows how to use it.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.19")

# Code, captions and the base configuration are found here; results go into the working directory.
CHECKOUT = Path(workflow.current_basedir).resolve()


configfile: f"{CHECKOUT}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/limit.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    data,
    train,
    limits,
    figures,
    claims,
    report,


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.claims.input,
        rules.report.input,
