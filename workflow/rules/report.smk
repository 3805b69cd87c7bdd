REPORT = f"{RESULTS}/report.html"


rule report_page:
    input:
        claims=CLAIMS_TABLE,
        pictures=expand(f"{FIGURES}/{{figure}}.{{format}}", figure=SHOWN, format=("svg", "csv")),
        tables=rules.train.input + rules.limits.input,
        captions=expand("workflow/report/{figure}.rst", figure=SHOWN),
        code=source(
            "reporting",
            "claims",
            "catalogue",
            "parametrization",
            "pipeline/config",
            "pipeline/jobs",
        )
        + [f"src/nfd/templates/report.{kind}" for kind in ("html.j2", "css", "js")],
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
    message:
        "Writing the report"
    shell:
        "python scripts/make_report.py --config {params.config:q} --claims {input.claims:q}"
        " --results {params.results:q} --figures {params.figures:q} --captions workflow/report"
        " --output {output.page:q} > {log:q} 2>&1"


# The target's name is what a person asks for; `report:` above is Snakemake's own directive.
rule report:
    input:
        REPORT,
