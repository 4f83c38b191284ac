"""A scene classifier: a timm backbone and a linear layer on its pooled features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsitr.nn.backbones import ImageBackbone
from rsitr.params import PriorSettings


class SceneClassifier(nn.Module):
    """Logits of scene classes; ``backbone`` is what methods take from it."""

    def __init__(self, settings: PriorSettings, classes: int):
        super().__init__()
        mean, std = (tuple(values) if values else None for values in (settings.image_mean, settings.image_std))
        name, weights, size = settings.image_backbone, settings.image_weights, settings.image_size
        self.backbone = ImageBackbone(name, weights, size, mean, std, settings.image_options)
        # Some models of timm have layers behind the pooling, which change the width.
        width = getattr(self.backbone.model, "head_hidden_size", None) or self.backbone.width
        self.classifier = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, classes] of pixels [B, 3, H, W]."""
        return self.classifier(self.backbone.model(pixels.contiguous(memory_format=torch.channels_last)))

    def backbone_state(self) -> dict[str, Tensor]:
        """The backbone's tensors under timm's names, as ``ImageBackbone`` loads them from a file."""
        state = self.backbone.model.state_dict()
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}
