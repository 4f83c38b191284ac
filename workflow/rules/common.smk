# What the rules share. What it takes to know it is in rsitr.pipeline.targets.
import sys
from pathlib import Path
from typing import get_args

from snakemake.settings.types import DeploymentMethod

from rsitr.gpus import cells_per_gpu, gpus
from rsitr.params.ids import NAME, CleanId, Dedup, SplitProtocol
from rsitr.pipeline.pictures import PAPERS
from rsitr.pipeline.rule_code import code, dataset_code, measure_code
from rsitr.pipeline.scheduler import LINKS, force, local_copies
from rsitr.pipeline.status import machine_memory_mb
from rsitr.pipeline.stored import Stored
from rsitr.pipeline.targets import Graph
from rsitr.records.paths import Paths
from rsitr.records.provenance import cores

# Rules call the `rsitr` of their conda environment (`--sdm conda`), or of the environment that runs Snakemake, activated
# or not, and work in this folder.
ENVIRONMENT = Path(sys.executable).parent.as_posix()
CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
# Where machines share no folder, files are in a storage, and jobs work in the folder of their local copies.
STORED = workflow.storage_settings.default_storage_provider is not None
PLACE = local_copies(workflow) if STORED else ""
shell.prefix(
    "set -euo pipefail; unset RSITR_HOME; "
    + ("export RSITR_HOME={PLACE:q}; " + LINKS if STORED else "")
    + ("" if CONDA else 'export PATH={ENVIRONMENT:q}:"$PATH"; ')
)

# Snakemake knows a number of nodes where jobs run on other machines, and learns the executor after this.
LOCAL = workflow.nodes is None
GRAPH = (Stored if STORED else Graph)(config, local=LOCAL)
force(GRAPH.forced)
# Of a cluster, its scheduler knows what there is.
if LOCAL:
    # One token a place on a device: no more cells share one than the user allows, however many cores there are.
    workflow.global_resources.setdefault("gpu", max(gpus() * cells_per_gpu(), 1))
    # --cores beyond the machine's own would only make the cells wait for each other.
    workflow.global_resources.setdefault("cpu", cores())
    workflow.global_resources.setdefault("mem_mb", machine_memory_mb())
# Work that many others wait for: begun late, it would leave cores idle at the end.
EARLY = 1

if workflow.is_main_process and GRAPH.notice():
    print(GRAPH.notice(), file=sys.stderr)


wildcard_constraints:
    experiment=NAME,
    dataset=NAME,
    dedup="|".join(get_args(Dedup)),
    split="|".join(get_args(SplitProtocol)),
    first=NAME,
    second=NAME,
    protocol=NAME,
    shard=r"\d+",
    shards=r"\d+",
    measure=NAME,


def clean_inputs(wildcards):
    """What a clean table is made from."""
    return GRAPH.clean_inputs(
        CleanId(wildcards.dataset, wildcards.split, wildcards.dedup)
    )


def kept(path):
    """A file that is not removed before the job that makes it: an interrupted one continues.

    Of a storage, Snakemake would look for a copy that it has not fetched.
    """
    return path if STORED else update(path)


def here(path):
    """A file of this machine alone, wherever others are."""
    return local(path) if STORED else path


def artefact_inputs(kind):
    """What the computation of an artefact of a kind reads."""
    return lambda wildcards: GRAPH.inputs_of(f"{kind}/{wildcards.place}")


def expected(kind):
    """What an artefact of a kind is expected to be, where Snakemake alone can tell whether it is."""
    return lambda wildcards: GRAPH.expected(f"{kind}/{wildcards.place}")


def gpu_of(kind):
    """How many GPUs the computation of an artefact of a kind asks for."""
    return lambda wildcards: GRAPH.gpu(f"{kind}/{wildcards.place}")


def shown(files, caption):
    """Files of a table; the report has those that a reader can look at."""

    def reported(file):
        return report(
            file,
            caption="../report/table.rst",
            category=GRAPH.name,
            labels=GRAPH.labels(file) | {"shows": caption},
        )

    return [
        reported(file) if file.endswith((".html", ".png")) else file for file in files
    ]


PICTURES = [
    f"{Paths.tables(GRAPH.name)}/{paper}-{name}"
    for paper in GRAPH.papers
    for name in PAPERS[paper].files
]
