"""Key-entity attention: the tokens of an image against a memory of entities that all images share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 1e-9
"""Added to a divisor."""


class KeyEntityAttention(nn.Module):
    """HVSA's KEA (W. Zhang et al., IEEE TGRS 2023), as in its authors' code: external attention (M.-H. Guo et al.,
    2021) to ``entities`` keys, in a residual block.

    With keys K and values V of the memory, both learned: A = softmax over places of K W x, each place divided by its
    sum over entities; y = ReLU(x + norm(U V A)). V starts as the transpose of K.

    There is nothing between W and K or V and U, so they are multiplied with each other before they meet the tokens.
    The bias of W, which the authors' code has, is the same for all places, so the softmax ignores it.
    """

    def __init__(self, channels: int, entities: int):
        super().__init__()
        self.project = nn.Linear(channels, channels, bias=False)
        self.keys = nn.Linear(channels, entities, bias=False)
        self.values = nn.Linear(entities, channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        with torch.no_grad():
            self.values.weight.copy_(self.keys.weight.t())

    def attention(self, tokens: Tensor) -> Tensor:
        """A, [B, N, entities]; each place sums to one."""
        scores = F.linear(tokens, self.keys.weight @ self.project.weight).softmax(1)
        return scores / (scores.sum(2, keepdim=True) + SMALLEST)

    def forward(self, tokens: Tensor) -> Tensor:
        """y [B, N, C] of tokens x [B, N, C]."""
        found = F.linear(self.attention(tokens), self.out.weight @ self.values.weight)
        return F.relu(tokens + self.norm(found.flatten(0, 1)).view_as(tokens))
