"""Dropout that draws fast on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``torch.nn.Dropout``, which draws one number after another on CPUs that are not Intel's."""

    def forward(self, values: Tensor) -> Tensor:
        """``values``, in training each zero with probability p and the others divided by 1 - p."""
        if not self.training or not 0 < self.p < 1 or values.device.type != "cpu":
            return super().forward(values)
        return values * (torch.rand(values.shape) >= self.p) / (1 - self.p)


def replace_dropout(module: nn.Module) -> None:
    """Let all dropout inside a module of another library be drawn fast."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p))
