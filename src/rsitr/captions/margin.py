"""The dynamic margin of AMFMN: how far apart a caption and an image have to be, given their prior similarity S.

Z. Yuan et al., 'Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval' (IEEE TGRS,
2021), section III-D, Eq. 29.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from rsitr.captions.all_pairs import IntArray
from rsitr.captions.similarity import DTYPE, CaptionSet, Measure, measure, open_matrix
from rsitr.errors import DatasetError, ParamsError

STRAIGHT = 1e-16
"""With ``beta`` closer to 0 than this, the curve and its limit are the same in double precision."""
SimilarityName = Literal["paper", "released"]
"""``paper``: BLEU-4 and METEOR, weighted; the paper gives no weights. ``released``: what the authors' code computes."""


def margin(similarity: npt.ArrayLike, gamma: float, beta: float) -> npt.NDArray[np.float64]:
    """alpha = gamma (e^beta - e^(beta S)) / (e^beta - 1), float64 in the shape of ``similarity`` S (Eq. 29).

    ``gamma`` above 0 is the margin of a pair with no similarity; it falls to exactly 0 at S = 1. With ``beta`` below 0
    it falls fast at first, above 0 fast at the end. At 0 the formula is undefined; its limit is the line gamma (1 - S).
    Accurate for every finite ``beta``, however small or large.

    Raises ``ParamsError`` for a meaningless ``gamma`` or ``beta``, ``DatasetError`` for a similarity outside 0 to 1.
    """
    if not (isfinite(gamma) and gamma > 0):
        raise ParamsError(f"gamma is {gamma}: give the largest margin, a number above 0")
    if not isfinite(beta):
        raise ParamsError(f"beta is {beta}: give a finite number; 0 makes the margin fall in a line")
    s = np.asarray(similarity, dtype=np.float64)
    inside = (s >= 0) & (s <= 1)
    if not inside.all():
        raise DatasetError(f"{s[~inside][0]} is no similarity: every value must lie between 0 and 1")
    if abs(beta) < STRAIGHT:
        return gamma * (1 - s)
    # Eq. 29 with e^|beta| taken out of both sides, so that no power overflows and nothing cancels near S = 1.
    share = np.expm1(-abs(beta) * (1 - s)) / np.expm1(-abs(beta))
    return gamma * (share if beta > 0 else share * np.exp(beta * s))


def weights_of(similarity: SimilarityName, bleu_weight: float = 0.5) -> dict[str, float]:
    """Weight of each measure in S; METEOR gets what ``bleu_weight`` leaves of 1."""
    weights = {"bleu-4": bleu_weight, "meteor": 1 - bleu_weight} if similarity == "paper" else {"released": 1.0}
    return {name: weight for name, weight in weights.items() if weight}


class TextSimilarity:
    """S(caption, captions of image) for the captions of a training set, read from matrices if they are current.

    ``folder`` may hold ``<measure>.npy`` files of ``similarity.write_matrix``; a measure without one is computed on
    demand, with the same result. Identical captions have the same value; a blank one has 0.
    """

    def __init__(
        self, weights: Mapping[str, float], captions: CaptionSet, folder: Path | None = None, threads: int = 1
    ):
        self.weights, self.captions = dict(weights), captions
        self._scores = {name: self._measure(name, folder, threads) for name in self.weights}

    def _measure(self, name: str, folder: Path | None, threads: int) -> Measure:
        matrix = open_matrix(name, self.captions, folder / f"{name}.npy") if folder else None
        if matrix is not None:
            return lambda texts, images: matrix[images[None, :], texts[:, None]]
        return measure(name, self.captions, threads)

    def __call__(self, captions: IntArray, images: IntArray) -> npt.NDArray[np.float32]:
        """Float32 [C, I] in 0..1 of training captions [C] against training images [I]."""
        texts, inverse = np.unique(self.captions.place[captions], return_inverse=True)
        total = np.zeros((len(texts), len(images)), dtype=np.float32)
        for name, weight in self.weights.items():
            total += np.float32(weight) * self._scores[name](texts, images).astype(DTYPE).astype(np.float32)
        # The sum of rounded parts may exceed 1 by a rounding error.
        return np.minimum(total, 1)[inverse]
