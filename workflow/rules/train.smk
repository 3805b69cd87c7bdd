rule train:
    input:
        [f"{RESULTS}/runs/{experiment}/{name}.parquet" for experiment, name in TRAINING_JOBS],


# The settings are all a job depends on besides data and code. Device and threads change the time it
# takes and the last bits of its numbers, so they are resources: changing them reruns nothing. So is the
# digest of the data set's settings, which a table only records: what they change shows in the data.
rule train_networks:
    input:
        # Its content is known by the facts; its time says nothing.
        data=ancient(DATA),
        facts=prepared_facts,
    output:
        results=f"{RESULTS}/runs/{{experiment}}/{{job}}.parquet",
        outputs=f"{RESULTS}/runs/{{experiment}}/{{job}}.outputs.parquet",
    log:
        f"{LOGS}/runs/{{experiment}}/{{job}}.log",
    benchmark:
        f"{BENCHMARKS}/runs/{{experiment}}/{{job}}.tsv"
    priority: lambda wildcards: longest_first(training_job(wildcards))
    conda:
        ENVIRONMENT
    threads: CONFIG["threads_per_job"]
    resources:
        mem_mb=lambda wildcards, attempt: attempt * training_job(wildcards).cost.memory_mb,
        runtime=lambda wildcards, attempt: attempt * training_job(wildcards).cost.runtime_min,
        gpu=int(ON_GPU),
        device=DEVICE,
        dataset=DATASET_DIGEST,
    params:
        code=code_of("train"),
        settings=lambda wildcards: training_job(wildcards).settings.to_json(),
    message:
        "Training {wildcards.experiment}: {wildcards.job}"
    shell:
        'python "$CHECKOUT/scripts/train.py" --experiment {wildcards.experiment}'
        " --settings {params.settings:q} --data {input.data:q} --results {output.results:q}"
        " --outputs {output.outputs:q} --device {resources.device:q} --gpus {resources.gpu}"
        " --threads {threads} --dataset-digest {resources.dataset:q} > {log:q} 2>&1"
