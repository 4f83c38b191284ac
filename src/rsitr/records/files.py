"""The one way in which results are written, and the one in which they are read.

A file is written under a name of its own, flushed to the disk and renamed: whatever happens, there is the old file or
the new one, never half of one. A reader that cannot make sense of a file says which file, what is wrong with it and
what to do.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from rsitr.errors import RecordError
from rsitr.records.provenance import sha256_file

J = TypeVar("J", bound=BaseModel)
SEAL = "# sha256 "
"""Begins the last line of a sealed file."""
DIGEST = hashlib.sha256().digest_size
"""Bytes at the beginning of a state, with the digest of the others (``rsitr.stages.resume``)."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file to write that takes the place of ``path`` at the end of the block, unless the block raises.

    Its mode is that of any new file, as the umask has it, whatever the library that writes it would choose.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    """The umask of this process, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], *, sealed: bool = False) -> None:
    """Write a csv file with a line of names; ``sealed``: the last line is a comment with the hash of those before."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, seal_text(buffer.getvalue()) if sealed else buffer.getvalue())


def read_csv(path: Path, *, sealed: bool = False) -> list[dict[str, str]]:
    """The lines of a csv file by the names of its columns; none without the file.

    Raises ``RecordError`` for a ``sealed`` one that is not what was written.
    """
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8", errors="replace")
    text = whole.partition(SEAL)[0]
    if sealed and seal_text(text) != whole:
        raise RecordError(f"{path} is not what was written: restore it from git, or delete it and build it again")
    return list(csv.DictReader(io.StringIO(text)))


def seal_text(text: str) -> str:
    """A text with its hash as a comment at its end."""
    return f"{text}{SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n"


def as_json(value: BaseModel | dict[str, Any]) -> str:
    """A record as its file has it: equal values give equal text."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, indent=1, sort_keys=True) + "\n"


def write_json(path: Path, value: BaseModel | dict[str, Any], *, sealed: bool = False) -> None:
    """Write a JSON file; ``sealed``: a comment with its hash comes after it."""
    write_text(path, seal_text(as_json(value)) if sealed else as_json(value))


def read_json(model: type[J], path: Path, *, sealed: bool = False) -> J:
    """Read what ``write_json`` wrote; raises ``RecordError`` for a file that is damaged or of another version."""
    try:
        whole = path.read_text(encoding="utf-8")
        text = whole.partition(SEAL)[0] if sealed else whole
        if sealed and seal_text(text) != whole:
            raise ValueError("it is not what was written")
        return model.model_validate_json(text)
    except ValueError as error:
        what = str(error).splitlines()[0]
        raise RecordError(f"{path} cannot be read ({what}): restore it from git, or delete it and run again") from None


def seal(path: Path, sha256: str = "") -> None:
    """Write down next to a file what its SHA-256 is, for ``intact``; computed unless it is known."""
    write_text(_seal(path), f"{sha256 or sha256_file(path)}\n")


def intact(path: Path) -> bool:
    """Whether a sealed file is here as it was written. One that was damaged since is set aside, and stderr says so."""
    if not (path.is_file() and _seal(path).is_file()):
        return False
    if _seal(path).read_text(encoding="utf-8", errors="replace").strip() == sha256_file(path):
        return True
    print(f"{set_aside(path)} is damaged: it is made again", file=sys.stderr)
    return False


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it counts as absent and can still be looked at; returns its new name."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    return aside
