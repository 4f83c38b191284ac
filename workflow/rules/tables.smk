# Records -> comparison tables and figures, in the layout of the expected matrix.


rule tables:
    input:
        CELL_FILES,
        TWO_STAGES if PARAMS.strict else [],
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/comparison",
                ".csv",
                ".md",
                ".tex",
                ".html",
                ".long.csv",
                ".png",
            ),
            caption="../report/comparison.rst",
            category="{experiment}",
        ),
        "results/tables/{experiment}/metrics.json",
        "results/tables/{experiment}/training.csv",
    log:
        "results/logs/tables/{experiment}.log",
    benchmark:
        "results/timing/tables/{experiment}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code(
            "rsitr.tables.comparison", "rsitr.tables.metrics", "rsitr.tables.leakage"
        ),
        published=published_numbers(),
        strict="--strict" if PARAMS.strict else "",
    shell:
        "rsitr tables {wildcards.experiment} --only comparison {params.strict} > {log} 2>&1"


rule margin_table:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/margin",
                ".csv",
                ".md",
                ".tex",
                ".html",
                ".png",
            ),
            caption="../report/margin.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-margin.log",
    benchmark:
        "results/timing/tables/{experiment}-margin.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.margin"),
    shell:
        "rsitr tables {wildcards.experiment} --only margin > {log} 2>&1"


rule reranking_table:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/reranking",
                ".csv",
                ".md",
                ".tex",
                ".html",
            ),
            caption="../report/reranking.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-reranking.log",
    benchmark:
        "results/timing/tables/{experiment}-reranking.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.reranking"),
    shell:
        "rsitr tables {wildcards.experiment} --only reranking > {log} 2>&1"


rule baselines_table:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/baselines",
                ".csv",
                ".md",
                ".tex",
                ".html",
            ),
            caption="../report/baselines.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-baselines.log",
    benchmark:
        "results/timing/tables/{experiment}-baselines.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.baselines"),
        baselines=PARAMS[PARAMS.experiment].baselines,
    shell:
        "rsitr tables {wildcards.experiment} --only baselines > {log} 2>&1"


rule selection_table:
    input:
        CELL_FILES,
        marks,
    output:
        report(
            multiext(
                "results/tables/{experiment}/selection",
                ".csv",
                ".md",
                ".tex",
                ".html",
            ),
            caption="../report/selection.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-selection.log",
    benchmark:
        "results/timing/tables/{experiment}-selection.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.selection"),
    shell:
        "rsitr tables {wildcards.experiment} --only selection > {log} 2>&1"


rule prior_leak_table:
    input:
        CELL_FILES,
        marks,
        seen_by_priors,
    output:
        report(
            multiext(
                "results/tables/{experiment}/prior-leak",
                ".csv",
                ".md",
                ".tex",
                ".html",
            ),
            caption="../report/prior-leak.rst",
            category="{experiment}",
        ),
    log:
        "results/logs/tables/{experiment}-prior-leak.log",
    benchmark:
        "results/timing/tables/{experiment}-prior-leak.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=1000,
        cpu=1,
    params:
        code=code("rsitr.tables.prior_leak"),
        scenes=pipeline.scenes_of_priors(PARAMS),
    shell:
        "rsitr tables {wildcards.experiment} --only prior-leak > {log} 2>&1"


# A rule without outputs would be an error, and an experiment may have no method of the paper.
if paper_files("amfmn", "results/tables"):

    rule amfmn_tables:
        input:
            CELL_FILES,
            marks,
        output:
            report(
                paper_files("amfmn", "results/tables/{experiment}"),
                caption="../report/amfmn.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-amfmn.log",
        benchmark:
            "results/timing/tables/{experiment}-amfmn.tsv"
        conda:
            "../envs/rsitr.yaml"
        resources:
            mem_mb=1000,
            cpu=1,
        params:
            code=code("rsitr.tables.amfmn"),
            published=published_numbers(),
        shell:
            "rsitr tables {wildcards.experiment} --only amfmn > {log} 2>&1"


if paper_files("pir", "results/tables"):

    rule pir_tables:
        input:
            CELL_FILES,
            marks,
        output:
            report(
                paper_files("pir", "results/tables/{experiment}"),
                caption="../report/pir.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-pir.log",
        benchmark:
            "results/timing/tables/{experiment}-pir.tsv"
        conda:
            "../envs/rsitr.yaml"
        resources:
            mem_mb=1000,
            cpu=1,
        params:
            code=code("rsitr.tables.pir", "rsitr.tables.pir_curves"),
            published=published_numbers(),
        shell:
            "rsitr tables {wildcards.experiment} --only pir > {log} 2>&1"


if MTGFE_FILES:

    rule mtgfe_tables:
        input:
            CELL_FILES,
            TWO_STAGES,
            marks,
        output:
            report(
                expand(
                    "results/tables/{{experiment}}/{name}",
                    name=MTGFE_FILES,
                ),
                caption="../report/mtgfe.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-mtgfe.log",
        benchmark:
            "results/timing/tables/{experiment}-mtgfe.tsv"
        conda:
            "../envs/rsitr.yaml"
        resources:
            mem_mb=1000,
            cpu=1,
        params:
            code=code("rsitr.tables.mtgfe", "rsitr.tables.mtgfe_filter"),
            published=published_numbers(),
        shell:
            "rsitr tables {wildcards.experiment} --only mtgfe > {log} 2>&1"


if PEDER_CELLS:

    rule peder_tables:
        input:
            CELL_FILES,
            STUDIES,
            marks,
        output:
            report(
                expand(
                    "results/tables/{{experiment}}/peder-{name}", name=PEDER_TABLES
                ),
                caption="../report/peder.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-peder.log",
        benchmark:
            "results/timing/tables/{experiment}-peder.tsv"
        conda:
            "../envs/rsitr.yaml"
        resources:
            mem_mb=1000,
            cpu=1,
        params:
            code=code("rsitr.tables.peder"),
            published=published_numbers(),
        shell:
            "rsitr tables {wildcards.experiment} --only peder > {log} 2>&1"


# A rule without inputs would draw from nothing, and an experiment may have no method of a paper.
if EXAMPLE_CELLS["amfmn"]:

    rule examples:
        input:
            example_files("amfmn"),
        output:
            report(
                multiext(
                    "results/tables/{experiment}/amfmn-",
                    "saliency.png",
                    "retrieval.png",
                    "localisation.png",
                    "localisation.csv",
                ),
                caption="../report/examples.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-examples.log",
        benchmark:
            "results/timing/tables/{experiment}-examples.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: 2
        resources:
            mem_mb=3000,
            cpu=min(2, pipeline.cores()),
        params:
            code=code("rsitr.examples.amfmn"),
        shell:
            "rsitr examples {wildcards.experiment} --paper amfmn > {log} 2>&1"


if EXAMPLE_CELLS["pir"]:

    rule pir_examples:
        input:
            example_files("pir"),
        output:
            report(
                multiext(
                    "results/tables/{experiment}/pir-",
                    "embeddings.png",
                    "embeddings.csv",
                    "belief.png",
                    "images.png",
                    "captions.png",
                ),
                caption="../report/pir-examples.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-pir-examples.log",
        benchmark:
            "results/timing/tables/{experiment}-pir-examples.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: 2
        resources:
            mem_mb=3000,
            cpu=min(2, pipeline.cores()),
        params:
            code=code("rsitr.examples.pir"),
        shell:
            "rsitr examples {wildcards.experiment} --paper pir > {log} 2>&1"


if EXAMPLE_CELLS["mtgfe"]:

    rule mtgfe_examples:
        input:
            example_files("mtgfe"),
        output:
            report(
                multiext(
                    "results/tables/{experiment}/mtgfe-",
                    "attention-1.png",
                    "attention-2.png",
                ),
                caption="../report/mtgfe-examples.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-mtgfe-examples.log",
        benchmark:
            "results/timing/tables/{experiment}-mtgfe-examples.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: 2
        resources:
            mem_mb=3000,
            cpu=min(2, pipeline.cores()),
        params:
            code=code("rsitr.examples.mtgfe"),
        shell:
            "rsitr examples {wildcards.experiment} --paper mtgfe > {log} 2>&1"


if EXAMPLE_CELLS["peder"]:

    rule peder_examples:
        input:
            example_files("peder"),
        output:
            report(
                expand(
                    "results/tables/{{experiment}}/peder-{name}",
                    name=EXAMPLE_FILES["peder"],
                ),
                caption="../report/peder-examples.rst",
                category="{experiment}",
            ),
        log:
            "results/logs/tables/{experiment}-peder-examples.log",
        benchmark:
            "results/timing/tables/{experiment}-peder-examples.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: 2
        resources:
            mem_mb=min(8000, pipeline.machine_memory_mb()),
            cpu=min(2, pipeline.cores()),
        params:
            code=code("rsitr.examples.peder"),
            published=published_numbers(),
        shell:
            "rsitr examples {wildcards.experiment} --paper peder > {log} 2>&1"
