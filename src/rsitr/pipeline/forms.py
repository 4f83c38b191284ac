"""The forms of files: what says of one, by itself or with the note next to it, that it is what was written.

Each function yields what is wrong with a file, or raises the error of its reader. None of them changes anything, as the
readers do that set a damaged file aside.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsitr.captions.similarity import DTYPE as MATRIX_DTYPE
from rsitr.records.files import DIGEST, read_json
from rsitr.records.parquet import read_batches, read_facts
from rsitr.records.provenance import sha256_file

END_OF_PNG = b"IEND\xaeB`\x82"
GONE = "it is gone, and what belongs to it is here"


def whole_json(model: Any, path: Path) -> Iterator[str]:
    """Raises ``RecordError`` for what is not such a record."""
    read_json(model, path)
    text = path.read_text(encoding="utf-8")
    if json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" != text:
        yield "it is not in the form in which it was written"


def whole_csv(path: Path) -> Iterator[str]:
    """What is wrong with a plain csv file, which has no hash: it was cut, or its lines do not fit together."""
    if not path.is_file():
        yield GONE
        return
    text = path.read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    if "\0" in text or not text.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
        yield "it was cut, or its lines have different numbers of fields"


def readable(read: Callable[[Path], object], path: Path) -> Iterator[str]:
    """Raises what the reader of a file that has a hash raises where it is not what was written."""
    read(path)
    return iter(())


def whole_printed(path: Path) -> Iterator[str]:
    """What is wrong with a file of a table or figure, which has no hash: its end is missing, or it is not text."""
    content = path.read_bytes()
    if path.suffix == ".png":
        if not content.endswith(END_OF_PNG):
            yield "it was cut"
        return
    text = content.decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")] if path.suffix == ".csv" else []
    if "\0" in text or not text.endswith("\n") or len({len(row) for row in csv.reader(lines)}) > 1:
        yield "it was cut, or its lines have different numbers of fields"


def whole_table(path: Path) -> Iterator[str]:
    """Raises ``Damaged`` for what is not what was written."""
    read_facts(path)
    for _ in read_batches(path):  # thumbnails of millions of images do not fit into memory
        pass
    return iter(())


def whole_matrix(path: Path) -> Iterator[str]:
    """Of a matrix of similarities, held against the note next to it."""
    note_file = path.with_suffix(".json")
    try:
        note: Mapping[str, Any] = json.loads(note_file.read_text(encoding="utf-8"))
        rows, images, texts, sha256 = (note[name] for name in ("rows", "images", "texts", "sha256"))
        header = io.BytesIO()
        facts = {"descr": MATRIX_DTYPE.str, "fortran_order": False, "shape": (images, texts)}
        np.lib.format.write_array_header_1_0(header, facts)
        size = len(header.getvalue()) + rows * texts * MATRIX_DTYPE.itemsize
        with path.open("rb") as file:
            whole = file.read(size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"it cannot be read with {note_file.name} ({error})"
        return
    if not whole.startswith(header.getvalue()) or len(whole) < size or hashlib.sha256(whole).hexdigest() != sha256:
        yield f"it is not what {note_file.name} says was written"


def whole_sealed(path: Path) -> Iterator[str]:
    """Of a file, held against the hash next to it."""
    note = path.with_name(f"{path.name}.sha256")
    if not note.is_file() or note.read_text(encoding="utf-8", errors="replace").strip() != sha256_file(path):
        yield f"it does not agree with {note.name}"


def whole_arrays(path: Path) -> Iterator[str]:
    """Of an archive of arrays, which has a checksum of each."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        yield f"it cannot be read ({error})"


def whole_as_stated(path: Path, sha256: str) -> Iterator[str]:
    """Of what was downloaded, held against the hash that is stated for it."""
    if sha256_file(path) != sha256:
        yield "it is not the file that was published"


def whole_state(path: Path) -> Iterator[str]:
    """Of what a killed run continues from, which begins with the digest of the rest."""
    with path.open("rb") as file:
        digest = file.read(DIGEST)
        if hashlib.file_digest(file, "sha256").digest() != digest:
            yield "it does not agree with its hash"
