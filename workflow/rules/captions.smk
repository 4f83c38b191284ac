# From canonical and clean tables alone: tables of facts, keywords, how alike captions are.


rule facts:
    input:
        expand(
            "data/canonical/{dataset}/dataset.parquet",
            dataset=PARAMS[PARAMS.experiment].datasets,
        ),
    output:
        expand("results/tables/{{experiment}}/{name}", name=FACTS),
    log:
        "results/logs/tables/{experiment}-facts.log",
    benchmark:
        "results/timing/tables/{experiment}-facts.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=code(
            *("rsitr.tables.datasets", "rsitr.tables.ceiling", "rsitr.tables.splits"),
            mtgfe_datasets.__name__,
        ),
    shell:
        "rsitr tables {wildcards.experiment} --only facts > {log} 2>&1"


# How alike training captions are, for the losses with a dynamic margin.
rule similarity:
    input:
        "data/canonical/{dataset}/clean-{dedup}.parquet",
    output:
        # Not removed before the job: an interrupted one continues.
        matrix=update("data/similarity/{dataset}/{dedup}/{measure}.npy"),
        note=update("data/similarity/{dataset}/{dedup}/{measure}.json"),
    log:
        "results/logs/similarity/{dataset}/{dedup}-{measure}.log",
    benchmark:
        "results/timing/similarity/{dataset}/{dedup}-{measure}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: FEW_THREADS
    resources:
        mem_mb=3000,
        cpu=FEW_THREADS,
    params:
        code=measure_code,
    shell:
        "rsitr captions similarity {wildcards.dataset} {wildcards.measure}"
        " --dedup {wildcards.dedup} --threads {threads} > {log} 2>&1"


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
        code=code("rsitr.captions.keyword_build"),
    shell:
        "rsitr captions keywords {wildcards.dataset} > {log} 2>&1"


rule statistics_table:
    input:
        expand(
            "data/canonical/{dataset}/dataset.parquet",
            dataset=PARAMS[PARAMS.experiment].datasets,
        ),
    output:
        report(
            [
                *multiext(
                    "results/tables/{experiment}/statistics",
                    ".csv",
                    ".md",
                    ".tex",
                    ".html",
                    ".png",
                ),
                "results/tables/{experiment}/similarity.png",
            ],
            caption="../report/statistics.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-statistics.log",
    benchmark:
        "results/timing/tables/{experiment}-statistics.tsv"
    conda:
        "../envs/rsitr.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        cpu=min(2, pipeline.cores()),
    params:
        code=code("rsitr.tables.statistics"),
    shell:
        "rsitr tables {wildcards.experiment} --only statistics > {log} 2>&1"
