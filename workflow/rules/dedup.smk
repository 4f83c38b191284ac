# Canonical table -> thumbnails -> pairs of near duplicates inside and between datasets.


rule thumbnails:
    input:
        "data/canonical/{dataset}/dataset.parquet",
    output:
        "data/thumbnails/{dataset}.parquet",
    log:
        "results/logs/thumbnails/{dataset}.log",
    benchmark:
        "results/timing/thumbnails/{dataset}.tsv"
    conda:
        "../envs/rsitr.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        cpu=min(2, pipeline.cores()),
    params:
        code=code("rsitr.dedup.thumbnails"),
    shell:
        "rsitr dedup thumbnails {wildcards.dataset} > {log} 2>&1"


rule copies_shard:
    input:
        "data/thumbnails/{first}.parquet",
        "data/thumbnails/{second}.parquet",
    output:
        "data/copies/{first}/{second}/{shard}-of-{shards}.parquet",
    log:
        "results/logs/copies/{first}/{second}/{shard}-of-{shards}.log",
    benchmark:
        "results/timing/copies/{first}/{second}/{shard}-of-{shards}.tsv"
    conda:
        "../envs/rsitr.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        cpu=min(2, pipeline.cores()),
    params:
        code=code("rsitr.dedup.copies"),
    shell:
        "rsitr dedup copies {wildcards.first} {wildcards.second}"
        " --shard {wildcards.shard}/{wildcards.shards} > {log} 2>&1"


rule copies:
    input:
        copies_shards,
    output:
        "data/copies/{first}/{second}.parquet",
    log:
        "results/logs/copies/{first}/{second}.log",
    benchmark:
        "results/timing/copies/{first}/{second}.tsv"
    localrule: True
    conda:
        "../envs/rsitr.yaml"
    params:
        shards=PARAMS[PARAMS.experiment].shards,
        code=code("rsitr.dedup.copies"),
    shell:
        "rsitr dedup gather {wildcards.first} {wildcards.second} {params.shards} > {log} 2>&1"
