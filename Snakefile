# The graph of the benchmark: raw archives -> canonical tables -> checkpoints -> records -> tables.
from snakemake.utils import min_version

from rsitr import pipeline
from rsitr.cells import Layout
from rsitr.gpus import cells_per_gpu, gpus
from rsitr.params import METHOD, NAME, CellId, Dedup, PriorId, TwoStageId
from rsitr.scheduling import one_round_at_a_time

min_version("9.0")
one_round_at_a_time()


configfile: "params.yaml"


PARAMS = pipeline.open_params(config)
CELLS = PARAMS.cells(PARAMS.experiment)
# One token a place on a device: no more cells share one than the user allows, however many cores there are.
workflow.global_resources.setdefault("gpu", max(gpus() * cells_per_gpu(), 1))
# --cores beyond the machine's own would only make the cells wait for each other.
workflow.global_resources.setdefault("cpu", pipeline.cores())
workflow.global_resources.setdefault("mem_mb", pipeline.machine_memory_mb())


wildcard_constraints:
    experiment=NAME,
    dataset=NAME,
    method=METHOD,
    seed=r"\d+",
    dedup=NAME,
    first=NAME,
    second=NAME,
    protocol=NAME,
    shard=r"\d+",
    shards=r"\d+",
    measure=NAME,
    prior=NAME,
    scorer=METHOD,
    filter=METHOD,


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/dedup.smk"
include: "workflow/rules/captions.smk"
include: "workflow/rules/scenes.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/peder.smk"
include: "workflow/rules/two_stage.smk"
include: "workflow/rules/tables.smk"


rule all:
    default_target: True
    input:
        CELL_FILES,
        TABLES,
        EXAMPLES,
        STUDIES,
        JOINT,
        KEYWORDS,
        PRIORS,
        TWO_STAGES,
