"""What killed processes leave behind: files that they were writing, which nobody will rename any more."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

UNTOUCHED = 3600
"""Seconds. Whoever writes a file writes to it more often, on this machine or on another one that shares the folder."""
NOT_OURS = ("raw", "extracted", "shards")
"""Folders of data that hold what others have made, a file for each image or more."""


def sweep_project() -> None:
    """Remove such files of commands on data and tables, below this folder."""
    sweep([*(path for path in Path("data").glob("*") if path.name not in NOT_OURS), Path("results")])


def sweep(folders: Iterable[Path]) -> None:
    """Remove such files below some folders, and say on stderr how many there were and how large."""
    before, sizes = time.time() - UNTOUCHED, []
    for path in (path for folder in {*folders} for path in folder.rglob(".*.part")):
        with suppress(FileNotFoundError):  # somebody else has just removed it
            stat = path.stat()
            if stat.st_mtime < before:
                path.unlink()
                sizes.append(stat.st_size)
    if sizes:
        print(f"removed what killed processes left: files {len(sizes)}, MiB {sum(sizes) / 2**20:,.0f}", file=sys.stderr)
