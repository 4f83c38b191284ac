"""The best places of a text: the windows that score highest, of which no two overlap.

A place is a window because that is what the method has scored: its score is the method's own, comparable between texts
and between scenes, and the square is what the method has looked at. A region above a threshold of the map has neither:
its border depends on the threshold, and the map's scale on the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rsitr.errors import SceneError
from rsitr.localisation.heatmap import Floats
from rsitr.localisation.windows import WindowRow

PLACES = 10
"""At most, of a text."""


class Place(NamedTuple):
    """A window of a scene; in pixels."""

    rank: int
    """From 1."""
    score: float
    """The method's own, not that of the map."""
    column: int
    """Of the left edge."""
    row: int
    """Of the upper edge."""
    width: int
    height: int

    def overlaps(self, other: Place) -> bool:
        """Whether a pixel is in both."""
        across = self.column < other.column + other.width and other.column < self.column + self.width
        return across and self.row < other.row + other.height and other.row < self.row + self.height


def best_places(rows: Sequence[WindowRow], scores: Sequence[Floats], query: int, count: int = PLACES) -> list[Place]:
    """Up to ``count`` places of a query, best first; of equal scores, the upper and then the left window comes first.

    ``scores`` holds for each row of windows float [N, Q], NaN where a window was skipped. There is no place if all
    scores are equal. Raises ``SceneError`` unless ``count`` is 1 or more.
    """
    if count < 1:
        raise SceneError(f"{count} places: ask for at least one")
    columns = np.concatenate([part[:, query] for part in scores])
    tops = np.repeat([row.top for row in rows], [len(row.lefts) for row in rows])
    lefts = np.concatenate([row.lefts for row in rows])
    sizes = np.repeat([(row.width, row.height) for row in rows], [len(row.lefts) for row in rows], axis=0)
    if np.nanmin(columns) == np.nanmax(columns):
        return []
    found: list[Place] = []
    for number in np.lexsort((lefts, tops, -columns)).tolist():
        if np.isnan(columns[number]) or len(found) == count:
            break  # NaN comes last
        window = (int(lefts[number]), int(tops[number]), *sizes[number].tolist())
        place = Place(len(found) + 1, float(columns[number]), *window)
        if not any(map(place.overlaps, found)):
            found.append(place)
    return found
