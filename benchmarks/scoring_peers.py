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

    images: Callable[[Any, Tensor], Tensor]
    """(method, tokens [I, N, C] of a backbone) -> what the formula knows of each image."""
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
    "scan-t2i": Peer(encoded_images, encoded_words, scan_t2i, scan_t2i),
    "scan-i2t": Peer(encoded_images, encoded_words, scan_i2t, scan_i2t),
    "mtfn": Peer(image_factors, text_factors, mtfn, mtfn),
}
