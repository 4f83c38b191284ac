# Two trained cells -> recalls and times of shortlists by one, sorted anew by the other.


rule two_stage:
    input:
        clean_table,
        two_stage_files,
        spec=two_stage_spec,
    output:
        # Not removed before the job: what is current is kept, see rsitr.two_stage.run.
        update(
            "results/two_stage/{experiment}/{dataset}/{scorer}/{filter}/{seed}/two_stage.json"
        ),
    log:
        "results/logs/two_stage/{experiment}/{dataset}/{scorer}/{filter}/{seed}.log",
    benchmark:
        "results/timing/two_stage/{experiment}/{dataset}/{scorer}/{filter}/{seed}.tsv"
    conda:
        "../envs/rsitr.yaml"
    threads: cell_threads
    resources:
        mem_mb=cell_memory,
        cpu=cell_threads,
        gpu=int(gpus() > 0),
    params:
        code=two_stage_code,
    shell:
        "rsitr two-stage --spec {input.spec} > {log} 2>&1"
