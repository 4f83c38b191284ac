"""Windows gathered into batches of one shape, as a model expects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rsitr.errors import TrainingDiverged
from rsitr.localisation.scene import Pixels
from rsitr.localisation.windows import WindowRow

Score = Callable[[Pixels], npt.ArrayLike]
"""Scores [B] or, of Q queries, [B, Q] of windows uint8 [B, h, w, 3]; higher is more similar."""
Place = tuple[int, int]
"""Of a window: the number of its row of windows, and its position in that row."""


class Batches:
    """Gathers windows of one shape until they make a batch, and keeps the scores by (row of windows, position in
    it)."""

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
        for waiting in self._waiting.values():
            if waiting:
                self._flush(waiting)
        queries = len(next(iter(self._found.values()), [0]))
        blank = np.full(queries, np.nan)
        return [
            np.stack([self._found.get((number, place), blank) for place in range(len(row.lefts))])
            for number, row in enumerate(rows)
        ]

    def _flush(self, waiting: list[tuple[Pixels, Place]]) -> None:
        scores = np.asarray(self._score(np.stack([pixels for pixels, _ in waiting])), dtype=np.float64)
        if scores.shape[:1] != (len(waiting),) or scores.ndim > 2:
            raise ValueError(
                f"The scorer returned shape {scores.shape} for {len(waiting)} windows: return [B] or [B, Q]."
            )
        if not np.isfinite(scores).all():
            raise TrainingDiverged(
                "A window got a score that is not finite. Train the method again, with a lower learning rate."
            )
        for (_, place), score in zip(waiting, scores.reshape(len(waiting), -1), strict=True):
            self._found[place] = score
        waiting.clear()
