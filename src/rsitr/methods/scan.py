"""SCAN without the direction of its attention: each of its two methods has one.

K.-H. Lee, X. Chen, G. Hua, H. Hu, X. He, "Stacked Cross Attention for Image-Text Matching", ECCV 2018: attention in
section 3.1, objective in 3.2, regions in 3.3, words in 3.4.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.stacked_attention import StackedAttention
from rsitr.nn.text import TextEncoder


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
    """Regions and words of unit length, and a score that attends from one side to the other."""

    Config: ClassVar[type[SCANConfig]] = SCANConfig
    config: SCANConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {"single-token": {"regions": "pooled"}}

    def __init__(self, config: SCANConfig, text: TextEncoder):
        super().__init__(config, text)
        self.attention = StackedAttention(config.lambda1, config.pooling, config.lambda2)

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

    def loss(self, batch: Batch) -> Tensor:
        """Hinge on the hardest negatives of the batch (section 3.2), or as the configuration says."""
        return self.triplet_loss(self.score(self.encode_images(batch.images), self.encode_texts(batch.tokens)), batch)
