RECORD = [f"{FIGURES}/claims.csv", f"{FIGURES}/provenance.json"]


rule claims:
    input:
        CLAIMS_TABLE,
        RECORD,


# Evidence: estimates with intervals, from the tables of runs; figures draw it, claims rest on it.
rule gather_evidence:
    input:
        tables=evidence_inputs,
        outputs=lambda wildcards: [
            path for name in experiments_of(wildcards) for path in outputs_of(name)
        ],
        code=source("evidence", "scaling", "closed_form", "parametrization"),
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
    message:
        "Gathering the evidence of {wildcards.figure}"
    shell:
        "python scripts/make_evidence.py --figure {wildcards.figure} --tables {input.tables:q}"
        " --outputs {input.outputs:q} --output {output.evidence:q} > {log:q} 2>&1"


rule judge_claims:
    input:
        evidence=expand(f"{RESULTS}/evidence/{{figure}}.csv", figure=SHOWN),
        code=source("claims", "scaling", "catalogue"),
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
    message:
        "Judging the claims"
    shell:
        "python scripts/judge_claims.py --evidence {input.evidence:q}"
        " --output {output.claims:q} > {log:q} 2>&1"


# Small copies beside the figures, to be committed with them.
rule keep_record:
    input:
        claims=CLAIMS_TABLE,
        tables=rules.train.input + rules.limits.input,
        code=source("verdicts"),
    output:
        RECORD,
    log:
        f"{LOGS}/record.log",
    benchmark:
        f"{BENCHMARKS}/record.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=SHOWN_CONFIG,
    message:
        "Keeping the record"
    shell:
        "python scripts/keep_record.py --config {params.config:q} --claims {input.claims:q}"
        " --tables {input.tables:q} --outputs {output:q} > {log:q} 2>&1"
