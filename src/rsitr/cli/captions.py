"""``rsitr captions``: how similar captions are, statistics of datasets, and keywords."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rsitr.cli.common import Commands, DedupOption, SplitOption, ThreadsOption, show
from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import OFFICIAL, CleanId
from rsitr.records.paths import Paths

if TYPE_CHECKING:
    from rsitr.tables.statistics import Measured

captions = Commands(
    help="Similarity of captions, statistics of datasets, keywords.", no_args_is_help=True, project="optional"
)


@captions.command("similarity")
def captions_similarity(
    dataset: str,
    measure: Annotated[str, typer.Argument(help="bleu-1 to bleu-4, meteor, or released.")],
    split_protocol: SplitOption = OFFICIAL,
    dedup: DedupOption = "none",
    threads: ThreadsOption = 2,
) -> None:
    """Compute how similar every distinct training caption is to the captions of every training image.

    An interrupted run continues; a matrix that is current is left alone.
    """
    from rsitr.captions.similarity import CaptionSet, write_matrix
    from rsitr.datasets.splits import load_splits

    clean = CleanId(dataset, split_protocol, dedup)
    train = load_splits(Paths.clean(clean))[0]["train"]
    out = Paths.similarity(clean) / f"{measure}.npy"
    new = write_matrix(measure, CaptionSet.of(train.captions, train.image_of), out, threads)
    print(f"{out}: {'computed' if new else 'was there already'}")


@captions.command("keywords")
def captions_keywords(dataset: str) -> None:
    """Write the keywords of every image: the dataset's own where it has any, else those of its captions."""
    from rsitr.captions.keyword_table import build_keywords, read_keywords

    out = Paths.keywords(dataset)
    new = build_keywords(Paths.dataset(dataset), out)
    rows = read_keywords(out)[0].to_pylist()
    counts = Counter(keyword for row in rows for keyword in row["keywords"])
    print(f"{out}: {'built' if new else 'was there already'}, {counts.total()} keywords of {len(rows)} images")
    for keyword, count in counts.most_common(10):
        print(f"{count:7} {keyword}")


@captions.command("statistics")
def captions_statistics(
    datasets: Annotated[list[str] | None, typer.Argument(help="Datasets whose canonical tables are built.")] = None,
    annotation: Annotated[
        Path | None, typer.Option(help="An annotation of your own: a file, folder or pattern in any layout.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the table, its bars and the maps.")] = None,
    threads: ThreadsOption = 2,
) -> None:
    """How long, how varied and how similar the captions of datasets are: the numbers of AMFMN's Fig. 9."""
    from rsitr.tables import statistics

    if bool(datasets) == bool(annotation):
        raise ParamsError("name datasets, or one annotation with --annotation")
    tables = {name: Paths.dataset(name) for name in datasets or ()}
    if annotation:
        rows, lost = statistics.measure_annotation(annotation, threads)
        for line in lost:
            print(f"{annotation}: left out: {line}", file=sys.stderr)
    else:
        rows = statistics.measure_tables(tables, threads)
    unknown = {row.dataset: row.unknown for row in rows if row.unknown}
    if len(unknown) < len(rows):
        _show_statistics(rows, annotation, [*tables], out)
    if unknown:
        raise DatasetError("; ".join(f"{name}: {reason}" for name, reason in unknown.items()))


def _show_statistics(rows: list[Measured], annotation: Path | None, names: list[str], out: Path | None) -> None:
    from rsitr.tables import statistics

    table = Table("dataset", *rows[0].texts())
    for row in rows:
        table.add_row(escape(row.label), *row.texts().values())
    show(table)
    if out:
        made_by = f"rsitr captions statistics {f'--annotation {annotation}' if annotation else ' '.join(names)}"
        for path in statistics.write_rows(rows, annotation.stem if annotation else ", ".join(names), made_by, out):
            print(path)
