"""A tower's tokens as a transformer expects them: the token of the whole first, and where there is padding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rsitr.nn.text import GRUEncoder, TextEncoder


def image_sequence(tokens: Tensor, pool: Literal["mean", "first"], dropout: nn.Module) -> Tensor:
    """Tokens [B, N, C] if the first is the model's class token, otherwise their mean, then the tokens: [B, 1 + N, C].

    ``dropout`` applies to the token of the whole.
    """
    whole, parts = (tokens[:, :1], tokens[:, 1:]) if pool == "first" else (tokens.mean(1, keepdim=True), tokens)
    return torch.cat([dropout(whole), parts], 1)


def text_sequence(encoder: TextEncoder, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """States of captions [B, L, width] and where they are padding [B, L]; a GRU's pooled state comes before its states.

    A transformer's first state is already its pooled state.
    """
    states, padding = encoder(tokens), tokens == 0
    if isinstance(encoder, GRUEncoder):
        states = torch.cat([encoder.pool(states, tokens)[:, None], states], 1)
        padding = torch.cat([torch.zeros_like(padding[:, :1]), padding], 1)
    return states, padding
