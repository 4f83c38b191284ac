"""VSE++, trained with the hardest negative of the batch, and VSE, the plain dual encoder of PIR's Table I."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, method, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.losses import contrastive_loss, temperature_parameter
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
    not normalised, GRU states averaged over the sentence.
    """

    Config: ClassVar[type[VSEppConfig]] = VSEppConfig
    config: VSEppConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "amfmn": {"normalize_image_features": False, "text_pool": "mean", "image_size": 256},
    }
    published: ClassVar[dict[str, Published]] = dict.fromkeys(
        ("", "amfmn"), Published(paper="amfmn2022", table="table2", method="vse++")
    )

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The GRU's state is the embedding, so it has the embedding's width."""
        return super().build(config.model_copy(update={"text_width": config.width}), corpus)

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width]; of unit length unless the variant says otherwise."""
        features = self.pool_image(images)
        if not self.config.normalize_image_features:
            return self.image_head(F.normalize(features, dim=1))
        return F.normalize(self.image_head(F.normalize(features, dim=1)), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text.pool(self.text(tokens), tokens), dim=1)


SWIN_BERT = {"image_backbone": "swin_tiny_patch4_window7_224", "image_pool": "mean"}
VIT_BERT = {"image_backbone": "vit_base_patch16_224", "image_pool": "first"}
DEIT_BERT = {"image_backbone": "deit_small_patch16_224", "image_pool": "first"}
RESNET_GRU = {"image_backbone": "resnet50", "image_pool": "mean", "text_encoder": "bigru"}


class VSEConfig(DualEncoderConfig, TripletConfig):
    """Defaults of PIR, section V-B: Swin-T and BERT, AdamW, linear warm-up and decay."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(256, ge=2)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(6e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.01, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "linear"
    warmup: float = Field(0.1, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment"] = "randaugment"
    image_backbone: str = "swin_tiny_patch4_window7_224"
    text_encoder: Literal["gru", "bigru", "transformer"] = "transformer"
    text_weights: str = "google-bert/bert-base-uncased"
    text_width: int = Field(512, ge=1)
    max_words: int = Field(30, ge=1)
    width: int = Field(512, ge=1)
    objective: Literal["contrastive", "triplet"] = "contrastive"
    temperature: float = Field(0.07, gt=0)
    """Initial; it is learned."""
    negatives: Literal["hardest", "most-similar", "all"] = "all"
    tel_layers: int = Field(0, ge=0)
    """Transformer encoder layers on the tokens of each tower."""
    heads: int = Field(8, ge=1)
    """Of these layers."""
    attention_dropout: float = Field(0.2, ge=0, lt=1)
    """Of these layers."""


def _row(variant: str, backbone: str) -> Published:
    return Published(paper="pir2024", table="table1", method="vse", variant=variant, backbone=backbone)


@method("vse")
class VSE(DualEncoder):
    """VSE rows of PIR (J. Pan, M. Ma, Q. Ma, C. Bai, S. Chen, 'PIR', 2024): Table I, section V-A, loss Eq. 15.

    Each tower is a backbone and one linear layer; cosine similarity. ``contrastive`` is the symmetric InfoNCE of Eq. 15
    with a learned temperature, ``triplet`` a hinge, by default summed over all negatives.

    ``vit-bert`` is what Table I says of its row, a ViT-B. The 131 million parameters it prints are those of a DeiT-S,
    which the authors' code builds: ``deit-bert``. ``tel`` has Transformer encoder layers after the linear ones; the
    paper does not say how many, and four on each tower come closest to the 24 million parameters they add.
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
        "vit-bert": _row("loss=CL", "ViT-B / BERT"),
        "deit-bert": _row("loss=CL", "ViT-B / BERT"),
        "resnet-gru-triplet": _row("loss=TL", "ResNet-50 / GRU"),
        "tel": _row("+TEL", "Swin-T / BERT"),
    }

    def __init__(self, config: VSEConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width)
        self.log_temperature = temperature_parameter(config.temperature)
        if config.tel_layers:
            shape = (config.width, config.tel_layers, config.heads, config.attention_dropout)
            self.image_layers, self.text_layers = (TransformerLayers(*shape) for _ in range(2))

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
        return contrastive_loss(scores, batch.image_ids, self.log_temperature.exp())
