"""Building the keyword file: an image's own keywords if it has any, otherwise those of its captions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from rsitr.captions.keyword_extraction import extract
from rsitr.captions.keyword_table import SCHEMA, VERSION, KeywordFacts, read_keyword_facts
from rsitr.datasets.table import read_facts, read_table
from rsitr.progress import Progress
from rsitr.records.parquet import write_table


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
    with Progress(f"keywords of {facts.name}", table.num_rows) as progress:
        if outdated is not None:
            progress.say(f"{out} {outdated}: it is built again")
        rows = []
        for row in table.select(["image_id", "split", "captions", "keywords"]).to_pylist():
            own = row["keywords"]
            keywords = own or [keyword.text for keyword in extract(row["captions"])]
            origin = "dataset" if own else "captions"
            rows.append({"image_id": row["image_id"], "split": row["split"], "keywords": keywords, "origin": origin})
            progress.advance()
    write_table(pa.Table.from_pylist(rows, SCHEMA), wanted, out)
    return True


def _outdated(path: Path, wanted: KeywordFacts) -> str | None:
    """Why a keyword file has to be rebuilt; an empty string if it does not, None if there is none."""
    if not path.is_file():
        return None
    found = read_keyword_facts(path)
    if found is None:
        return "cannot be read"
    if found.version != wanted.version:
        return f"is of version {found.version}, not {wanted.version}"
    return "" if found == wanted else f"was made from other data of {wanted.dataset}"
