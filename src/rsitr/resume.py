"""The file from which a killed training continues."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write everything a continued run needs, atomically; ``identity`` says of what code, parameters and data it is."""
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)


def read_state(path: Path, identity: list[str], device: str) -> dict[str, Any] | None:
    """The state at ``path``; None where there is none, or one that cannot be read or is of another ``identity``."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception:  # torch raises many kinds; an unreadable state costs time, not correctness
        return None
    return state if state["identity"] == identity else None
