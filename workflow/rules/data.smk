# Raw archives -> canonical table -> cleaned view.


rule fetch:
    output:
        here("data/raw/{dataset}/source.json"),
    log:
        "results/logs/fetch/{dataset}.log",
    benchmark:
        "results/timing/fetch/{dataset}.tsv"
    wildcard_constraints:
        dataset=GRAPH.fetched,
    priority: EARLY
    retries: 2
    localrule: True
    conda:
        "../envs/rsitr.yaml"
    params:
        code=lambda wildcards: dataset_code(wildcards.dataset),
    shell:
        "rsitr data fetch {wildcards.dataset} > {log} 2>&1"


rule canonical:
    input:
        here("data/raw/{dataset}/source.json"),
    output:
        "data/canonical/{dataset}/dataset.parquet",
        # Where machines share it, Snakemake shall not remove it before it is extracted again.
        *([directory("data/extracted/{dataset}")] if STORED else []),
    log:
        "results/logs/canonical/{dataset}.log",
    benchmark:
        "results/timing/canonical/{dataset}.tsv"
    priority: EARLY
    # The archives are here.
    localrule: STORED
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.few_threads
    resources:
        # 1 GB, and 0.4 KB an image: enough for two million of them. Set more for more.
        mem_mb=2000,
        cpu=GRAPH.few_threads,
    params:
        code=lambda wildcards: dataset_code(wildcards.dataset),
    shell:
        "rsitr data build {wildcards.dataset} > {log} 2>&1"


rule clean:
    input:
        clean_inputs,
    output:
        "data/canonical/{dataset}/clean-{split}-{dedup}.parquet",
    log:
        "results/logs/clean/{dataset}-{split}-{dedup}.log",
    benchmark:
        "results/timing/clean/{dataset}-{split}-{dedup}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    resources:
        # 1 GB, and 0.4 KB an image: enough for two million of them. Set more for more.
        mem_mb=2000,
        cpu=1,
    params:
        code=code("rsitr.dedup.clean"),
    shell:
        "rsitr data clean {wildcards.dataset} --split-protocol {wildcards.split}"
        " --dedup {wildcards.dedup} > {log} 2>&1"


rule data:
    input:
        GRAPH.data,
