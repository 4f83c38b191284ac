"""The prior similarity S of captions and images: AMFMN, section III-D; the basis of the dynamic margin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from rsitr.captions.all_pairs import IntArray
from rsitr.captions.similarity import DTYPE, CaptionSet, Measure, measure, open_matrix

PriorName = Literal["paper", "released"]
"""``paper``: BLEU-4 and METEOR, weighted; the paper gives no weights. ``released``: what the authors' code computes."""


def weights_of(prior: PriorName, bleu_weight: float = 0.5) -> dict[str, float]:
    """Weight of each measure in a prior; METEOR gets what ``bleu_weight`` leaves of 1."""
    weights = {"bleu-4": bleu_weight, "meteor": 1 - bleu_weight} if prior == "paper" else {"released": 1.0}
    return {name: weight for name, weight in weights.items() if weight}


class Prior:
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
