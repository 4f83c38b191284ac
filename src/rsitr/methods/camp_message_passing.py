"""Cross-modal message passing of CAMP, as the paper has it and as its authors released it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

BLOCK_NUMBERS = 2**24
"""Numbers that the fragments of a block of pairs may take: 64 MiB for each temporary of the scorer. All pairs of
a batch of 32 fit."""


def score_in_blocks(
    score: Callable[[Tensor, Tensor], Tensor], images: Tensor, texts: Tensor, numbers: int = BLOCK_NUMBERS
) -> Tensor:
    """Scores [I, C] of images [I, N, D] against texts [C, L, D]: ``score(images, texts)`` and its gradients.

    A block of I' images and C' texts has I' C' (N L + (N + L) D) <= ``numbers``. The backward pass recomputes the
    inside of each block instead of keeping it.
    """
    pair = images.shape[1] * texts.shape[1] + (images.shape[1] + texts.shape[1]) * images.shape[2]
    side = max(1, math.isqrt(numbers // pair))
    if side >= max(len(images), len(texts)):
        return score(images, texts)
    rows = [
        torch.cat([checkpoint(score, some, others, use_reentrant=False) for others in texts.split(side)], dim=1)
        for some in images.split(side)
    ]
    return torch.cat(rows)


class Fragments(NamedTuple):
    """Regions or words."""

    vectors: Tensor
    """[B, N, D]"""
    present: Tensor
    """Boolean [B, N]: false for a zero vector, which only pads a shorter sequence."""

    @classmethod
    def of(cls, vectors: Tensor) -> Fragments:
        """Fragments [B, N, D] as a method encodes them."""
        return cls(vectors, vectors.any(-1))


def masked_softmax(scores: Tensor, present: Tensor, dim: int) -> Tensor:
    """Softmax over what is present."""
    return scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim)


def attention(queries: Tensor, keys: Tensor, present: Tensor) -> Tensor:
    """Weights [A, B, N, L] of each query [A, N, D] over the keys [B, L, D] that are ``present`` [B, L].

    A softmax of scaled dot products.
    """
    scores = torch.einsum("and,bld->abnl", queries, keys) / math.sqrt(queries.shape[-1])
    return masked_softmax(scores, present[:, None], -1)


class MutualAttention(nn.Module):
    """Section 3.1: the words each region attends to and the regions each word attends to, from one affinity."""

    def __init__(self, width: int):
        super().__init__()
        self.image = nn.Linear(width, width, bias=False)
        self.text = nn.Linear(width, width, bias=False)

    def forward(self, images: Fragments, texts: Fragments) -> tuple[Tensor, Tensor]:
        """Weights [I, C, N, L] of the messages to regions, [C, I, L, N] of those to words."""
        regions, words = self.image(images.vectors), self.text(texts.vectors)
        return attention(regions, words, texts.present), attention(words, regions, images.present)


class Summary(nn.Module):
    """Section 3.3: fragments weighted by a softmax over linear scores."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Linear(width, 1, bias=False)
        self.scale = 1 / math.sqrt(width)

    def scores(self, projected: Tensor) -> Tensor:
        """Scores [..., N, heads] of fragments after their projection [..., N, P]."""
        return projected * self.scale

    def weights(self, projected: Tensor, present: Tensor) -> Tensor:
        """Weights [..., N], the mean of the heads'; ``present`` [A, N] is that of the last dimensions but one."""
        return masked_softmax(self.scores(projected), present[..., None], -2).mean(-1)

    def forward(self, fragments: Tensor, present: Tensor) -> Tensor:
        """One vector [B, A, D] for the fragments [B, A, N, D] of each pair."""
        return torch.einsum("ban,band->bad", self.weights(self.project(fragments), present), fragments)

    def of_messages(self, own: Fragments, other: Fragments, weights: Tensor) -> Tensor:
        """The same of messages, ``weights`` [A, B, N, L] of ``other``, without a D-vector for each.

        The weights of a message sum to 1, so each fragment is projected only once.
        """
        projected = torch.einsum("abnl,blp->banp", weights, self.project(other.vectors))
        heard = torch.einsum("ban,abnl->bal", self.weights(projected, own.present), weights)
        return torch.einsum("bal,bld->bad", heard, other.vectors)


class MessageCosine(nn.Module):
    """The score that trains the attention alone: the cosine of what the regions hear and what the words hear."""

    def __init__(self, regions: Summary, words: Summary):
        super().__init__()
        self.regions, self.words = regions, words

    def forward(self, images: Fragments, texts: Fragments, to_regions: Tensor, to_words: Tensor) -> Tensor:
        """Scores [I, C]."""
        regions = self.regions.of_messages(images, texts, to_regions)
        words = self.words.of_messages(texts, images, to_words)
        return F.cosine_similarity(regions.transpose(0, 1).float(), words.float(), dim=-1)


class GatedFusion(nn.Module):
    """Section 3.2, one direction: F(g * (v + m)) + v with the gate g = sigmoid(v * m), element by element."""

    def __init__(self, width: int):
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.summary = Summary(width)

    def forward(self, own: Fragments, other: Fragments, weights: Tensor) -> Tensor:
        """Summaries [B, A, D] of the fused fragments of A items that hear B others, ``weights`` [A, B, N, L]."""
        messages = torch.einsum("abnl,bld->band", weights, other.vectors)
        gate = (own.vectors * messages).sigmoid()
        fused = own.vectors + self.transform(gate * (own.vectors + messages)).relu()
        return self.summary(fused, own.present)


class FusedMatch(nn.Module):
    """Section 3.4: a two-layer perceptron on the sum of both summaries of fused fragments."""

    def __init__(self, width: int):
        super().__init__()
        self.regions, self.words = GatedFusion(width), GatedFusion(width)
        self.perceptron = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, images: Fragments, texts: Fragments, to_regions: Tensor, to_words: Tensor) -> Tensor:
        """Log-odds [I, C] of a match."""
        regions = self.regions(images, texts, to_regions).transpose(0, 1)
        return self.perceptron(regions + self.words(texts, images, to_words)).squeeze(-1)


class MessagePassing(nn.Module):
    """Attention and the two scores made from its messages."""

    def __init__(self, width: int):
        super().__init__()
        self.attention: nn.Module = MutualAttention(width)
        self.cosine = MessageCosine(Summary(width), Summary(width))
        self.fusion: nn.Module = FusedMatch(width)

    def forward(self, images: Tensor, texts: Tensor, *, fuse: bool) -> Tensor:
        """Scores [I, C] of regions [I, N, D] and words [C, L, D]: log-odds of a match, or cosines of messages."""
        sides = Fragments.of(images), Fragments.of(texts)
        to_regions, to_words = self.attention(*sides)
        return (self.fusion if fuse else self.cosine)(*sides, to_regions, to_words)


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
