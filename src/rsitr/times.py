"""Times of files, which Snakemake decides by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path


def newest(paths: Iterable[Path]) -> float:
    """The time of the newest of the files that are there; minus infinity where none is."""
    return max((path.stat().st_mtime for path in paths if path.is_file()), default=-math.inf)


def oldest(paths: Iterable[Path]) -> float:
    """The time of the oldest of the files that are there; infinity where none is."""
    return min((path.stat().st_mtime for path in paths if path.is_file()), default=math.inf)
