"""A tower's tokens as a transformer expects them, the token of the whole first, and plain layers that read them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rsitr.errors import ParamsError
from rsitr.nn.text import FrozenText, GRUEncoder, TextEncoder


def image_sequence(tokens: Tensor, pool: Literal["mean", "first"], dropout: nn.Module) -> Tensor:
    """Tokens [B, N, C] if the first is the model's class token, otherwise their mean, then the tokens: [B, 1 + N, C].

    ``dropout`` applies to the token of the whole.
    """
    whole, parts = (tokens[:, :1], tokens[:, 1:]) if pool == "first" else (tokens.mean(1, keepdim=True), tokens)
    return torch.cat([dropout(whole), parts], 1)


def text_sequence(encoder: TextEncoder, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """States of captions [B, L, width] and where they are padding [B, L]; a GRU's pooled state comes before its states.

    Nor is the mean that stands for a caption of a frozen transformer one of its states. The first state of one that
    learns is already its pooled state.
    """
    states, padding = encoder(tokens), tokens == 0
    if isinstance(encoder, GRUEncoder | FrozenText):
        states = torch.cat([encoder.pool(states, tokens)[:, None], states], 1)
        padding = torch.cat([torch.zeros_like(padding[:, :1]), padding], 1)
    return states, padding


class TransformerLayers(nn.Module):
    """Layers of A. Vaswani et al., 2017, section 3.1, TEL in PIR's Table I; the hidden layer is four times as wide.

    Raises ``ParamsError`` unless the heads can share the width.
    """

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        check_heads(width, heads)
        # One by one: nn.TransformerEncoder would start every layer with a copy of the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True) for _ in range(layers)
        )

    def forward(self, states: Tensor, padding: Tensor | None = None) -> Tensor:
        """States [B, N, width] of states; ``padding`` [B, N] is true where there is no token."""
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=padding)
        return states


def check_heads(width: int, heads: int) -> None:
    """Raise ``ParamsError`` unless the heads can share the width."""
    if width % heads:
        raise ParamsError(f"a width of {width} cannot be split among {heads} heads: set width to a multiple of it")
