# Facts about the captions of the experiment's datasets, and the recall that identical captions leave possible.


rule captions:
    input:
        expand(
            "data/canonical/{dataset}/dataset.parquet",
            dataset=PARAMS[PARAMS.experiment].datasets,
        ),
    output:
        multiext("results/tables/{experiment}/datasets", ".csv", ".md", ".tex", ".html"),
    log:
        "results/logs/captions/{experiment}.log",
    benchmark:
        "results/timing/captions/{experiment}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.datasets"),
    shell:
        "rsitr tables {wildcards.experiment} --only datasets > {log} 2>&1"
