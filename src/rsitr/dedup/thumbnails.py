"""Thumbnails: every image of a dataset at 64 x 64 pixels, which is all that de-duplication looks at."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from rsitr.datasets.images import as_rgb
from rsitr.datasets.table import read_table
from rsitr.progress import Progress
from rsitr.records.parquet import write_table

SIZE = 64
"""Side of a thumbnail in pixels."""
BLANK = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
"""The thumbnail of an image that is left out."""
FLAT = 2.0
"""Standard deviation of the grey values (of 255) below which an image shows nothing recognisable."""
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("pixels", pa.binary(SIZE * SIZE * 3)),
        ("problem", pa.string()),
    ]
)


class Thumbnails(NamedTuple):
    """Images of one set, in the order of its canonical table."""

    name: str
    data_sha: str
    """Of the dataset."""
    image_id: np.ndarray
    split: np.ndarray
    pixels: np.ndarray
    """uint8 [N, 64, 64, 3]; black where there is a problem."""
    problem: np.ndarray
    """Why an image is left out; empty if it is not."""


class Pictures:
    """Some thumbnails of a set, which are copied only where they are looked at: a set of millions is held once."""

    def __init__(self, pixels: np.ndarray, rows: np.ndarray):
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        return self.pixels[self.rows[places]]  # type: ignore[no-any-return]


def thumbnail(data: bytes) -> np.ndarray:
    """The first frame of an image file as an RGB thumbnail: uint8 [64, 64, 3].

    The aspect ratio is not kept. Raises ``OSError``, ``SyntaxError`` or ``ValueError`` if it is not a complete image.
    """
    with Image.open(io.BytesIO(data)) as file:
        # JPEG can decode at a fraction of the size; twice the thumbnail's is enough to average from.
        file.draft("RGB", (2 * SIZE, 2 * SIZE))
        image = as_rgb(file)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


def look(path: Path, sha256: str) -> tuple[np.ndarray, str]:
    """The thumbnail of an image file and an empty string, or a black one and why the image is left out.

    A file whose SHA-256 is no longer ``sha256`` is left out too.
    """
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            return BLANK, "changed since its table was built"
        pixels = thumbnail(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return BLANK, f"unreadable image ({type(error).__name__})"
    return (BLANK, "flat") if pixels.mean(axis=2).std() < FLAT else (pixels, "")


def write_thumbnails(dataset_table: Path, out: Path) -> list[str]:
    """Write the thumbnails of a canonical table to ``out``; returns why each is left out, empty for one that is not.

    An image that is left out keeps its row and the reason: it was unreadable when the table was built or is now, its
    file has changed since, or it is ``flat``, so that every other flat image would be its copy.
    """
    table, facts = read_table(dataset_table)
    frame = table.select(["image_id", "split", "path", "sha256", "problem"]).to_pandas()
    pixels, problems = np.zeros((len(frame), *BLANK.shape), dtype=np.uint8), frame["problem"].tolist()
    rows = np.flatnonzero(frame["problem"] == "")
    files = [Path(facts.root, path) for path in frame["path"].iloc[rows]]
    with ThreadPoolExecutor(2) as pool, Progress(f"thumbnails of {facts.name}", len(rows)) as progress:
        for row, found in zip(rows, pool.map(look, files, frame["sha256"].iloc[rows]), strict=True):
            pixels[row], problems[row] = found
            progress.advance()
    # The column shares the memory of the array.
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(BLANK.size), len(pixels), [None, pa.py_buffer(pixels)])
    columns = {"image_id": frame["image_id"], "split": frame["split"], "pixels": column, "problem": problems}
    write_table(pa.table(columns, SCHEMA), facts._replace(parent_sha=facts.data_sha), out)
    return problems


def read_thumbnails(path: Path) -> Thumbnails:
    """Thumbnails that ``write_thumbnails`` wrote."""
    table, facts = read_table(path)
    column = table["pixels"].combine_chunks()
    pixels = np.frombuffer(column.buffers()[1], dtype=np.uint8, count=len(column) * BLANK.size)
    pixels = pixels.reshape(-1, *BLANK.shape)
    names, splits, problems = (
        np.array(table[name].to_pylist(), dtype=str) for name in ("image_id", "split", "problem")
    )
    return Thumbnails(facts.name, facts.data_sha, names, splits, pixels, problems)
