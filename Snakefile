# The graph of the benchmark: raw archives -> canonical tables -> checkpoints and records -> tables.
from snakemake.utils import min_version

from rsitr.pipeline.process import warm_up
from rsitr.pipeline.scheduler import one_round_at_a_time

min_version("9.0")
one_round_at_a_time()


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/dedup.smk"
include: "workflow/rules/captions.smk"
include: "workflow/rules/artefacts.smk"
include: "workflow/rules/tables.smk"


rule all:
    default_target: True
    input:
        GRAPH.records("cells", "scenes", "tuning", "two_stage", "peder"),
        GRAPH.table_files("records", "canonical", "near duplicates", "sources"),
        PICTURES,
        GRAPH.site,


onstart:
    # A cluster's jobs run elsewhere.
    if workflow.local_exec and len(GRAPH.needed) > 1:
        warm_up(GRAPH.threads)


onsuccess:
    # Data that came out otherwise than before is known only now.
    print(GRAPH.left(), file=sys.stderr, end="")
