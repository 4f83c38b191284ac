"""Adapters parallel to the MLPs of CLIP's transformer blocks, part of them shared between the towers (PE-RSITR)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rsitr.errors import ParamsError


class Adapter(nn.Module):
    """One adapter for a block of each tower.

    A state x of width d becomes [U ReLU(D x), S ReLU(D x)], with dropout before U and S: D down to ``bottleneck``, U up
    to d - ``shared``, and S up to ``shared``, the same for both towers. U and S start at zero.
    """

    def __init__(self, widths: Sequence[int], bottleneck: int, shared: int, dropout: float):
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, bottleneck) for width in widths)
        self.up = nn.ModuleList(nn.Linear(bottleneck, width - shared) for width in widths)
        self.shared = nn.Linear(bottleneck, shared)
        self.dropout = nn.Dropout(dropout)
        for layer in self.down:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in (*self.up, self.shared):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, states: Tensor, tower: int) -> Tensor:
        """What is added to states [..., widths[tower]], of the same shape."""
        inner = self.dropout(self.down[tower](states).relu())
        return torch.cat([self.up[tower](inner), self.shared(inner)], dim=-1)


class AdaptedMLP(nn.Module):
    """The normalisation and MLP of a block, and its adapter parallel to both."""

    def __init__(self, norm: nn.Module, mlp: nn.Module, adapter: Adapter, tower: int):
        super().__init__()
        self.norm, self.mlp, self.tower = norm, mlp, tower
        # In a tuple, so that its parameters have a single name, the one in the list of adapters.
        self._adapter = (adapter,)

    @property
    def c_fc(self) -> nn.Module:
        """The first layer of the MLP, whose dtype open_clip asks a block for."""
        return self.mlp.c_fc  # type: ignore[return-value]

    def forward(self, states: Tensor) -> Tensor:
        """What the block adds to its states [B, N, D] after attention."""
        return self.mlp(self.norm(states)) + self._adapter[0](states, self.tower)


def insert_adapters(
    visual: Any, text: Any, *, bottleneck: int, shared: int, dropout: float, single: bool
) -> nn.ModuleList:
    """Put adapters into the blocks of both towers of an open_clip model and return them, from the first block on.

    ``single`` uses one adapter for all blocks. ``shared`` is at most half the narrower tower's width. Raises
    ``ParamsError`` unless both towers are open_clip's own transformers.
    """
    towers: list[Any] = [getattr(getattr(tower, "transformer", None), "resblocks", ()) for tower in (visual, text)]
    if not all(towers):
        raise ParamsError("adapters need a model whose two towers are transformers, such as ViT-B-32-quickgelu")
    widths = [int(blocks[0].ln_2.normalized_shape[0]) for blocks in towers]
    count = 1 if single else max(map(len, towers))
    size = (widths, bottleneck, min(shared, min(widths) // 2), dropout)
    adapters = nn.ModuleList(Adapter(*size) for _ in range(count))
    for tower, blocks in enumerate(towers):
        for depth, block in enumerate(blocks):
            adapter = adapters[min(depth, count - 1)]
            block.mlp, block.ln_2 = AdaptedMLP(block.ln_2, block.mlp, adapter, tower), nn.Identity()  # type: ignore[arg-type]
    return adapters
