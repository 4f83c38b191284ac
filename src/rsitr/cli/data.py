"""``rsitr data``: fetch, build, clean, verify, audit and export datasets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from rsitr.cli.common import BandsOption, Commands, DedupOption, NodataOption, SplitOption, left_out, numbers_of, show
from rsitr.errors import DatasetError
from rsitr.params.ids import OFFICIAL, CleanId
from rsitr.records.files import write_csv
from rsitr.records.paths import Paths

data = Commands(help="Fetch datasets and build their canonical tables.", no_args_is_help=True, project="optional")


@data.command("list")
def data_list() -> None:
    """Every registered or imported dataset, its licence and where it comes from."""
    from rsitr.datasets import known

    table = Table("dataset", "title", "origins", "licence")
    for name, dataset in known().items():
        origins = ", ".join(bundle.origin for bundle in dataset.bundles)
        table.add_row(name, dataset.title, origins, dataset.bundles[0].licence)
    show(table)


@data.command("fetch")
def data_fetch(dataset: str) -> None:
    """Fetch the files of a dataset, from its official place or the mirror that RSITR_MIRROR names."""
    from rsitr.datasets.acquire import fetch_dataset
    from rsitr.datasets.base import mirror_dir

    print(fetch_dataset(dataset, Paths.raw(dataset), mirror_dir()))


@data.command("import")
def data_import(
    folder: Annotated[Path, typer.Argument(help="The folder of the images, or of shards.")],
    name: Annotated[str, typer.Option("--as", help="What to call the dataset, in params.yaml too.")],
    annotation: Annotated[
        Path | None, typer.Option(help="File, folder or pattern, such as 'rs_*.json'. Default: in FOLDER.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Of the annotation. Default: recognised.")] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Of images that state none. Default: what the name of the file says, else test."),
    ] = None,
    captions: Annotated[
        Literal["whole", "lines"] | None,
        typer.Option(
            help="A txt in a shard: one caption, or a caption a line. Default: whole; of CLIP_benchmark lines."
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Of the dataset, for tables. Default: its name.")] = "",
    licence: Annotated[str, typer.Option(help="Of images and captions.")] = "none stated",
    lost_at_most: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of images, captions or shards that may be left out.")
    ] = 5,
    bands: BandsOption = "",
    nodata: NodataOption = None,
) -> None:
    """Make a folder of images with captions a dataset, without writing code; nothing is written unless all of it is."""
    from rsitr.datasets.importing import import_folder

    done = import_folder(
        folder,
        name,
        annotation=annotation,
        layout=layout,
        split=split,
        captions=captions,
        title=title,
        licence=licence,
        at_most=lost_at_most / 100,
        bands=numbers_of(bands),
        nodata=nodata,
    )
    for line in done.lost:
        print(f"{name}: left out: {line}", file=sys.stderr)
    by_split = ", ".join(f"{images} {part}" for part, images in done.images.items())
    without = f", {done.without} of them without captions" if done.without else ""
    counts = f"{sum(done.images.values())} images ({by_split}){without}, {done.captions} captions"
    print(f"{done.receipt}: {done.layout}, {counts}")


@data.command("build")
def data_build(dataset: str) -> None:
    """Extract the fetched files of a dataset and write its canonical table."""
    from rsitr.datasets import get_dataset
    from rsitr.datasets.acquire import RECEIPT, build

    receipt = Paths.raw(get_dataset(dataset).name) / RECEIPT
    if not receipt.is_file():
        raise DatasetError(f"{receipt} is missing: fetch the dataset first with `rsitr data fetch {dataset}`")
    built = build(dataset, receipt, Paths.extracted(dataset), Paths.dataset(dataset))
    for line in built.lines():
        print(f"{dataset}: {line}", file=sys.stderr)
    print(f"{Paths.dataset(dataset)}: {built.facts.origin}, data {built.facts.data_sha[:12]}")


@data.command("clean")
def data_clean(dataset: str, split_protocol: SplitOption = OFFICIAL, dedup: DedupOption = "none") -> None:
    """Write a clean table of a dataset: which images are used for what, and why each other one is not."""
    from rsitr.dedup.clean import write_clean

    wanted = CleanId(dataset, split_protocol, dedup)
    facts = write_clean(wanted)
    print(f"{Paths.clean(wanted)}: data {facts.data_sha[:12]}, images: {left_out(_why(wanted))}")


@data.command("verify")
def data_verify(datasets: list[str]) -> None:
    """Check every fetched file against its size and checksum, and that every image is readable and unchanged."""
    from rsitr.datasets.verify import verify

    wrong = 0
    for dataset in datasets:
        result = verify(dataset, Paths.raw(dataset), Paths.dataset(dataset))
        wrong += len(result.findings)
        for finding in result.findings:
            print(f"{dataset}: {finding}")
        for file in result.unchecked:
            print(f"{dataset}: {file}: not checked, since no size or checksum is published")
        print(f"{dataset}: {result.files} files and {result.images} images, {len(result.findings)} wrong")
    if wrong:
        raise typer.Exit(1)


@data.command("export")
def data_export(
    dataset: str,
    form: Annotated[
        Literal["huggingface", "webdataset", "clip-benchmark", "karpathy", "mteb"],
        typer.Option("--format", help="The layout to write."),
    ],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    lost_at_most: Annotated[
        float, typer.Option(min=0, max=100, help="Percentage of the images that may be left out.")
    ] = 5,
) -> None:
    """Write a dataset and its images for another program."""
    from rsitr.datasets.exports.layouts import export
    from rsitr.dedup.leakage import leaks_within

    leaks = leaks_within(dataset)
    done = export(Paths.dataset(dataset), form, out, lost_at_most=lost_at_most, leaks=leaks)
    for image, reason in done.left_out:
        print(f"{dataset}: {image} not exported: {reason}", file=sys.stderr)
    print(
        f"{out}: {done.images} images, {done.encoded_again} of them encoded again as PNG, {len(done.left_out)} left out"
        + (f" ({done.reasons})" if done.reasons else "")
    )


@data.command("shards")
def data_shards(
    dataset: str,
    out: Annotated[Path, typer.Option(help="A new folder.")],
    split_protocol: SplitOption = OFFICIAL,
    dedup: DedupOption = "none",
) -> None:
    """Write the training images that are kept and their captions as webdataset shards, for `rsitr pretrain`."""
    from rsitr.pretraining.shards import write_training_shards

    wanted = CleanId(dataset, split_protocol, dedup)
    shards = write_training_shards(Paths.clean(wanted), out)
    print(f"{out}: {shards} shards, training images: {left_out(_why(wanted, split='train'))}")


def _why(clean: CleanId, split: str | None = None) -> list[str]:
    """Why each image of a clean table, or of one of its splits, is left out; empty for those that are kept."""
    from rsitr.datasets.table import read_table

    table = read_table(Paths.clean(clean))[0].select(["split", "keep", "reason", "captions"])
    rows = [row for row in table.to_pylist() if split in (None, row["split"])]
    without = "no captions" if split else ""
    return [row["reason"] if not row["keep"] else "" if row["captions"] else without for row in rows]


@data.command("audit")
def data_audit(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Datasets whose tables are built.")],
    out: Annotated[Path | None, typer.Option(help="Write every finding to this csv file.")] = None,
) -> None:
    """What is wrong with the captions: blank, repeated, shared, misspelt, not of their class; nothing is changed."""
    from rsitr.captions.audit import Finding, audit, summarise
    from rsitr.datasets.karpathy import SPLITS
    from rsitr.datasets.table import read_table
    from rsitr.tables.layout import no_formula

    tables = {name: read_table(Paths.dataset(name))[0] for name in dict.fromkeys(datasets)}
    findings = {name: audit(table.to_pandas(), name) for name, table in tables.items()}
    for name, found in findings.items():
        shown = Table("fault", *SPLITS, "images", "first example", title=f"{name}: captions by split, and images")
        for line in summarise(found):
            counts = map(str, (*line.captions.values(), line.images))
            shown.add_row(f"{line.kind}: {line.meaning}", *counts, escape(line.example))
        show(shown)
    if out:
        rows = [[no_formula(str(field)) for field in finding] for found in findings.values() for finding in found]
        write_csv(out, Finding._fields, rows)
        print(out)
