# Records -> comparison tables and figures, in the layout of the expected matrix.


rule tables:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/comparison",
                ".csv",
                ".md",
                ".tex",
                ".html",
                ".long.csv",
                ".png",
            ),
            caption="../report/comparison.rst",
            category="{experiment}",
        ),
        "results/tables/{experiment}/metrics.json",
        "results/tables/{experiment}/training.csv",
    log:
        "results/logs/tables/{experiment}.log",
    benchmark:
        "results/timing/tables/{experiment}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code(
            "rsitr.tables.comparison", "rsitr.tables.metrics", "rsitr.tables.leakage"
        ),
        strict="--strict" if PARAMS.strict else "",
    shell:
        "rsitr tables {wildcards.experiment} --only comparison {params.strict} > {log} 2>&1"


rule margin_table:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/margin",
                ".csv",
                ".md",
                ".tex",
                ".html",
                ".png",
            ),
            caption="../report/margin.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-margin.log",
    benchmark:
        "results/timing/tables/{experiment}-margin.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.margin"),
    shell:
        "rsitr tables {wildcards.experiment} --only margin > {log} 2>&1"


rule reranking_table:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/reranking",
                ".csv",
                ".md",
                ".tex",
                ".html",
            ),
            caption="../report/reranking.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-reranking.log",
    benchmark:
        "results/timing/tables/{experiment}-reranking.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.reranking"),
    shell:
        "rsitr tables {wildcards.experiment} --only reranking > {log} 2>&1"
