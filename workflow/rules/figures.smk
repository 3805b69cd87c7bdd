rule figures:
    input:
        expand(f"{FIGURES}/{{figure}}.{{format}}", figure=SHOWN, format=FORMATS),


rule draw_figure:
    input:
        evidence=f"{RESULTS}/evidence/{{figure}}.csv",
        code=source("plotting", "drawing", "parametrization"),
    output:
        pdf=f"{FIGURES}/{{figure}}.pdf",
        png=f"{FIGURES}/{{figure}}.png",
        svg=report(
            f"{FIGURES}/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        csv=f"{FIGURES}/{{figure}}.csv",
    log:
        f"{LOGS}/figures/{{figure}}.log",
    benchmark:
        f"{BENCHMARKS}/figures/{{figure}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        label=CONFIG["dataset"].get("label") or CONFIG["dataset"]["name"],
        preset=PRESET,
        digest=lambda wildcards: figure_digest(CONFIG, experiments_of(wildcards)),
    message:
        "Drawing {wildcards.figure}"
    shell:
        "python scripts/make_figure.py --figure {wildcards.figure} --evidence {input.evidence:q}"
        " --label {params.label:q} --preset {params.preset} --digest {params.digest}"
        " --outputs {output:q} > {log:q} 2>&1"
