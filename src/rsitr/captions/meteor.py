"""METEOR 1.5 for English between captions and the captions of images, as pycocoevalcap computes it, without Java."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from rsitr.captions.meteor_aligner import best_scores
from rsitr.captions.meteor_matches import prepare
from rsitr.captions.meteor_tables import Tables, load_tables

IntArray = npt.NDArray[np.integer]
BLOCK = 16
"""Captions that a thread takes at a time."""


class Meteor:
    """METEOR of captions against images: the best of the scores against the captions of the image."""

    def __init__(
        self,
        texts: Sequence[str],
        references: Sequence[Sequence[int]],
        tables: Tables | None = None,
        threads: int = 1,
    ):
        self.threads = threads
        self._corpus = prepare(texts, load_tables() if tables is None else tables)
        distinct = [sorted(set(own)) for own in references]
        self._starts = np.cumsum([0, *map(len, distinct)])
        self._references = np.array([text for own in distinct for text in own], dtype=np.int64)

    def scores(self, captions: IntArray, images: IntArray) -> npt.NDArray[np.float64]:
        scores = np.zeros((len(captions), len(images)))
        captions, images = np.asarray(captions, np.int64), np.asarray(images, np.int64)

        def fill(start: int) -> None:
            rows = slice(start, start + BLOCK)
            best_scores(self._corpus, self._starts, self._references, captions[rows], images, scores[rows])

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(fill, range(0, len(captions), BLOCK)))
        return scores
