# Canonical tables, copies and spec -> the backbone of a scene classifier, which methods start from.


rule scenes:
    input:
        prior_tables,
        spec=prior_spec,
    output:
        # Not removed before the job: what is current is kept, and an interrupted one continues.
        model=update("checkpoints/scenes/{experiment}/{prior}/model.safetensors"),
        record=update("results/scenes/{experiment}/{prior}/scenes.json"),
        left_out=update("results/scenes/{experiment}/{prior}/left_out.csv"),
    log:
        "results/logs/scenes/{experiment}/{prior}.log",
    benchmark:
        "results/timing/scenes/{experiment}/{prior}.tsv"
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: cell_threads
    resources:
        mem_mb=cell_memory,
        cpu=cell_threads,
        gpu=int(gpus() > 0),
    params:
        code=prior_code,
    shell:
        "rsitr scenes train --spec {input.spec} > {log} 2>&1"


rule priors:
    input:
        PRIORS,
