"""The contrastive loss of a large batch in blocks of rows: the matrix of all scores is never held.

CLIP's loss (A. Radford et al., ICML 2021, figure 3) of 32,768 pairs has a matrix of 4.3 GB in float32, of which
autograd keeps several. Here each process has the rows of its own images, and computes a block of them twice: first for
the sums of rows and columns that the softmax divides by, then for the gradients, which are known as soon as these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

BLOCK = 1024
"""Rows of scores at a time: 4 KiB for each sample of the batch."""


def contrastive(
    images: Tensor,
    texts: Tensor,
    scale: Tensor,
    own: slice,
    gather: Callable[[Tensor], Tensor] = lambda own: own,
    block: int = BLOCK,
) -> Tensor:
    """What the pairs ``own`` add to the loss of images [N, D] and texts [N, D]; scores are multiplied by ``scale``.

    The mean cross entropy of each image against all texts and of each text against all images. Processes have slices
    that cover all N pairs, and ``gather`` returns [world, N] of every process's [1, N]; their sum is the whole loss.
    """
    return _Contrastive.apply(images, texts, scale, own, gather, block)  # type: ignore[no-any-return]


class _Contrastive(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        texts: Tensor,
        scale: Tensor,
        own: slice,
        gather: Callable[[Tensor], Tensor],
        block: int,
    ) -> Tensor:
        scaled, right = images * scale, (images * texts).sum(1) * scale
        blocks = [slice(start, min(start + block, own.stop)) for start in range(own.start, own.stop, block)]
        by_row, by_column = torch.zeros_like(right), torch.full_like(right, -torch.inf)
        for rows in blocks:
            scores = scaled[rows] @ texts.t()
            by_row[rows] = scores.logsumexp(1)
            by_column = torch.logaddexp(by_column, scores.logsumexp(0))
        by_column = gather(by_column[None]).logsumexp(0)
        loss = (by_row + by_column - 2 * right)[own].sum()
        of_images, of_texts = torch.zeros_like(images), torch.zeros_like(texts)
        for rows in blocks:
            scores = scaled[rows] @ texts.t()
            other = (scores - by_column).exp_()
            slope = scores.sub_(by_row[rows, None]).exp_().add_(other)
            slope.diagonal(rows.start).sub_(2)
            torch.mm(slope, texts, out=of_images[rows])
            of_texts.addmm_(slope.t(), scaled[rows])
        of_scale = (of_images * images).sum().reshape(scale.shape)
        ctx.save_for_backward(of_images * scale, of_texts, of_scale)
        ctx.share = 1 / (2 * len(images))
        return loss * ctx.share

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradients[0] * ctx.share * each for each in ctx.saved_tensors), None, None, None
