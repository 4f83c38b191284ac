"""VSE++, trained with the hardest negative of the batch, and VSE, the plain dual encoder of PIR's Table I."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, Schedule, method, those, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.losses import Temperature, TemperatureForm, contrastive_loss
from rsitr.nn.text import TextEncoder
from rsitr.nn.token_sequence import TransformerLayers, image_sequence, text_sequence
from rsitr.records.cell import Published


class VSEppConfig(DualEncoderConfig, TripletConfig):
    """Defaults of the authors' paper, with the ResNet-18 that the remote sensing comparisons use."""

    min_count: int = Field(4, ge=1)
    normalize_image_features: bool = True
    """L2 on the pooled features before the projection, and on the embedding after it."""


@method("vse++")
class VSEpp(DualEncoder):
    """VSE++ (F. Faghri, D. Fleet, J. Kiros, S. Fidler, BMVC 2018): sections 3.1-3.3, loss Eq. 6.

    Image: pooled CNN features, L2, linear, L2. Text: word embeddings and a GRU whose last state, L2-normalised, is the
    embedding. The loss is a hinge on the hardest negative of each query (Eq. 6; Eq. 5 in the epochs that the
    configuration gives it).

    The row of the AMFMN paper (Table II) was produced by another form of the method, variant ``amfmn``: image embedding
    not normalised, GRU states averaged over the sentence. It alone claims the row.
    """

    Config: ClassVar[type[VSEppConfig]] = VSEppConfig
    config: VSEppConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "amfmn": {"normalize_image_features": False, "text_pool": "mean", "image_size": 256},
    }
    published: ClassVar[dict[str, Published]] = {
        "amfmn": Published(paper="amfmn2022", table="table2", method="vse++"),
        "keywords": Published(paper="amfmn2022", table="table3", method="vse++"),
    }

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The GRU's state is the embedding, so it has the embedding's width."""
        return super().build(config.model_copy(update={"text_width": config.width}), corpus)

    @property
    def departures(self) -> list[str]:
        """From the paper, or in the variant from the form that AMFMN's authors compared with."""
        compared = not self.config.normalize_image_features
        found = {
            "ResNet-18, as in AMFMN's comparison; the paper's are VGG-19 and ResNet-152": not compared,
            "training and augmentation of the authors' code; AMFMN does not state those of its comparison": compared,
            "GRU states averaged over the words alone, not over their padding": compared,
        }
        return [*super().departures, *those(found)]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width]; of unit length unless the variant says otherwise."""
        features = self.pool_image(images)
        if not self.config.normalize_image_features:
            return self.image_head(F.normalize(features, dim=1))
        return F.normalize(self.image_head(F.normalize(features, dim=1)), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text.pool(self.text(tokens), tokens), dim=1)


SWIN = "swin_tiny_patch4_window7_224.ms_in1k"
SWIN_BERT = {"image_backbone": SWIN, "image_pool": "mean"}
VIT_BERT = {"image_backbone": "vit_base_patch16_224", "image_pool": "first"}
DEIT_BERT = {"image_backbone": "deit_small_patch16_224.fb_in1k", "image_pool": "first"}
RESNET_GRU = {"image_backbone": "resnet50", "image_pool": "mean", "text_encoder": "bigru"}


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Pixel statistics of CLIP, which the code of PIR uses for all its backbones."""


class VSEConfig(DualEncoderConfig, TripletConfig):
    """Defaults of PIR, section V-C, and of its authors' code: Swin-T and BERT, AdamW, linear warm-up and decay."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(256, ge=2)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(6e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.01, ge=0)
    decays: Literal["all", "matrices"] = "matrices"
    clip_norm: float | None = None
    schedule: Schedule = "linear"
    warmup: float = Field(0.1, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment"] = "randaugment"
    image_backbone: str = SWIN
    image_mean: tuple[float, ...] | None = CLIP_MEAN
    image_std: tuple[float, ...] | None = CLIP_STD
    text_encoder: Literal["gru", "bigru", "transformer"] = "transformer"
    text_weights: str = "google-bert/bert-base-uncased"
    text_width: int = Field(512, ge=1)
    max_words: int = Field(30, ge=1)
    width: int = Field(512, ge=1)
    objective: Literal["contrastive", "triplet"] = "contrastive"
    temperature: float = Field(0.07, gt=0)
    """Initial; it is learned."""
    temperature_form: TemperatureForm = "raw"
    """What is learned: the temperature itself, as in the authors' code, or its logarithm."""
    negatives: Literal["hardest", "most-similar", "all"] = "all"
    tel_layers: int = Field(0, ge=0)
    """Transformer encoder layers on the tokens of each tower."""
    heads: int = Field(8, ge=1)
    """Of these layers."""
    attention_dropout: float = Field(0.2, ge=0, lt=1)
    """Of these layers."""


RANDAUGMENT = "torchvision's RandAugment; PIR's code has ten operations at 7 of 10, half of the time"


def from_pir_code(config: Any) -> list[str]:
    """Where the training of PIR and of its VSE rows departs from the authors' code."""
    transformer = config.text_encoder == "transformer"
    return those(
        {
            "the temperature learned as a logarithm": config.temperature_form == "logarithm"
            and getattr(config, "objective", "contrastive") == "contrastive",
            RANDAUGMENT: config.augment == "randaugment",
            "no stochastic depth in the Swin Transformer; the authors' code has a rate of .1": "swin"
            in config.image_backbone
            and "drop_path_rate" not in config.image_options,
            "padding of captions not attended to, unlike in the authors' code": transformer,
            "captions end after 30 word pieces, not after 30 words": transformer,
            "the epoch chosen on val; the authors' code chooses it on test": config.selection == "val",
        }
    )


def _row(variant: str, backbone: str) -> Published:
    return Published(paper="pir2024", table="table1", method="vse", variant=variant, backbone=backbone)


@method("vse")
class VSE(DualEncoder):
    """VSE rows of PIR (J. Pan, M. Ma, Q. Ma, C. Bai, S. Chen, 'PIR', 2024): Table I, section V-D1, loss Eq. 15.

    Each tower is a backbone and one linear layer; cosine similarity. ``contrastive`` is the symmetric InfoNCE of Eq. 15
    with a learned temperature, ``triplet`` a hinge, by default summed over all negatives.

    ``vit-bert`` is what Table I says of its row, a ViT-B. The 131 million parameters it prints are those of a DeiT-S,
    which the authors' code builds: ``deit-bert`` claims the row. ``tel`` has Transformer encoder layers after the
    linear ones; the paper does not say how many, and four on each tower come closest to the 24 million parameters they
    add.
    """

    Config: ClassVar[type[VSEConfig]] = VSEConfig
    config: VSEConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "swin-bert-triplet": SWIN_BERT | {"objective": "triplet"},
        "vit-bert": VIT_BERT,
        "deit-bert": DEIT_BERT,
        "resnet-gru-triplet": RESNET_GRU | {"objective": "triplet"},
        "tel": {"tel_layers": 4},
    }
    published: ClassVar[dict[str, Published]] = {
        "": _row("loss=CL", "Swin-T / BERT"),
        "swin-bert-triplet": _row("loss=TL", "Swin-T / BERT"),
        "deit-bert": _row("loss=CL", "ViT-B / BERT"),
        "resnet-gru-triplet": _row("loss=TL", "ResNet-50 / GRU"),
        "tel": _row("+TEL", "Swin-T / BERT"),
    }

    def __init__(self, config: VSEConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width)
        self.temperature = Temperature(config.temperature, config.temperature_form)
        if config.tel_layers:
            shape = (config.width, config.tel_layers, config.heads, config.attention_dropout)
            self.image_layers, self.text_layers = (TransformerLayers(*shape) for _ in range(2))

    @property
    def departures(self) -> list[str]:
        """From the paper and its authors' code, which trains these rows, too."""
        config = self.config
        found = {
            "a bidirectional GRU; Table I says GRU": config.text_encoder == "bigru",
            "four Transformer layers on each tower; the paper does not say how many": config.tel_layers == 4,
        }
        return [*super().departures, *those(found), *from_pir_code(config)]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        if not self.config.tel_layers:
            return super().encode_images(images)
        tokens = image_sequence(token_images(images, self.backbone), self.config.image_pool, self.dropout)
        return F.normalize(self.image_layers(self.image_head(tokens))[:, 0], dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        if not self.config.tel_layers:
            return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)
        states, padding = text_sequence(self.text, tokens)
        return F.normalize(self.text_layers(self.text_head(states), padding)[:, 0], dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 15, or the triplet loss."""
        scores = self.batch_scores(batch).float()
        if self.config.objective == "triplet":
            return self.triplet_loss(scores, batch)
        return self.total(contrastive=contrastive_loss(scores, batch.positives, self.temperature()))
