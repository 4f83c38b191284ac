"""SqueezeNet of torchvision as a source of feature maps of several levels; timm does not have it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

from rsitr.errors import ParamsError
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.pyramid import Pyramid
from rsitr.nn.weights import downloaded, load_weights, resolve

NAME = "squeezenet1_1"
CUTS = (5, 8)
"""Layers at which a level ends: after the second Fire module, and before the last pooling."""


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 (F. Iandola et al., 2016), its low map [B, 128, h, w] that of its second Fire module.

    It has the interface of a ``PyramidBackbone`` of one low level and two high ones, the last of them [B, 512, h/4,
    w/4]. ``weights`` is ``torchvision`` (its ImageNet weights, downloaded), ``none`` or a location that
    ``rsitr.nn.weights.resolve`` understands.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        size: int,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        options: dict[str, Any] | None = None,
    ):
        super().__init__()
        if name != NAME or weights == "timm" or options:
            raise ParamsError(f"{NAME} takes image_weights torchvision, none or a file, and no image_options")
        imagenet = SqueezeNet1_1_Weights.IMAGENET1K_V1
        self.model = squeezenet1_1()
        self.model.classifier = nn.Identity()
        if weights != "none":
            path = downloaded(imagenet.url) if weights == "torchvision" else resolve(weights)
            load_weights(self.model, path, ignore=("classifier",))
        facts = imagenet.transforms()
        self.pixels = PixelFormat(size, mean or tuple(facts.mean), std or tuple(facts.std), facts.interpolation.value)
        with torch.no_grad():
            self.shapes = [tuple(level.shape[1:]) for level in self._maps(torch.zeros(1, 3, size, size))]

    def forward(self, pixels: Tensor) -> Tensor:
        """Packed maps [B, 1, sum of C h w] of pixels [B, 3, H, W]."""
        return torch.cat([level.flatten(1) for level in self._maps(pixels)], 1).unsqueeze(1)

    def unpack(self, packed: Tensor) -> Pyramid:
        """Maps from packed ones [B, 1, K]."""
        parts = packed.squeeze(1).split([c * h * w for c, h, w in self.shapes], 1)
        low, *high = (part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True))
        return Pyramid([low], high)

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        layers, maps = self.model.features, [pixels]
        for start, end in zip((0, *CUTS), (*CUTS, len(layers)), strict=True):
            maps.append(layers[start:end](maps[-1]))
        return maps[1:]
