"""The file from which a killed training or evaluation continues.

The state of a large model is gigabytes. It is hashed as it is written and as it is read, and no second copy of it is
held in memory.
"""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import torch

from rsitr.records.files import DIGEST, replacing, set_aside


class HashedFile(io.BufferedWriter):
    """A new file at ``path`` that knows the SHA-256 of what is written to it."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path, "wb"))
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write bytes and return how many."""
        self.sha256.update(data)
        return super().write(data)


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write everything a continued run needs; ``identity`` says of what code, parameters and data it is, by name."""
    with replacing(path) as partial, HashedFile(partial) as file:
        file.seek(DIGEST)
        torch.save(state, file)
        digest = file.sha256.digest()
        file.seek(0)
        file.write(digest)


def read_state(path: Path, identity: dict[str, str], work: str = "training") -> dict[str, Any] | None:
    """The state at ``path``, on the CPU: a GPU need not hold it twice. None where there is none of ``identity``.

    One of another is left to be overwritten, one that is damaged is set aside; both cost time and not correctness.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        digest = file.read(DIGEST)
        if hashlib.file_digest(file, "sha256").digest() != digest:
            print(f"{set_aside(path)} is damaged: {work} begins again", file=sys.stderr)
            return None
        file.seek(DIGEST)
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    written = state["identity"]
    if other := [name for name in identity if name not in written or written[name] != identity[name]]:
        print(f"{path} is of other {', '.join(other)}: {work} begins again", file=sys.stderr)
        return None
    return state
