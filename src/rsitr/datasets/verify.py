"""Whether the files of a dataset are still what they were: archives by their checksums, images by the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from rsitr.datasets import get_dataset
from rsitr.datasets.acquire import RECEIPT
from rsitr.datasets.base import Source
from rsitr.datasets.download import mismatch_of
from rsitr.datasets.pictures import unreadable_because
from rsitr.datasets.table import read_table
from rsitr.datasets.tars import file_of, stored


class Finding(NamedTuple):
    """One file that is wrong."""

    file: Path
    fault: str
    """What was expected and what was found."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}: {self.remedy}"


class Verification(NamedTuple):
    """What was checked and what was wrong with it."""

    files: int
    images: int
    unchecked: list[Path]
    """Fetched files whose size and checksum are not published."""
    findings: list[Finding]


def verify(name: str, raw: Path, table: Path) -> Verification:
    """Check the fetched files in ``raw`` and every image that the canonical ``table`` lists.

    An image is correct if it could be decoded when the table was built and has not changed since.
    """
    sources, findings = _sources(name, raw)
    findings += [finding for source in sources for finding in _check_file(name, source, raw / source.file)]
    unchecked = [raw / source.file for source in sources if source.bytes is None and source.sha256 is None]
    if not table.is_file():
        missing = Finding(table, "expected a table, found none", f"run `rsitr data build {name}`")
        return Verification(len(sources), 0, unchecked, [*findings, missing])
    content, facts = read_table(table)
    rows = content.select(["path", "sha256", "problem"]).to_pylist()
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda row: _check_image(name, row, Path(facts.root) / row["path"]), rows)
        findings += [finding for finding in found if finding is not None]
    return Verification(len(sources), len(rows), unchecked, findings)


def _sources(name: str, raw: Path) -> tuple[list[Source], list[Finding]]:
    """The source rows of the files that were fetched, according to the receipt."""
    receipt = raw / RECEIPT
    try:
        content = json.loads(receipt.read_text(encoding="utf-8"))
        origin, files = content["origin"], set(content["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        fault = f"expected the list of fetched files, found {'none' if isinstance(error, OSError) else 'a broken one'}"
        return [], [Finding(receipt, fault, f"run `rsitr data fetch {name}`")]
    stated = {source.file: source for b in get_dataset(name).bundles if b.origin == origin for source in b.sources}
    fault = f"expected a file of the {origin} origin, found one it does not list"
    findings = [Finding(raw / file, fault, f"fetch {name} again") for file in sorted(files - set(stated))]
    return [source for file, source in stated.items() if file in files or not source.optional], findings


def _check_file(name: str, source: Source, path: Path) -> Iterator[Finding]:
    if not path.is_file():
        yield Finding(path, f"expected {source.bytes or 'some'} bytes, found no file", f"run `rsitr data fetch {name}`")
    elif difference := mismatch_of(source, path):
        yield Finding(path, difference, f"delete it and run `rsitr data fetch {name}`")


def _check_image(name: str, row: dict[str, Any], path: Path) -> Finding | None:
    again = f"run `rsitr data build {name}`, and `rsitr data fetch {name}` before it if the archive lacks the image"
    if row["problem"]:
        why = file_of(path).is_file() and unreadable_because(path)
        return Finding(path, f"expected a readable image, found: {why or row['problem']}", again)
    found = hashlib.sha256(stored(path)).hexdigest() if file_of(path).is_file() else "no file"
    return None if found == row["sha256"] else Finding(path, f"expected sha256 {row['sha256']}, found {found}", again)
