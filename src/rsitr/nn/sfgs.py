"""Scene fine-grained sensing: one vector from a large feature map, read in windows of three sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 16
"""To which every filtered map is pooled."""
HEADS = 8
DROPOUT = 0.1


class SFGS(nn.Module):
    """SWAN's SFGS (J. Pan et al., ICMR 2023), as in its authors' code.

    The map is filtered to ``channels`` and read in windows of 1, 3 and 5 that do not overlap (batch norm, ReLU, pooled
    to 16 x 16), with ``channels``, as many and twice as many channels. Each of these 4 ``channels`` maps is a token:
    linear with ReLU, self-attention and feed-forward with a norm after each, and a sum with learned weights.

    The authors' code multiplies the tokens by a learned matrix and takes the mean over all its columns. That is a sum
    with one weight per token, the mean of its row, so here only those means are initialised and learned.
    """

    def __init__(self, in_channels: int, channels: int, width: int):
        super().__init__()
        self.filter = _convolution(in_channels, channels, 1)
        self.windows = nn.ModuleList(
            _convolution(channels, wide, side) for side, wide in ((1, channels), (3, channels), (5, 2 * channels))
        )
        self.embed = nn.Sequential(nn.Linear(SIDE**2, width), nn.ReLU(), nn.Dropout(DROPOUT))
        self.attend = nn.TransformerEncoderLayer(
            width, HEADS, dim_feedforward=2 * width, dropout=DROPOUT, activation="gelu", batch_first=True
        )
        # The authors' feed-forward has dropout after it and none inside.
        self.attend.dropout.p = 0.0
        self.weights = nn.Parameter(torch.randn(4 * channels) / width**0.5)

    def forward(self, level: Tensor) -> Tensor:
        """Features [B, width] of a map [B, C, s, s], s = 5 or more."""
        filtered = self.filter(level)
        maps = torch.cat([_pool(window(filtered)) for window in self.windows], 1)
        return self.weights @ self.attend(self.embed(maps.flatten(2)))


def _pool(maps: Tensor) -> Tensor:
    """Adaptive mean pooling of maps [B, C, s, s] to 16 x 16, as products, whose gradient is deterministic on GPUs."""
    parts = F.adaptive_avg_pool1d(torch.eye(maps.shape[2], device=maps.device, dtype=maps.dtype), SIDE)
    return parts.t() @ maps @ parts


def _convolution(before: int, after: int, side: int) -> nn.Sequential:
    """Of windows that do not overlap, with batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(before, after, side, side, bias=False), nn.BatchNorm2d(after), nn.ReLU())
