"""Multiscale visual self-attention: which of an image's features its maps of all levels let through."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.pyramid import Pyramid, Shape

Form = Literal["paper", "released"]
CHANNELS = 3
"""Of the low and of the high features after their convolutions."""


class MVSA(nn.Module):
    """AMFMN, section III-C, Eqs. 14-19.

    ``released`` is what the authors' code does instead of the ``paper``: no PReLU, no L2 norm, and the mean of Eq. 16
    is that of the transformed high features. Both need what the paper leaves out, a linear layer from the cells of the
    attention to the width of the features.
    """

    def __init__(self, low: list[Shape], high: list[Shape], width: int, form: Form):
        super().__init__()
        self.form = form
        (_, self.low_side, _), (_, self.high_side, _) = low[0], high[0]
        stride = self.low_side // self.high_side
        # From a stride of three upwards a 3 x 3 kernel reaches the size without padding.
        self.low = nn.Conv2d(sum(shape[0] for shape in low), CHANNELS, 3, stride, padding=int(stride < 3))
        self.high = nn.Conv2d(sum(shape[0] for shape in high), CHANNELS, 1)
        self.low_act, self.high_act = (nn.PReLU() if form == "paper" else nn.Identity() for _ in range(2))
        self.content, self.gate = nn.Conv2d(2 * CHANNELS, 1, 1), nn.Conv2d(2 * CHANNELS, 1, 1)
        self.mask = nn.Linear(self.high_side**2, width)

    def attention(self, maps: Pyramid) -> Tensor:
        """Eq. 19, the gated map [B, h, w] at the size of the larger high features."""
        below = self.low_act(self.low(_together(maps.low)))
        above = self.high_act(self._high(maps.high))
        mean = _mean(maps.high) if self.form == "paper" else above.mean(1, keepdim=True)
        joint = torch.cat([below, above], 1) + mean
        if self.form == "paper":
            joint = F.normalize(joint, dim=1)
        return (self.content(joint) * self.gate(joint).sigmoid()).squeeze(1)

    def _high(self, maps: list[Tensor]) -> Tensor:
        """The 1 x 1 convolution of Eq. 15: of each map before it is enlarged, which gives the same for much less
        work."""
        weights = self.high.weight.split([level.shape[1] for level in maps], 1)
        parts = [F.conv2d(level, weight) for level, weight in zip(maps, weights, strict=True)]
        assert self.high.bias is not None
        return _sum(parts) + self.high.bias[:, None, None]

    def forward(self, maps: Pyramid) -> Tensor:
        """The salient mask [B, width] in 0..1, that multiplies the global features."""
        return self.mask(self.attention(maps).flatten(1)).sigmoid()

    def saliency(self, maps: Pyramid) -> Tensor:
        """Where in the image the mask comes from (Fig. 10): the attention [B, h, w], each image from 0 to 1."""
        found = self.attention(maps)
        lowest, highest = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
        return (found - lowest) / (highest - lowest).clamp(min=1e-12)


def _together(maps: list[Tensor]) -> Tensor:
    """Eqs. 7-9: maps at the size of the first, concatenated by channel."""
    size = maps[0].shape[2:]
    return torch.cat([maps[0], *(F.interpolate(level, size=size) for level in maps[1:])], 1)


def _mean(maps: list[Tensor]) -> Tensor:
    """Mean over all channels of all maps, [B, 1, h, w]."""
    return _sum([level.sum(1, keepdim=True) for level in maps]) / sum(level.shape[1] for level in maps)


def _sum(maps: list[Tensor]) -> Tensor:
    """Sum of maps with the same channels at the size of the first."""
    return maps[0] + sum(F.interpolate(level, size=maps[0].shape[2:]) for level in maps[1:])
