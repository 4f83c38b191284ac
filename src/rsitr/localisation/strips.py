"""Reading a scene downwards, each row of pixels once, in the strips that rows of windows need.

The rows in memory run from the top of the first incomplete window to the end of the last block read; with windows of up
to 512 and blocks of 512 rows these are at most 1,024, 4 bytes per pixel, and twice that while they move on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rsitr.localisation.heatmap import Grid
from rsitr.localisation.scene import Piece, Scene
from rsitr.localisation.windows import WindowRow


def strips(scene: Scene, rows: Sequence[WindowRow], grid: Grid, valid: npt.NDArray[np.bool_]) -> Iterator[Piece]:
    """The pixels of each row of windows, over the whole width; marks in ``valid`` [R, C] the cells with a valid pixel.

    ``rows`` are in the order of ``window_rows``, by the row of pixels that completes them.
    """
    # Rows of pixels above this are no longer needed.
    kept_from = np.minimum.accumulate([row.top for row in rows][::-1])[::-1]
    held = Piece(np.zeros((0, scene.width, 3), dtype=np.uint8), np.zeros((0, scene.width), dtype=bool))
    first = 0
    for row, keep in zip(rows, kept_from.tolist(), strict=True):
        read, bottom = first + len(held.valid), row.top + row.height
        if bottom > read:
            last = min(scene.height, -(-bottom // scene.block_rows) * scene.block_rows)
            new = scene.piece(read, 0, last - read, scene.width)
            _mark(valid, grid, read, new)
            held = held.part(slice(keep - first, None), slice(None)).above(new)
            first = keep
        yield held.part(slice(row.top - first, bottom - first), slice(None))


def _mark(valid: npt.NDArray[np.bool_], grid: Grid, top: int, piece: Piece) -> None:
    """Note which cells [R, C] hold a valid pixel of the rows ``piece`` that start at ``top``."""
    across = np.logical_or.reduceat(piece.valid, grid.columns[:-1], axis=1)
    cells = np.searchsorted(grid.rows, np.arange(top, top + len(across)), side="right") - 1
    np.logical_or.at(valid, cells, across)
