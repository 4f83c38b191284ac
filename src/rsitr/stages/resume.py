"""The file from which a killed training continues."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import torch

from rsitr.records.files import replacing, set_aside

DIGEST = hashlib.sha256().digest_size


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write everything a continued run needs; ``identity`` says of what code, parameters and data it is."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(hashlib.sha256(buffer.getbuffer()).digest())
        file.write(buffer.getbuffer())


def read_state(path: Path, identity: list[str]) -> dict[str, Any] | None:
    """The state at ``path``, on the CPU: a GPU need not hold it twice. None where there is none of ``identity``.

    One that is damaged is set aside, which costs time and not correctness.
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        print(f"{set_aside(path)} is damaged: training begins again", file=sys.stderr)
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True)
    return state if state["identity"] == identity else None
