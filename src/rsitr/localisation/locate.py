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
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.datasets.bands import Pixels
from rsitr.datasets.rasters import Piece
from rsitr.errors import SceneError, TrainingDiverged
from rsitr.localisation.geojson import write_geojson
from rsitr.localisation.heatmap import MEDIAN, Grid, Heatmap, filter_side, heatmap
from rsitr.localisation.places import PLACES, Place, best_places
from rsitr.localisation.scene import Scene, filled
from rsitr.localisation.windows import SIZES, WindowRow, edges, window_rows
from rsitr.localisation.write import write_geotiff, write_overlay, writing
from rsitr.progress import Progress

BATCH = 32
"""Windows scored at once."""
LONGEST = 2048
"""Pixels of the longest side of the pictures."""
SLUG = 60
"""How many letters of a query its files are named by."""
SLUG_BYTES = 200
"""A file system takes 255 for a name; ``replacing`` and the kind of the file need some."""
KINDS = (".tif", ".png", ".geojson")
"""Of the files that are written for a query."""
Score = Callable[[Pixels], npt.ArrayLike]
"""Scores [B] or, of Q queries, [B, Q] of windows uint8 [B, h, w, 3]; higher is more similar."""
Slot = tuple[int, int]
"""Of a window: the number of its row of windows, and its position in that row."""


class Batches:
    """Gathers windows of one shape until they make a batch, and keeps the scores by their slots."""

    def __init__(self, score: Score, size: int) -> None:
        self._score, self._size = score, size
        self._waiting: dict[tuple[int, ...], list[tuple[Pixels, Slot]]] = {}
        self._found: dict[Slot, npt.NDArray[np.float64]] = {}

    def add(self, pixels: Pixels, slot: Slot) -> None:
        """Take a window, uint8 [h, w, 3]; scores all of its shape once they make a batch."""
        waiting = self._waiting.setdefault(pixels.shape, [])
        # Copied, because the rows that hold the window move on.
        waiting.append((pixels.copy(), slot))
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

    def _flush(self, waiting: list[tuple[Pixels, Slot]]) -> None:
        scores = np.asarray(self._score(np.stack([pixels for pixels, _ in waiting])), dtype=np.float64)
        if scores.shape[:1] != (len(waiting),) or scores.ndim > 2:
            given = f"shape {scores.shape} for {len(waiting)} windows"
            raise ValueError(f"The scorer returned {given}: return [B] or [B, Q].")
        if not np.isfinite(scores).all():
            remedy = "Train the method again, with a lower learning rate."
            raise TrainingDiverged(f"A window got a score that is not finite. {remedy}")
        for (_, slot), score in zip(waiting, scores.reshape(len(waiting), -1), strict=True):
            self._found[slot] = score
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
    """What was found of a query, and where it was written."""

    query: str
    geotiff: Path
    overlay: Path
    geojson: Path | None
    """None if the scene is not georeferenced."""
    lowest: float
    """Mean score of the pixel that matches least."""
    highest: float
    """Equal to ``lowest`` if all pixels have the same score, so that the map shows nothing."""
    places: list[Place]
    """Best first."""
    lost: int
    """Places with corners off the Earth, which the GeoJSON leaves out."""


def run(
    scene: Scene,
    queries: Sequence[str],
    score: Score,
    out: Path,
    *,
    sizes: Sequence[int] = SIZES,
    median: int = MEDIAN,
    places: int = PLACES,
) -> list[Located]:
    """Locate queries in an open scene; writes ``<slug>.tif``, ``.png`` and ``.geojson`` of each into a folder.

    ``score`` returns a column for each query, in order. A scene without a georeference gets no
    GeoJSON, since a GIS would take its pixels for places on Earth. The errors are those of ``Scene`` and ``locate``;
    also ``SceneError`` for no query, an empty one or one twice, for less than one place, and if a file cannot be
    written or would replace the scene.
    """
    queries = checked(queries)
    if places < 1:
        raise SceneError(f"{places} places: ask for at least one")
    stems = [out / name for name in slugs(queries)]
    _ready(scene, stems, out)
    found = locate(scene, score, sizes=sizes, median=median)
    if len(found.means) != len(queries):
        raise ValueError(f"{len(queries)} queries, but the scorer returned {len(found.means)} scores a window")
    thumbnail = scene.thumbnail(LONGEST)
    located = []
    for number, (query, stem) in enumerate(zip(queries, stems, strict=True)):
        tif, png, geojson = (stem.with_name(stem.name + kind) for kind in KINDS)
        low, high = float(found.lowest[number]), float(found.highest[number])
        best = best_places(found.windows, found.scores, number, places)
        write_geotiff(scene, found.bands(number), tif, _tags(scene, found, query, low, high))
        write_overlay(thumbnail, tif, png)
        # One of an earlier scene would be taken for that of this one.
        geojson.unlink(missing_ok=True)
        on_earth = not scene.georeference.missing
        lost = write_geojson(geojson, query, best, scene.georeference) if on_earth else 0
        located.append(Located(query, tif, png, geojson if on_earth else None, low, high, best, lost))
    return located


def checked(queries: Sequence[str]) -> list[str]:
    """The queries without white space around them; raises ``SceneError`` for none, an empty one, or one twice."""
    texts = [query.strip() for query in queries]
    if not texts:
        raise SceneError("no query: give at least one text to locate")
    if not all(texts):
        raise SceneError("a query is empty: give texts of at least one word")
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise SceneError(f"{twice[0]!r} is given twice: give each text once")
    return texts


def _ready(scene: Scene, stems: Sequence[Path], out: Path) -> None:
    """Make the folder; whatever would keep the files from being written is told before the work, not after it."""
    files = [stem.with_name(stem.name + kind) for stem in stems for kind in KINDS]
    mine = next((file for file in files if file.exists() and file.samefile(scene.path)), None)
    if mine:
        raise SceneError(f"{mine} is the scene itself and would be replaced: choose another folder")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out) as trial:
            trial.write(b"0")


def _tags(scene: Scene, found: Heatmap, query: str, low: float, high: float) -> dict[str, object]:
    """What the GeoTIFF says of itself: enough to compute mean scores from the values of the map."""
    scale = "LOWEST_SCORE + value * (HIGHEST_SCORE - LOWEST_SCORE) is the mean score of the windows around a pixel"
    scores = {"LOWEST_SCORE": repr(low), "HIGHEST_SCORE": repr(high)}
    how = {"MEDIAN": found.median if found.median > 1 else 0, "SHOWN": scene.note}
    return {"TEXT": query, "SCALE": scale, **scores, **how, "PLACE": f"the scene {scene.georeference.note}"}


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
        words = "-".join(re.findall(r"[^\W_]+", query.lower()))[:SLUG]
        base = words.encode()[:SLUG_BYTES].decode(errors="ignore").strip("-") or "query"
        numbered = (base if number == 1 else f"{base}-{number}" for number in count(1))
        names.append(next(name for name in numbered if name not in names))
    return names
