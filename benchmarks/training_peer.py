"""The plain training step of open_clip: its model, its loss, AdamW; no ranks, no order, no record."""

from __future__ import annotations

import math
from typing import Any

import torch
from open_clip import ClipLoss
from torch import Tensor

from rsitr.nn.clip_models import create_clip


class PlainStep:
    """``step(pixels, tokens)`` trains ``model`` on one batch."""

    def __init__(self, model: str, device: str):
        self.model: Any = create_clip(model).model.to(device).train()
        parameters = list(self.model.parameters())
        groups = [
            {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": 0.2},
            {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-6, betas=(0.9, 0.98))
        self.loss = ClipLoss()
        self.autocast = torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device != "cpu")

    def forward_backward(self, pixels: Tensor, tokens: Tensor) -> None:
        """The part of a step that multiplies matrices."""
        with self.autocast:
            images, texts, scale = self.model(pixels, tokens)[:3]
            loss = self.loss(images, texts, scale)
        loss.backward()

    def step(self, pixels: Tensor, tokens: Tensor) -> None:
        """One step."""
        self.optimizer.zero_grad()
        self.forward_backward(pixels, tokens)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
