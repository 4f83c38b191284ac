"""Layouts of columns: parquet tables with an image and its captions in every row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets.layouts import fields
from rsitr.datasets.layouts.base import Entry, File, FileLayout, Lost
from rsitr.errors import DatasetError


def parquet_misfit(file: File) -> str:
    """See ``FileLayout.misfit``."""
    try:
        names = pq.read_schema(file.path).names
    except (pa.ArrowException, OSError) as error:
        return f"is not a parquet file ({error})"
    return fields.misfit(names)


def read_parquet(file: File) -> Iterator[Entry | Lost]:
    """One row after the other, in bounded memory; raises ``DatasetError`` for a file that is damaged."""
    try:
        with pq.ParquetFile(file.path) as table:
            known = [name for name in table.schema_arrow.names if name in fields.KNOWN]
            rows = (row for batch in table.iter_batches(columns=known) for row in batch.to_pylist())
            for number, row in zip(count(1), rows, strict=False):
                yield fields.entry(row, f"row {number}")
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{file.path} is damaged ({error}): get a complete copy of it") from None


LAYOUTS = (FileLayout("parquet", parquet_misfit, read_parquet),)
