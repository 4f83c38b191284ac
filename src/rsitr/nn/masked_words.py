"""Masked language modelling with the image: MTGFE (X. Zhang et al., 2023, section 3.3.1, Eq. 3).

BERT's rule decides what is masked (J. Devlin et al., 2019, section 3.1 and appendix A.1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARE = 0.15
MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens; the rest stay as they are."""


class Masked(NamedTuple):
    """Captions with tokens to be guessed."""

    tokens: Tensor
    """[B, L]"""
    chosen: Tensor
    """bool [B, L]: which are to be guessed."""


def mask_words(tokens: Tensor, tokenizer: Any) -> Masked:
    """Choose 15 % of the tokens [B, L] of each caption, at least one, and hide them.

    80 % of them become [MASK], 10 % any token of the vocabulary, 10 % stay. [CLS], [SEP], [PAD] and [UNK] are never
    chosen, so a caption of nothing else has no token to guess.
    """
    special = torch.tensor(tokenizer.all_special_ids, device=tokens.device)
    words = ~torch.isin(tokens, special)
    count = words.sum(1, keepdim=True)
    wanted = torch.minimum((SHARE * count).round().clamp(min=1), count)
    order = torch.rand(tokens.shape, device=tokens.device).masked_fill(~words, 2.0).argsort(1)
    chosen = order.argsort(1) < wanted
    fate = torch.rand(tokens.shape, device=tokens.device)
    hidden = torch.where(chosen & (fate < MASKED), tokenizer.mask_token_id, tokens)
    others = torch.randint(len(tokenizer), tokens.shape, device=tokens.device)
    replaced = chosen & (fate >= MASKED) & (fate < MASKED + REPLACED)
    return Masked(torch.where(replaced, others, hidden), chosen)


class WordHead(nn.Module):
    """BERT's: linear, GELU, LN, then the vectors of the words themselves, with a bias for each word."""

    def __init__(self, shape: Any):
        super().__init__()
        width = shape.hidden_size
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, shape.layer_norm_eps))
        self.bias = nn.Parameter(torch.zeros(shape.vocab_size))

    def loss(self, fused: Tensor, words: Tensor, vectors: Tensor) -> Tensor:
        """Cross-entropy (Eq. 3), the mean over ``words`` [M] that are to be guessed from ``fused`` [M, D]; 0 for none.

        ``vectors`` [V, D] are those of the vocabulary.
        """
        logits = F.linear(self.transform(fused), vectors, self.bias).float()
        return F.cross_entropy(logits, words, reduction="sum") / max(len(words), 1)
