# Raw archives -> canonical table -> cleaned view.


rule fetch:
    output:
        "data/raw/{dataset}/source.json",
    params:
        code=dataset_code,
    log:
        "results/logs/fetch/{dataset}.log",
    benchmark:
        "results/timing/fetch/{dataset}.tsv"
    localrule: True
    retries: 2
    shell:
        "rsitr data fetch {wildcards.dataset} > {log} 2>&1"


rule canonical:
    input:
        "data/raw/{dataset}/source.json",
    output:
        "data/canonical/{dataset}/dataset.parquet",
    params:
        code=dataset_code,
    log:
        "results/logs/canonical/{dataset}.log",
    benchmark:
        "results/timing/canonical/{dataset}.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        cpu=min(2, pipeline.cores()),
    shell:
        "rsitr data build {wildcards.dataset} > {log} 2>&1"


rule clean:
    input:
        "data/canonical/{dataset}/dataset.parquet",
    output:
        "data/canonical/{dataset}/clean-{dedup}.parquet",
    params:
        code=code("rsitr.dedup.clean"),
    log:
        "results/logs/clean/{dataset}-{dedup}.log",
    benchmark:
        "results/timing/clean/{dataset}-{dedup}.tsv"
    resources:
        mem_mb=2000,
        cpu=1,
    shell:
        "rsitr data clean {wildcards.dataset} --dedup {wildcards.dedup} > {log} 2>&1"


rule data:
    input:
        expand(
            "data/canonical/{dataset}/clean-{dedup}.parquet",
            dataset=PARAMS[PARAMS.experiment].datasets,
            dedup=PARAMS[PARAMS.experiment].dedup,
        ),
