"""How similar matched and unmatched pairs are on average."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rsitr.retrieval.ranks import relevant_pairs
from rsitr.retrieval.tiles import Integers


class PairCosines(NamedTuple):
    """Mean cosines, from -1 to 1."""

    matched: float
    """Of an image and one of its own captions."""
    unmatched: float | None
    """Of an image and a caption whose text none of its own has; None where there is no such pair."""


def pair_cosines(scores: Tensor, image_of: Integers, text_group: Integers) -> PairCosines:
    """Of cosines [I, C], with ``image_of`` [C] and ``text_group`` [C] as in ``ranks.rank_scores``, and its errors.

    A caption of another image that repeats one of the image's own counts in neither mean.
    """
    pairs = relevant_pairs(image_of, text_group)
    (own, fitting) = (
        scores[torch.from_numpy(image).long(), torch.from_numpy(text).long()].double()
        for image, text in pairs.protocols
    )
    left = scores.numel() - len(fitting)
    # Rows are summed in float64: a million float32 values of one sign would lose digits.
    unmatched = float((scores.sum(1, dtype=torch.float64).sum() - fitting.sum()) / left) if left else None
    return PairCosines(float(own.mean()), unmatched)
