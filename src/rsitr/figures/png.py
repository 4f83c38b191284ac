"""How every figure becomes a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure


def save(figure: Figure, path: Path, dpi: int = 200) -> Path:
    """Write a figure as PNG; equal input gives equal bytes with the same matplotlib."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name and version of the writer would change the bytes without changing the picture.
    figure.savefig(path, dpi=dpi, metadata={"Software": None})
    return path
