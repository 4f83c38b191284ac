"""Which pretrained weights a model was built from, noted where they are loaded, for records and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rsitr.records.artefact import Pretrained
from rsitr.records.provenance import sha256_file

_listening: list[dict[str, Pretrained]] = []


@contextmanager
def noted() -> Iterator[dict[str, Pretrained]]:
    """What is loaded inside the block, by the setting that names it."""
    found: dict[str, Pretrained] = {}
    _listening.append(found)
    try:
        yield found
    finally:
        _listening.pop()


def note(setting: str, location: str, *files: Path) -> None:
    """Say that ``setting`` has loaded these files of ``location``; they are hashed only where somebody asks.

    Of a path on this machine only the name is kept.
    """
    if not _listening:
        return
    where = location if "://" in location else Path(location).name
    loaded = Pretrained(location=where, files={path.name: _sha256(path, path.stat().st_mtime_ns) for path in files})
    for found in _listening:
        found[setting] = loaded


@cache
def _sha256(path: Path, changed: int) -> str:
    """Of a file as it was last ``changed``: many models of a process start from the same."""
    return sha256_file(path)
