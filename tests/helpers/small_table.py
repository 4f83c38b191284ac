"""The canonical table of a few small images: four encodings, a missing one, a row without captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from PIL import Image

from rsitr.datasets.base import Row
from rsitr.datasets.canonical import data_sha, rows_to_frame
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.records.parquet import write_table

ROWS = [
    Row("a.1.jpg", "x/a.1.jpg", "train", "port", ["a port", "deux bateaux é ."], ["port", "boat"]),
    Row("b.tif", "x/b.tif", "train", "port", ["a port"], []),
    Row("c.png", "x/c.png", "train", "", ["green"], []),
    Row("d.png", "x/d.png", "val", "field", [], []),
    Row("e.png", "x/e.png", "test", "field", ["gone"], []),
    Row("f.webp", "x/f.webp", "test", "field", ["one", "two", "three"], []),
]
MISSING = "e.png"
LOST = 50
"""Percentage that covers what every layout leaves out of ``ROWS``."""


def draw(rows: Sequence[Row], root: Path) -> None:
    """The files of the rows, each of one colour; none of the missing image."""
    for number, row in enumerate(rows):
        if row.image_id != MISSING:
            (root / row.path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (40 * number, 90, 7)).save(root / row.path, lossless=True)


def put_table(rows: Sequence[Row], folder: Path, dataset: str = "ucm", licence: str = "none stated") -> Path:
    """``dataset.parquet`` in a folder, of rows whose images are in ``extracted`` next to it."""
    root = folder / "extracted"
    frame = rows_to_frame(rows, root)
    facts = DatasetFacts(dataset, "UCM-Captions", "mirror", licence, False, root.as_posix(), data_sha(frame))
    table = pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False)
    write_table(table, facts, folder / "dataset.parquet")
    return folder / "dataset.parquet"


def small_table(folder: Path) -> Path:
    """The table of ``ROWS`` and its images."""
    draw(ROWS, folder / "extracted")
    return put_table(ROWS, folder)
