"""HVSA's losses of embeddings on the unit hypersphere: alignment from easy to hard, uniformity, and their weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.losses import same_image

EVERY = 5
"""Uniformity is that of every fifth image of a batch."""


def alignment_loss(scores: Tensor, image_ids: Tensor, margin: float, difficulty: float) -> Tensor:
    """Adaptive alignment: hinge losses c of all negatives in both directions, each times exp(-``difficulty`` c).

    ``scores`` [B, B]: image i against caption j. The sum is divided by B^2. A pair far on the wrong side of the margin
    weighs little, so training goes from easy to hard as c falls.
    """
    positive = scores.diagonal()
    hinges = [margin + scores - positive[:, None], margin + scores - positive[None, :]]
    costs = torch.stack(hinges).clamp(min=0).masked_fill(same_image(image_ids), 0)
    return (costs * (-difficulty * costs).exp()).sum() / scores.numel()


def uniformity_loss(embeddings: Tensor, scale: float) -> Tensor:
    """Mean over pairs of exp(-``scale`` |x_i - x_j|^2), zero without a pair.

    x is every fifth of the embeddings [B, D] of unit length. T. Wang, P. Isola (ICML 2020, section 4.1) take the
    logarithm of it.
    """
    some = embeddings[::EVERY]
    if len(some) < 2:
        return embeddings.new_zeros(())
    return (-scale * F.pdist(some.float()).square()).exp().mean()


class LossWeights(nn.Module):
    """A network that weights losses: their sum, with weights that are a softmax of its outputs for them."""

    def __init__(self, losses: int):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(losses, 64, bias=False),
            nn.PReLU(),
            nn.Linear(64, 128, bias=False),
            nn.PReLU(),
            nn.Linear(128, losses, bias=False),
            nn.Softmax(0),
        )

    def forward(self, losses: Tensor) -> Tensor:
        """Scalar, of losses [N]."""
        return (self.network(losses) * losses).sum()
