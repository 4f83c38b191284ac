"""Scores of a whole batch in blocks of pairs, so that training needs the memory of one block."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK_NUMBERS = 2**23
"""Numbers that the fragments of a block of pairs may take: 32 MiB for each temporary of the scorer."""


def score_in_blocks(
    score: Callable[[Tensor, Tensor], Tensor], images: Tensor, texts: Tensor, numbers: int = BLOCK_NUMBERS
) -> Tensor:
    """Scores [I, C] of images [I, N, D] against texts [C, L, D]: ``score(images, texts)`` and its gradients.

    A block of I' images and C' texts has I' C' (N L + (N + L) D) <= ``numbers``. The backward pass recomputes the
    inside of each block instead of keeping it.
    """
    pair = images.shape[1] * texts.shape[1] + (images.shape[1] + texts.shape[1]) * images.shape[2]
    side = max(1, math.isqrt(numbers // pair))
    if side >= max(len(images), len(texts)):
        return score(images, texts)
    rows = [
        torch.cat([checkpoint(score, some, others, use_reentrant=False) for others in texts.split(side)], dim=1)
        for some in images.split(side)
    ]
    return torch.cat(rows)
