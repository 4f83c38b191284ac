"""Layouts of columns: parquet tables with an image and its captions in every row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.layouts import fields
from rsitr.datasets.layouts.base import Entry, File, FileLayout, Lost
from rsitr.errors import DatasetError

BATCH = 256
"""Rows that are decoded together."""
LARGEST, PACKED = 2**30, 100
"""Letters of text that any file may stand for, and how many times its own size a larger one may."""


def parquet_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    try:
        names = pq.read_schema(file.path).names
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"is not a parquet file ({error})"
    return fields.misfit(names)


def read_parquet(file: File) -> Iterator[Entry | Lost]:
    """One row after the other, in bounded memory.

    Raises ``DatasetError`` for a file that is damaged, and for one that a few bytes make stand for more text than
    memory holds: a caption that comes a million times is stored once.
    """
    try:
        with pq.ParquetFile(file.path) as table:
            known = [name for name in table.schema_arrow.names if name in fields.KNOWN]
            rows = (row for batch in table.iter_batches(BATCH, columns=known) for row in batch.to_pylist())
            for number, row in zip(count(1), _bounded(file, rows), strict=False):
                yield fields.entry(row, f"row {number}")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{file.path} is damaged ({error}): get a complete copy of it") from None


def _bounded(file: File, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size, total = file.path.stat().st_size, 0
    for row in rows:
        total += sum(len(str(value)) for value in row.values())
        if total > max(LARGEST, PACKED * size):
            raise DatasetError(
                f"{file.path} has {size:,} bytes and stands for more than {total:,} letters: do not trust it"
            )
        yield row


LAYOUTS = (FileLayout("parquet", parquet_misfit, read_parquet),)
