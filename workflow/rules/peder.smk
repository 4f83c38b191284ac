# Record and checkpoint -> what the study of CLIP alone asks beyond the record.


rule study:
    input:
        spec=cell_spec,
        data=clean_table,
        captions=caption_files,
        prior=prior_files,
        record="results/cells/{experiment}/{dataset}/{method}/{seed}/cell.json",
        model="checkpoints/{experiment}/{dataset}/{method}/{seed}/model.safetensors",
        report="checkpoints/{experiment}/{dataset}/{method}/{seed}/train.json",
        beside=beside_files,
    output:
        record="results/peder/{experiment}/{dataset}/{method}/{seed}/study.json",
        failures="results/peder/{experiment}/{dataset}/{method}/{seed}/failures.csv",
    log:
        "results/logs/peder/{experiment}/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/timing/peder/{experiment}/{dataset}/{method}/{seed}.tsv"
    conda:
        "../envs/rsitr.yaml"
    threads: cell_threads
    resources:
        mem_mb=cell_memory,
        cpu=cell_threads,
        gpu=int(gpus() > 0),
    params:
        code=code("rsitr.peder.run"),
    shell:
        "rsitr peder measure --spec {input.spec} > {log} 2>&1"
