# Records -> comparison tables and figures, in the layout of the expected matrix.


rule tables:
    input:
        CELL_FILES,
    output:
        report(
            multiext("results/tables/{experiment}/comparison", ".csv", ".md", ".tex", ".html", ".long.csv", ".png"),
            caption="../report/comparison.rst",
            category="{experiment}",
        ),
    params:
        code=code("rsitr.tables.comparison"),
        strict="--strict" if PARAMS.strict else "",
    log:
        "results/logs/tables/{experiment}.log",
    benchmark:
        "results/timing/tables/{experiment}.tsv"
    resources:
        mem_mb=1000,
        cpu=1,
    shell:
        "rsitr tables {wildcards.experiment} --only comparison {params.strict} > {log} 2>&1"
