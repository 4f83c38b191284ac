"""SCAN without the direction of its attention: each of its two methods has one.

K.-H. Lee, X. Chen, G. Hua, H. Hu, X. He, "Stacked Cross Attention for Image-Text Matching", ECCV 2018: attention in
section 3.1, objective in 3.2, regions in 3.3, words in 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rsitr.methods.base import Corpus, method, those, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.text import TextEncoder
from rsitr.records.cell import Published

QUERIES = 32
"""Queries attended with at a time: their number is the innermost, vectorised dimension of every step."""
NUMBERS = {"cpu": 2**18}
"""Dot products computed at a time: 1 MiB, so that they stay in the cache of a core."""
GPU_NUMBERS = 2**24
"""The same on a GPU, where larger steps are faster: 64 MiB."""
NEGATIVE_SLOPE = 0.1
"""What is left of a negative similarity. The paper (section 3.1) clips at zero, the authors' code leaks."""
TINY = 1e-12


@dataclass(frozen=True)
class StackedAttention:
    """Every fragment of a query attends to the fragments of a context; its agreement with what it attended to is
    pooled."""

    sharpness: float
    """Lambda 1, inverse temperature of the attention (Eq. 3)."""
    pooling: Literal["lse", "mean"]
    """LogSumExp (Eq. 5), or the mean (Eq. 6), over the fragments of a query."""
    pooling_sharpness: float
    """Lambda 2 of LogSumExp: the larger, the closer to the maximum."""

    def __call__(self, queries: Tensor, contexts: Tensor) -> Tensor:
        """Scores float32 [Q, K] of every query against every context.

        ``queries`` [Q, q, D] and ``contexts`` [K, k, D] are fragments of unit length, those of padding zero and last.
        Padding takes no part in attention or pooling.
        """
        with torch.autocast(queries.device.type, enabled=False):
            queries, query_order = _by_length(queries.float())
            contexts, context_order = _by_length(contexts.float())
            limit = NUMBERS.get(queries.device.type, GPU_NUMBERS)
            numbers = min(QUERIES, len(queries)) * queries.shape[1] * contexts.shape[1]
            parts = [_trimmed(part) for part in contexts.split(max(1, limit // numbers))]
            known = [(part, part @ part.transpose(1, 2)) for part in parts]
            columns = [self._of_queries(_trimmed(group), known) for group in queries.split(QUERIES)]
            return torch.cat(columns, dim=1).t()[query_order][:, context_order]

    def _of_queries(self, queries: Tensor, known: list[tuple[Tensor, Tensor]]) -> Tensor:
        by_place, real = queries.transpose(0, 1).contiguous(), queries.any(2).t()
        return torch.cat([self._pooled(_cosines(by_place, *one, self.sharpness), real) for one in known])

    def _pooled(self, cosines: Tensor, real: Tensor) -> Tensor:
        """[K, Q] of ``cosines`` [K, q, Q], where ``real`` [q, Q]."""
        if self.pooling == "mean":
            return cosines.sum(1) / real.sum(0)
        return (self.pooling_sharpness * cosines).masked_fill(~real, -torch.inf).logsumexp(1) / self.pooling_sharpness


def _cosines(queries: Tensor, contexts: Tensor, gram: Tensor, sharpness: float) -> Tensor:
    """Cosines [K, q, Q] of each query fragment with what it attends to (Eq. 1-4); 0 for padding.

    ``queries`` [q, Q, D], ``contexts`` [K, k, D], and ``gram`` [K, k, k], the dot products of each context's fragments.
    """
    shape = (*contexts.shape[:2], *queries.shape[:2])
    dots = (contexts.flatten(0, 1) @ queries.flatten(0, 1).t()).view(shape)
    # Normalised over the query's fragments (Eq. 1), weighed over those of the context (Eq. 3).
    clipped = F.leaky_relu(dots, NEGATIVE_SLOPE)
    scale = sharpness * (clipped * clipped).sum(2, keepdim=True).clamp_min(TINY).rsqrt()
    # Without the denominator of the softmax, which the cosine cancels.
    weights = (clipped * scale).exp()
    seen = (gram @ weights.flatten(2)).view(shape)
    return (weights * dots).sum(1) * (weights * seen).sum(1).clamp_min(TINY).rsqrt()


def _by_length(fragments: Tensor) -> tuple[Tensor, Tensor]:
    """Short sequences first, so that groups of them can be trimmed; and where each one went."""
    if fragments[:, -1].any(1).all():
        order = torch.arange(len(fragments), device=fragments.device)
        return fragments, order
    real = fragments.any(2)
    order = real.sum(1).argsort(stable=True)
    # The product keeps gradients out of the padding.
    return (fragments * real[..., None])[order], order.argsort()


def _trimmed(fragments: Tensor) -> Tensor:
    """Without the places that are padding in the last sequence, which is the longest."""
    return fragments[:, : max(1, int(fragments[-1].any(1).sum()))]


class SCANConfig(DualEncoderConfig, TripletConfig):
    """Defaults of the authors' code for Flickr30K, with the ResNet-18 at 256 pixels of AMFMN's Table II."""

    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_size: int = Field(256, ge=16)
    text_encoder: Literal["gru", "bigru"] = "bigru"  # type: ignore[assignment]
    min_count: int = Field(4, ge=1)
    regions: Literal["grid", "pooled"] = "grid"
    """What stands for detected regions: every token of the backbone, or their mean as the only one."""
    lambda1: float = Field(gt=0)
    """Inverse temperature of the attention (Eq. 3)."""
    pooling: Literal["lse", "mean"] = "lse"
    """Of the cosines of a query's fragments: LogSumExp (Eq. 5) or their mean (Eq. 6)."""
    lambda2: float = Field(gt=0)
    """Of LogSumExp: the larger it is, the more the best agreements count."""


class SCAN(DualEncoder):
    """Regions and words of unit length, and a score that attends from one side to the other.

    In the remote sensing rows (AMFMN 2022, Table II) the cells of ResNet-18's last map replace the 36 detected regions
    of the paper. Variant ``single-token``: one mean-pooled region. The loss is a hinge on the hardest negatives of the
    batch (section 3.2), or as the configuration says. AMFMN's Table III does not say which direction its SCAN has;
    ``scan-t2i`` claims the row.
    """

    Config: ClassVar[type[SCANConfig]] = SCANConfig
    config: SCANConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {"single-token": {"regions": "pooled"}}

    def __init__(self, config: SCANConfig, text: TextEncoder):
        super().__init__(config, text)
        self.attention = StackedAttention(config.lambda1, config.pooling, config.lambda2)

    @property
    def departures(self) -> list[str]:
        """From the paper and from AMFMN's comparison."""
        found = {
            "negative similarities leak a tenth, as in the authors' code; section 3.1 clips them at zero": True,
            "settings of the authors' code for Flickr30K; AMFMN does not state those of its comparison": True,
            "a pooled feature map stands for detected regions": self.config.regions == "pooled",
            "cells of a feature map stand for detected regions, as in AMFMN's comparison": self.config.regions
            == "grid",
            "one direction of attention; AMFMN's Table III does not say which": self.config.query == "keywords",
        }
        return [*super().departures, *those(found)]

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The states of the GRU are the words, so they have the width of the regions."""
        return super().build(config.model_copy(update={"text_width": config.width}), corpus)

    def encode_images(self, images: Tensor) -> Tensor:
        """Regions [B, N, width] of unit length (section 3.3); N is 1 where they are pooled."""
        tokens = token_images(images, self.backbone)
        if self.config.regions == "pooled":
            tokens = tokens.mean(1, keepdim=True)
        return F.normalize(self.image_head(self.dropout(tokens)).float(), dim=2)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Words [B, L, width] of unit length (section 3.4); those of padding are zero."""
        return F.normalize(self.text(tokens).float(), dim=2)

    def pair_numbers(self, fragments: int, words: int, width: int) -> int:
        """Nothing of that width is computed for a pair."""
        return fragments * words


class SCANI2TConfig(SCANConfig):
    """The sharpness that the authors' code names for this direction on Flickr30K."""

    lambda1: float = Field(4.0, gt=0)
    lambda2: float = Field(5.0, gt=0)


@method("scan-i2t")
class SCANI2T(SCAN):
    """SCAN (K.-H. Lee et al., ECCV 2018), image-text form: section 3.1, Eqs. 1-6.

    Each region attends to the words of the caption; the cosines of the regions with what they attended to are pooled
    into the score. Variant ``single-token``: Eq. 1 divides the similarity of a word by its norm over the regions, so
    with a single one only the sign is left: the words that agree with the image share one weight, and the others
    another.
    """

    Config: ClassVar[type[SCANConfig]] = SCANI2TConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="scan-i2t"),
    }

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scores [I, C] of regions [I, N, D] and words [C, L, D]."""
        return self.attention(images, texts)


class SCANT2IConfig(SCANConfig):
    """The sharpness that the authors' code names for this direction on Flickr30K."""

    lambda1: float = Field(9.0, gt=0)
    lambda2: float = Field(6.0, gt=0)


@method("scan-t2i")
class SCANT2I(SCAN):
    """SCAN (K.-H. Lee et al., ECCV 2018), text-image form: section 3.1, the mirror image of its Eqs. 1-6.

    Each word attends to the regions of the image; the cosines of the words with what they attended to are pooled into
    the score. Variant ``single-token``: there is nothing to attend to, and the score pools the cosines of the words
    with the image.
    """

    Config: ClassVar[type[SCANConfig]] = SCANT2IConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="scan-t2i"),
        "keywords": Published(paper="amfmn2022", table="table3", method="scan"),
    }

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scores [I, C] of regions [I, N, D] and words [C, L, D]."""
        return self.attention(texts, images).t()
