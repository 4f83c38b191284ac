"""MTFN: a bilinear form of image and text, in a sum of ranks."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, Phase, method
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.text import TextEncoder
from rsitr.records.cell import Published

RISE = tuple(Phase(epochs=8, learning_rate=tenths * 1e-5) for tenths in range(4, 10))
COURSE = (*RISE, Phase(epochs=52, learning_rate=1e-4), Phase(epochs=60, learning_rate=1e-5))
"""Of the authors' code: 1e-5 (floor(epoch / 8) + 4) before epoch 50, 1e-4 before 100, 1e-5 until 160."""


class MTFNConfig(DualEncoderConfig, TripletConfig):
    """Defaults of the authors' code, with the ResNet-18 at 256 pixels of AMFMN's Table II."""

    phases: tuple[Phase, ...] = COURSE
    batch_size: int = Field(100, ge=2)
    clip_norm: float | None = None
    step_factor: float = Field(1.0, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_size: int = Field(256, ge=16)
    text_width: int = Field(2400, ge=1)
    width: int = Field(1024, ge=1)
    """Of image and text before their fusion, and of the fused vector."""
    rank: int = Field(20, ge=1)
    """Of the fusion tensor: how many products are summed."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Of the pooled image features, of a GRU's word vectors, and of the text vector."""


@method("mtfn")
class MTFN(DualEncoder):
    """MTFN (T. Wang et al., 'Matching Images and Text with Multi-modal Tensor Fusion and Re-ranking', ACM MM 2019).

    Section 3, image-text branch. With v = tanh(W x + b) of pooled image features and t likewise of a text vector, the
    score is sigmoid(w . sum_r (A_r v + a_r) * (B_r t + b_r) + c), r = 1..R. The code that the authors released has no
    activation and no dropout after the two tanh, so the argument of the sigmoid is bilinear in (v, 1) and (t, 1), and
    the sigmoid is monotone: an image is encoded as the form applied to (v, 1), a text as (t, 1), and their dot product
    is that argument. It ranks exactly as the score does, without the ties of a saturated sigmoid, at the cost of a
    dual encoder. The embeddings are therefore not of unit length.

    Deviations: the paper's text vectors are skip-thoughts of 2400 dimensions, pretrained on books, which are
    unavailable; the last state of a GRU of that width replaces them. The image is the mean-pooled map of ResNet-18, as
    in AMFMN (2022), Table II. The text-text branch, which only serves the paper's re-ranking, is left out.
    """

    Config: ClassVar[type[MTFNConfig]] = MTFNConfig
    config: MTFNConfig
    unit_length = False
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="mtfn"),
        "keywords": Published(paper="amfmn2022", table="table3", method="mtfn"),
    }

    def __init__(self, config: MTFNConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width)
        self.image_factors = nn.Linear(config.width, config.rank * config.width)
        self.text_factors = nn.Linear(config.width, config.rank * config.width)
        self.classifier = nn.Linear(config.width, 1)

    @property
    def departures(self) -> list[str]:
        """From the paper and from AMFMN's comparison."""
        return [
            *super().departures,
            "the last state of a GRU instead of skip-thoughts, which are pretrained on books",
            "no text-text branch, which only serves the re-ranking",
            "training of the authors' code, augmentation of AMFMN, which does not state that of its comparison",
        ]

    def encode_images(self, images: Tensor) -> Tensor:
        """The bilinear form applied to the image, [B, width + 1]: what (t, 1) is multiplied with."""
        projected = self.image_factors(self.image_head(self.pool_image(images)).tanh())
        weighted = projected.unflatten(1, (self.config.rank, -1)) * self.classifier.weight
        form = torch.cat([self.text_factors.weight, self.text_factors.bias[:, None]], dim=1)
        return weighted.flatten(1) @ form + F.pad(self.classifier.bias, (self.config.width, 0))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """(t, 1), [B, width + 1]."""
        states = self.text.pool(self.text(tokens), tokens)
        return F.pad(self.text_head(self.dropout(states)).tanh(), (0, 1), value=1.0)

    def loss(self, batch: Batch) -> Tensor:
        """Hinge on the hardest negatives, of scores in 0..1, or as the configuration says."""
        return self.triplet_loss(self.batch_scores(batch).float().sigmoid(), batch)
