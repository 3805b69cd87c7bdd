rule limits:
    input:
        [f"{RESULTS}/limits/{experiment}/{name}.parquet" for experiment, name in LIMIT_JOBS],


rule simulate_limit:
    input:
        # Its content is known by the facts; its time says nothing.
        data=ancient(DATA),
        facts=prepared_facts,
    output:
        results=f"{RESULTS}/limits/{{experiment}}/{{job}}.parquet",
        outputs=f"{RESULTS}/limits/{{experiment}}/{{job}}.outputs.parquet",
    log:
        f"{LOGS}/limits/{{experiment}}/{{job}}.log",
    benchmark:
        f"{BENCHMARKS}/limits/{{experiment}}/{{job}}.tsv"
    priority: lambda wildcards: longest_first(limit_job(wildcards))
    conda:
        ENVIRONMENT
    threads: CONFIG["threads_per_job"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * limit_job(wildcards).cost.memory_mb,
        runtime=lambda wildcards, attempt: attempt * limit_job(wildcards).cost.runtime_min,
        gpu=int(ON_GPU),
        device=DEVICE,
        dataset=DATASET_DIGEST,
    params:
        code=code_of("simulate_limit"),
        settings=lambda wildcards: limit_job(wildcards).settings.to_json(),
    message:
        "Simulating the limit of {wildcards.experiment}: {wildcards.job}"
    shell:
        'python "$CHECKOUT/scripts/simulate_limit.py" --experiment {wildcards.experiment}'
        " --settings {params.settings:q} --data {input.data:q} --results {output.results:q}"
        " --outputs {output.outputs:q} --device {resources.device:q} --gpus {resources.gpu}"
        " --threads {threads} --dataset-digest {resources.dataset:q} > {log:q} 2>&1"
