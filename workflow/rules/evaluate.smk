# Checkpoint -> record and ranks of every query.


rule evaluate:
    input:
        spec=cell_spec,
        data=clean_table,
        captions=caption_files,
        prior=prior_files,
        model="checkpoints/{experiment}/{dataset}/{method}/{seed}/model.safetensors",
        report="checkpoints/{experiment}/{dataset}/{method}/{seed}/train.json",
    output:
        record=update("results/cells/{experiment}/{dataset}/{method}/{seed}/cell.json"),
        ranks=update(
            "results/cells/{experiment}/{dataset}/{method}/{seed}/ranks.parquet"
        ),
        history=update(
            "results/cells/{experiment}/{dataset}/{method}/{seed}/history.csv"
        ),
    log:
        "results/logs/evaluate/{experiment}/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/timing/evaluate/{experiment}/{dataset}/{method}/{seed}.tsv"
    conda:
        "../envs/rsitr.yaml"
    threads: cell_threads
    resources:
        mem_mb=cell_memory,
        cpu=cell_threads,
        gpu=int(gpus() > 0),
    params:
        code=cell_code,
    shell:
        "rsitr evaluate --spec {input.spec} > {log} 2>&1"


rule cells:
    input:
        CELL_FILES,
        PRIORS,
        TWO_STAGES,
