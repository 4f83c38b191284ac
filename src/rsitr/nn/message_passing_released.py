"""Message passing as in CAMP's released code, where it departs from the paper (``message_passing``).

A second attention, among the messages themselves; messages of unit length; one gate for each fragment instead of one
for each number; concatenation instead of a sum; summaries of unit length by a perceptron with four heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.message_passing import Fragments, MessageCosine, MessagePassing, Summary, attention, masked_softmax

HEADS = 4
SHORTEST = 1e-12
"""Of a squared length: keeps the square root's gradient finite where rounding gives zero."""


class MessageAttention(nn.Module):
    """Each message becomes a mean of the messages that its neighbours get."""

    def __init__(self, width: int):
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, own: Fragments, other: Fragments, weights: Tensor) -> Tensor:
        """New weights [A, B, N, L]: a message is linear in the other side's fragments, so their products suffice."""
        products = self.query(other.vectors) @ self.key(other.vectors).mT / math.sqrt(other.vectors.shape[-1])
        scores = weights @ products @ weights.mT
        return masked_softmax(scores, own.present[:, None, None], -1) @ weights


class RepeatedAttention(nn.Module):
    """Attention with its own queries and keys, then ``MessageAttention``."""

    def __init__(self, width: int):
        super().__init__()
        self.image_query, self.image_key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.text_query, self.text_key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.among_regions, self.among_words = MessageAttention(width), MessageAttention(width)

    def forward(self, images: Fragments, texts: Fragments) -> tuple[Tensor, Tensor]:
        """Weights [I, C, N, L] of the messages to regions, [C, I, L, N] of those to words."""
        to_regions = attention(self.image_query(images.vectors), self.text_key(texts.vectors), texts.present)
        to_words = attention(self.text_query(texts.vectors), self.image_key(images.vectors), images.present)
        return self.among_regions(images, texts, to_regions), self.among_words(texts, images, to_words)


class HeadedSummary(Summary):
    """Fragments weighted by the mean of four softmaxes over the scores of a perceptron."""

    def __init__(self, width: int):
        super().__init__(width)
        self.project = nn.Linear(width, width)
        self.heads = nn.Linear(width, HEADS)

    def scores(self, projected: Tensor) -> Tensor:
        """Scores [..., N, heads] of fragments after their projection [..., N, width]."""
        return self.heads(projected.relu())


class ScalarGatedFusion(nn.Module):
    """One direction: v + ReLU(W [v; m] g), the gate g = sigmoid(<v, m>) a number, the message m of unit length."""

    def __init__(self, width: int):
        super().__init__()
        self.own = nn.Linear(width, width, bias=False)
        self.message = nn.Linear(width, width, bias=False)
        self.summary = HeadedSummary(width)

    def forward(self, own: Fragments, other: Fragments, weights: Tensor) -> Tensor:
        """Unit summaries [B, A, D] of the fused fragments of A items that hear B others, ``weights`` [A, B, N, L].

        W [v; m] g = g (W_v v + W_m m), and both m and its length come from ``weights``: what can be projected once is
        not projected per pair.
        """
        products = other.vectors @ other.vectors.mT
        lengths = ((weights @ products) * weights).sum(-1, keepdim=True).clamp(min=SHORTEST).sqrt()
        weights = weights / lengths
        gate = (torch.einsum("and,bld->abnl", own.vectors, other.vectors) * weights).sum(-1).sigmoid()
        messages = torch.einsum("abnl,bld->band", weights, self.message(other.vectors))
        gated = gate.transpose(0, 1)[..., None] * (self.own(own.vectors) + messages)
        return F.normalize(self.summary(own.vectors + gated.relu(), own.present), dim=-1)


class ConcatenatedMatch(nn.Module):
    """A two-layer perceptron on both summaries, one after the other."""

    def __init__(self, width: int):
        super().__init__()
        self.regions, self.words = ScalarGatedFusion(width), ScalarGatedFusion(width)
        self.perceptron = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, images: Fragments, texts: Fragments, to_regions: Tensor, to_words: Tensor) -> Tensor:
        """Log-odds [I, C] of a match."""
        regions = self.regions(images, texts, to_regions).transpose(0, 1)
        return self.perceptron(torch.cat([regions, self.words(texts, images, to_words)], dim=-1)).squeeze(-1)


class ReleasedMessagePassing(MessagePassing):
    """Attention and both scores in the released form."""

    def __init__(self, width: int):
        super().__init__(width)
        self.attention = RepeatedAttention(width)
        self.cosine = MessageCosine(HeadedSummary(width), HeadedSummary(width))
        self.fusion = ConcatenatedMatch(width)
