"""Locating texts in a scene (AMFMN, section V-H, Fig. 12): every window is scored against every query in one pass.

The scene is read downwards once, whatever its format. In memory are the rows of pixels that the current windows need
(``strips``), a batch of each window size (``batches``), the scores, and the cells of the map (``heatmap``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsitr.errors import SceneError
from rsitr.localisation.batches import Batches, Score
from rsitr.localisation.heatmap import MEDIAN, Grid, Heatmap, filter_side, heatmap
from rsitr.localisation.scene import Scene, filled
from rsitr.localisation.strips import strips
from rsitr.localisation.windows import SIZES, edges, window_rows
from rsitr.localisation.write import write_geotiff, write_overlay
from rsitr.progress import Progress

BATCH = 32
"""Windows scored at once."""
LONGEST = 2048
"""Pixels of the longest side of the pictures."""
SLUG = 60
"""How many letters of a query its files are named by."""


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

    ``score`` returns a column for each query, in order. The errors are those of ``Scene`` and ``locate``; also
    ``SceneError`` without queries.
    """
    if not queries:
        raise SceneError("no query: give at least one text to locate")
    with Scene(image) as scene:
        found = locate(scene, score, sizes=sizes, median=median, batch=batch)
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
            progress.say(
                f"{found.skipped} of {found.skipped + found.scored} windows hold no valid pixel and have no score"
            )
        if (found.lowest == found.highest).any():
            progress.say(
                f"the same score everywhere: the map shows nothing. Try windows smaller than {min(sizes)} pixels"
            )
    return found


def slugs(queries: Sequence[str]) -> list[str]:
    """A file name for each query: its words in lower case, joined by hyphens, numbered if two are equal."""
    names: list[str] = []
    for query in queries:
        base = "-".join(re.findall(r"[^\W_]+", query.lower()))[:SLUG].strip("-") or "query"
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names
