# Pretrained weights and clean tables -> checkpoints and records. A failure says so in its record and does not stop the others.
# The rules match what has no current record; every other record is a file like any other. What is current is not
# computed again, whatever file times say.


# Pretrained weights, fetched here before anything that loads them is computed: nodes may have no internet. What is here
# already asks for no job.
rule weights:
    output:
        # Not removed where some are missing: it lists the others.
        kept(GRAPH.receipt),
    log:
        f"results/logs/weights/{GRAPH.name}.log",
    priority: EARLY
    localrule: True
    conda:
        "../envs/rsitr.yaml"
    params:
        name=GRAPH.name,
    shell:
        "rsitr weights {params.name} --needed 2>&1 | tee {log}"


rule cell:
    input:
        artefact_inputs("cells"),
    output:
        # A checkpoint outlives a failed evaluation.
        model=kept("checkpoints/{place}/model.safetensors"),
        report=kept("checkpoints/{place}/train.json"),
        bundle=kept("checkpoints/{place}/bundle.json"),
        card=kept("checkpoints/{place}/README.md"),
        ranks=kept("results/cells/{place}/ranks.parquet"),
        top=kept("results/cells/{place}/top.parquet"),
        history=kept("results/cells/{place}/history.csv"),
        record=kept("results/cells/{place}/cell.json"),
    log:
        "results/logs/cells/{place}.log",
    benchmark:
        "results/timing/cells/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("cells"),
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("cells"),
    params:
        expected=expected("cells"),
    shell:
        "rsitr run cells/{wildcards.place} > {log} 2>&1"


# The checkpoint of a cell whose record is current, for what needs it: the target `checkpoints`, pictures, other cells.
rule checkpoint:
    input:
        artefact_inputs("cells"),
    output:
        model=kept("checkpoints/{place}/model.safetensors"),
        report=kept("checkpoints/{place}/train.json"),
        bundle=kept("checkpoints/{place}/bundle.json"),
        card=kept("checkpoints/{place}/README.md"),
    log:
        "results/logs/checkpoints/{place}.log",
    benchmark:
        "results/timing/checkpoints/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("cells", GRAPH.without_weights),
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("cells"),
    params:
        expected=expected("cells"),
    shell:
        "rsitr train {wildcards.place} > {log} 2>&1"


rule scenes:
    input:
        artefact_inputs("scenes"),
    output:
        model=kept("checkpoints/scenes/{place}/model.safetensors"),
        left_out=kept("results/scenes/{place}/left_out.csv"),
        record=kept("results/scenes/{place}/scenes.json"),
    log:
        "results/logs/scenes/{place}.log",
    benchmark:
        "results/timing/scenes/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("scenes"),
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("scenes"),
    params:
        expected=expected("scenes"),
    shell:
        "rsitr run scenes/{wildcards.place} > {log} 2>&1"


# The weights of a prior whose record is current, where a cell needs them and they are not here.
rule scenes_weights:
    input:
        artefact_inputs("scenes"),
    output:
        model=kept("checkpoints/scenes/{place}/model.safetensors"),
    log:
        "results/logs/scenes/{place}-weights.log",
    benchmark:
        "results/timing/scenes/{place}-weights.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("scenes", GRAPH.without_weights),
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("scenes"),
    params:
        expected=expected("scenes"),
    shell:
        "rsitr run scenes/{wildcards.place} > {log} 2>&1"


rule pretraining:
    input:
        artefact_inputs("pretraining"),
    output:
        model=kept("checkpoints/pretraining/{place}/model.safetensors"),
        record=kept("results/pretraining/{place}/pretraining.json"),
    log:
        "results/logs/pretraining/{place}.log",
    benchmark:
        "results/timing/pretraining/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("pretraining"),
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("pretraining"),
    params:
        expected=expected("pretraining"),
    shell:
        "rsitr run pretraining/{wildcards.place} > {log} 2>&1"


# The weights of a pretraining whose record is current, where a cell needs them and they are not here.
rule pretraining_weights:
    input:
        artefact_inputs("pretraining"),
    output:
        model=kept("checkpoints/pretraining/{place}/model.safetensors"),
    log:
        "results/logs/pretraining/{place}-weights.log",
    benchmark:
        "results/timing/pretraining/{place}-weights.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("pretraining", GRAPH.without_weights),
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("pretraining"),
    params:
        expected=expected("pretraining"),
    shell:
        "rsitr run pretraining/{wildcards.place} > {log} 2>&1"


rule tune:
    input:
        artefact_inputs("tuning"),
    output:
        record=kept("results/tuning/{place}/tuning.json"),
    log:
        "results/logs/tuning/{place}.log",
    benchmark:
        "results/timing/tuning/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("tuning"),
    priority: EARLY
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("tuning"),
    params:
        expected=expected("tuning"),
    shell:
        "rsitr run tuning/{wildcards.place} > {log} 2>&1"


rule two_stage:
    input:
        artefact_inputs("two_stage"),
    output:
        record=kept("results/two_stage/{place}/two_stage.json"),
    log:
        "results/logs/two_stage/{place}.log",
    benchmark:
        "results/timing/two_stage/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("two_stage"),
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("two_stage"),
    params:
        expected=expected("two_stage"),
    shell:
        "rsitr run two_stage/{wildcards.place} > {log} 2>&1"


rule study:
    input:
        artefact_inputs("peder"),
    output:
        failures=kept("results/peder/{place}/failures.csv"),
        record=kept("results/peder/{place}/study.json"),
    log:
        "results/logs/peder/{place}.log",
    benchmark:
        "results/timing/peder/{place}.tsv"
    wildcard_constraints:
        place=GRAPH.pattern("peder"),
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
        gpu=gpu_of("peder"),
    params:
        expected=expected("peder"),
    shell:
        "rsitr run peder/{wildcards.place} > {log} 2>&1"


rule cells:
    input:
        GRAPH.records("cells", "scenes", "pretraining", "tuning", "two_stage"),


rule tunings:
    input:
        GRAPH.records("tuning"),


rule priors:
    input:
        GRAPH.records("scenes"),


# Everything that pictures, studies and two-stage retrievals read, where git has the records alone.
rule checkpoints:
    input:
        GRAPH.checkpoints,


# Which records stay current over the change of code since `--config base=COMMIT`.
rule certified:
    log:
        "results/logs/certify.log",
    conda:
        "../envs/rsitr.yaml"
    threads: 2
    resources:
        mem_mb=6000,
        cpu=2,
    params:
        base=config.get("base", "HEAD~1"),
        name=GRAPH.name,
    shell:
        "rsitr certify {params.base} --experiment {params.name} 2>&1 | tee {log}"


# Every configuration for a few steps on this machine, before a GPU is spent on it. It keeps its own reports.
rule rehearsal:
    log:
        f"results/logs/rehearsal-{GRAPH.name}.log",
    conda:
        "../envs/rsitr.yaml"
    threads: GRAPH.threads
    resources:
        mem_mb=GRAPH.memory,
        cpu=GRAPH.threads,
    params:
        name=GRAPH.name,
    shell:
        "rsitr rehearse {params.name} 2>&1 | tee {log}"
