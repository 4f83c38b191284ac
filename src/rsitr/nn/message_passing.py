"""Cross-modal adaptive message passing: regions hear words, words hear regions, and what they hear decides the match.

CAMP (Z. Wang, X. Liu, H. Li, L. Sheng, J. Yan, X. Wang, J. Shao, ICCV 2019), section 3. Shapes: I images of N regions,
C texts of L words. Where a module serves both directions, A items with N fragments hear B items with L fragments. The
released code's form is in ``message_passing_released``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
