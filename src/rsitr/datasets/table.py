"""The schema of canonical and clean tables, and reading and writing them with their facts in the header.

Every cell starts by reading a table, so this module does without pandas.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.errors import DatasetError

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
    """The bundle it came from: official, huggingface, mirror or generated."""
    licence: str
    synthetic: bool
    root: str
    """Folder of the extracted files; ``path`` of each row is relative to it."""
    data_sha: str
    """Hash of the rows, the same for every copy of the same data, wherever it is."""
    parent_sha: str = ""
    """Of a clean table: the hash of the canonical table it was made from."""


class Facts(Protocol):
    """A named tuple for a parquet header."""

    def _asdict(self) -> dict[str, Any]: ...


def write_table(table: pa.Table, facts: Facts, path: Path) -> None:
    """Write a table with its facts in the header, atomically."""
    table = table.replace_schema_metadata({b"rsitr": json.dumps(facts._asdict()).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, path)


def read_facts(path: Path) -> DatasetFacts:
    """The header of a canonical or clean table, without reading its rows."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build it with `snakemake --cores 2 {path}`")
    return DatasetFacts(**json.loads(pq.read_schema(path).metadata[b"rsitr"]))


def read_table(path: Path) -> tuple[pa.Table, DatasetFacts]:
    """Rows and facts of a canonical or clean table."""
    facts = read_facts(path)
    return pq.ParquetFile(path).read(), facts
