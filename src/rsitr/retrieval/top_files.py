"""``top.parquet``: the first items of every query of a test split, with their scores. Nothing needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rsitr.datasets.splits import SplitData
from rsitr.errors import Damaged, RecordError
from rsitr.records.parquet import read_rows, write_table
from rsitr.retrieval.rank_files import QUERY, queries_of, query_columns

SCHEMA = pa.schema([*QUERY, ("items", pa.list_(pa.int32())), ("scores", pa.list_(pa.float32()))])
LAYOUT: dict[str, Any] = {
    "compression_level": 9,
    "use_dictionary": ["direction", "image_id"],
    "column_encoding": dict.fromkeys(("items.list.element", "scores.list.element"), "BYTE_STREAM_SPLIT"),
}
"""A third smaller than what pyarrow writes by default."""


class Top(NamedTuple):
    """The first K items of the queries of one direction, the best first."""

    items: npt.NDArray[np.int32]
    """[Q, K], by their positions within the split."""
    scores: npt.NDArray[np.float32]
    """[Q, K]"""


class SplitTop(NamedTuple):
    """The first items of both directions."""

    i2t: Top
    """Captions of every image query."""
    t2i: Top
    """Images of every caption query."""


def write_top(path: Path, split: SplitData | None, top: SplitTop | None) -> None:
    """One row a query: its image, the number of its caption within the split (-1 for an image query), its list."""
    table = SCHEMA.empty_table()
    if split is not None and top is not None:
        columns = query_columns(split) | {
            "items": [*top.i2t.items.tolist(), *top.t2i.items.tolist()],
            "scores": [*top.i2t.scores.tolist(), *top.t2i.scores.tolist()],
        }
        table = pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names})
    write_table(table, None, path, **LAYOUT)


class TopQueries(NamedTuple):
    """The queries of a file of first items."""

    i2t: Top
    """Captions, by their numbers, of every image query."""
    t2i: Top
    """Images, by their positions in ``image_ids``, of every caption query."""
    image_of: np.ndarray
    """[C]: the image of each caption."""
    image_ids: np.ndarray
    """[I]"""


def read_top(path: Path) -> TopQueries:
    """Read a file of first items; raises ``RecordError`` where it is missing or damaged.

    Of a cell that was skipped or failed, nothing is in it.
    """
    try:
        table = read_rows(path)
        texts, image_of, ids = queries_of(table)
        i2t, t2i = _top(table.filter(pa.array(~texts))), _top(table.filter(pa.array(texts)))
    except (Damaged, KeyError, TypeError, ValueError) as error:
        what = error.what if isinstance(error, Damaged) else f"{type(error).__name__}: {error}"
        raise RecordError(
            f"{path} cannot be read ({what}): evaluate the cell again, or restore the file from git, which has that of "
            "seed 0"
        ) from None
    return TopQueries(i2t, t2i, image_of, ids)


def _top(queries: pa.Table) -> Top:
    """Raises ``TypeError`` or ``ValueError`` where the lists are not of one length."""
    return Top(_matrix(queries["items"], np.int32), _matrix(queries["scores"], np.float32))


def _matrix(lists: pa.ChunkedArray, kind: type) -> npt.NDArray[Any]:
    return np.array(lists.to_pylist(), dtype=kind).reshape(len(lists), -1 if len(lists) else 0)
