# Facts about the captions of the experiment's datasets, and the recall that identical captions leave possible.


rule captions:
    input:
        expand("data/canonical/{dataset}/dataset.parquet", dataset=PARAMS[PARAMS.experiment].datasets),
    output:
        multiext("results/tables/{experiment}/datasets", ".csv", ".md", ".tex", ".html"),
    params:
        code=code("rsitr.tables.datasets"),
    log:
        "results/logs/captions/{experiment}.log",
    benchmark:
        "results/timing/captions/{experiment}.tsv"
    resources:
        mem_mb=1000,
        cpu=1,
    shell:
        "rsitr tables {wildcards.experiment} --only datasets > {log} 2>&1"
