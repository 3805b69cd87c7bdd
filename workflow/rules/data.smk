rule data:
    input:
        DATA,


rule prepare_data:
    input:
        code=source("datasets", "seeds"),
    output:
        data=DATA,
    log:
        f"{LOGS}/prepare_data.log",
    benchmark:
        f"{BENCHMARKS}/prepare_data.tsv"
    retries: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=as_argument(without_label(CONFIG["dataset"])),
    message:
        f"Preparing the data set {CONFIG['dataset']['name']}"
    shell:
        "python scripts/prepare_data.py --settings {params.settings:q}"
        " --output {output.data:q} > {log:q} 2>&1"
