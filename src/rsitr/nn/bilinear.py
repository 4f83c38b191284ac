"""Bilinear pooling of two levels of feature maps, and the embedding that LW-MCR makes from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-5
"""Added under the square root, whose slope would otherwise be infinite where no channel responds."""


class BilinearPooling(nn.Module):
    """How often each low-level channel responds together with each high-level one (T.-Y. Lin et al., ICCV 2015, Eq. 2).

    Both maps are brought to ``channels`` non-negative channels and one size: the low one to half its size by a
    convolution, the high one to twice its size by repetition and a border of zeros. The low map's side is meant to be
    four times the high map's.
    """

    def __init__(self, low: int, high: int, channels: int):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(low, channels, 3, 2, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.high = nn.Conv2d(high, channels, 1)
        self.high_norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """[B, channels, channels]: mean products of low (rows) and high channels, their square roots, each column of
        unit length; float32."""
        below = self.low(low)
        above = self._doubled(high, below.shape[2], below.shape[3])
        products = torch.einsum("bchw,bdhw->bcd", below, above).float() / below[0, 0].numel()
        return F.normalize((products + EPSILON).sqrt(), dim=1)

    def _doubled(self, high: Tensor, height: int, width: int) -> Tensor:
        """The reduced high map: 1 x 1 convolution before repetition, which gives the same for a quarter of the work."""
        reduced = F.interpolate(F.conv2d(high, self.high.weight), scale_factor=2.0)
        assert self.high.bias is not None
        return self.high_norm(_centred(reduced, height, width) + self.high.bias[:, None, None])


def _centred(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps centred in a frame of zeros, or cropped to it."""
    rows, columns = height - maps.shape[2], width - maps.shape[3]
    return F.pad(maps, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


class ChannelAttention(nn.Module):
    """Channel gates from their mean and largest values (CBAM, S. Woo et al., ECCV 2018, Eq. 2)."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same, gated."""
        summaries = maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        return maps * torch.stack([self.excite(F.relu(self.squeeze(part))) for part in summaries]).sum(0).sigmoid()


class SpatialAttention(nn.Module):
    """Place gates from their mean and largest channels (CBAM, S. Woo et al., ECCV 2018, Eq. 3)."""

    def __init__(self, kernel: int):
        super().__init__()
        self.gate = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same, gated."""
        return maps * self.gate(torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], 1)).sigmoid()


def attended(low: int, high: int) -> nn.Sequential:
    """A convolution that halves the size, with channel and spatial attention."""
    convolution = nn.Conv2d(low, high, 3, 2, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(high), nn.PReLU(), ChannelAttention(high, 4), SpatialAttention(7))


class BilinearEmbedding(nn.Module):
    """The image tower of LW-MCR after its backbone: two small convolutions read the bilinear pooling as a picture."""

    CHANNELS = 64

    def __init__(self, low: int, high: int, width: int, dropout: float):
        super().__init__()
        self.pool = BilinearPooling(low, high, self.CHANNELS)
        first = nn.Sequential(attended(1, 4), nn.MaxPool2d(2), nn.Dropout(dropout))
        second = nn.Sequential(attended(4, 8), nn.Dropout(dropout))
        # Three halvings of the picture, eight channels of it.
        self.layers = nn.Sequential(first, second, nn.Flatten(), nn.Linear(8 * (self.CHANNELS // 8) ** 2, width))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Embeddings [B, width], of any length, of maps [B, C, 4h, 4w] and [B, D, h, w]."""
        return self.layers(self.pool(low, high).unsqueeze(1))
