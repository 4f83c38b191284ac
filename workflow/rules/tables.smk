# Records -> tables and figures, in the layout of the expected matrix; checkpoints -> the papers' pictures.


rule tables:
    input:
        CELL_FILES,
        STUDIES,
        TWO_STAGES,
        marks,
        seen_by_priors,
    output:
        # One process for all: each would take longer to start than to write its table.
        *(
            report(
                expand("results/tables/{{experiment}}/{name}", name=names),
                caption=f"../report/{table}.rst",
                category="{experiment}",
            )
            for table, names in RECORD_TABLES.items()
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
        mem_mb=2000,
        cpu=1,
    params:
        code=code(*RECORD_TABLE_CODE),
        published=published_numbers(),
        scenes=pipeline.scenes_of_priors(PARAMS),
        baselines=PARAMS[PARAMS.experiment].baselines,
        strict="--strict" if PARAMS.strict else "",
    shell:
        "rsitr tables {wildcards.experiment} --only records {params.strict} > {log} 2>&1"


# A rule without inputs would draw from nothing, and an experiment may have no method of a paper.
for paper in (paper for paper, cells in EXAMPLE_CELLS.items() if cells):

    rule:
        name:
            f"{paper}_examples"
        input:
            example_files(paper),
        output:
            report(
                expand(
                    "results/tables/{{experiment}}/{paper}-{name}",
                    paper=paper,
                    name=EXAMPLE_FILES[paper],
                ),
                caption=f"../report/{paper}-examples.rst",
                category="{experiment}",
            ),
        log:
            f"results/logs/tables/{{experiment}}-{paper}-examples.log",
        benchmark:
            f"results/timing/tables/{{experiment}}-{paper}-examples.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: cell_threads
        resources:
            mem_mb=min(8000, pipeline.machine_memory_mb()),
            cpu=cell_threads,
        params:
            code=code(f"rsitr.examples.{paper}"),
            published=published_numbers(),
            paper=paper,
        shell:
            "rsitr examples {wildcards.experiment} --paper {params.paper} > {log} 2>&1"
