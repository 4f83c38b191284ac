"""Tables in parquet files: every page has a checksum, and its shape and the facts about it have a hash.

Every cell starts by reading a table, so this module does without pandas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.errors import Damaged, DatasetError
from rsitr.records.files import replacing
from rsitr.records.provenance import sha256_json

FACTS, SEAL, SHAPE = b"rsitr", b"rsitr.sha256", b"rsitr.shape.sha256"
BATCH = 1024
"""Rows that ``read_batches`` holds at a time."""


class Facts(Protocol):
    """A named tuple for a parquet header."""

    def _asdict(self) -> dict[str, Any]: ...


def write_table(table: pa.Table, facts: Facts | None, path: Path, **layout: Any) -> None:
    """Write a table, with its facts in the header if there are any; ``layout`` as in ``pq.write_table``."""
    header = {SHAPE: _shape(table)}
    if facts is not None:
        said = facts._asdict()
        header |= {FACTS: json.dumps(said).encode(), SEAL: sha256_json(said).encode()}
    table = table.replace_schema_metadata(header)
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True, **layout)


class _Size(NamedTuple):
    """What the hash of a table's shape covers, of one that is not in memory."""

    num_rows: int
    schema: pa.Schema


class Stream:
    """A table that is written some rows at a time; see ``streamed``."""

    def __init__(self, writer: pq.ParquetWriter):
        self.facts: Facts | None = None
        """For the header, known at the end at the latest."""
        self._writer, self._rows = writer, 0

    def write(self, rows: pa.Table) -> None:
        """Add rows, as a row group of their own."""
        self._writer.write_table(rows, row_group_size=max(1, len(rows)))
        self._rows += len(rows)

    def header(self) -> dict[bytes, bytes]:
        """What ``write_table`` says about a table."""
        header = {SHAPE: _shape(_Size(self._rows, self._writer.schema))}
        if self.facts is not None:
            said = self.facts._asdict()
            header |= {FACTS: json.dumps(said).encode(), SEAL: sha256_json(said).encode()}
        return header


@contextmanager
def streamed(path: Path, schema: pa.Schema, **layout: Any) -> Iterator[Stream]:
    """Write a table whose rows do not fit into memory; it is at ``path`` once the block has ended without an error.

    ``layout`` as in ``pq.ParquetWriter``.
    """
    # Facts that are known at the end are found by readers only where no schema of Arrow was stored at the beginning.
    layout = {"compression": "zstd", "write_page_checksum": True, "store_schema": False} | layout
    with replacing(path) as partial, pq.ParquetWriter(partial, schema, **layout) as writer:
        stream = Stream(writer)
        yield stream
        writer.add_key_value_metadata(stream.header())


def read_facts(path: Path) -> dict[str, Any]:
    """The facts in the header of a table; raises ``DatasetError`` where it is missing, or is ``Damaged``."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build it with `snakemake --cores 2 {path}`")
    with _whole(path):
        header = pq.read_schema(path).metadata
        facts: dict[str, Any] = json.loads(header[FACTS])
    if header.get(SEAL, sha256_json(facts).encode()) != sha256_json(facts).encode():
        raise Damaged(path, "its header does not agree with its hash")
    return facts


def read_rows(path: Path) -> pa.Table:
    """All rows of a table that is here; raises ``Damaged`` unless they are those that were written."""
    with _whole(path):
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    stated = (table.schema.metadata or {}).get(SHAPE)
    if stated is not None and stated != _shape(table):
        raise Damaged(path, "its columns or the number of its rows do not agree with their hash")
    return table


def read_batches(path: Path, columns: Sequence[str] | None = None, size: int = BATCH) -> Iterator[pa.Table]:
    """The rows of a table that is here in order, at most ``size`` at a time, or some of their columns.

    A row group is in memory at a time.

    Raises ``Damaged`` on the way, or at the end, unless they are those that were written.
    """
    with _whole(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        stated, rows = (file.metadata.metadata or {}).get(SHAPE), 0
        for number in range(file.num_row_groups):  # file.iter_batches keeps what it has read until its end
            group = file.read_row_group(number, columns=columns)
            rows += len(group)
            yield from (group.slice(start, size) for start in range(0, len(group), size))
        if stated is not None and stated != _shape(_Size(rows, file.schema_arrow)):
            raise Damaged(path, "its columns or the number of its rows do not agree with their hash")


def read_metadata(path: Path) -> pq.FileMetaData:
    """Row groups, and where their columns are, of a table that is here; raises ``Damaged`` where it cannot be read."""
    with _whole(path):
        return pq.read_metadata(path)


def _shape(table: pa.Table) -> bytes:
    """Hash of the number of rows and the names and types of columns: the pages' checksums do not cover them."""
    return sha256_json([table.num_rows, [[field.name, _type(field.type)] for field in table.schema]]).encode()


def _type(kind: pa.DataType) -> str:
    # A file calls the items of a list otherwise than a table in memory.
    return f"list of {_type(kind.value_type)}" if pa.types.is_list(kind) else str(kind)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise Damaged(path, (str(error) or type(error).__name__).splitlines()[0]) from None
