"""AMFMN without its visual-guided attention: each of its three methods has its own.

Z. Yuan et al., "Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval", IEEE TGRS
2022: visual and text embedding section III-B, MVSA III-C, VGMF III-D, the dynamic margin III-E.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, Optimizer, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig, backbone_arguments
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.mvsa import MVSA, Form
from rsitr.nn.pyramid import PyramidBackbone
from rsitr.nn.query_text import QueryEncoder
from rsitr.nn.text import GRUEncoder


class AMFMNConfig(DualEncoderConfig, TripletConfig):
    """Defaults of section V-B; margin and decay are those of Table II's row, which is Table V's best."""

    epochs: int = Field(150, ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(1e-4, gt=0)
    step_epochs: int = Field(20, ge=1)
    step_factor: float = Field(0.7, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_size: int = Field(256, ge=16)
    text_encoder: Literal["gru", "bigru"] = "bigru"  # type: ignore[assignment]
    text_pool: Literal["last", "mean"] = "mean"
    text_width: int = Field(512, ge=1)
    width: int = Field(512, ge=1)
    margin: float = Field(0.6, gt=0)
    margin_type: Literal["fixed", "dynamic"] = "dynamic"
    form: Form = "paper"
    """Whether MVSA and the guidance follow the paper or the authors' code."""
    low_levels: int = Field(3, ge=1)
    """How many levels of the backbone are low features; two more are high ones."""
    visual: Literal["mvsa", "global"] = "mvsa"
    """Image features: filtered by MVSA, F_v, or not, v(g) (Table VI)."""
    guided: bool = True
    """Whether the image guides the text, s(v) and k(v), or not, s(g) and k(g) (Table VI)."""
    fusion: Literal["gate", "mean"] = "gate"
    """How sentence and keywords are fused: Eq. 27, or their mean (m5 and m8 of Table VI)."""
    text_head: bool = False
    """A linear layer and ReLU on the text, which the authors' code has."""


RELEASED: dict[str, Any] = {
    "form": "released",
    "low_levels": 2,
    "epochs": 70,
    "batch_size": 100,
    "text_encoder": "gru",
    "text_pool": "last",
    "text_width": 2400,
    "text_head": True,
    "margin": 0.2,
    "margin_type": "fixed",
    "negatives": "all",
}
"""What the authors' code trains. Its skip-thoughts are unavailable; a GRU of the same width replaces them."""


class AMFMN(DualEncoder):
    """The frame: F_v of images, s and k of texts, and for each pair the cosine of F_v and the guided, fused text."""

    Config: ClassVar[type[AMFMNConfig]] = AMFMNConfig
    config: AMFMNConfig
    backbone: PyramidBackbone
    text: QueryEncoder  # type: ignore[assignment]

    def __init__(self, config: AMFMNConfig, text: GRUEncoder):
        super().__init__(config, text)
        shapes, width = self.backbone.shapes, config.width
        self.text = QueryEncoder(text, config.query, width, config.text_head)
        if config.visual == "mvsa":
            self.mvsa = MVSA(shapes[: config.low_levels], shapes[config.low_levels :], width, config.form)
        if config.query == "joint" and config.fusion == "gate":
            self.gate = nn.Linear(2 * width, width)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """Without a linear layer after it, the GRU's state has the width of the embedding."""
        width = config.text_width if config.text_head else config.width
        return super().build(config.model_copy(update={"text_width": width}), corpus)

    @staticmethod
    def make_backbone(config: Any) -> PyramidBackbone:
        """The maps of several levels."""
        return PyramidBackbone(**backbone_arguments(config), low_levels=config.low_levels)

    @abstractmethod
    def guide(self, images: Tensor, texts: Tensor) -> Tensor:
        """Visual-guided texts [I, C, D] of all pairs of images [I, D] and texts [C, D]."""

    @property
    def guides_direction(self) -> bool:
        """Whether the image changes the direction of a text on its own; the cosine ignores its length."""
        return self.config.guided

    def encode_images(self, images: Tensor) -> Tensor:
        """F_v [B, D], or v(g)."""
        maps = self.backbone.unpack(token_images(images, self.backbone))
        features = self.image_head(self.dropout(maps.high[-1].mean((2, 3))))
        return self.mvsa(maps) * features if self.config.visual == "mvsa" else features

    def saliency(self, images: Tensor) -> Tensor:
        """Where MVSA looks, [B, h, w] in 0..1 (Fig. 10)."""
        return self.mvsa.saliency(self.backbone.unpack(token_images(images, self.backbone)))

    def tokenize(self, captions: list[str]) -> Tensor:
        """Words of sentences [B, L] or of sentence and keywords [B, 1 + N, L]."""
        return self.text.tokenize(captions)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """s or k [B, D], or both [B, 2, D]."""
        return self.text(tokens)

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Cosine [I, C] of F_v and F_t, the text of each pair (Eq. 4)."""
        images, texts = images.float(), texts.float()
        directions = F.normalize(images, dim=1)
        if texts.ndim == 2 and not self.guides_direction:
            return directions @ F.normalize(texts, dim=1).t()
        fused = self.fuse(images, texts)
        return torch.einsum("id,icd->ic", directions, F.normalize(fused, dim=2))

    def fuse(self, images: Tensor, texts: Tensor) -> Tensor:
        """F_t [I, C, D] of all pairs: Eqs. 26 and 27 of the guided sentence and keywords, or the only one present."""
        parts = [texts] if texts.ndim == 2 else texts.unbind(1)
        guided = [self._guided(images, part) for part in parts]
        if len(guided) == 1:
            return guided[0]
        sentence, keywords = guided
        if self.config.fusion == "mean":
            return (sentence + keywords) / 2
        weight = self.gate(torch.cat([F.normalize(part, dim=2) for part in guided], 2)).sigmoid()
        return weight * sentence + (1 - weight) * keywords

    def _guided(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.guide(images, texts) if self.config.guided else texts.expand(len(images), *texts.shape)

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 30, or Eq. 28 with a fixed margin."""
        scores = self.score(self.encode_images(batch.images), self.encode_texts(batch.tokens))
        return self.triplet_loss(scores, batch)
