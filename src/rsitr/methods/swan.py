"""SWAN: a scene-aware image vector of three levels and of fine windows, and text enhanced by groups of words."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.words import Vocabulary
from rsitr.methods.base import Corpus, Phase, method, those, token_images
from rsitr.methods.dual_encoder import ImageTowerConfig, TwoTowers, backbone_arguments
from rsitr.methods.swan_blocks import HEADS, SFGS, TCGE, VMSF, load_word_vectors
from rsitr.methods.triplet import TripletConfig, TripletLoss
from rsitr.nn.pyramid import Form, PyramidBackbone
from rsitr.nn.text import GRUEncoder
from rsitr.records.cell import Published

LEARNS = ("vmsf.", "sfgs.", "image_head.", "text.", "tcge.")
"""All but the backbone."""


class SWANConfig(ImageTowerConfig, TripletConfig):
    """Defaults of the authors' code and of its command for training."""

    phases: tuple[Phase, ...] = (Phase(epochs=50, learning_rate=2e-4, learns=LEARNS),)
    """The backbone stays as it is, and sees augmented images."""
    batch_size: int = Field(100, ge=2)
    clip_norm: float | None = None
    step_epochs: int = Field(20, ge=1)
    step_factor: float = Field(0.7, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_backbone: str = "resnet50"
    image_size: int = Field(256, ge=16)
    low_levels: int = Field(3, ge=2, le=3)
    """How many levels of the backbone come before its last two; SFGS reads the first of them."""
    sfgs_channels: int = Field(32, ge=1)
    """Of the map that SFGS reads; it makes four times as many tokens."""
    form: Form = "paper"
    """What gives the vector of a text: the mean, or, as in the authors' code, the last word."""
    word_vectors: str = ""
    """A text file of words and their vectors, such as GloVe's: path, mirror://path; empty to start from random ones."""
    word_size: int = Field(300, ge=1)
    dropout: float = Field(0.4, ge=0, lt=1)
    """Of word vectors."""
    min_count: int = Field(1, ge=1)
    """Words rarer than this in the training captions are unknown."""
    max_words: int = Field(64, ge=1)
    width: int = Field(512, ge=HEADS, multiple_of=HEADS)
    """Of the embedding, and of a GRU's state."""
    negatives: Literal["hardest", "most-similar", "all"] = "all"


def _row() -> Published:
    return Published(paper="pir2024", table="table1", method="swan")


@method("swan")
class SWAN(TwoTowers):
    """SWAN (J. Pan, Q. Ma, C. Bai, "Reducing Semantic Confusion: Scene-aware Aggregation Network for Remote Sensing
    Cross-modal Retrieval", ICMR 2023), as in its authors' code; its row is that of PIR's Table I.

    Image: VMSF of the last three levels and SFGS of the stem, side by side, two linear layers. Text: bidirectional GRU,
    TCGE. Cosine similarity, hinge summed over all negatives.

    SFGS reads the map at a quarter of the image's side. With ``low_levels`` 3 that is the first level, a ResNet's stem
    after its max pooling; with 2 the first level replaces the stem, and a frozen backbone keeps much smaller tokens.
    The authors' backbone was trained on the scenes of AID, and their word vectors are GloVe's.

    ``released``: the authors' code takes the last word of a text as its vector, bypassing the convolutions, and rounds
    the scores of its attention down.
    """

    Config: ClassVar[type[SWANConfig]] = SWANConfig
    config: SWANConfig
    backbone: PyramidBackbone
    text: GRUEncoder
    variants: ClassVar[dict[str, dict[str, Any]]] = {"released": {"form": "released"}}
    published: ClassVar[dict[str, Published]] = {"": _row()}

    def __init__(self, config: SWANConfig, vocabulary: Vocabulary):
        super().__init__()
        self.config, width = config, config.width
        self.backbone = PyramidBackbone(**backbone_arguments(config), low_levels=config.low_levels)
        self.pixels = self.backbone.pixels
        self.vmsf = VMSF(self.backbone.shapes[-3:], width)
        self.sfgs = SFGS(self.backbone.shapes[0][0], config.sfgs_channels, width)
        self.image_head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
        self.text = GRUEncoder(
            vocabulary,
            bidirectional=True,
            word_size=config.word_size,
            width=width,
            max_words=config.max_words,
            pooling="last",
            dropout=config.dropout,
        )
        self.tcge = TCGE(width, config.form)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The vocabulary comes from the training captions alone."""
        built = cls(config, corpus.vocabulary(config.min_count))
        if config.word_vectors:
            load_word_vectors(built.text.embed, built.text.vocabulary, config.word_vectors)
        built.triplet_loss = TripletLoss(config, corpus)
        return built

    @property
    def departures(self) -> list[str]:
        """From the published backbone, its stem, the word vectors and the pooling of the text."""
        config = self.config
        found = {
            "backbone trained on ImageNet instead of AID": config.image_weights == "timm",
            "SFGS on the first level of the backbone instead of its stem": config.low_levels == 2,
            "learned word vectors instead of GloVe's": not config.word_vectors,
            "mean over words and their groups instead of the last word": config.form == "paper",
            "scores of attention not rounded down, unlike in the authors' code": config.form == "paper",
            "padding counts in neither norm nor attention of the text, unlike in the authors' code": True,
        }
        return [*super().departures, *those(found)]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        low, high = self.backbone.unpack(token_images(images, self.backbone))
        stem = F.max_pool2d(low[0], 3, 2, 1) if self.config.low_levels == 3 else low[0]
        return F.normalize(self.image_head(torch.cat([self.sfgs(stem), self.vmsf([low[-1], *high])], 1)), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.tcge(self.text(tokens), tokens), dim=1)
