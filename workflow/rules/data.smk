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
        # Not among the params: a change of an experiment is no reason to read all samples again.
        needs=needed(CONFIG),
        later=needed(in_earnest()),
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
        'python "$CHECKOUT/scripts/prepare_data.py" --settings {params.settings:q} --needs {resources.needs:q}'
        " --later {resources.later:q} --output {output.data:q} --facts {output.facts:q} 2>&1 | tee {log:q}"
