"""Thumbnails: every image of a dataset at 64 x 64 pixels, which is all that de-duplication looks at."""

from __future__ import annotations

import hashlib
import io
import mmap
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from rsitr.datasets.images import as_rgb
from rsitr.datasets.table import read_facts
from rsitr.datasets.tars import stored
from rsitr.errors import Damaged, DatasetError
from rsitr.progress import Progress
from rsitr.records.parquet import read_batches, read_metadata, streamed

SIZE = 64
"""Side of a thumbnail in pixels."""
BLANK = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
"""The thumbnail of an image that is left out."""
FLAT = 2.0
"""Standard deviation of the grey values (of 255) below which an image shows nothing recognisable."""
ROWS = 1024
"""In a row group: 12 MiB of pixels."""
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("pixels", pa.binary(SIZE * SIZE * 3)),
        ("problem", pa.string()),
    ]
)


Texts = np.ndarray | pd.api.extensions.ExtensionArray
"""A text for each image."""
LAYOUT: dict[str, Any] = {
    "compression": {name: "none" if name == "pixels" else "zstd" for name in SCHEMA.names},
    "use_dictionary": [name for name in SCHEMA.names if name != "pixels"],
    "data_page_size": 2 * ROWS * BLANK.size,
}
"""The pixels of a row group are one page as they are, so that they can be read in place."""


class Thumbnails(NamedTuple):
    """Images of one set, in the order of its canonical table."""

    name: str
    data_sha: str
    """Of the dataset."""
    image_id: Texts
    split: Texts
    pixels: Pixels
    """uint8 [N, 64, 64, 3]; black where there is a problem."""
    problem: Texts
    """Why an image is left out; empty if it is not."""


class Mapped:
    """Pixels that stay in their file, uint8 [N, 64, 64, 3]: rows are copied when they are asked for.

    So a set of millions takes no more memory than what is looked at, and jobs of one machine share what it has read.
    """

    def __init__(self, path: Path, starts: np.ndarray):
        """``starts`` are the places of the rows in the file, in bytes: int64 [N]."""
        with path.open("rb") as file:
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        starts = self._starts[rows]
        pixels = np.empty((len(starts), BLANK.size), dtype=np.uint8)
        for place, start in enumerate(starts.tolist()):
            pixels[place] = np.frombuffer(self._file, np.uint8, BLANK.size, start)
        # The pages stay in the machine's cache, and no longer count as this process's memory.
        self._file.madvise(mmap.MADV_DONTNEED)
        return pixels.reshape(-1, *BLANK.shape)


Pixels = np.ndarray | Mapped
"""Thumbnails, uint8 [N, 64, 64, 3], in memory or in a file."""


class Pictures:
    """Some thumbnails of a set, which are copied only where they are looked at: a set of millions is held once."""

    def __init__(self, pixels: Pixels, rows: np.ndarray):
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        return self.pixels[self.rows[places]]


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
        data = stored(path)
        if hashlib.sha256(data).hexdigest() != sha256:
            return BLANK, "changed since its table was built"
        pixels = thumbnail(data)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return BLANK, f"unreadable image ({type(error).__name__})"
    return (BLANK, "flat") if pixels.mean(axis=2).std() < FLAT else (pixels, "")


def write_thumbnails(dataset_table: Path, out: Path) -> list[str]:
    """Write the thumbnails of a canonical table to ``out``; returns why each is left out, empty for one that is not.

    An image that is left out keeps its row and the reason: it was unreadable when the table was built or is now, its
    file has changed since, or it is ``flat``, so that every other flat image would be its copy. Whatever the number of
    images, ``ROWS`` of them are in memory at a time.
    """
    facts, problems = read_facts(dataset_table), list[str]()
    title, total = f"thumbnails of {facts.name}", read_metadata(dataset_table).num_rows
    with streamed(out, SCHEMA, **LAYOUT) as table, ThreadPoolExecutor(2) as pool, Progress(title, total) as progress:
        table.facts = facts._replace(parent_sha=facts.data_sha)
        for rows in read_batches(dataset_table, ["image_id", "split", "path", "sha256", "problem"], ROWS):
            pixels, found = _thumbnails(rows, Path(facts.root), pool)
            # The column shares the memory of the array.
            buffers = [None, pa.py_buffer(pixels)]
            column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(BLANK.size), len(pixels), buffers)
            table.write(pa.table([rows["image_id"], rows["split"], column, pa.array(found, pa.string())], SCHEMA))
            problems += found
            progress.advance(steps=len(found))
    return problems


def _thumbnails(rows: pa.Table, root: Path, pool: Executor) -> tuple[np.ndarray, list[str]]:
    """Thumbnails of some rows of a canonical table, uint8 [N, 64, 64, 3], and why each is left out."""
    problems = rows["problem"].to_pylist()
    pixels, usable = np.zeros((len(rows), *BLANK.shape), dtype=np.uint8), [not problem for problem in problems]
    places = np.flatnonzero(usable)
    files = [root / path for path in rows["path"].filter(usable).to_pylist()]
    for place, seen in zip(places, pool.map(look, files, rows["sha256"].filter(usable).to_pylist()), strict=True):
        pixels[place], problems[place] = seen
    return pixels, problems


def read_thumbnails(path: Path) -> Thumbnails:
    """Thumbnails that ``write_thumbnails`` wrote; the pixels are checked once, and stay in the file.

    Raises ``DatasetError`` where it is missing or of an earlier layout, ``Damaged`` where it is not what was written.
    """
    facts = read_facts(path)
    pixels, texts, done = Mapped(path, _starts(path, facts.name)), [], 0
    for rows in read_batches(path, size=ROWS):
        read = np.frombuffer(b"".join(rows["pixels"].to_pylist()), np.uint8)
        if not np.array_equal(read, pixels[done : done + len(rows)].ravel()):
            raise Damaged(path, "its pixels are not where its header says")
        texts.append(rows.drop_columns(["pixels"]))
        done += len(rows)
    names, splits, problems = (
        pa.concat_tables(texts)[name].to_pandas().array for name in ("image_id", "split", "problem")
    )
    return Thumbnails(facts.name, facts.data_sha, names, splits, pixels, problems)


def _starts(path: Path, name: str) -> np.ndarray:
    """Where the pixels of each row are in the file, in bytes: int64 [N].

    Values of one size in one plain page without compression are the last bytes of their column in a row group.
    """
    found, metadata = [np.empty(0, dtype=np.int64)], read_metadata(path)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        column = group.column(SCHEMA.get_field_index("pixels"))
        if column.compression != "UNCOMPRESSED":
            raise DatasetError(f"{path} is of an earlier layout: delete it and run `rsitr dedup thumbnails {name}`")
        end = column.data_page_offset + column.total_compressed_size
        found.append(end - BLANK.size * np.arange(group.num_rows, 0, -1))
    return np.concatenate(found)
