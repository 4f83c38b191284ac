# Cleaned view + spec -> checkpoint. A cell that fails says so in train.json and does not stop the others.


rule train:
    input:
        spec=cell_spec,
        data=clean_table,
        captions=caption_files,
        prior=prior_files,
        teacher=teacher_files,
    output:
        # Not removed before the job: what is current is kept, see pipeline.run_cell_stage.
        model=update(
            "checkpoints/{experiment}/{dataset}/{method}/{seed}/model.safetensors"
        ),
        report=update("checkpoints/{experiment}/{dataset}/{method}/{seed}/train.json"),
        origin=update("checkpoints/{experiment}/{dataset}/{method}/{seed}/spec.json"),
    log:
        "results/logs/train/{experiment}/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/timing/train/{experiment}/{dataset}/{method}/{seed}.tsv"
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
        "rsitr train --spec {input.spec} > {log} 2>&1"
