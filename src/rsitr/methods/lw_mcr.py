"""LW-MCR: a light image tower of bilinear pooling and a light text tower of convolutions, taught by a larger method."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.words import Vocabulary
from rsitr.methods.base import Batch, Corpus, method, those, token_images
from rsitr.methods.distillation import DistillationConfig, teacher_tasks
from rsitr.methods.dual_encoder import ImageTowerConfig, TwoTowers, backbone_arguments
from rsitr.methods.lw_mcr_blocks import NAME, BilinearEmbedding, SqueezeNet, TextCNN
from rsitr.methods.triplet import TripletConfig, TripletLoss
from rsitr.nn.pyramid import PyramidBackbone
from rsitr.records.cell import Published


class LWMCRConfig(ImageTowerConfig, TripletConfig, DistillationConfig):
    """Defaults of the authors' code and its options."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(100, ge=2)
    clip_norm: float | None = None
    """As in the code of AMFMN and GaLR, which have the same authors."""
    step_epochs: int = Field(20, ge=1)
    step_factor: float = Field(0.7, gt=0)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_backbone: str = NAME
    """``squeezenet1_1``, or an image model of timm with maps of several levels."""
    image_weights: str = "torchvision"
    """``torchvision`` for SqueezeNet, ``timm`` for others, ``none``, or a file: path, mirror://path,
    package://name/path."""
    image_size: int = Field(256, ge=16)
    low_levels: int = Field(1, ge=1)
    """Levels that the tokens of a timm model hold before its last two. The last of them is the low map; more only let a
    frozen backbone share its tokens with a method that reads them."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """After each attention of the image tower."""
    word_size: int = Field(300, ge=1)
    min_count: int = Field(1, ge=1)
    """Words rarer than this in the training captions are unknown."""
    max_words: int = Field(64, ge=1)
    text_kernels: tuple[int, ...] = (3, 4, 5)
    text_channels: int = Field(100, ge=1)
    """Of each kernel."""
    text_dropout: float = Field(0.25, ge=0, lt=1)
    """Before the last layer of the text tower."""
    width: int = Field(512, ge=1)
    """Of the embedding."""
    negatives: Literal["hardest", "most-similar", "all"] = "all"


@method("lw-mcr")
class LWMCR(TwoTowers):
    """LW-MCR (Z. Yuan et al., "A Lightweight Multi-Scale Crossmodal Text-Image Retrieval Method in Remote Sensing",
    IEEE TGRS 2022): as in its authors' code; Table I of PIR has its distilled row.

    Image: two levels of SqueezeNet, bilinear pooling, two convolutions with channel and spatial attention, linear, L2.
    Text: TextCNN, linear, L2; the code has full convolutions where the abstract mentions grouped ones.

    ``distilled`` learns from AMFMN. The paper's loss pulls the student's maps and embeddings towards the teacher's; it
    is not public, and hidden layers of two methods seldom share a shape. Here the student learns from the teacher's
    scores of the batch, so any method can teach. Training with unlabelled images, the paper's third part, is left out.
    """

    Config: ClassVar[type[LWMCRConfig]] = LWMCRConfig
    config: LWMCRConfig
    backbone: SqueezeNet | PyramidBackbone
    variants: ClassVar[dict[str, dict[str, Any]]] = {"distilled": {"teacher": "amfmn-soft"}}
    published: ClassVar[dict[str, Published]] = {
        "distilled": Published(paper="pir2024", table="table1", method="lw-mcr"),
    }

    def __init__(self, config: LWMCRConfig, vocabulary: Vocabulary):
        super().__init__()
        self.config = config
        self.backbone = image_maps(config)
        self.pixels = self.backbone.pixels
        low, _, high = self.backbone.shapes[-3:]
        self.image_head = BilinearEmbedding(low[0], high[0], config.width, config.dropout)
        self.text = TextCNN(
            vocabulary,
            word_size=config.word_size,
            kernels=config.text_kernels,
            channels=config.text_channels,
            max_words=config.max_words,
            dropout=config.text_dropout,
        )
        self.text_head = nn.Linear(self.text.width, config.width)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The vocabulary comes from the training captions alone."""
        built = cls(config, corpus.vocabulary(config.min_count))
        built.triplet_loss = TripletLoss(config, corpus)
        return built

    @property
    def departures(self) -> list[str]:
        """From the paper and its distillation."""
        found = {
            "scores of the teacher instead of its hidden layers": bool(self.config.teacher),
            "no training with unlabelled images": bool(self.config.teacher),
            "full convolutions, as in the authors' code; the abstract says grouped ones": True,
        }
        return [*super().departures, *those(found)]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        maps = self.backbone.unpack(token_images(images, self.backbone))
        return F.normalize(self.image_head(maps.low[-1], maps.high[-1]), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """The triplet loss, and the divergence from the teacher's scores where there is one."""
        scores = self.batch_scores(batch)
        return self.total(triplet=self.triplet_loss(scores, batch), **teacher_tasks(scores, batch, self.config))


def image_maps(config: LWMCRConfig) -> SqueezeNet | PyramidBackbone:
    """The source of the two maps."""
    if config.image_backbone == NAME:
        return SqueezeNet(**backbone_arguments(config))
    return PyramidBackbone(**backbone_arguments(config), low_levels=config.low_levels)
