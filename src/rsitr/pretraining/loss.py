"""The contrastive loss of a large batch in blocks of rows: the matrix of all scores is never held.

CLIP's loss (A. Radford et al., ICML 2021, figure 3) of 32,768 pairs has two matrices of 4.3 GB in float32, and autograd
keeps as many again. The gradient of a softmax cross entropy is known as soon as its row is, so that each block leaves
only its loss and its gradients behind.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK = 1024
"""Rows of scores at a time: 4 KiB for each sample of the batch."""


def contrastive(images: Tensor, texts: Tensor, scale: Tensor, own: slice, block: int = BLOCK) -> Tensor:
    """What the rows ``own`` add to the loss of images [N, D] and texts [N, D] whose scores are multiplied by ``scale``.

    The mean cross entropy of each image against all texts and of each text against all images; the sum over slices that
    cover all N rows is the whole loss.
    """
    both = _CrossEntropy.apply(images, texts, scale, own, block) + _CrossEntropy.apply(texts, images, scale, own, block)
    return both / (2 * len(images))  # type: ignore[no-any-return]


class _CrossEntropy(torch.autograd.Function):
    """The summed cross entropy of rows ``own`` of ``scale * queries @ keys.T``, where row i belongs to column i."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor, own: slice, block: int) -> Tensor:
        loss, of_scale = queries.new_zeros(()), torch.zeros_like(scale)
        of_queries, of_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        for start in range(own.start, own.stop, block):
            rows = slice(start, min(start + block, own.stop))
            scores = (queries[rows] * scale) @ keys.t()
            right = scores.diagonal(start)
            highest = scores.amax(1)
            loss += (highest - right).sum()
            # From here on, the same memory holds the softmax and then the gradient of the scores.
            total = scores.sub_(highest[:, None]).exp_().sum(1)
            loss += total.log().sum()
            scores.div_(total[:, None])
            right -= 1  # a view of the scores
            unscaled = scores @ keys
            of_scale += (unscaled * queries[rows]).sum()
            of_queries[rows] = unscaled * scale
            of_keys += scores.t() @ (queries[rows] * scale)
        ctx.save_for_backward(of_queries, of_keys, of_scale)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradients[0] * each for each in ctx.saved_tensors), None, None
