"""``ranks.parquet``: the rank of every query of a test split, and the metrics that follow. Nothing needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rsitr.datasets.splits import SplitData
from rsitr.errors import Damaged, RecordError
from rsitr.records.parquet import read_rows, write_table
from rsitr.retrieval.recall import Ranks, median_ranks, recall


class SplitRanks(NamedTuple):
    """The ranks of a test split."""

    plain: Ranks
    duplicate_aware: Ranks
    reranked: Ranks


COLUMNS = {"rank": "", "dup_rank": "dup_", "rr_rank": "rr_"}
"""Column of the file -> prefix of the metrics made of it. ``dup_``: identical captions and pictures count;
``rr_``: after re-ranking."""
QUERY = (("direction", pa.string()), ("image_id", pa.string()), ("caption", pa.int32()))
"""What says which query a row is of."""
SCHEMA = pa.schema([*QUERY, *((name, pa.int32()) for name in COLUMNS)])


def query_columns(split: SplitData) -> dict[str, Sequence[Any]]:
    """The columns ``QUERY`` of all image queries, and then of all caption queries."""
    ids = np.asarray(split.image_ids)
    return {
        "direction": ["i2t"] * len(ids) + ["t2i"] * len(split.captions),
        "image_id": [*ids, *ids[split.image_of]],
        "caption": [-1] * len(ids) + list(range(len(split.captions))),
    }


def queries_of(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a table of queries: which are caption queries, ``image_of`` [C] and ``image_ids`` [I].

    Raises ``KeyError`` where a column or the row of an image is missing.
    """
    texts = np.array(table["direction"].to_pylist()) == "t2i"
    ids = np.array(table["image_id"].to_pylist(), dtype=object)
    number = {image_id: place for place, image_id in enumerate(ids[~texts])}
    return texts, np.array([number[image_id] for image_id in ids[texts]], dtype=np.int64), ids[~texts]


def write_ranks(path: Path, split: SplitData | None, ranks: SplitRanks | None) -> None:
    """One row a query: its image, the number of its caption within the split (-1 for an image query), its ranks."""
    table = SCHEMA.empty_table()
    if split is not None and ranks is not None:
        columns = query_columns(split) | {
            name: np.concatenate([each.i2t, each.t2i]) for name, each in zip(COLUMNS, ranks, strict=True)
        }
        table = pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names})
    write_table(table, None, path)


class Queries(NamedTuple):
    """The queries of a file of ranks."""

    ranks: dict[str, Ranks]
    """By column; a file of an older version may lack some."""
    image_of: np.ndarray
    """[C]: the image of each caption query."""
    image_ids: np.ndarray
    """[I], of the image queries."""


def read_ranks(path: Path) -> Queries:
    """Read a file of ranks; raises ``RecordError`` where it is missing or damaged."""
    try:
        table = read_rows(path)
        texts, image_of, ids = queries_of(table)
        found = {
            name: Ranks(*(table[name].to_numpy().astype(np.int64)[rows] for rows in (~texts, texts)))
            for name in COLUMNS
            if name in table.column_names
        }
    except (Damaged, KeyError) as error:
        what = error.what if isinstance(error, Damaged) else f"it has no {error}"
        raise RecordError(f"{path} cannot be read ({what}): restore it from git, or evaluate the cell again") from None
    return Queries(found, image_of, ids)


def metrics_of(ranks: dict[str, Ranks]) -> dict[str, float]:
    """From ranks by column: the six recalls and mR in percent, and the median ranks ``i2t_medr`` and ``t2i_medr``."""
    metrics = {
        prefix + name: value
        for column, prefix in COLUMNS.items()
        if column in ranks
        for name, value in asdict(recall(ranks[column])).items()
    }
    return metrics | (median_ranks(ranks["rank"])._asdict() if "rank" in ranks else {})
