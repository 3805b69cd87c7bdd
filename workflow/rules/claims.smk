RUN = [f"{FIGURES_FOLDER}/claims.csv", f"{FIGURES_FOLDER}/provenance.json"]


rule claims:
    input:
        CLAIMS_TABLE,
        RUN,


# Evidence: estimates with intervals, from the tables of runs; figures draw it, claims rest on it.
rule gather_evidence:
    input:
        tables=evidence_inputs,
        outputs=lambda wildcards: [
            path for name in experiments_of(wildcards) for path in outputs_of(name)
        ],
        # Its content is known by the tables made from it; its time says nothing.
        data=ancient(first_batch_data),
    output:
        evidence=f"{RESULTS}/evidence/{{figure}}.csv",
    log:
        f"{LOGS}/evidence/{{figure}}.log",
    benchmark:
        f"{BENCHMARKS}/evidence/{{figure}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        code=lambda wildcards: code_of(
            "make_evidence", registry.module_of("evidence", wildcards.figure)
        ),
        look=lambda wildcards: look_arguments(wildcards.figure),
        batch=first_batch_arguments,
    message:
        "Gathering the evidence of {wildcards.figure}"
    shell:
        'python "$CHECKOUT/scripts/make_evidence.py" --figure {wildcards.figure} --tables {input.tables:q}'
        " --outputs {input.outputs:q} {params.look:q} {params.batch:q} --output {output.evidence:q} > {log:q} 2>&1"


rule judge_claims:
    input:
        evidence=expand(f"{RESULTS}/evidence/{{figure}}.csv", figure=SHOWN),
    output:
        claims=report(
            CLAIMS_TABLE,
            caption="../report/claims.rst",
            category="Claims",
            labels={"figure": "verdicts"},
        ),
    log:
        f"{LOGS}/claims.log",
    benchmark:
        f"{BENCHMARKS}/claims.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_of(
            "judge_claims", *{registry.module_of("verdict", name) for name in registry.CLAIMS}
        ),
        looks=as_argument(LOOKS),
    message:
        "Judging the claims"
    shell:
        'python "$CHECKOUT/scripts/judge_claims.py" --evidence {input.evidence:q}'
        " --looks {params.looks:q} --output {output.claims:q} > {log:q} 2>&1"


# Beside the figures, what two runs are compared by. Nothing here writes the record: `make record` does.
rule describe_run:
    input:
        claims=CLAIMS_TABLE,
        drawn=expand(f"{FIGURES_FOLDER}/{{figure}}.csv", figure=SHOWN),
        tables=rules.train.input + rules.limits.input,
    output:
        RUN,
    log:
        f"{LOGS}/describe_run.log",
    benchmark:
        f"{BENCHMARKS}/describe_run.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_of("describe_run"),
        config=SHOWN_CONFIG,
        figures=lambda wildcards: FIGURES_FOLDER,
    message:
        "Describing the run"
    shell:
        'python "$CHECKOUT/scripts/describe_run.py" --config {params.config:q} --claims {input.claims:q}'
        " --tables {input.tables:q} --figures {params.figures:q} > {log:q} 2>&1"
