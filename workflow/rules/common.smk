# Functions of the rules, and what has to be true before the graph is built.
import sys
from itertools import combinations_with_replacement
from pathlib import Path
from typing import get_args

from rsitr import needs
from rsitr.datasets.protocols import joint_protocols
from rsitr.methods import entry
from rsitr.scenes import run as scenes
from rsitr.tables import mtgfe_datasets
from rsitr.tables.paper_table import SUFFIXES
from rsitr.tables.pir import has_curves
from rsitr.two_stage.run import STAGE

# Rules call the `rsitr` of the environment that runs Snakemake, activated or not.
shell.prefix(
    f"set -euo pipefail; export PATH='{Path(sys.executable).parent}':\"$PATH\"; "
)

# Work that many others wait for: begun late, it would leave cores idle at the end.
EARLY = 1
# No more than a cell has: a job of two threads among cells of one would wait until two of them end together.
FEW_THREADS = min(2, PARAMS[PARAMS.experiment].threads, pipeline.cores())


def code(*modules):
    """Hash of the code behind these modules, since Snakemake does not see edits in what is imported."""
    from rsitr.provenance import code_sha

    return code_sha(modules)[:16]


def published_numbers():
    """Hash of the numbers that the papers print, which are data of the tables."""
    from rsitr.provenance import sha256_file
    from rsitr.tables.published import FILE

    return sha256_file(FILE)[:16]


def dataset_code(wildcards):
    """Code that builds one dataset; the other datasets' files are not part of it."""
    from rsitr.datasets import registry

    return code("rsitr.datasets.acquire", registry()[wildcards.dataset].__module__)


def source_code():
    """Code of the table of sources, which lists what the modules of all datasets state."""
    from rsitr.datasets import registry

    stated = sorted({dataset.__module__ for dataset in registry().values()})
    return code("rsitr.tables.sources", *stated)


def cell_spec(wildcards):
    """The file that says what a cell is expected to be; it holds the parameters and the hash of the code."""
    return f".rsitr/specs/{wildcards.experiment}/{wildcards.dataset}/{wildcards.method}/{wildcards.seed}.json"


def cell_of(wildcards):
    """The identity of a cell."""
    return CellId(
        wildcards.experiment,
        wildcards.dataset,
        wildcards.method,
        int(wildcards.seed),
    )


def cell_code(wildcards):
    """Hash of the code of a cell, scoped to its method and the one it learns from."""
    return code(*needs.cell_modules(PARAMS, cell_of(wildcards)))


def clean_table(wildcards):
    """The cleaned view that the experiment of a cell reads."""
    return f"data/canonical/{wildcards.dataset}/clean-{PARAMS[wildcards.experiment].dedup}.parquet"


def caption_files(wildcards):
    """What a cell reads that was made from captions: how alike they are, and keywords."""
    return [str(path) for path in needs.caption_files(PARAMS, cell_of(wildcards))]


def example_files(paper):
    """What the pictures of a paper are drawn from."""
    return [
        *(
            f"checkpoints/{cell.path}/{name}"
            for cell in EXAMPLE_CELLS[paper]
            for name in ("model.safetensors", "train.json")
        ),
        *(
            path
            for cell in EXAMPLE_CELLS[paper]
            for path in (
                *needs.caption_files(PARAMS, cell),
                *needs.prior_files(PARAMS, cell),
            )
        ),
    ]


def teacher_files(wildcards):
    """What training of a cell reads of the cell that it learns from."""
    return [str(path) for path in needs.teacher_files(PARAMS, cell_of(wildcards))]


def prior_files(wildcards):
    """What training and evaluation of a cell read of the scene classifier that it starts from."""
    return [str(path) for path in needs.prior_files(PARAMS, cell_of(wildcards))]


def beside_files(wildcards):
    """What the study of a CLIP reads of the two encoders that it is timed beside."""
    found = needs.peder_beside(PARAMS, cell_of(wildcards))
    if found is None:
        return []
    folder = Layout.checkpoint(found)
    return [
        str(Layout.cell(found) / "cell.json"),
        *(str(folder / name) for name in ("model.safetensors", "train.json")),
        *map(str, needs.caption_files(PARAMS, found)),
    ]


def prior_id(wildcards):
    """The identity of a prior."""
    return PriorId(wildcards.experiment, wildcards.prior)


def prior_spec(wildcards):
    """The file that says what a prior is expected to be."""
    return str(Layout.prior_spec(prior_id(wildcards)))


def tables_of_prior(prior):
    """The tables that a prior reads."""
    expected = scenes.spec_of_prior(PARAMS, prior)
    return [str(path) for path in scenes.prior_inputs(expected)]


def prior_tables(wildcards):
    """The tables that the prior of a job reads."""
    return tables_of_prior(prior_id(wildcards))


def prior_code(wildcards):
    """Hash of the code that trains priors."""
    return code(*scenes.MODULES)


def measure_code(wildcards):
    """Code of a measure of similarity and of what writes its matrix."""
    from rsitr.captions.similarity import module_of

    return code("rsitr.captions.similarity", module_of(wildcards.measure))


def copies_inside(wildcards):
    """What the clean protocol `copies` reads beside the canonical table."""
    inside = Layout.copies(wildcards.dataset, wildcards.dataset)
    return [str(inside)] if wildcards.dedup == "copies" else []


def copies_shards(wildcards):
    """The shards of the comparison of two datasets."""
    shards = PARAMS[PARAMS.experiment].shards
    return [
        str(Layout.copies_shard(wildcards.first, wildcards.second, shard, shards))
        for shard in range(shards)
    ]


def two_stage_id(wildcards):
    """The identity of a two-stage retrieval."""
    return TwoStageId(
        wildcards.experiment,
        wildcards.dataset,
        wildcards.scorer,
        wildcards.filter,
        int(wildcards.seed),
    )


def two_stage_spec(wildcards):
    """The file that says what a two-stage retrieval is expected to be."""
    return str(Layout.two_stage_spec(two_stage_id(wildcards)))


def two_stage_files(wildcards):
    """What a two-stage retrieval reads beside the clean table: both cells, and what loading them needs."""
    cells = two_stage_id(wildcards).cells
    return [
        str(path)
        for cell in cells
        for path in (
            Layout.checkpoint(cell) / "model.safetensors",
            Layout.checkpoint(cell) / "train.json",
            Layout.cell(cell) / "cell.json",
            *needs.caption_files(PARAMS, cell),
            *needs.prior_files(PARAMS, cell),
        )
    ]


def two_stage_code(wildcards):
    """Hash of the code of a two-stage retrieval."""
    methods = (cell.method_name for cell in two_stage_id(wildcards).cells)
    return code(f"rsitr.{STAGE}", *(entry(name).module for name in methods))


def joint_members(wildcards):
    """Canonical tables of the members of a joint protocol, and the copies inside and between them."""
    members = joint_protocols()[wildcards.protocol]
    pairs = combinations_with_replacement(members, 2)
    return [
        *(str(Layout.dataset(member)) for member in members),
        *(str(Layout.copies(*pair)) for pair in pairs if wildcards.dedup == "copies"),
    ]


def cell_memory(wildcards):
    """Memory of a cell; never more than this machine has to give, or the cell would never start."""
    return min(PARAMS[wildcards.experiment].mem_mb, pipeline.machine_memory_mb())


def cell_threads(wildcards):
    """Threads of a cell; it uses no more than the machine has."""
    return min(PARAMS[wildcards.experiment].threads, pipeline.cores())


def rendered(table, *others):
    """Files of a table, and what is written beside it."""
    return [*(f"{table}.{kind}" for kind in ("csv", "md", "tex", "html")), *others]


def paper_files(paper):
    """Files of the tables of a paper, those of which any row is a method of the experiment.

    Any other would be the paper's numbers with nothing beside them. Which they are is known from the matrix alone.
    """
    from importlib import import_module

    tables = import_module(f"rsitr.tables.{paper}").TABLES
    methods = PARAMS[PARAMS.experiment].methods
    names = [table.name for table in tables if table.concerns(methods)]
    return [f"{name}{suffix}" for name in names for suffix in SUFFIXES]


def seen_by_priors(wildcards):
    """Which test images are in what priors learn from; as ``marks``, only where it can be found out."""
    folder = Layout.tables(wildcards.experiment)
    files = ("leakage.long.csv", "leakage.images.csv")
    return [str(folder / name) for name in files] if marks(wildcards) else []


def marks(wildcards):
    """What of the test images was seen in training; records from git, without data, keep the marks they came with."""
    recorded = all(Path(cell).is_file() for cell in CELL_FILES)
    at_hand = any(Path(table).is_file() for table in COMPARED)
    return (
        [] if recorded and not at_hand else [str(Layout.overlaps(wildcards.experiment))]
    )


# Every comparison of images that the experiment's reports need, and the canonical tables behind them.
COPIES = [str(Layout.copies(*pair)) for pair in PARAMS[PARAMS.experiment].compared]
COMPARED = [
    str(Layout.dataset(first))
    for first, second in PARAMS[PARAMS.experiment].compared
    if first == second
]
CLEAN = [
    str(Layout.clean(dataset, PARAMS[PARAMS.experiment].dedup))
    for dataset in PARAMS[PARAMS.experiment].datasets
]
# Joint training sets of which every member is part of the experiment.
JOINT = [
    str(Layout.joint(protocol, rule))
    for protocol in joint_protocols(PARAMS[PARAMS.experiment].datasets)
    for rule in get_args(Dedup)
]
KEYWORDS = [
    str(Layout.keywords(dataset)) for dataset in PARAMS[PARAMS.experiment].datasets
]
# How alike training captions are, where a loss reads it.
SIMILARITIES = list(
    dict.fromkeys(
        str(path)
        for cell in CELLS
        for path in needs.caption_files(PARAMS, cell)
        if path.suffix == ".npy"
    )
)
# The records of all scene classifiers, whether or not a cell starts from them.
PRIORS = [
    str(Layout.prior(prior) / "scenes.json")
    for prior in needs.priors(PARAMS, PARAMS.experiment)
]
# What they learn from, which need not be a dataset of the matrix.
PRIOR_TABLES = [
    table
    for prior in needs.priors(PARAMS, PARAMS.experiment)
    for table in tables_of_prior(prior)
]
# The tables come from the expected matrix, so every cell is a target: a clean clone with tables but no cells has work
# to do.
CELL_FILES = [str(Layout.cell(cell) / "cell.json") for cell in CELLS]

# The cells that the study of CLIP alone asks, and what it writes of those that it can ask.
PEDER_CELLS = needs.peder_cells(PARAMS, PARAMS.experiment)
STUDIES = [
    str(path)
    for cell in PEDER_CELLS
    if needs.peder_measured(PARAMS, cell)
    for path in needs.peder_files(cell)
]

# Two-stage retrieval by cells of the matrix.
TWO_STAGES = [
    str(Layout.two_stage(wanted)) for wanted in PARAMS.two_stages(PARAMS.experiment)
]

# Tables of facts about canonical tables.
FACTS = [
    *(*rendered("datasets"), *rendered("ceiling"), *rendered("splits")),
    *(
        rendered("mtgfe-table-1")
        if mtgfe_datasets.concerns(PARAMS[PARAMS.experiment].methods)
        else []
    ),
]
# Tables made from records: what the workflow's report calls them, and their files.
RECORD_TABLES = {
    "comparison": rendered("comparison", "comparison.long.csv", "comparison.png"),
    "baselines": (rendered("baselines") if PARAMS[PARAMS.experiment].baselines else []),
    "margin": rendered("margin", "margin.png"),
    "reranking": rendered("reranking"),
    "selection": rendered("selection"),
    "prior-leak": rendered("prior-leak"),
    "two-stage": rendered("two-stage", "two-stage.png") if TWO_STAGES else [],
    "amfmn": paper_files("amfmn"),
    "pir": [
        *paper_files("pir"),
        *(["pir-curves.png"] if has_curves(PARAMS[PARAMS.experiment].methods) else []),
    ],
    "mtgfe": [
        *paper_files("mtgfe"),
        *(rendered("mtgfe-table-4") if TWO_STAGES else []),
    ],
    "peder": (
        [
            *rendered("peder-measures", "peder-measures.long.csv"),
            *(*rendered("peder-claims"), *rendered("peder-failures")),
        ]
        if PEDER_CELLS
        else []
    ),
}
RECORD_TABLES = {table: names for table, names in RECORD_TABLES.items() if names}
RECORD_TABLE_CODE = [
    *(f"rsitr.tables.{table.replace('-', '_')}" for table in RECORD_TABLES),
    *(
        f"rsitr.tables.{part}"
        for part in ("leakage", "metrics", "mtgfe_filter", "pir_curves")
    ),
]
TABLES = [
    f"{Layout.tables(PARAMS.experiment)}/{name}"
    for name in (
        *(name for names in RECORD_TABLES.values() for name in names),
        *("metrics.json", "training.csv"),
        *FACTS,
        *rendered("sources"),
        *rendered("dedup", "dedup.pairs.csv", "dedup.groups.csv"),
        *rendered("leakage", "leakage.long.csv", "leakage.images.csv"),
        *("leakage.training.csv", "leakage.png"),
        *rendered("statistics", "statistics.png", "similarity.png"),
    )
]

# The papers' pictures are drawn from checkpoints; a clone that has the records alone is not to train for them.
EXAMPLE_CELLS = {
    "amfmn": list(needs.example_cells(PARAMS, PARAMS.experiment).values()),
    "pir": list(needs.pir_cells(PARAMS, PARAMS.experiment).values()),
    "mtgfe": list(needs.mtgfe_cells(PARAMS, PARAMS.experiment).values()),
    "peder": list(needs.peder_shown(PARAMS, PARAMS.experiment).values()),
}
EXAMPLE_FILES = {
    "amfmn": ("saliency.png", "retrieval.png", "localisation.png", "localisation.csv"),
    "pir": (
        "embeddings.png",
        "embeddings.csv",
        "belief.png",
        "images.png",
        "captions.png",
    ),
    "mtgfe": ("attention-1.png", "attention-2.png"),
    "peder": (
        *("embeddings.png", "embeddings.csv"),
        *(f"probabilities.{kind}" for kind in ("csv", "md", "tex", "html")),
    ),
}
EXAMPLES = [
    f"{Layout.tables(PARAMS.experiment)}/{paper}-{name}"
    for paper, cells in EXAMPLE_CELLS.items()
    if cells
    and (
        not all(Path(cell).is_file() for cell in CELL_FILES)
        or all(
            (Layout.checkpoint(cell) / "model.safetensors").is_file() for cell in cells
        )
    )
    for name in EXAMPLE_FILES[paper]
]

if workflow.is_main_process:
    pipeline.synchronise(PARAMS, CELLS)
    needs.synchronise_studies(PARAMS, PEDER_CELLS)
