"""Stacked cross attention of SCAN (K.-H. Lee, X. Chen, G. Hua, H. Hu, X. He, ECCV 2018, section 3.1), for all pairs.

Nothing of the width D is computed for a pair. The cosine of a query fragment q with what it attends to, a = sum_j w_j
c_j, needs only the dot products q.c_j, which the attention is made of, and the Gram matrix G of the context, because
q.a = sum_j w_j q.c_j and |a|^2 = w' G w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

QUERIES = 32
"""Queries attended with at a time: their number is the innermost, vectorised dimension of every step."""
NUMBERS = {"cpu": 2**18}
"""Dot products computed at a time: 1 MiB, so that they stay in the cache of a core."""
GPU_NUMBERS = 2**24
"""The same on a GPU, where larger steps are faster: 64 MiB."""
NEGATIVE_SLOPE = 0.1
"""What is left of a negative similarity. The paper (section 3.1) clips at zero, the authors' code leaks."""
TINY = 1e-12


@dataclass(frozen=True)
class StackedAttention:
    """Every fragment of a query attends to the fragments of a context; its agreement with what it attended to is
    pooled."""

    sharpness: float
    """Lambda 1, inverse temperature of the attention (Eq. 3)."""
    pooling: Literal["lse", "mean"]
    """LogSumExp (Eq. 5), or the mean (Eq. 6), over the fragments of a query."""
    pooling_sharpness: float
    """Lambda 2 of LogSumExp: the larger, the closer to the maximum."""

    def __call__(self, queries: Tensor, contexts: Tensor) -> Tensor:
        """Scores float32 [Q, K] of every query against every context.

        ``queries`` [Q, q, D] and ``contexts`` [K, k, D] are fragments of unit length, those of padding zero and last.
        Padding takes no part in attention or pooling.
        """
        with torch.autocast(queries.device.type, enabled=False):
            queries, query_order = _by_length(queries.float())
            contexts, context_order = _by_length(contexts.float())
            limit = NUMBERS.get(queries.device.type, GPU_NUMBERS)
            numbers = min(QUERIES, len(queries)) * queries.shape[1] * contexts.shape[1]
            parts = [_trimmed(part) for part in contexts.split(max(1, limit // numbers))]
            known = [(part, part @ part.transpose(1, 2)) for part in parts]
            columns = [self._of_queries(_trimmed(group), known) for group in queries.split(QUERIES)]
            return torch.cat(columns, dim=1).t()[query_order][:, context_order]

    def _of_queries(self, queries: Tensor, known: list[tuple[Tensor, Tensor]]) -> Tensor:
        by_place, real = queries.transpose(0, 1).contiguous(), queries.any(2).t()
        return torch.cat([self._pooled(_cosines(by_place, *one, self.sharpness), real) for one in known])

    def _pooled(self, cosines: Tensor, real: Tensor) -> Tensor:
        """[K, Q] of ``cosines`` [K, q, Q], where ``real`` [q, Q]."""
        if self.pooling == "mean":
            return cosines.sum(1) / real.sum(0)
        return (self.pooling_sharpness * cosines).masked_fill(~real, -torch.inf).logsumexp(1) / self.pooling_sharpness


def _cosines(queries: Tensor, contexts: Tensor, gram: Tensor, sharpness: float) -> Tensor:
    """Cosines [K, q, Q] of each query fragment with what it attends to (Eq. 1-4); 0 for padding.

    ``queries`` [q, Q, D], ``contexts`` [K, k, D], and ``gram`` [K, k, k], the dot products of each context's fragments.
    """
    shape = (*contexts.shape[:2], *queries.shape[:2])
    dots = (contexts.flatten(0, 1) @ queries.flatten(0, 1).t()).view(shape)
    # Normalised over the query's fragments (Eq. 1), weighed over those of the context (Eq. 3).
    clipped = F.leaky_relu(dots, NEGATIVE_SLOPE)
    scale = sharpness * (clipped * clipped).sum(2, keepdim=True).clamp_min(TINY).rsqrt()
    # Without the denominator of the softmax, which the cosine cancels.
    weights = (clipped * scale).exp()
    seen = (gram @ weights.flatten(2)).view(shape)
    return (weights * dots).sum(1) * (weights * seen).sum(1).clamp_min(TINY).rsqrt()


def _by_length(fragments: Tensor) -> tuple[Tensor, Tensor]:
    """Short sequences first, so that groups of them can be trimmed; and where each one went."""
    if fragments[:, -1].any(1).all():
        order = torch.arange(len(fragments), device=fragments.device)
        return fragments, order
    real = fragments.any(2)
    order = real.sum(1).argsort(stable=True)
    # The product keeps gradients out of the padding.
    return (fragments * real[..., None])[order], order.argsort()


def _trimmed(fragments: Tensor) -> Tensor:
    """Without the places that are padding in the last sequence, which is the longest."""
    return fragments[:, : max(1, int(fragments[-1].any(1).sum()))]
