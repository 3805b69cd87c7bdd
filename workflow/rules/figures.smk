rule figures:
    input:
        expand(f"{FIGURES_FOLDER}/{{figure}}.{{format}}", figure=SHOWN, format=FIGURE_FILES),


rule draw_figure:
    input:
        evidence=f"{RESULTS}/evidence/{{figure}}.csv",
    output:
        pdf=f"{FIGURES_FOLDER}/{{figure}}.pdf",
        png=f"{FIGURES_FOLDER}/{{figure}}.png",
        svg=report(
            f"{FIGURES_FOLDER}/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        csv=f"{FIGURES_FOLDER}/{{figure}}.csv",
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
        code=lambda wildcards: code_of(
            "make_figure", registry.module_of("figure", wildcards.figure)
        ),
        label=json.dumps(sources.label_of(CONFIG["dataset"])),
        preset=PRESET,
        digest=lambda wildcards: figure_digest(CONFIG, experiments_of(wildcards)),
        look=lambda wildcards: look_arguments(wildcards.figure),
    message:
        "Drawing {wildcards.figure}"
    shell:
        'python "$CHECKOUT/scripts/make_figure.py" --figure {wildcards.figure} --evidence {input.evidence:q}'
        " --label {params.label:q} --preset {params.preset} --digest {params.digest}"
        " {params.look:q} --outputs {output:q} > {log:q} 2>&1"
