"""The parquet file of the keywords of every image of a dataset; ``keyword_build`` makes it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rsitr.errors import DatasetError
from rsitr.records.parquet import read_facts, read_rows

VERSION = 1
"""Of the file and of how keywords are extracted from captions; a file of another version is rebuilt."""

SCHEMA = pa.schema(
    [("image_id", pa.string()), ("split", pa.string()), ("keywords", pa.list_(pa.string())), ("origin", pa.string())]
)
"""One row for each image of the canonical table, in its order; ``origin`` is "dataset" or "captions".

``keywords`` is empty where the dataset has none of its own and the captions have no noun.
"""


class KeywordFacts(NamedTuple):
    """What the parquet header says about a file of keywords."""

    dataset: str
    data_sha: str
    """Of the canonical table it was made from."""
    version: int


def read_keywords(path: Path) -> tuple[pa.Table, KeywordFacts]:
    """Rows and facts of a file of keywords; ``DatasetError`` where it is missing, damaged or of another version."""
    facts = read_keyword_facts(path) if path.is_file() else None
    if facts is None or facts.version != VERSION:
        raise DatasetError(f"{path} is missing or out of date: build it with `snakemake --cores 2 {path}`")
    return read_rows(path), facts


def read_keyword_facts(path: Path) -> KeywordFacts | None:
    """None if the file is not a keyword file."""
    try:
        return KeywordFacts(**read_facts(path))
    except (DatasetError, TypeError):
        return None
