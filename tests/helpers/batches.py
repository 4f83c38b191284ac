"""Batches as the trainer makes them where captions of one image alone are positives of each other."""

from __future__ import annotations

from torch import Tensor

from rsitr.methods.base import Batch


def same(numbers: Tensor) -> Tensor:
    """Positives, bool [B, B], of samples whose numbers [B] agree."""
    return numbers[:, None] == numbers[None, :]


def batch(
    images: Tensor, tokens: Tensor, image_ids: Tensor, captions: Tensor, epoch: int = 0, teacher: Tensor | None = None
) -> Batch:
    """A batch of these samples."""
    return Batch(images, tokens, image_ids, captions, same(image_ids), epoch, teacher)
