"""Multi-level information dynamic fusion: one vector from an image's global and local features."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rsitr.nn.mvsa import Form

HEADS = 8
DROPOUT, GATE_DROPOUT = 0.1, 0.2


class MIDF(nn.Module):
    """GaLR's fusion (Z. Yuan et al., IEEE TGRS 2022): self-attention of each, attention of each guided by the other,
    and their sum with weights from both.

    Each of the two is a sequence of one, over which a softmax is 1: its attentions are linear maps of values, and their
    queries and keys, which the authors' code also has, change nothing. That code gives both parts the weight of the
    global one (``released``).
    """

    def __init__(self, width: int, form: Form):
        super().__init__()
        self.form = form
        sizes: dict[str, Any] = {
            "d_model": width,
            "nhead": HEADS,
            "dim_feedforward": 2 * width,
            "dropout": DROPOUT,
            "batch_first": True,
        }
        self.attend_global = nn.TransformerEncoderLayer(**sizes)
        self.attend_local = nn.TransformerEncoderLayer(**sizes)
        self.correct = nn.TransformerDecoderLayer(**sizes)
        self.supplement = nn.TransformerDecoderLayer(**sizes)
        self.weights = nn.Sequential(
            nn.Linear(width, width), nn.Sigmoid(), nn.Dropout(GATE_DROPOUT), nn.Linear(width, 2), nn.Softmax(1)
        )

    def forward(self, whole: Tensor, local: Tensor) -> Tensor:
        """Fused features [B, width] of global ones and local ones [B, width]."""
        wide, near = self.attend_global(whole[:, None]), self.attend_local(local[:, None])
        near = self.correct(near, wide)
        wide = self.supplement(wide, near)
        return self.fuse(wide[:, 0], near[:, 0])

    def fuse(self, whole: Tensor, local: Tensor) -> Tensor:
        """The dynamic fusion [B, width]: local features gate the global ones, which are added to them."""
        corrected, supplemented = local.sigmoid() * whole, whole + local
        weights = self.weights(corrected + supplemented)
        first, second = weights[:, :1], weights[:, :1] if self.form == "released" else weights[:, 1:]
        return first * corrected + second * supplemented
