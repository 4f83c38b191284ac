"""Locating texts in a scene (AMFMN, section V-H, Fig. 12): every window is scored against every query in one pass.

The scene is read downwards once, whatever its format, each row of pixels in the strips that rows of windows need. In
memory are the rows from the top of the first incomplete window to the end of the last block read (with windows of up to
512 and blocks of 512 rows these are at most 1,024, 4 bytes per pixel, and twice that while they move on), a batch of
each window size, the scores, and the cells of the map (``heatmap``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.errors import SceneError, TrainingDiverged
from rsitr.localisation.heatmap import MEDIAN, Grid, Heatmap, filter_side, heatmap
from rsitr.localisation.scene import Piece, Pixels, Scene, filled
from rsitr.localisation.windows import SIZES, WindowRow, edges, window_rows
from rsitr.localisation.write import write_geotiff, write_overlay
from rsitr.progress import Progress

BATCH = 32
"""Windows scored at once."""
LONGEST = 2048
"""Pixels of the longest side of the pictures."""
SLUG = 60
"""How many letters of a query its files are named by."""
Score = Callable[[Pixels], npt.ArrayLike]
"""Scores [B] or, of Q queries, [B, Q] of windows uint8 [B, h, w, 3]; higher is more similar."""
Place = tuple[int, int]
"""Of a window: the number of its row of windows, and its position in that row."""


class Batches:
    """Gathers windows of one shape until they make a batch, and keeps the scores by their places."""

    def __init__(self, score: Score, size: int) -> None:
        self._score, self._size = score, size
        self._waiting: dict[tuple[int, ...], list[tuple[Pixels, Place]]] = {}
        self._found: dict[Place, npt.NDArray[np.float64]] = {}

    def add(self, pixels: Pixels, place: Place) -> None:
        """Take a window, uint8 [h, w, 3]; scores all of its shape once they make a batch."""
        waiting = self._waiting.setdefault(pixels.shape, [])
        # Copied, because the rows that hold the window move on.
        waiting.append((pixels.copy(), place))
        if len(waiting) == self._size:
            self._flush(waiting)

    def scores(self, rows: Sequence[WindowRow]) -> list[npt.NDArray[np.float64]]:
        """For each row of windows [N, Q]; NaN where a window never came."""
        for waiting in filter(None, self._waiting.values()):
            self._flush(waiting)
        blank = np.full(len(next(iter(self._found.values()), [0])), np.nan)
        return [
            np.stack([self._found.get((number, place), blank) for place in range(len(row.lefts))])
            for number, row in enumerate(rows)
        ]

    def _flush(self, waiting: list[tuple[Pixels, Place]]) -> None:
        scores = np.asarray(self._score(np.stack([pixels for pixels, _ in waiting])), dtype=np.float64)
        if scores.shape[:1] != (len(waiting),) or scores.ndim > 2:
            given = f"shape {scores.shape} for {len(waiting)} windows"
            raise ValueError(f"The scorer returned {given}: return [B] or [B, Q].")
        if not np.isfinite(scores).all():
            remedy = "Train the method again, with a lower learning rate."
            raise TrainingDiverged(f"A window got a score that is not finite. {remedy}")
        for (_, place), score in zip(waiting, scores.reshape(len(waiting), -1), strict=True):
            self._found[place] = score
        waiting.clear()


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
            across = np.logical_or.reduceat(new.valid, grid.columns[:-1], axis=1)
            cells = np.searchsorted(grid.rows, np.arange(read, last), side="right") - 1
            np.logical_or.at(valid, cells, across)
            held = held.part(slice(keep - first, None), slice(None)).above(new)
            first = keep
        yield held.part(slice(row.top - first, bottom - first), slice(None))


class Located(NamedTuple):
    """What was written for a query."""

    query: str
    geotiff: Path
    overlay: Path
    lowest: float
    """Mean score of the pixel that matches least."""
    highest: float
    """Equal to ``lowest`` if all pixels have the same score, so that the map shows nothing."""


def run(
    image: Path, queries: Sequence[str], score: Score, out: Path, *, sizes: Sequence[int] = SIZES, median: int = MEDIAN
) -> list[Located]:
    """Locate queries in the scene of a file; writes ``<slug>.tif`` and ``<slug>.png`` of each into the folder ``out``.

    ``score`` returns a column for each query, in order. The errors are those of ``Scene`` and ``locate``; also
    ``SceneError`` without queries.
    """
    if not queries:
        raise SceneError("no query: give at least one text to locate")
    with Scene(image) as scene:
        found = locate(scene, score, sizes=sizes, median=median)
        if len(found.means) != len(queries):
            raise ValueError(f"{len(queries)} queries, but the scorer returned {len(found.means)} scores a window")
        located, thumbnail = [], scene.thumbnail(LONGEST)
        for number, (query, name) in enumerate(zip(queries, slugs(queries), strict=True)):
            geotiff = write_geotiff(scene, found.bands(number), out / f"{name}.tif")
            overlay = write_overlay(thumbnail, geotiff, out / f"{name}.png")
            low, high = float(found.lowest[number]), float(found.highest[number])
            located.append(Located(query, geotiff, overlay, low, high))
        return located


def locate(
    scene: Scene, score: Score, *, sizes: Sequence[int] = SIZES, median: int = MEDIAN, batch: int = BATCH
) -> Heatmap:
    """Score every window of a scene and average the scores per pixel.

    ``score`` gets up to ``batch`` windows of one size at a time, RGB, with invalid pixels in the mean colour of the
    valid ones; it resizes them for its model. Windows without a valid pixel are skipped and counted. The result does
    not depend on ``batch`` if the scores do not.

    Raises ``SceneError`` if the scene cannot be read or holds no valid pixel, or ``sizes`` or ``median`` make no sense;
    ``TrainingDiverged`` if a score is not finite; ``ValueError`` if the scores have another shape.
    """
    side = filter_side(median, scene.height, scene.width)
    rows = window_rows(scene.height, scene.width, sizes)
    grid = Grid(*edges(rows, scene.height, scene.width))
    valid = np.zeros((len(grid.rows) - 1, len(grid.columns) - 1), dtype=bool)
    batches = Batches(score, batch)
    with Progress(f"rows of windows in {scene.path.name}", len(rows)) as progress:
        for number, (row, strip) in enumerate(zip(rows, strips(scene, rows, grid, valid), strict=True)):
            for place, left in enumerate(row.lefts.tolist()):
                window = strip.part(slice(None), slice(left, left + row.width))
                if window.valid.any():
                    batches.add(filled(window), (number, place))
            progress.advance()
        found = heatmap(rows, batches.scores(rows), grid, valid, side)
        if found.skipped:
            windows = found.skipped + found.scored
            progress.say(f"{found.skipped} of {windows} windows hold no valid pixel and have no score")
        if (found.lowest == found.highest).any():
            smaller = f"Try windows smaller than {min(sizes)} pixels"
            progress.say(f"the same score everywhere: the map shows nothing. {smaller}")
    return found


def slugs(queries: Sequence[str]) -> list[str]:
    """A file name for each query: its words in lower case, joined by hyphens, numbered if two are equal."""
    names: list[str] = []
    for query in queries:
        base = "-".join(re.findall(r"[^\W_]+", query.lower()))[:SLUG].strip("-") or "query"
        numbered = (base if number == 1 else f"{base}-{number}" for number in count(1))
        names.append(next(name for name in numbered if name not in names))
    return names
