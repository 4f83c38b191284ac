# Records -> tables, figures and the site, in the layout of the expected matrix; checkpoints -> pictures of the papers.


rule tables:
    input:
        GRAPH.results("cells", "tuning", "two_stage", "peder"),
        GRAPH.marks(),
    output:
        # One process for all: each would take longer to start than to write its table.
        *(shown(GRAPH.paths(table), table.caption) for table in GRAPH.tables("records")),
    log:
        f"results/logs/tables/{GRAPH.name}.log",
    benchmark:
        f"results/timing/tables/{GRAPH.name}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=GRAPH.table_code("records"),
        declared=GRAPH.experiment.model_dump(
            include={"matrix", "baselines", "two_stage", "priors"}
        ),
        name=GRAPH.name,
        strict="--strict" if GRAPH.params.strict else "",
    shell:
        "rsitr tables {params.name} --only records {params.strict} > {log} 2>&1"


# From canonical tables alone, or with the near duplicates between them, or from what params.yaml and modules state.
for table in (
    *GRAPH.tables("canonical"),
    *GRAPH.tables("near duplicates"),
    *GRAPH.tables("sources"),
):

    rule:
        name:
            f"{table.name.replace('-', '_')}_table"
        input:
            GRAPH.table_inputs(table),
        output:
            shown(GRAPH.paths(table), table.caption),
        log:
            f"results/logs/tables/{GRAPH.name}-{table.name}.log",
        benchmark:
            f"results/timing/tables/{GRAPH.name}-{table.name}.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: GRAPH.few_threads
        resources:
            mem_mb=3000,
            cpu=GRAPH.few_threads,
        params:
            code=GRAPH.code_of(table),
            stated=GRAPH.stated(table),
            table=table.name,
            name=GRAPH.name,
        shell:
            "rsitr tables {params.name} --only {params.table} > {log} 2>&1"


# A rule without inputs would draw from nothing, and an experiment may have no method of a paper.
for paper in GRAPH.papers:

    rule:
        name:
            f"{paper}_pictures"
        input:
            GRAPH.picture_inputs(paper),
        output:
            shown(
                [
                    f"{Paths.tables(GRAPH.name)}/{paper}-{name}"
                    for name in PAPERS[paper].files
                ],
                PAPERS[paper].caption,
            ),
        log:
            f"results/logs/tables/{GRAPH.name}-{paper}-pictures.log",
        benchmark:
            f"results/timing/tables/{GRAPH.name}-{paper}-pictures.tsv"
        conda:
            "../envs/rsitr.yaml"
        threads: GRAPH.threads
        resources:
            mem_mb=GRAPH.megabytes(8000),
            cpu=GRAPH.threads,
        params:
            code=code(f"rsitr.examples.{paper}"),
            paper=paper,
            name=GRAPH.name,
        shell:
            "rsitr examples {params.name} --paper {params.paper} > {log} 2>&1"


# Everything above as pages. They show datasets by name alone: `rsitr site --pictures` is for their owner.
rule site:
    input:
        GRAPH.results("cells", "tuning", "two_stage"),
        GRAPH.table_files("records", "canonical", "near duplicates", "sources"),
        GRAPH.shown,
    output:
        directory(GRAPH.site) if STORED else GRAPH.site,
    log:
        f"results/logs/site/{GRAPH.name}.log",
    benchmark:
        f"results/timing/site/{GRAPH.name}.tsv"
    conda:
        "../envs/rsitr.yaml"
    resources:
        mem_mb=2000,
        cpu=1,
    params:
        code=GRAPH.site_code,
        name=GRAPH.name,
    shell:
        "rsitr site {params.name} > {log} 2>&1"
