"""What follows from the sources alone and takes time to find out, kept in the user's cache from process to process."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

UNUSED_DAYS = 30
"""After so long a file of other sources goes."""


def cache_file(kind: str, digest: str, suffix: str) -> Path:
    """Where something of a kind is kept that follows from sources with a digest."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rsitr", f"{kind}-{digest[:32]}{suffix}")


def forget_old(path: Path) -> None:
    """Remove files of the kind of ``path``, which is new, that nothing has read or written for a month."""
    for other in path.parent.glob(f"{path.name.partition('-')[0]}-*"):
        if time.time() - max(other.stat().st_atime, other.stat().st_mtime) > UNUSED_DAYS * 86_400:
            other.unlink(missing_ok=True)


def remembered(kind: str, digest: str, key: str, find: Callable[[], str]) -> str:
    """What ``find`` says about ``key``, words without spaces both; found out once for all processes.

    A cache that cannot be read or written costs time and nothing else.
    """
    path = cache_file(kind, digest, ".txt")
    known = _known(path)
    if key not in known:
        known[key] = find()
        with suppress(OSError):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                forget_old(path)
            # One short line at a time: several processes may append.
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{key} {known[key]} {_seal(key, known[key])}\n")
    return known[key]


@cache
def _known(path: Path) -> dict[str, str]:
    """Key -> answer, of the lines that are whole."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match line.split(" "):
                case [key, answer, seal] if seal == _seal(key, answer):
                    found[key] = answer
    return found


def _seal(key: str, answer: str) -> str:
    return hashlib.sha256(f"{key} {answer}".encode()).hexdigest()[:16]
