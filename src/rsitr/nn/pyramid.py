"""The feature maps of several levels of a backbone, for methods that look at more than the last one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
