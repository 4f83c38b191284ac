"""The tasks that train a fusion encoder: MTGFE (X. Zhang et al., 2023), section 3.3.

Masked language modelling with the image (sections 3.1.2 and 3.3.1, Eq. 3), and image-text matching on the fused class
token (section 3.3.3, Eq. 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARE = 0.15
"""Of the tokens are masked."""


class Masked(NamedTuple):
    """Captions with tokens to be guessed."""

    tokens: Tensor
    """[B, L]"""
    chosen: Tensor
    """bool [B, L]: which are to be guessed."""


def mask_words(tokens: Tensor, tokenizer: Any) -> Masked:
    """Choose 15 % of the tokens [B, L] of each caption, at least one; each of them becomes [MASK] (section 3.1.2).

    [CLS], [SEP], [PAD] and [UNK] are never chosen, so a caption of nothing else has no token to guess.
    """
    special = torch.tensor(tokenizer.all_special_ids, device=tokens.device)
    words = ~torch.isin(tokens, special)
    count = words.sum(1, keepdim=True)
    wanted = torch.minimum((SHARE * count).round().clamp(min=1), count)
    order = torch.rand(tokens.shape, device=tokens.device).masked_fill(~words, 2.0).argsort(1)
    chosen = order.argsort(1) < wanted
    return Masked(tokens.masked_fill(chosen, tokenizer.mask_token_id), chosen)


class WordHead(nn.Module):
    """BERT's: linear, GELU, LN, then the vectors of the words themselves, with a bias for each word."""

    def __init__(self, shape: Any):
        super().__init__()
        width = shape.hidden_size
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, shape.layer_norm_eps))
        self.bias = nn.Parameter(torch.zeros(shape.vocab_size))

    def take(self, trained: Any) -> None:
        """Begin as the ``BertLMPredictionHead`` of a BERT on the same word vectors."""
        linear, _, norm = self.transform
        linear.load_state_dict(trained.transform.dense.state_dict())
        norm.load_state_dict(trained.transform.LayerNorm.state_dict())
        self.bias.data.copy_(trained.bias)

    def loss(self, fused: Tensor, words: Tensor, vectors: Tensor) -> Tensor:
        """Cross-entropy (Eq. 3), the mean over ``words`` [M] that are to be guessed from ``fused`` [M, D]; 0 for none.

        ``vectors`` [V, D] are those of the vocabulary.
        """
        logits = F.linear(self.transform(fused), vectors, self.bias).float()
        return F.cross_entropy(logits, words, reduction="sum") / max(len(words), 1)


def gradient_ratio(first: Tensor, second: Tensor, shared: Sequence[nn.Parameter]) -> Tensor:
    """The norm of one loss's gradient at ``shared`` parameters, divided by that of another; without gradient itself.

    A loss multiplied by it pulls at the shared weights as hard as the first (after Z. Chen et al., GradNorm, 2018,
    section 3, which looks at the last layer that tasks share). 1 where no gradients are taken.
    """
    if not (torch.is_grad_enabled() and first.requires_grad and second.requires_grad):
        return first.new_ones(())
    one, other = (
        torch.stack([part.float().norm() for part in torch.autograd.grad(loss, shared, retain_graph=True)]).norm()
        for loss in (first, second)
    )
    return one / other.clamp(min=torch.finfo(other.dtype).tiny)


class Pairs(NamedTuple):
    """Pairs of a batch by the positions of their image and caption, and whether they match."""

    images: Tensor
    texts: Tensor
    match: Tensor
    """int64, 1 or 0"""


def draw_pairs(positives: Tensor, scores: Tensor | None = None) -> Pairs:
    """The B matching pairs, then each image with a caption and each caption with an image drawn among its negatives.

    ``positives``, a symmetric bool [B, B], says which are not; a sample without a negative, as in a batch of a single
    image, gives only its matching pair. ``scores`` [B, B] are logits, image i against caption j; negatives are drawn in
    proportion to their exponentials. Without ``scores`` all are equally likely.
    """
    possible = ~positives
    everyone = torch.arange(len(positives), device=positives.device)
    having = everyone[possible.any(1)]
    if not len(having):
        return Pairs(everyone, everyone, torch.ones_like(everyone))
    # A loss that is NaN is read steps later; until then there is something to draw.
    logits = torch.zeros_like(possible, dtype=torch.float32) if scores is None else scores.detach().float().nan_to_num()
    texts, images = (
        torch.multinomial(side.masked_fill(~possible, -torch.inf)[having].softmax(1), 1).squeeze(1)
        for side in (logits, logits.t())
    )
    match = torch.cat([torch.ones_like(everyone), torch.zeros_like(having), torch.zeros_like(having)])
    return Pairs(torch.cat([everyone, having, images]), torch.cat([everyone, texts, having]), match)


class MatchingHead(nn.Module):
    """One linear layer to the two classes of p_itm."""

    def __init__(self, width: int):
        super().__init__()
        self.classes = nn.Linear(width, 2)

    def forward(self, fused: Tensor) -> Tensor:
        """Scores [...] of u_cls [..., D]: the log-odds of a match.

        They rank like the probability, their sigmoid, which runs out of digits sooner.
        """
        logits = self.classes(fused).float()
        return logits[..., 1] - logits[..., 0]

    def loss(self, fused: Tensor, match: Tensor) -> Tensor:
        """Cross-entropy (Eq. 7), the mean over pairs [P]."""
        return F.cross_entropy(self.classes(fused).float(), match)
