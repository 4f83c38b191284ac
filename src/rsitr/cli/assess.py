"""``rsitr assess``: what others have made, on a test set, by the rules of this benchmark."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from rsitr.cli.common import cell_id, show
from rsitr.retrieval.recall import recall
from rsitr.tables.view import HEADERS

if TYPE_CHECKING:
    from rsitr.external.assess import Assessed


def assess(
    data: Annotated[
        str,
        typer.Argument(metavar="DATASET|FOLDER", help="A dataset whose clean table is built, or pictures."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="The folder of a checkpoint of rsitr, open_clip:ARCHITECTURE, hf-hub:OWNER/NAME, or a folder saved by "
            "transformers or sentence-transformers."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Of open_clip:ARCHITECTURE: a file, or a tag.")] = None,
    image_embeddings: Annotated[Path | None, typer.Option(help=".npy in the order of the split, or .npz.")] = None,
    text_embeddings: Annotated[Path | None, typer.Option(help=".npy in the order of the split, or .npz.")] = None,
    scores: Annotated[Path | None, typer.Option(help="A matrix of images by captions, .npy.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run of both directions in TREC's form.")] = None,
    name: Annotated[
        str | None, typer.Option("--as", help="What tables call it. Default: after the model or the file.")
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(help="A dataset that it was trained on; repeat for several. Default: what is known of the model."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="A cell to compare it with, e.g. demo/scenes-a/vse/0; repeat for several.")
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(help="Of a folder, in any layout that `rsitr data import` reads. Default: in it."),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Of the annotation. Default: recognised.")] = None,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Of a folder.")] = "test",
    lost_at_most: Annotated[float, typer.Option(help="Percent of a folder's images that may be left out.")] = 5.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Assess a model, embeddings, scores or a run on a test set, by the rules of this benchmark.

    The record, the ranks and the first ten of every query are written to results/external; `rsitr tables --external`
    shows them next to the cells of an experiment.
    """
    from rsitr.external.assess import Given, assess, compare
    from rsitr.external.exports import leak
    from rsitr.external.held_out import Folder, held_out

    test = held_out(data, Folder(Path(data), annotation, layout, split, lost_at_most))
    for line in test.lost:
        print(f"{data}: left out: {line}")
    given = Given(model, weights, image_embeddings, text_embeddings, scores, run)
    assessed = assess(test, given, name, trained_on, device)
    cells = [cell_id(cell) for cell in against or ()]
    compared = {cell.path: compare(assessed, cell) for cell in cells}
    folder = assessed.write()
    show(_recalls(assessed))
    for cell, found in compared.items():
        interval = f"95 % interval {found.low:+.2f} to {found.high:+.2f}, p = {found.p:.3f}"
        print(f"mR against {cell}: {found.difference:+.2f}, {interval} (paired bootstrap over images)")
    for source, count in assessed.record.data["leaks"].items():
        print(f"trained on {source}: {leak(count)}")
    print(folder)


def _recalls(assessed: Assessed) -> Table:
    """Plain and duplicate-aware recalls, those after re-ranking, and the ceiling."""
    record, ranking = assessed.record, assessed.ranking
    images, captions = record.data["images"]["test"], record.data["captions"]["test"]
    table = Table(
        "", *HEADERS.values(), title=f"{record.method} on {record.dataset}: {images:,} images, {captions:,} captions"
    )
    rows = {"plain": ranking.plain, "duplicates counted": ranking.duplicate_aware, "re-ranked": ranking.reranked}
    for title, ranks in rows.items():
        if ranks is not None:
            found = asdict(recall(ranks))
            table.add_row(title, *(f"{found[metric]:.2f}" for metric in HEADERS))
    table.add_row("ceiling of plain", *(f"{record.metrics[f'ceiling_{metric}']:.2f}" for metric in HEADERS))
    return table
