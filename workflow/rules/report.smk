REPORT = f"{RESULTS}/report.html"
RECORD = Path(in_checkout(f"figures/record/{PRESET}"))


rule report_page:
    input:
        claims=CLAIMS_TABLE,
        run=RUN,
        record=[path.as_posix() for path in sorted(RECORD.glob("*.csv"))]
        + [path.as_posix() for path in RECORD.glob("provenance.json")],
        pictures=expand(f"{FIGURES}/{{figure}}.{{format}}", figure=SHOWN, format=("svg", "csv")),
        tables=rules.train.input + rules.limits.input,
        captions=[caption_of(figure) for figure in SHOWN],
        code=sources_of("make_report")
        + [
            in_checkout(f"src/nfd/report/templates/report.{kind}")
            for kind in ("html.j2", "css", "js")
        ],
    output:
        page=REPORT,
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=SHOWN_CONFIG,
        results=subpath(output.page, parent=True),
        figures=lambda wildcards: FIGURES,
        record=lambda wildcards: RECORD.as_posix() if RECORD.exists() else "",
    message:
        "Writing the report"
    shell:
        'python "$CHECKOUT/scripts/make_report.py" --config {params.config:q} --claims {input.claims:q}'
        ' --results {params.results:q} --figures {params.figures:q} --captions "$CHECKOUT/src/nfd/claims"'
        " --record {params.record:q} --output {output.page:q} > {log:q} 2>&1"


# The target's name is what a person asks for; `report:` above is Snakemake's own directive.
rule report:
    input:
        REPORT,
