"""How much recall identical captions and pictures leave: ties against the method, and ties in random order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from rsitr.captions.ceiling import Ceiling, expected_ceiling
from rsitr.datasets.karpathy import SPLITS
from rsitr.datasets.table import read_table
from rsitr.errors import DatasetError
from rsitr.tables.declared import sheet
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted

RECALLS = Ceiling._fields
HEADERS = tuple(f"{name[:3]} {name[4:].replace('r', 'R@')}" for name in RECALLS)
GROUPS = (
    Group("", ("images", "captions")),
    Group("ties against the method", HEADERS),
    Group("random order of ties", HEADERS),
)
CAPTION = (
    "Recall in percent that no method can exceed, because captions of different images are identical (case and "
    "punctuation aside), or image files. Ties against the method: the protocol of this benchmark, the best that any "
    "fixed ranking can reach. Random order of ties: the expectation for a method that ranks every matching image or "
    "caption first and leaves the order among identical captions to chance; it can tell identical pictures apart."
)
WIDTH = sum(len(group.columns) for group in GROUPS)


def ceilings(captions: pd.Series, pictures: pd.Series) -> Iterator[str]:
    """Texts of both groups of ceilings for a split.

    ``captions`` holds a list for each of its images, none empty, ``pictures`` the SHA-256 of each image file.
    """
    from rsitr.retrieval.recall import ceiling, duplicates_of  # imports torch, which nothing else here needs

    texts, image_of = captions.explode().tolist(), np.repeat(np.arange(len(captions)), captions.map(len))
    for found in (ceiling(image_of, duplicates_of(texts, pictures.tolist())), expected_ceiling(texts, image_of)):
        yield from (f"{getattr(found, name):.2f}" for name in RECALLS)


def _dataset(name: str, path: Path) -> Iterator[Row]:
    try:
        table, facts = read_table(path)
    except DatasetError as error:
        yield Row(name, (noted("NA", str(error)),) * WIDTH, rule=True)
        return
    frame = table.to_pandas()
    described = frame[frame["captions"].map(len) > 0]
    for place, split in enumerate(SPLITS):
        of_split = described[described["split"].eq(split)]
        captions = of_split["captions"]
        counts = (str(len(captions)), str(int(captions.map(len).sum())))
        found = ceilings(captions, of_split["sha256"]) if len(captions) else [""] * 2 * len(RECALLS)
        yield Row(f"{labelled(name, facts.synthetic)} {split}", tuple(map(Cell, (*counts, *found))), rule=place == 0)


def table(tables: Mapping[str, Path]) -> Table:
    """``tables`` maps each dataset to its canonical parquet; a missing one is NA with the reason."""
    rows = tuple(row for name, path in tables.items() for row in _dataset(name, path))
    return Table("Caption ceiling", CAPTION, "split", GROUPS, rows)


TABLE = sheet(
    "ceiling",
    "Caption ceilings of {.name}",
    lambda material: [table(material.canonical)],
    "The best recall that identical captions and pictures leave possible.",
    made_from="canonical",
)
