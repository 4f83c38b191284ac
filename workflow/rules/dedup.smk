# Canonical table -> thumbnails -> pairs of near duplicates inside and between datasets.


rule thumbnails:
    input:
        lambda wildcards: GRAPH.with_images(Paths.dataset(wildcards.dataset).as_posix()),
    output:
        "data/thumbnails/{dataset}.parquet",
    log:
        "results/logs/thumbnails/{dataset}.log",
    benchmark:
        "results/timing/thumbnails/{dataset}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.few_threads
    resources:
        # The same for any number of images.
        mem_mb=1000,
        cpu=GRAPH.few_threads,
    params:
        code=code("rsitr.dedup.thumbnails"),
    shell:
        "rsitr dedup thumbnails {wildcards.dataset} > {log} 2>&1"


rule near_duplicates_shard:
    input:
        "data/thumbnails/{first}.parquet",
        "data/thumbnails/{second}.parquet",
    output:
        "data/near_duplicates/{first}/{second}/{shard}-of-{shards}.parquet",
    log:
        "results/logs/near_duplicates/{first}/{second}/{shard}-of-{shards}.log",
    benchmark:
        "results/timing/near_duplicates/{first}/{second}/{shard}-of-{shards}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    resources:
        # An index of the smaller set, at 7 KB an image, or at 0.5 KB of the one set. Images stay in their files.
        mem_mb=4000,
        cpu=1,
    params:
        code=code("rsitr.dedup.near_duplicates"),
    shell:
        "rsitr dedup pairs {wildcards.first} {wildcards.second}"
        " --shard {wildcards.shard}/{wildcards.shards} > {log} 2>&1"


rule copies:
    input:
        lambda wildcards: GRAPH.near_duplicate_shards(wildcards.first, wildcards.second),
    output:
        "data/near_duplicates/{first}/{second}.parquet",
    log:
        "results/logs/near_duplicates/{first}/{second}.log",
    benchmark:
        "results/timing/near_duplicates/{first}/{second}.tsv"
    priority: EARLY
    localrule: True
    conda:
        "../envs/rsitr.yaml"
    params:
        shards=GRAPH.experiment.shards,
        code=code("rsitr.dedup.pairs"),
    shell:
        "rsitr dedup gather {wildcards.first} {wildcards.second} {params.shards} > {log} 2>&1"


rule joint:
    input:
        lambda wildcards: GRAPH.joint_members(wildcards.protocol, wildcards.dedup),
    output:
        "data/joint/{protocol}-{dedup}.parquet",
    log:
        "results/logs/joint/{protocol}-{dedup}.log",
    benchmark:
        "results/timing/joint/{protocol}-{dedup}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=code("rsitr.dedup.joint"),
    shell:
        "rsitr dedup joint {wildcards.protocol} --rule {wildcards.dedup} > {log} 2>&1"
