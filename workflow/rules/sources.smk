# Where the files of every dataset come from; it needs none of them.


rule sources:
    output:
        multiext("results/tables/{experiment}/sources", ".csv", ".md", ".tex", ".html"),
    log:
        "results/logs/sources/{experiment}.log",
    benchmark:
        "results/timing/sources/{experiment}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=source_code(),
    shell:
        "rsitr tables {wildcards.experiment} --only sources > {log} 2>&1"
