"""The frame that ``vse++``, ``vse`` and later methods share: an image tower, a text tower, one embedding space."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import timm
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, Method, TrainingConfig, token_images
from rsitr.methods.triplet import TripletConfig, TripletLoss
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.dropout import Dropout
from rsitr.nn.pyramid import MVSA, Pyramid, PyramidBackbone
from rsitr.nn.text import FrozenTransformer, GRUEncoder, TextEncoder, TransformerEncoder


class ImageTowerConfig(TrainingConfig):
    """Which backbone the image tower has."""

    image_backbone: str = "resnet18.tv_in1k"
    """Any image model of timm; a name with a tag says which of its pretrained weights ``timm`` means."""
    image_weights: str = "timm"
    """``timm``, ``none``, or a file: path, mirror://path, package://name/path."""
    image_size: int = Field(224, ge=16)
    image_mean: tuple[float, ...] | None = None
    """Pixel statistics; None for those of the backbone."""
    image_std: tuple[float, ...] | None = None
    image_options: dict[str, Any] = Field({})
    """Further arguments of timm.create_model."""


class DualEncoderConfig(ImageTowerConfig):
    """Which backbones the towers have."""

    image_pool: Literal["mean", "first"] = "mean"
    """Mean over tokens, or the first (class) token."""
    text_encoder: Literal["gru", "bigru", "transformer"] = "gru"
    text_weights: str = ""
    """Of a transformer: a repository of the hub, path, mirror://path, package://name/path."""
    freeze_text: bool = False
    """Keep a transformer fixed and encode each training caption once. A caption's vector is then the mean over its
    tokens instead of [CLS]."""
    text_pool: Literal["last", "mean"] = "last"
    """Of a GRU: the final state, or the mean over words."""
    text_width: int = Field(1024, ge=1)
    """Of a GRU's state."""
    word_size: int = Field(300, ge=1)
    min_count: int = Field(1, ge=1)
    """Words rarer than this in the training captions are unknown."""
    max_words: int = Field(64, ge=1)
    width: int = Field(1024, ge=1)
    """Of the embedding."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of the pooled image features, and of a GRU's word vectors."""


SAME_IMAGE = "captions of one image are never negatives of each other; in the authors' code all but the pair itself are"


class TwoTowers(Method):
    """Two towers into one embedding space, whatever they are, and a triplet loss."""

    text: TextEncoder
    triplet_loss: TripletLoss

    @property
    def departures(self) -> list[str]:
        """Weights that timm chooses, and negatives that are none."""
        hinge = isinstance(self.config, TripletConfig) and getattr(self.config, "objective", "triplet") == "triplet"
        loss = [SAME_IMAGE] if hinge else []
        return [*super().departures, *chosen_weights(self.config), *loss]

    def tokenize(self, captions: list[str]) -> Tensor:
        """Token indices [B, L]."""
        return self.text.tokenize(captions)

    def loss(self, batch: Batch) -> Tensor:
        """The triplet loss of the scores."""
        return self.triplet_loss(self.batch_scores(batch), batch)


class DualEncoder(TwoTowers):
    """Two towers whose normalised outputs are compared by their dot product."""

    Config: ClassVar[type[DualEncoderConfig]] = DualEncoderConfig
    config: DualEncoderConfig
    backbone: ImageBackbone

    def __init__(self, config: DualEncoderConfig, text: TextEncoder):
        super().__init__()
        self.config = config
        self.backbone = self.make_backbone(config)
        self.pixels = self.backbone.pixels
        self.text = text
        self.dropout = Dropout(config.dropout)
        self.image_head = nn.Linear(self.backbone.width, config.width)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The method with its initial weights, and its triplet loss where it has one."""
        built = cls(config, build_text_encoder(config, corpus))
        if isinstance(config, TripletConfig):
            built.triplet_loss = TripletLoss(config, corpus)
        return built

    @staticmethod
    def make_backbone(config: Any) -> ImageBackbone:
        """The image tower's backbone."""
        return ImageBackbone(**backbone_arguments(config))

    def pool_image(self, images: Tensor) -> Tensor:
        """One vector [B, C] for each image: pixels [B, 3, H, W] or tokens [B, N, C]."""
        tokens = token_images(images, self.backbone)
        return self.dropout(tokens[:, 0] if self.config.image_pool == "first" else tokens.mean(1))

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.image_head(self.pool_image(images)), dim=1)


class PyramidEncoder(DualEncoder):
    """Global features of an image through MVSA, which looks at the maps of several levels (AMFMN, section III-C)."""

    config: Any
    """Has ``form``, ``low_levels`` and ``text_head``."""
    backbone: PyramidBackbone
    mvsa: MVSA

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """Without a linear layer after it, the GRU's state has the width of the embedding."""
        width = config.text_width if config.text_head else config.width
        return super().build(config.model_copy(update={"text_width": width}), corpus)

    @staticmethod
    def make_backbone(config: Any) -> PyramidBackbone:
        """The maps of several levels."""
        return PyramidBackbone(**backbone_arguments(config), low_levels=config.low_levels)

    def saliency(self, images: Tensor) -> Tensor:
        """Where MVSA looks, [B, h, w] in 0..1 (AMFMN, Fig. 10)."""
        return self.mvsa.saliency(self.backbone.unpack(token_images(images, self.backbone)))

    def make_mvsa(self) -> MVSA:
        """On the low levels of the backbone and the high ones after them."""
        shapes, count = self.backbone.shapes, self.config.low_levels
        return MVSA(shapes[:count], shapes[count:], self.config.width, self.config.form)

    def maps(self, images: Tensor) -> Pyramid:
        """Of all levels, from pixels [B, 3, H, W] or packed maps [B, 1, K]."""
        return self.backbone.unpack(token_images(images, self.backbone))

    def whole(self, maps: Pyramid) -> Tensor:
        """The last map pooled and projected, [B, width]."""
        return self.image_head(self.dropout(maps.high[-1].mean((2, 3))))


def backbone_arguments(config: ImageTowerConfig, part: str = "image") -> dict[str, Any]:
    """The backbone that a configuration describes for a part of a method, as arguments of ``ImageBackbone``."""
    own = {name: getattr(config, f"{part}_{name}") for name in ("weights", "size", "mean", "std", "options")}
    return {"name": getattr(config, f"{part}_backbone"), "setting": f"{part}_weights"} | own


def chosen_weights(config: Any, part: str = "image") -> list[str]:
    """The pretrained weights of a part's backbone, where its name leaves the choice of them to timm."""
    name = getattr(config, f"{part}_backbone")
    default = (
        timm.get_pretrained_cfg(name) if getattr(config, f"{part}_weights") == "timm" and "." not in name else None
    )
    return [f"the weights {name}.{default.tag}, timm's choice for the {part} backbone"] if default else []


def build_text_encoder(config: DualEncoderConfig, corpus: Corpus) -> TextEncoder:
    """The text encoder a configuration names; the vocabulary of a GRU comes from the training captions alone."""
    if config.text_encoder == "transformer" and config.freeze_text:
        return FrozenTransformer(config.text_weights, config.max_words, corpus.captions)
    if config.text_encoder == "transformer":
        return TransformerEncoder(config.text_weights, config.max_words)
    return GRUEncoder(
        corpus.vocabulary(config.min_count),
        bidirectional=config.text_encoder == "bigru",
        word_size=config.word_size,
        width=config.text_width,
        max_words=config.max_words,
        pooling=config.text_pool,
        dropout=config.dropout,
    )
