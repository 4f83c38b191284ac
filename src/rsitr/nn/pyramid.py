"""The feature maps of several levels of a backbone, and a visual self-attention that looks at all of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.errors import ParamsError
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.pixels import PixelFormat

Shape = tuple[int, int, int]
HIGH_LEVELS = 2


class Pyramid(NamedTuple):
    """Maps [B, C, h, w] of a batch, each level half as high and wide as the one before."""

    low: list[Tensor]
    high: list[Tensor]
    """The last two; the last one is the backbone's output."""


class PyramidBackbone(ImageBackbone):
    """An image model of timm whose tokens are its maps of several levels, packed into one vector.

    Packed, the maps of a frozen backbone are cached and read like any other tokens. ``low_levels`` of them come before
    the last two; ``arguments`` are those of ``ImageBackbone``.
    """

    def __init__(self, *, low_levels: int, **arguments: Any):
        super().__init__(**arguments)
        name, self.levels = arguments["name"], low_levels + HIGH_LEVELS
        steps = [level["reduction"] for level in self.model.feature_info][-self.levels :]
        if len(steps) < self.levels or any(2 * before != after for before, after in pairwise(steps)):
            raise ParamsError(f"{name} has no feature maps of {self.levels} levels: choose a ResNet or the like")
        self.shapes = self._shapes(self.pixels)
        if any(2 * after[1] != before[1] for before, after in pairwise(self.shapes)):
            sides = ", ".join(str(shape[1]) for shape in self.shapes)
            raise ParamsError(
                f"at {self.pixels.size} px the maps of {name} have sides of {sides}: image_size must halve evenly"
            )

    def extra_repr(self) -> str:
        """The token cache tells a pyramid from other tokens of the same layers by this."""
        return f"levels={self.levels}"

    def forward(self, pixels: Tensor) -> Tensor:
        """Packed maps [B, 1, sum of C h w] of pixels [B, 3, H, W]."""
        return torch.cat([level.flatten(1) for level in self._maps(pixels)], 1).unsqueeze(1)

    def unpack(self, packed: Tensor) -> Pyramid:
        """Maps from packed ones [B, 1, K]."""
        parts = packed.squeeze(1).split([c * h * w for c, h, w in self.shapes], 1)
        maps = [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return Pyramid(maps[:-HIGH_LEVELS], maps[-HIGH_LEVELS:])

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        last, maps = self.model.forward_intermediates(
            pixels.contiguous(memory_format=torch.channels_last), indices=self.levels, output_fmt="NCHW"
        )
        # What a model does after its last level, such as a further convolution, belongs to that level.
        last = last if last.shape[1] == self.width else last.permute(0, 3, 1, 2)
        return [*maps[:-1], last]

    @torch.no_grad()
    def _shapes(self, pixels: PixelFormat) -> list[Shape]:
        training = self.training
        maps = self.eval()._maps(torch.zeros(1, 3, pixels.size, pixels.size))
        self.train(training)
        return [(level.shape[1], level.shape[2], level.shape[3]) for level in maps]


Form = Literal["paper", "released"]
CHANNELS = 3
"""Of the low and of the high features after their convolutions."""


def halvings(channels: int, stride: int) -> nn.Sequential:
    """Eq. 14 as layers, each a 3 x 3 convolution to half the side and a PReLU; ``stride`` is a power of two."""
    widths = [channels, *[CHANNELS] * (stride.bit_length() - 1)]
    return nn.Sequential(
        *(nn.Sequential(nn.Conv2d(before, after, 3, 2, padding=1), nn.PReLU()) for before, after in pairwise(widths))
    )


def single(channels: int, stride: int) -> nn.Conv2d:
    """One 3 x 3 convolution; from a stride of three upwards it reaches the size without padding."""
    return nn.Conv2d(channels, CHANNELS, 3, stride, padding=int(stride < 3))


class MVSA(nn.Module):
    """Multiscale visual self-attention, which of an image's features its maps of all levels let through: AMFMN, section
    III-C, Eqs. 14-19.

    ``released`` is what the authors' code does instead of the ``paper``: no PReLU, no L2 norm, and the mean of Eq. 16
    is that of the transformed high features. The paper shrinks the low features by 3 x 3 convolution layers, here each
    to half the side and with the PReLU of Eq. 14; the code has a single one. Both forms need what the paper leaves out,
    a linear layer from the cells of the attention to the width of the features.
    """

    def __init__(self, low: list[Shape], high: list[Shape], width: int, form: Form):
        super().__init__()
        self.form = form
        (_, self.low_side, _), (_, self.high_side, _) = low[0], high[0]
        channels, stride = sum(shape[0] for shape in low), self.low_side // self.high_side
        self.low = halvings(channels, stride) if form == "paper" else single(channels, stride)
        self.high = nn.Conv2d(sum(shape[0] for shape in high), CHANNELS, 1)
        self.high_act = nn.PReLU() if form == "paper" else nn.Identity()
        self.content, self.gate = nn.Conv2d(2 * CHANNELS, 1, 1), nn.Conv2d(2 * CHANNELS, 1, 1)
        self.mask = nn.Linear(self.high_side**2, width)

    def attention(self, maps: Pyramid) -> Tensor:
        """Eq. 19, the gated map [B, h, w] at the size of the larger high features."""
        below = self._low(maps.low)
        above = self.high_act(self._high(maps.high))
        mean = _mean(maps.high) if self.form == "paper" else above.mean(1, keepdim=True)
        joint = torch.cat([below, above], 1) + mean
        if self.form == "paper":
            joint = F.normalize(joint, dim=1)
        return (self.content(joint) * self.gate(joint).sigmoid()).squeeze(1)

    def _low(self, maps: list[Tensor]) -> Tensor:
        """The convolutions of the low features at the size of the largest; the paper's first layer reads each map
        before it is enlarged, or enlarged to half that size, which gives the same for much less work."""
        if self.form != "paper":
            return self.low(_together(maps))
        layers: Any = self.low
        first, *others = layers[0]
        large, *small = first.weight.split([level.shape[1] for level in maps], 1)
        found = F.conv2d(maps[0], large, first.bias, 2, 1)
        for level, weight in zip(maps[1:], small, strict=True):
            half = level if level.shape[2:] == found.shape[2:] else F.interpolate(level, size=found.shape[2:])
            found = found + F.conv2d(F.pad(half, (1, 0, 1, 0)), _of_repeated(weight))
        for layer in [*others, *layers[1:]]:
            found = layer(found)
        return found

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


def _of_repeated(weight: Tensor) -> Tensor:
    """What 3 x 3 weights [O, C, 3, 3] in steps of two do to a map whose rows and columns are each repeated once.

    [O, C, 2, 2] on the map itself, in steps of one: the second and the third weight meet the same number.
    """
    rows = torch.stack([weight[:, :, 0], weight[:, :, 1] + weight[:, :, 2]], 2)
    return torch.stack([rows[..., 0], rows[..., 1] + rows[..., 2]], 3)


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
