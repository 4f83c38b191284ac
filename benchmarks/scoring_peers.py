"""The published formulas of scoring, written down straightforwardly: for one pair, and for all images and one caption.

Each peer takes what its method encodes; what depends on one side only is computed beforehand, as ours has it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Peer(NamedTuple):
    """One method's formula. A caption comes without padding: [L, D] words, or what else ``texts`` gives."""

    encode: Callable[[Any, Tensor], Tensor]
    """(method, tokens [I, N, C] of a backbone) -> images as ours scores them."""
    images: Callable[[Any, Tensor], Tensor]
    """The same -> what the formula knows of each image."""
    texts: Callable[[Any, list[str]], list[Tensor]]
    """(method, captions) -> what it knows of each caption."""
    pair: Callable[[Any, Tensor, Tensor], Tensor]
    """(method, one image, one caption) -> score."""
    caption: Callable[[Any, Tensor, Tensor], Tensor]
    """(method, all images, one caption) -> scores [I]."""


def attended_cosines(queries: Tensor, contexts: Tensor, sharpness: float) -> Tensor:
    """SCAN, Eqs. 1-4: cosines [..., q] of fragments [..., q, D] with what they attend to in [..., k, D]."""
    similar = F.leaky_relu(queries @ contexts.transpose(-1, -2), 0.1)
    similar = similar / similar.norm(dim=-2, keepdim=True).clamp_min(1e-8)
    attended = torch.softmax(sharpness * similar, dim=-1) @ contexts
    return F.cosine_similarity(queries, attended, dim=-1)


def log_sum_exp(cosines: Tensor, sharpness: float) -> Tensor:
    """SCAN, Eq. 5."""
    return (sharpness * cosines).exp().sum(-1).log() / sharpness


def scan_t2i(method: Any, images: Tensor, words: Tensor) -> Tensor:
    """Words attend to the regions of one image [N, D] or of all [I, N, D]."""
    words = words.expand(*images.shape[:-2], *words.shape)
    return log_sum_exp(attended_cosines(words, images, method.config.lambda1), method.config.lambda2)


def scan_i2t(method: Any, images: Tensor, words: Tensor) -> Tensor:
    """The regions of one image [N, D] or of all [I, N, D] attend to words."""
    words = words.expand(*images.shape[:-2], *words.shape)
    return log_sum_exp(attended_cosines(images, words, method.config.lambda1), method.config.lambda2)


def mtfn(method: Any, images: Tensor, text: Tensor) -> Tensor:
    """Factors [R, K] of one image or [I, R, K] of all, and of a text: products, summed over ranks, classified."""
    return method.classifier((images * text).sum(-2)).sigmoid().squeeze(-1)


def gate_of_a_pair(method: Any, images: Tensor, text: Tensor) -> Tensor:
    """AMFMN-sim, Eqs. 23-25 and 4: F_v [D] of one image or [I, D] of all, and f(t)."""
    parts = method.image_part(images)
    gates = F.cosine_similarity(parts, text.expand_as(parts), dim=-1).sigmoid()
    return F.cosine_similarity(images, gates[..., None] * text, dim=-1)


def gate_of_features(method: Any, images: Tensor, text: Tensor) -> Tensor:
    """AMFMN-sim as its code has it: the gate has a number for every feature."""
    gates = (method.image_part(images) * text).sigmoid()
    return F.cosine_similarity(images, gates * text, dim=-1)


def fused_summary(fusion: Any, own: Tensor, heard: Tensor) -> Tensor:
    """CAMP, section 3.2 and 3.3, one direction: fragments [..., N, D] and the messages to them [..., N, D]."""
    gate = (own * heard).sigmoid()
    fused = own + fusion.transform(gate * (own + heard)).relu()
    weights = (fusion.summary.project(fused) / own.shape[-1] ** 0.5).softmax(-2)
    return (weights * fused).sum(-2)


def camp(method: Any, images: Tensor, words: Tensor) -> Tensor:
    """CAMP, sections 3.1-3.4: the regions of one image [N, D] or of all [I, N, D] and words, log-odds of a match."""
    words = words.expand(*images.shape[:-2], *words.shape)
    passing = method.passing
    regions_of, words_of = passing.attention.image(images), passing.attention.text(words)
    affinity = regions_of @ words_of.transpose(-1, -2) / images.shape[-1] ** 0.5
    to_regions, to_words = affinity.softmax(-1) @ words, affinity.transpose(-1, -2).softmax(-1) @ images
    summaries = fused_summary(passing.fusion.regions, images, to_regions)
    return passing.fusion.perceptron(summaries + fused_summary(passing.fusion.words, words, to_words)).squeeze(-1)


def encoded_images(method: Any, tokens: Tensor) -> Tensor:
    """Regions [I, N, D]."""
    return torch.cat([method.encode_images(some) for some in tokens.split(64)])


def encoded_words(method: Any, captions: list[str]) -> list[Tensor]:
    """Words [L, D] of each caption."""
    found: list[Tensor] = []
    for start in range(0, len(captions), 256):
        tokens = method.tokenize(captions[start : start + 256])
        states = method.encode_texts(tokens)
        found += [row[: int(used)].clone() for row, used in zip(states, (tokens > 0).sum(1), strict=True)]
    return found


def pooled_images(method: Any, tokens: Tensor) -> Tensor:
    """v(g) [I, D]; what MVSA does to it afterwards concerns no pair."""
    return method.image_head(tokens.mean(1))


def whole_texts(method: Any, captions: list[str]) -> list[Tensor]:
    """f(t) [D] of each caption."""
    batches = (captions[start : start + 256] for start in range(0, len(captions), 256))
    return [text for batch in batches for text in method.encode_texts(method.tokenize(batch))]


def image_factors(method: Any, tokens: Tensor) -> Tensor:
    """A_r v + a_r of every image, [I, R, K]."""
    features = method.image_head(tokens.mean(1)).tanh()
    return method.image_factors(features).unflatten(1, (method.config.rank, -1))


def text_factors(method: Any, captions: list[str]) -> list[Tensor]:
    """B_r t + b_r of every caption, [R, K]."""
    found: list[Tensor] = []
    for start in range(0, len(captions), 256):
        texts = method.encode_texts(method.tokenize(captions[start : start + 256]))[:, :-1]
        found += method.text_factors(texts).unflatten(1, (method.config.rank, -1)).unbind(0)
    return found


PEERS = {
    "scan-t2i": Peer(encoded_images, encoded_images, encoded_words, scan_t2i, scan_t2i),
    "scan-i2t": Peer(encoded_images, encoded_images, encoded_words, scan_i2t, scan_i2t),
    "amfmn-sim": Peer(pooled_images, pooled_images, whole_texts, gate_of_a_pair, gate_of_a_pair),
    "amfmn-sim@released": Peer(pooled_images, pooled_images, whole_texts, gate_of_features, gate_of_features),
    "camp": Peer(encoded_images, encoded_images, encoded_words, camp, camp),
    "mtfn": Peer(encoded_images, image_factors, text_factors, mtfn, mtfn),
}
