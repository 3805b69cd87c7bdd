FACTS = f"{RESULTS}/data.json"


def needed(config):
    """What a checked configuration's experiments need of the data, for a command line."""
    listed = [[need.key, need.split, need.size] for need in needs.needs_of_all(config)]
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


EARNEST = in_earnest()
# Not among the params: a change of an experiment is no reason to read all images again.
NEEDS, LATER = needed(CONFIG), needed(EARNEST) if EARNEST else "[]"


rule data:
    input:
        DATA,


checkpoint prepare_data:
    output:
        data=DATA,
        facts=FACTS,
    log:
        f"{LOGS}/prepare_data.log",
    benchmark:
        f"{BENCHMARKS}/prepare_data.tsv"
    retries: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 4000,
        # 250 MB at 40 kB/s take 105 minutes; what has come is kept for the next attempt.
        runtime=lambda wildcards, attempt: attempt * 180,
    params:
        code=code_of("prepare_data"),
        # How a data set is called in print changes nothing in it.
        settings=as_argument(without_label(CONFIG["dataset"])),
        fingerprint=lambda wildcards: sources.fingerprint(CONFIG["dataset"]),
        # Ends in the error that names the key, or in data that suffice by now.
        lacking=lambda wildcards: lacking(),
    message:
        f"Preparing the data set {CONFIG['dataset']['name']}"
    shell:
        'python "$CHECKOUT/scripts/prepare_data.py" --settings {params.settings:q} --needs {NEEDS:q}'
        " --later {LATER:q} --output {output.data:q} --facts {output.facts:q} 2>&1 | tee {log:q}"
