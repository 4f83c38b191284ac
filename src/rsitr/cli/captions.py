"""``rsitr captions``: how alike captions are, what datasets are like, and keywords."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rsitr.cells import Layout
from rsitr.cli.reported import reported
from rsitr.params import Dedup

captions = typer.Typer(help="Similarity of captions, statistics of datasets, keywords.", no_args_is_help=True)


@captions.command("similarity")
@reported
def captions_similarity(
    dataset: str,
    measure: Literal["bleu-1", "bleu-2", "bleu-3", "bleu-4", "meteor", "released"],
    dedup: Annotated[Dedup, typer.Option(help="Which cleaned view of the dataset.")] = "none",
    threads: Annotated[int, typer.Option(min=1, help="Threads to divide the work among.")] = 2,
) -> None:
    """Compute how alike every distinct training caption is to the captions of every training image.

    An interrupted run continues; a matrix that is current is left alone.
    """
    from rsitr.captions.similarity import CaptionSet, write_matrix
    from rsitr.datasets.splits import load_splits

    train = load_splits(Layout.clean(dataset, dedup))[0]["train"]
    out = Layout.similarity(dataset, dedup) / f"{measure}.npy"
    new = write_matrix(measure, CaptionSet.of(train.captions, train.image_of), out, threads)
    print(f"{out}: {'computed' if new else 'was there already'}")
