"""Multi-scale shifted windows over a scene: AMFMN, section V-H, Fig. 13.

Each size is laid over the scene twice, at offset 0 and shifted down and right by half a window, side by side each time;
the last window of a line is moved back to the border. Offset 0 covers every pixel; the shifted pass leaves the first
half window uncovered. If two passes or two sizes give the same window, as at the border or in a scene smaller than the
window, it is scored and counted once, as in SeLo's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.errors import SceneError

SIZES = (256, 128, 512)
"""Pixels; those of AMFMN. SeLo takes 256, 512 and 768."""

Places = npt.NDArray[np.int64]


class WindowRow(NamedTuple):
    """The windows of one size that start in one row of pixels."""

    top: int
    height: int
    width: int
    lefts: Places
    """[N], ascending."""


def _starts(length: int, size: int, offset: int) -> Places:
    """Where windows start along a side; the last ones are moved back so that they end at the border."""
    places = np.arange(offset, max(length, offset + 1), size)
    return np.unique(np.clip(places, 0, length - size))


def window_rows(height: int, width: int, sizes: Sequence[int] = SIZES) -> list[WindowRow]:
    """All windows of a scene, in the order in which reading the scene downwards completes them.

    A window larger than the scene is cropped to it in each dimension. Raises ``SceneError`` unless sizes are 2 or more.
    """
    if not sizes or min(sizes) < 2:
        raise SceneError(f"window sizes {list(sizes)}: name at least one, each of 2 pixels or more")
    found: dict[tuple[int, int, int], list[Places]] = {}
    for size in sizes:
        high, wide = min(size, height), min(size, width)
        for offset in (0, size // 2):
            for top in _starts(height, high, offset).tolist():
                found.setdefault((top, high, wide), []).append(_starts(width, wide, offset))
    rows = [WindowRow(*place, np.unique(np.concatenate(lefts))) for place, lefts in found.items()]
    return sorted(rows, key=lambda row: (row.top + row.height, row.top, row.width))


def edges(rows: Sequence[WindowRow], height: int, width: int) -> tuple[Places, Places]:
    """Rows [R + 1] and columns [C + 1] of pixels at which a window starts or ends, with the borders of the scene.

    Between neighbouring edges, all pixels are in the same windows.
    """
    downwards = {edge for row in rows for edge in (row.top, row.top + row.height)}
    across = {edge for row in rows for left in row.lefts.tolist() for edge in (left, left + row.width)}
    return np.array(sorted({0, height} | downwards)), np.array(sorted({0, width} | across))
