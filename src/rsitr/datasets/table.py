"""The schema of canonical and clean tables, and reading them with the facts in their header.

Every cell starts by reading a table, so this module does without pandas.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rsitr.records import parquet

DATASET_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("class_name", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("keywords", pa.list_(pa.string())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("fingerprint", pa.string()),
        ("problem", pa.string()),
    ]
)
CLEAN_SCHEMA = pa.schema(
    [*DATASET_SCHEMA, ("duplicate_group", pa.int32()), ("keep", pa.bool_()), ("reason", pa.string())]
)


class DatasetFacts(NamedTuple):
    """What the parquet header says about a canonical table."""

    name: str
    title: str
    origin: str
    """The bundle it came from: official, huggingface, mirror, generated or imported."""
    licence: str
    synthetic: bool
    root: str
    """Folder of the extracted files; ``path`` of each row is relative to it."""
    data_sha: str
    """Hash of the rows, the same for every copy of the same data, wherever it is."""
    parent_sha: str = ""
    """Of a clean table: the hash of the canonical table it was made from."""


def read_facts(path: Path) -> DatasetFacts:
    """The header of a canonical or clean table, without reading its rows.

    Raises ``DatasetError`` where it is missing and ``Damaged`` where it cannot be read.
    """
    return DatasetFacts(**parquet.read_facts(path))


def read_table(path: Path) -> tuple[pa.Table, DatasetFacts]:
    """Rows and facts of a canonical or clean table; the errors are those of ``read_facts``."""
    facts = read_facts(path)
    return parquet.read_rows(path), facts
