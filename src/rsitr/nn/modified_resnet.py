"""CLIP's ResNet (A. Radford et al., ICML 2021, section 2.4) with what ``rsitr.nn.backbones`` asks of an image model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
from open_clip.modified_resnet import ModifiedResNet as OpenClipResNet
from torch import Tensor


class ModifiedResNet(OpenClipResNet):
    """Open_clip's, under the names that timm gives to the parts of a model; an attention pool ends it.

    ``layers`` are the blocks of each stage, ``width`` the channels of the stem. Images have ``size`` pixels. The
    defaults are those of PIR-CLIP: a ResNet-50 that is pooled to the width of ViT-B/32's embeddings.
    """

    def __init__(self, size: int, layers: Sequence[int] = (3, 4, 6, 3), width: int = 64, output_dim: int = 512):
        # Heads of 64 dimensions each, as CLIP has them.
        super().__init__(list(layers), output_dim, max(width // 2, 1), size, width)
        self.num_features, self.head_hidden_size = 32 * width, output_dim
        statistics = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
        self.pretrained_cfg: dict[str, Any] = statistics | {"input_size": (3, size, size), "interpolation": "bicubic"}

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Feature maps [B, 32 width, H / 32, W / 32] of pixels [B, 3, H, W], before the attention pool."""
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(pixels)))))
