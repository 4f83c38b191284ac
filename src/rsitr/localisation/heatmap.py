"""From the scores of windows to a map of the scene: mean, min-max, 8 bits, median (AMFMN, section V-H; SeLo).

The mean score of a pixel is the mean over all windows that contain it. It is constant between the edges of windows, so
it is stored once per cell of the grid that all edges make: 25,000 cells instead of 100,000,000 pixels in a scene of
10,000 x 10,000 with windows of 128, 256 and 512, exact for every pixel. The map is made from the cells on demand, in
bands of rows; several queries therefore need little more memory than one.

Pixels without a score
----------------------
A window without valid pixels has no score. A cell in no other window takes the mean of the nearest scored cell before
the median: the edge of the valid area then acts on the filter like the edge of the scene, where the last pixel is
repeated. Any constant instead would pull the map towards itself along that edge. Min-max uses only cells that hold a
valid pixel, and all results leave the invalid pixels of the scene blank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from rsitr.errors import SceneError
from rsitr.localisation.windows import Places, WindowRow

MEDIAN = 251
"""Pixels along a side of the median filter, as in SeLo; AMFMN does not state its own."""
BAND = 1024
"""Rows of the map made at once; a multiple of the tiles in which it is written."""

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


class Grid(NamedTuple):
    """Cells of a scene; all pixels of a cell are in the same windows."""

    rows: Places
    """[R + 1], edges in pixels from 0 to the height of the scene."""
    columns: Places
    """[C + 1]."""

    def cells(self, top: int, left: int, height: int, width: int) -> tuple[slice, slice]:
        """The cells of a window whose sides are edges."""
        rows = np.searchsorted(self.rows, (top, top + height)).tolist()
        return slice(*rows), slice(*np.searchsorted(self.columns, (left, left + width)).tolist())


@dataclass(frozen=True)
class Heatmap:
    """Where in a scene each of Q queries is true."""

    grid: Grid
    means: Floats
    """[Q, R, C]: mean score of each cell; NaN where no window of it has been scored."""
    lowest: Floats
    """[Q]: the mean score that became 0."""
    highest: Floats
    """[Q]: the mean score that became 255. If it equals the lowest, the map shows nothing and is 0 everywhere."""
    median: int
    """Side of the median filter in pixels; 1 for none."""
    scored: int
    """Windows with a score."""
    skipped: int
    """Windows without a valid pixel."""
    windows: Sequence[WindowRow]
    scores: Sequence[Floats]
    """Of each row of windows [N, Q], as the method gave them; NaN where a window was skipped."""

    def levels(self, query: int) -> Bytes:
        """[R, C]: cells after min-max, reduced to 8 bits (rounded down), before the median; unscored ones filled."""
        means = _nearest(self.means[query], self.grid)
        span = self.highest[query] - self.lowest[query]
        if span == 0:
            return np.zeros(means.shape, dtype=np.uint8)
        # Cells made up only of the invalid pixels of scored windows may be beyond both ends.
        return (255 * ((means - self.lowest[query]) / span).clip(0, 1)).astype(np.uint8)

    def bands(self, query: int, rows: int = BAND) -> Iterator[tuple[int, Bytes]]:
        """The map downwards: the first row and the pixels [h, W] of each band, h = ``rows`` but in the last one."""
        levels, half, height = self.levels(query), self.median // 2, int(self.grid.rows[-1])
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            # With what the filter sees above and below, a band is the same as in the whole map.
            first, last = max(0, top - half), min(height, bottom + half)
            seen = np.repeat(levels, np.diff(self.grid.rows.clip(first, last)), axis=0)
            smooth = cv2.medianBlur(np.repeat(seen, np.diff(self.grid.columns), axis=1), self.median)
            yield top, np.asarray(smooth, dtype=np.uint8)[top - first : bottom - first]

    def map(self, query: int) -> Bytes:
        """The whole map [H, W] of a query: 255 where the scene matches it best. Invalid pixels are not blank."""
        return np.concatenate([pixels for _, pixels in self.bands(query)])


def filter_side(median: int, height: int, width: int) -> int:
    """The side of the median filter in a scene: ``median``, or the largest odd number that fits the shorter side.

    Raises ``SceneError`` unless ``median`` is odd or 0; 0 filters nothing, and is a side of 1 pixel here.
    """
    if median < 0 or (median and median % 2 == 0):
        raise SceneError(f"a median filter of {median} pixels has no middle: give an odd number, or 0 for no filter")
    shorter = min(height, width)
    return min(max(median, 1), shorter - 1 + shorter % 2)


def heatmap(
    rows: Sequence[WindowRow], scores: Sequence[Floats], grid: Grid, valid: npt.NDArray[np.bool_], median: int
) -> Heatmap:
    """The map of window scores.

    ``scores`` holds for each row of windows float [N, Q], NaN where a window was skipped; ``valid`` [R, C] marks the
    cells that hold a valid pixel; ``median`` is what ``filter_side`` returns. Raises ``SceneError`` if no window was
    scored.
    """
    scored = sum(int((~np.isnan(part[:, 0])).sum()) for part in scores)
    if scored == 0 or not valid.any():
        raise SceneError("the scene holds no valid pixel: look at the nodata value and the mask of the file")
    means = _means(rows, scores, grid)
    lowest, highest = means[:, valid].min(axis=1), means[:, valid].max(axis=1)
    skipped = sum(map(len, scores)) - scored
    return Heatmap(grid, means, lowest, highest, median, scored, skipped, rows, scores)


def _means(rows: Sequence[WindowRow], scores: Sequence[Floats], grid: Grid) -> Floats:
    """[Q, R, C]. Scores are added in the order of ``rows``, so that equal scores give equal bits."""
    shape = (len(grid.rows) - 1, len(grid.columns) - 1)
    sums, counts = np.zeros((scores[0].shape[1], *shape)), np.zeros(shape, dtype=np.int64)
    for row, part in zip(rows, scores, strict=True):
        for left, score in zip(row.lefts.tolist(), part, strict=True):
            if not np.isnan(score[0]):
                down, across = grid.cells(row.top, left, row.height, row.width)
                sums[:, down, across] += score[:, None, None]
                counts[down, across] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _nearest(means: Floats, grid: Grid) -> Floats:
    """``means`` [R, C] with every NaN replaced by the value of the cell with the nearest centre."""
    known = ~np.isnan(means)
    if known.all():
        return means
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in grid]
    places = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    filled = means.copy()
    filled[~known] = means[known][cKDTree(places[known]).query(places[~known])[1]]
    return filled
