# From canonical and clean tables alone: keywords, and how similar captions are.


# How similar training captions are, for the losses with a dynamic margin.
rule similarity:
    input:
        "data/canonical/{dataset}/clean-{split}-{dedup}.parquet",
    output:
        matrix=kept("data/similarity/{dataset}/{split}-{dedup}/{measure}.npy"),
        note=kept("data/similarity/{dataset}/{split}-{dedup}/{measure}.json"),
    log:
        "results/logs/similarity/{dataset}/{split}-{dedup}-{measure}.log",
    benchmark:
        "results/timing/similarity/{dataset}/{split}-{dedup}-{measure}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.few_threads
    resources:
        mem_mb=3000,
        cpu=GRAPH.few_threads,
    params:
        code=lambda wildcards: measure_code(wildcards.measure),
    shell:
        "rsitr captions similarity {wildcards.dataset} {wildcards.measure}"
        " --split-protocol {wildcards.split} --dedup {wildcards.dedup} --threads {threads} > {log} 2>&1"


rule keywords:
    input:
        "data/canonical/{dataset}/dataset.parquet",
    output:
        "data/keywords/{dataset}.parquet",
    log:
        "results/logs/keywords/{dataset}.log",
    benchmark:
        "results/timing/keywords/{dataset}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.captions.keyword_table"),
    shell:
        "rsitr captions keywords {wildcards.dataset} > {log} 2>&1"
