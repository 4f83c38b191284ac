"""The parquet file of the keywords of every image of a dataset: its own, or else those of its captions."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rsitr.captions.keywords import extract
from rsitr.datasets.table import read_facts, read_table
from rsitr.errors import Damaged, DatasetError
from rsitr.progress import Progress
from rsitr.records import parquet

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
    found = parquet.read_facts(path)
    if found.get("version") != VERSION:
        raise DatasetError(f"{path} is out of date: build it with `snakemake --cores 2 {path}`")
    return parquet.read_rows(path), KeywordFacts(**found)


def build_keywords(canonical: Path, out: Path) -> bool:
    """Write the keywords of a canonical table to ``out``, atomically; False if they are already there and up to date.

    A file that is unreadable, of other data or of another version is rebuilt, with a message. Raises ``DatasetError``
    if there is no canonical table.
    """
    facts = read_facts(canonical)
    wanted = KeywordFacts(facts.name, facts.data_sha, VERSION)
    outdated = _outdated(out, wanted)
    if outdated == "":
        return False
    table, _ = read_table(canonical)
    rows = table.select(["image_id", "split", "captions", "keywords"]).to_pylist()
    with Progress(f"keywords of {facts.name}", len(rows)) as progress:
        if outdated is not None:
            progress.say(f"{out} {outdated}: it is built again")
        for row in rows:
            row["origin"] = "dataset" if row["keywords"] else "captions"
            row["keywords"] = row["keywords"] or [keyword.text for keyword in extract(row["captions"])]
            progress.advance()
    parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), wanted, out)
    return True


def _outdated(path: Path, wanted: KeywordFacts) -> str | None:
    """Why a keyword file has to be rebuilt; an empty string if it does not, None if there is none."""
    if not path.is_file():
        return None
    try:
        found = KeywordFacts(**parquet.read_facts(path))
        parquet.read_rows(path)
    except (Damaged, TypeError):
        return "cannot be read"
    if found.version != wanted.version:
        return f"is of version {found.version}, not {wanted.version}"
    return "" if found == wanted else f"was made from other data of {wanted.dataset}"
