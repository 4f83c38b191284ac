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
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: FEW_THREADS
    resources:
        mem_mb=2000,
        cpu=FEW_THREADS,
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
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=4000,
        cpu=1,
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
    priority: EARLY
    localrule: True
    conda:
        "../envs/rsitr.yaml"
    params:
        shards=PARAMS[PARAMS.experiment].shards,
        code=code("rsitr.dedup.pairs"),
    shell:
        "rsitr dedup gather {wildcards.first} {wildcards.second} {params.shards} > {log} 2>&1"


rule joint:
    input:
        joint_members,
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


rule dedup_table:
    input:
        COMPARED,
        COPIES,
    output:
        multiext(
            "results/tables/{experiment}/dedup",
            ".csv",
            ".md",
            ".tex",
            ".html",
            ".pairs.csv",
            ".groups.csv",
        ),
    log:
        "results/logs/tables/{experiment}-dedup.log",
    benchmark:
        "results/timing/tables/{experiment}-dedup.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=code("rsitr.tables.dedup"),
    shell:
        "rsitr tables {wildcards.experiment} --only dedup > {log} 2>&1"


rule leakage_table:
    input:
        COMPARED,
        COPIES,
        CLEAN,
    output:
        report(
            multiext(
                "results/tables/{experiment}/leakage",
                ".csv",
                ".md",
                ".tex",
                ".html",
                ".long.csv",
                ".images.csv",
                ".training.csv",
                ".png",
            ),
            caption="../report/leakage.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-leakage.log",
    benchmark:
        "results/timing/tables/{experiment}-leakage.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=code("rsitr.tables.leakage"),
    shell:
        "rsitr tables {wildcards.experiment} --only leakage > {log} 2>&1"
