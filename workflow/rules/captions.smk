# Tables of facts about the experiment's datasets, each from their canonical tables alone.


rule dataset_tables:
    input:
        expand(
            "data/canonical/{dataset}/dataset.parquet",
            dataset=PARAMS[PARAMS.experiment].datasets,
        ),
    output:
        multiext("results/tables/{experiment}/{table}", ".csv", ".md", ".tex", ".html"),
    log:
        "results/logs/tables/{experiment}-{table}.log",
    benchmark:
        "results/timing/tables/{experiment}-{table}.tsv"
    wildcard_constraints:
        table="|".join(DATASET_TABLES),
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=lambda wildcards: code(f"rsitr.tables.{wildcards.table}"),
    shell:
        "rsitr tables {wildcards.experiment} --only {wildcards.table} > {log} 2>&1"
