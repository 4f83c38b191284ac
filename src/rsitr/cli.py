"""The command line: parse, call ``rsitr.pipeline``, print."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsitr import pipeline
from rsitr.cells import Layout, Outcome, Spec, read_spec
from rsitr.errors import ParamsError, RsitrError
from rsitr.params import CellId, Dedup, Params, load_params

app = typer.Typer(
    help="The reproducible benchmark of remote sensing image-text retrieval. Run from the folder with the Snakefile.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Fetch datasets and build their canonical tables.", no_args_is_help=True)
app.add_typer(data, name="data")
dedup = typer.Typer(help="Find near-duplicate images inside and between datasets.", no_args_is_help=True)
app.add_typer(dedup, name="dedup")

CellArgument = Annotated[
    str | None, typer.Argument(metavar="[EXPERIMENT/DATASET/METHOD/SEED]", help="The cell, e.g. demo/scenes-a/vse/0.")
]
SpecOption = Annotated[
    Path | None, typer.Option(help="A spec file instead of a cell of params.yaml (as Snakemake does).")
]
ExperimentArgument = Annotated[str | None, typer.Argument(help="Default: the experiment that params.yaml chooses.")]
F = TypeVar("F", bound=Callable[..., Any])


def reported(function: F) -> F:
    """Print an error of the user's as one message and exit with 1, without a traceback."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RsitrError as error:
            print(f"rsitr: {error}", file=sys.stderr)
        except OSError as error:
            print(f"rsitr: {error}: check that the folder exists, is writable and has free space", file=sys.stderr)
        raise typer.Exit(1)

    return wrapper  # type: ignore[return-value]


def _experiment(name: str | None) -> tuple[Params, str]:
    params = load_params()
    name = name or params.experiment
    return pipeline.open_params(params.model_dump() | {"experiment": params[name] and name}), name


def _spec(cell: str | None, path: Path | None) -> Spec:
    if path:
        return read_spec(path)
    parts = (cell or "").split("/")
    if len(parts) != 4 or not parts[3].isdecimal():
        raise ParamsError("name a cell as EXPERIMENT/DATASET/METHOD/SEED, e.g. demo/scenes-a/vse/0")
    wanted = CellId(parts[0], parts[1], parts[2], int(parts[3]))
    params, _ = _experiment(wanted.experiment)
    pipeline.check_cell(params, wanted)
    return pipeline.spec_of(params, wanted)


def _say(spec: Spec, outcome: Outcome) -> None:
    print(f"{spec.cell.path}: {outcome.status}" + (f" ({outcome.reason})" if outcome.reason else ""))


@data.command("list")
@reported
def data_list() -> None:
    """Every registered dataset, its licence and where it comes from."""
    from rsitr.datasets import registry

    table = Table("dataset", "title", "origins", "licence")
    for name, dataset in registry().items():
        origins = ", ".join(bundle.origin for bundle in dataset.bundles)
        table.add_row(name, dataset.title, origins, dataset.bundles[0].licence)
    Console().print(table)


@data.command("fetch")
@reported
def data_fetch(dataset: str) -> None:
    """Fetch the files of a dataset, from its official place or the mirror that RSITR_MIRROR names."""
    from rsitr.datasets.acquire import fetch_dataset
    from rsitr.datasets.mirror import mirror_dir

    print(fetch_dataset(dataset, Layout.raw(dataset), mirror_dir()))


@data.command("build")
@reported
def data_build(dataset: str) -> None:
    """Extract the fetched files of a dataset and write its canonical table."""
    from rsitr.datasets.acquire import RECEIPT, build

    facts = build(dataset, Layout.raw(dataset) / RECEIPT, Layout.extracted(dataset), Layout.dataset(dataset))
    print(f"{Layout.dataset(dataset)}: {facts.origin}, data {facts.data_sha[:12]}")


@data.command("clean")
@reported
def data_clean(
    dataset: str,
    dedup: Annotated[Dedup, typer.Option(help="Which duplicates leave training.")] = "none",
) -> None:
    """Write the cleaned view of a dataset: which images are used, and why each other one is not."""
    from rsitr.dedup.clean import write_clean

    facts = write_clean(Layout.dataset(dataset), dedup, Layout.clean(dataset, dedup))
    print(f"{Layout.clean(dataset, dedup)}: data {facts.data_sha[:12]}")


@data.command("verify")
@reported
def data_verify(datasets: list[str]) -> None:
    """Check every fetched file against its size and checksum, and that every image is readable and unchanged."""
    from rsitr.datasets.verify import verify

    wrong = 0
    for dataset in datasets:
        result = verify(dataset, Layout.raw(dataset), Layout.dataset(dataset))
        wrong += len(result.findings)
        for finding in result.findings:
            print(f"{dataset}: {finding}")
        for file in result.unchecked:
            print(f"{dataset}: {file}: not checked, since no size or checksum is published")
        print(f"{dataset}: {result.files} files and {result.images} images, {len(result.findings)} wrong")
    if wrong:
        raise typer.Exit(1)


@data.command("export")
@reported
def data_export(
    dataset: str,
    form: Annotated[
        Literal["huggingface", "webdataset", "clip-benchmark", "karpathy"],
        typer.Option("--format", help="The layout to write."),
    ],
    out: Annotated[Path, typer.Option(help="A new folder.")],
) -> None:
    """Write a dataset and its images for another program."""
    from rsitr.datasets.export import export

    exported = export(Layout.dataset(dataset), form, out)
    for image, reason in exported.left_out:
        print(f"{dataset}: {image} not exported: {reason}", file=sys.stderr)
    print(f"{out}: {exported.images} images, {len(exported.left_out)} left out")


@data.command("audit")
@reported
def data_audit(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Datasets whose tables are built.")],
    out: Annotated[Path | None, typer.Option(help="Write every finding to this csv file.")] = None,
) -> None:
    """What is wrong with the captions: blank, repeated, shared, misspelt, not of their class; nothing is changed."""
    from rsitr.captions.audit import audit_table, summarise, write_findings
    from rsitr.datasets.karpathy import SPLITS

    findings = {name: audit_table(name, Layout.dataset(name)) for name in dict.fromkeys(datasets)}
    for name, found in findings.items():
        table = Table("fault", *SPLITS, "images", "first example", title=f"{name}: captions by split, and images")
        for line in summarise(found):
            counts = map(str, (*line.captions.values(), line.images))
            table.add_row(f"{line.kind}: {line.meaning}", *counts, escape(line.example))
        Console().print(table)
    if out:
        write_findings([finding for found in findings.values() for finding in found], out)
        print(out)


@dedup.command("thumbnails")
@reported
def dedup_thumbnails(dataset: str) -> None:
    """Decode every image of a dataset once, to the small size at which images are compared."""
    from rsitr.dedup.thumbnails import write_thumbnails

    write_thumbnails(Layout.dataset(dataset), Layout.thumbnails(dataset))
    print(Layout.thumbnails(dataset))


@dedup.command("copies")
@reported
def dedup_copies(
    first: str,
    second: Annotated[str | None, typer.Argument(help="Default: the first one, for the copies inside it.")] = None,
    shard: Annotated[str | None, typer.Option(help="A part of the work, as 0/8 for the first of eight.")] = None,
) -> None:
    """Find the pairs of images of which one is a crop of the other, whatever its orientation, size and colours."""
    from rsitr.dedup.copies import WHOLE, parse_shard, write_copies

    one, other = sorted((first, second or first))
    part = parse_shard(shard) if shard else WHOLE
    out = Layout.copies_shard(one, other, part.index, part.count) if shard else Layout.copies(one, other)
    pairs, _ = write_copies(Layout.thumbnails(one), Layout.thumbnails(other), out, part)
    print(f"{out}: {pairs} pairs")


@dedup.command("gather")
@reported
def dedup_gather(first: str, second: str, shards: int) -> None:
    """Put the shards of a comparison together."""
    from rsitr.dedup.copies import gather_files

    parts = [Layout.copies_shard(first, second, shard, shards) for shard in range(shards)]
    pairs, _ = gather_files(parts, Layout.copies(first, second))
    print(f"{Layout.copies(first, second)}: {pairs} pairs")


@dedup.command("joint")
@reported
def dedup_joint(
    protocol: str,
    rule: Annotated[Dedup, typer.Option(help="What near duplicates are.")] = "copies",
) -> None:
    """Build the training set of a joint split protocol, ret-2 or ret-3, without any member's test images."""
    from rsitr.dedup.joint import build_joint, joint_protocol

    members = joint_protocol(protocol).datasets
    tables = {name: Layout.dataset(name) for name in members}
    pairs = combinations_with_replacement(members, 2)
    copies = [path for path in (Layout.copies(*pair) for pair in pairs) if path.is_file()]
    facts = build_joint(protocol, rule, tables, copies, Layout.joint(protocol, rule))
    absent = f", no images at hand of {', '.join(facts.absent)}" if facts.absent else ""
    print(f"{Layout.joint(protocol, rule)}: data {facts.data_sha[:12]}{absent}")


@dedup.command("show")
@reported
def dedup_show(
    first: str,
    second: Annotated[str | None, typer.Argument(help="Default: the first one, for the copies inside it.")] = None,
    out: Annotated[Path, typer.Option(help="A PNG file.")] = Path("copies.png"),
    pair: Annotated[tuple[str, str] | None, typer.Option(help="The image ids of one pair; default: all.")] = None,
    weakest: Annotated[bool, typer.Option("--weakest", help="Begin with those that agree least.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most pairs to draw.")] = 40,
) -> None:
    """Draw pairs of near duplicates side by side, for a person to judge."""
    from rsitr.dedup.pairs import read_copies
    from rsitr.figures.copies import Pairs, draw_pairs, find_pair

    one, other = sorted((first, second or first))
    rows, _ = read_copies(Layout.copies(one, other))
    rows = find_pair(rows, *pair) if pair else rows.sort_values("detail", ascending=weakest)
    drawn = draw_pairs([Pairs(rows, Layout.dataset(one), Layout.dataset(other))], out, limit=limit)
    print(f"{out}: {drawn} of {len(rows)} pairs")


@dedup.command("group")
@reported
def dedup_group(
    dataset: str,
    image_id: str,
    out: Annotated[Path, typer.Option(help="A PNG file.")] = Path("group.png"),
) -> None:
    """Draw an image and all its near duplicates, in whatever datasets they were found, and which one is kept."""
    from rsitr.figures.copies import draw_group

    tables, members = pipeline.duplicates((dataset, image_id))
    drawn = draw_group(members, tables, members[:1], out)
    print(f"{out}: {drawn} of {len(members)} images, {'/'.join(members[0])} is kept")


@app.command()
@reported
def train(cell: CellArgument = None, spec: SpecOption = None) -> None:
    """Train one cell; continues a run that was interrupted."""
    expected = _spec(cell, spec)
    _say(expected, pipeline.run_cell_stage("train", expected))


@app.command()
@reported
def evaluate(cell: CellArgument = None, spec: SpecOption = None) -> None:
    """Evaluate a trained cell on its test split and write its record."""
    expected = _spec(cell, spec)
    _say(expected, pipeline.run_cell_stage("evaluate", expected))


@app.command()
@reported
def tables(
    experiment: ExperimentArgument = None,
    only: Annotated[
        Literal["comparison", "datasets", "ceiling", "splits", "sources", "dedup", "leakage"] | None,
        typer.Option(help="One of the tables; default: all."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse failed, missing and stale cells.")] = False,
) -> None:
    """Build the tables and figures of an experiment from its records."""
    params, name = _experiment(experiment)
    for path in pipeline.build_tables(params, name, only=only, strict=strict):
        print(path)


@app.command()
@reported
def schemas() -> None:
    """Write the JSON schemas of params.yaml and of a record, for editors and other programs."""
    for path in pipeline.write_schemas():
        print(path)


@app.command()
@reported
def status(experiment: ExperimentArgument = None) -> None:
    """The expected matrix of cells: done, missing, skipped, failed, stale."""
    params, name = _experiment(experiment)
    rows = pipeline.status(params, name)
    table = Table("cell", "state", "reason", title=pipeline.summary(rows))
    for cell, state, reason in rows:
        table.add_row(cell.path, state, reason)
    Console().print(table)


@app.command()
@reported
def retry(
    experiment: ExperimentArgument = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Cells that failed; training continues where it stopped.")
    ] = False,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Cells that were skipped, e.g. now that weights are here.")
    ] = False,
    cores: Annotated[int, typer.Option(help="Cores for Snakemake.")] = 2,
) -> None:
    """Run the failed or skipped cells of an experiment again, and only those, then its tables."""
    params, name = _experiment(experiment)
    states = {state for state, wanted in (("failed", failed), ("skipped", skipped)) if wanted}
    if not states:
        raise ParamsError("say which cells: --failed, --skipped or both")
    cells = pipeline.forget(params, name, states)
    print(f"{len(cells)} cells to run again")
    if cells:
        targets = [str(Layout.cell(cell) / "cell.json") for cell in cells]
        raise typer.Exit(pipeline.snakemake([*targets, f"results/tables/{name}/comparison.csv"], name, cores))
