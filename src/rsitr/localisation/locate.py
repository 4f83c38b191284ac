"""Locating texts in a scene (AMFMN, section V-H, Fig. 12): every window of it scored against every query in one pass.

The scene is read downwards once, whatever its format. In memory are the rows of pixels that the windows under way need
(the highest window and one row of the file's blocks, 3 + 1 bytes a pixel, twice while they move on), one batch of each
window size, and the scores. 10,000 x 10,000 pixels take well below 1 GiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.errors import SceneError, TrainingDiverged
from rsitr.localisation.heatmap import MEDIAN, Grid, Heatmap, heatmap
from rsitr.localisation.scene import Piece, Pixels, Scene, filled
from rsitr.localisation.windows import SIZES, WindowRow, edges, window_rows
from rsitr.localisation.write import write_geotiff, write_overlay
from rsitr.progress import Progress

BATCH = 32
"""Windows that are scored at once."""
SLUG = 60
"""Letters of a query that its files are named by."""

Score = Callable[[Pixels], npt.ArrayLike]
"""Scores [B] or [B, Q] of windows, uint8 [B, h, w, 3] of one size; higher is more alike."""


class Located(NamedTuple):
    """What was written about a query."""

    query: str
    geotiff: Path
    overlay: Path
    lowest: float
    """Mean score of the pixel that agrees least."""
    highest: float
    """Equal to ``lowest`` when all pixels have one score, so that the map tells nothing."""


def run(
    image: Path,
    queries: Sequence[str],
    score: Score,
    out: Path,
    *,
    sizes: Sequence[int] = SIZES,
    median: int = MEDIAN,
    batch: int = BATCH,
) -> list[Located]:
    """Locate queries in the scene of a file; writes ``<slug>.tif`` and ``<slug>.png`` of each into the folder ``out``.

    ``score`` returns a column for each query, in their order. The errors are those of ``Scene`` and ``locate``;
    ``SceneError`` also without queries.
    """
    if not queries:
        raise SceneError("no query: give at least one text to locate")
    with Scene(image) as scene:
        found = locate(scene, score, sizes=sizes, median=median, batch=batch)
        if len(found.means) != len(queries):
            raise ValueError(f"{len(queries)} queries, but the scorer returned {len(found.means)} scores a window")
        located = []
        for number, (query, name) in enumerate(zip(queries, slugs(queries), strict=True)):
            geotiff = write_geotiff(scene, found.bands(number), out / f"{name}.tif")
            overlay = write_overlay(scene, geotiff, out / f"{name}.png")
            low, high = float(found.lowest[number]), float(found.highest[number])
            located.append(Located(query, geotiff, overlay, low, high))
        return located


def locate(
    scene: Scene, score: Score, *, sizes: Sequence[int] = SIZES, median: int = MEDIAN, batch: int = BATCH
) -> Heatmap:
    """Score every window of a scene and average the scores for each pixel.

    ``score`` gets up to ``batch`` windows of one size at a time, RGB, with invalid pixels in the mean colour of the
    valid ones; it resizes them as its model wants. Windows without a valid pixel are skipped and counted. The result
    does not depend on ``batch`` if the scores do not.

    Raises ``SceneError`` when the scene cannot be read, holds no valid pixel, or ``sizes`` or ``median`` make no sense;
    ``TrainingDiverged`` when a score is not finite; ``ValueError`` when the scores have another shape.
    """
    rows = window_rows(scene.height, scene.width, sizes)
    grid = Grid(*edges(rows, scene.height, scene.width))
    valid = np.zeros((len(grid.rows) - 1, len(grid.columns) - 1), dtype=bool)
    scorer = _Batches(score, batch)
    with Progress(f"rows of windows in {scene.path.name}", len(rows)) as progress:
        for number, (row, strip) in enumerate(zip(rows, _strips(scene, rows, grid, valid), strict=True)):
            for place, left in enumerate(row.lefts.tolist()):
                window = Piece(*(part[:, left : left + row.width] for part in strip))
                if window.valid.any():
                    scorer.add(filled(window), (number, place))
            progress.advance()
        found = heatmap(rows, scorer.scores(rows), grid, valid, median)
        if found.skipped:
            progress.say(f"{found.skipped} of {found.skipped + found.scored} windows hold no valid pixel and have no score")
        if (found.lowest == found.highest).any():
            progress.say(f"one score everywhere: the map tells nothing. Try windows smaller than {min(sizes)} pixels")
    return found


def slugs(queries: Sequence[str]) -> list[str]:
    """A file name for each query: its letters and digits, lower-case, joined by hyphens; numbered where two are equal."""
    names: list[str] = []
    for query in queries:
        base = "-".join(re.findall(r"[^\W_]+", query.lower()))[:SLUG].strip("-") or "query"
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _strips(
    scene: Scene, rows: Sequence[WindowRow], grid: Grid, valid: npt.NDArray[np.bool_]
) -> Iterator[Piece]:
    """The pixels of each row of windows over the whole width; marks in ``valid`` [R, C] the cells with a valid pixel."""
    # Rows of pixels above this are needed no more.
    kept_from = np.minimum.accumulate([row.top for row in rows][::-1])[::-1]
    held = Piece(np.zeros((0, scene.width, 3), dtype=np.uint8), np.zeros((0, scene.width), dtype=bool))
    first = 0
    for row, keep in zip(rows, kept_from.tolist(), strict=True):
        read, bottom = first + len(held.valid), row.top + row.height
        if bottom > read:
            last = min(scene.height, -(-bottom // scene.block_rows) * scene.block_rows)
            new = scene.piece(read, 0, last - read, scene.width)
            _mark(valid, grid, read, new)
            held = Piece(*(np.concatenate([old[keep - first :], more]) for old, more in zip(held, new, strict=True)))
            first = keep
        yield Piece(*(part[row.top - first : bottom - first] for part in held))


def _mark(valid: npt.NDArray[np.bool_], grid: Grid, top: int, piece: Piece) -> None:
    """Note which cells [R, C] hold a valid pixel of the rows ``piece`` that begin at ``top``."""
    across = np.logical_or.reduceat(piece.valid, grid.columns[:-1], axis=1)
    cells = np.searchsorted(grid.rows, np.arange(top, top + len(across)), side="right") - 1
    np.logical_or.at(valid, cells, across)


class _Batches:
    """Gathers windows of one shape until they make a batch, and keeps the scores by (row of windows, place in it)."""

    def __init__(self, score: Score, size: int) -> None:
        self._score, self._size = score, size
        self._waiting: dict[tuple[int, ...], list[tuple[Pixels, tuple[int, int]]]] = {}
        self._found: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def add(self, pixels: Pixels, place: tuple[int, int]) -> None:
        waiting = self._waiting.setdefault(pixels.shape, [])
        # Copied, because the rows that the window is a part of move on.
        waiting.append((pixels.copy(), place))
        if len(waiting) == self._size:
            self._flush(waiting)

    def scores(self, rows: Sequence[WindowRow]) -> list[npt.NDArray[np.float64]]:
        """For each row of windows [N, Q]; NaN where a window never came."""
        for waiting in self._waiting.values():
            if waiting:
                self._flush(waiting)
        queries = len(next(iter(self._found.values()), [0]))
        blank = np.full(queries, np.nan)
        return [
            np.stack([self._found.get((number, place), blank) for place in range(len(row.lefts))])
            for number, row in enumerate(rows)
        ]

    def _flush(self, waiting: list[tuple[Pixels, tuple[int, int]]]) -> None:
        scores = np.asarray(self._score(np.stack([pixels for pixels, _ in waiting])), dtype=np.float64)
        if scores.shape[:1] != (len(waiting),) or scores.ndim > 2:
            raise ValueError(f"The scorer returned shape {scores.shape} for {len(waiting)} windows: return [B] or [B, Q].")
        if not np.isfinite(scores).all():
            raise TrainingDiverged("A window got a score that is not finite. Train the method again, more slowly.")
        for (_, place), score in zip(waiting, scores.reshape(len(waiting), -1), strict=True):
            self._found[place] = score
        waiting.clear()
