"""Multi-view joint representations contrast: MTGFE (X. Zhang et al., 2023, section 3.3.2), a SimSiam on the fused class
token of two views of an image with its caption (X. Chen, K. He, 2021).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from rsitr.nn.pixels import PixelFormat

OPERATIONS = (
    "Identity",
    "AutoContrast",
    "Equalize",
    "Brightness",
    "Sharpness",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
)
"""Section 4.2."""
AT_A_TIME, MAGNITUDE = 2, 7
"""Section 4.2; the magnitude is on torchvision's scale from 0 to 30; the paper states none."""
NARROWING = 4
"""Ratio of the projection's width to that inside the predictor, as in SimSiam; the paper states none."""


class MildRandAugment(v2.RandAugment):
    """RandAugment with only the nine operations of section 4.2."""

    _AUGMENTATION_SPACE: ClassVar = {name: v2.RandAugment._AUGMENTATION_SPACE[name] for name in OPERATIONS}


class Views(nn.Module):
    """A view of each image of a batch, drawn from torch's global generator.

    Of pixels: ``MildRandAugment`` before the pixel statistics. Of tokens, such as those of a frozen backbone, where
    there are no pixels to change: all but a share ``dropped`` of them, drawn for each image.
    """

    def __init__(self, pixels: PixelFormat, dropped: float):
        super().__init__()
        self.dropped = dropped
        self.augment = MildRandAugment(AT_A_TIME, MAGNITUDE)
        mean, std = (torch.tensor(values)[:, None, None] for values in (pixels.mean, pixels.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Pixels [B, 3, H, W], or of tokens [B, N, C] at least one, [B, n, C]."""
        if images.ndim == 3:
            kept = max(1, round(images.shape[1] * (1 - self.dropped)))
            order = torch.rand(images.shape[:2], device=images.device).argsort(1)[:, :kept].sort(1).values
            return images.gather(1, order[..., None].expand(-1, -1, images.shape[2]))
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        plain = (images.float() * std + mean).clamp(0, 1)
        # In low precision the coordinates of a rotated image would be a pixel off.
        with torch.autocast(images.device.type, enabled=False):
            return (torch.stack([self.augment(image) for image in plain]) - mean) / std


class ViewHeads(nn.Module):
    """f_proj, three linear layers with batch normalisation, and f_pred, two (Fig. 4), as wide as the fusion encoder."""

    def __init__(self, width: int):
        super().__init__()
        inner = max(1, width // NARROWING)
        self.project = nn.Sequential(
            *(_linear(width, width), nn.ReLU(), _linear(width, width), nn.ReLU(), _linear(width, width))
        )
        self.predict = nn.Sequential(_linear(width, inner), nn.ReLU(), nn.Linear(inner, width))

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """-1/2 (S(p1, z2) + S(p2, z1)) of u_cls [B, D] of both views, z without gradient; between -1 and 1.

        The paper prints it without the minus that maximising a similarity needs. A single sample has no batch to be
        normalised with: its loss is 0.
        """
        if len(first) < 2:
            return first.new_zeros(())
        projected = [self.project(view) for view in (first, second)]
        predicted = [self.predict(view) for view in projected]
        similar = [
            F.cosine_similarity(prediction.float(), target.detach().float(), dim=1).mean()
            for prediction, target in zip(predicted, reversed(projected), strict=True)
        ]
        return -torch.stack(similar).mean()


def _linear(inputs: int, outputs: int) -> nn.Sequential:
    # The batch's mean takes the place of a bias.
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs))
