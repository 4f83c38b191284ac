"""What an experiment's datasets contain: images, captions, words, classes, and the ceiling their captions set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from rsitr.captions.words import words
from rsitr.datasets.karpathy import SPLITS
from rsitr.datasets.table import DatasetFacts, read_table
from rsitr.errors import DatasetError
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted

COLUMNS = (
    *(f"{split} images" for split in SPLITS),
    *("unusable images", "captions", "unique captions", "words per caption", "vocabulary", "classes"),
    *("ceiling t2i R@1", "ceiling t2i R@5", "origin"),
)
CAPTION = (
    "Images by split as annotated; unusable ones are missing or cannot be decoded. Unique captions: case and "
    "punctuation aside. Vocabulary: distinct words of the training captions. Ceiling: the recall in percent that "
    "identical captions and pictures of different test images leave to a perfect method."
)


def statistics(frame: pd.DataFrame, facts: DatasetFacts) -> Iterator[str]:
    """The texts of a dataset's row, in the order of ``COLUMNS``. ``frame`` is canonical or clean."""
    # It imports torch, which nothing else here needs.
    from rsitr.retrieval.recall import ceiling, duplicates_of, text_groups

    described = frame[frame["captions"].map(len) > 0]
    captions = described["captions"].explode()
    training = described.loc[described["split"].eq("train"), "captions"].explode()
    test = described[described["split"].eq("test")]
    yield from (str(int(frame["split"].eq(split).sum())) for split in SPLITS)
    yield str(int(frame["problem"].ne("").sum()))
    yield from (str(len(captions)), str(len(set(text_groups(captions.tolist())))))
    yield f"{captions.map(lambda caption: len(words(caption))).mean():.2f}" if len(captions) else ""
    yield str(len({word for caption in training for word in words(caption)}))
    yield str(frame.loc[frame["class_name"].ne(""), "class_name"].nunique())
    if test.empty:
        yield from ("", "")
    else:
        duplicates = duplicates_of(test["captions"].explode().tolist(), test["sha256"].tolist())
        found = ceiling(np.repeat(np.arange(len(test)), test["captions"].map(len)), duplicates)
        yield from (f"{found.t2i_r1:.2f}", f"{found.t2i_r5:.2f}")
    yield facts.origin


def _row(name: str, path: Path) -> Row:
    try:
        table, facts = read_table(path)
        frame = table.to_pandas()
    except DatasetError as error:
        return Row(name, (noted("NA", str(error)),) * len(COLUMNS))
    return Row(labelled(name, facts.synthetic), tuple(map(Cell, statistics(frame, facts))))


def table(tables: Mapping[str, Path]) -> Table:
    """``tables`` maps each dataset to its parquet; a missing one is NA with the reason."""
    rows = tuple(_row(name, path) for name, path in tables.items())
    return Table("Datasets", CAPTION, "dataset", (Group("", COLUMNS),), rows)


TABLE = sheet(
    "datasets",
    "Datasets of {.name}",
    lambda material: [table(material.canonical)],
    "The datasets: images, captions, vocabulary and ceilings.",
    made_from="canonical",
)
