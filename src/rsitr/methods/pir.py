"""PIR-ITR without its belief strategy: each of its two methods has its own.

J. Pan, M. Ma, Q. Ma, C. Bai, S. Chen, "PIR: Remote Sensing Image-Text Retrieval with Prior Instruction Representation
Learning", 2024: instruction section IV-A, belief IV-B, progressive attention IV-C, losses IV-D, settings V-C.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, Optimizer, Schedule, method, those, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig, backbone_arguments, chosen_weights
from rsitr.methods.pir_blocks import Instructed, InstructedBackbone, SpatialPAE, TemporalPAE, classes_of
from rsitr.methods.vse import CLIP_MEAN, CLIP_STD, SWIN, from_pir_code
from rsitr.nn.affiliation import affiliation_loss
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.belief import belief_matrix, select, weigh
from rsitr.nn.losses import Temperature, TemperatureForm, contrastive_loss
from rsitr.nn.text import TextEncoder
from rsitr.nn.token_sequence import image_sequence, text_sequence
from rsitr.params.ids import SCENES
from rsitr.records.cell import Published


class PIRConfig(DualEncoderConfig):
    """Defaults of section V-C and of the authors' code: Swin-T and BERT, a ResNet-50 trained on AID to instruct."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(256, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(6e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.01, ge=0)
    decays: Literal["all", "matrices"] = "matrices"
    clip_norm: float | None = None
    schedule: Schedule = "linear"
    warmup: float = Field(0.1, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "randaugment"
    image_backbone: str = SWIN
    image_mean: tuple[float, ...] | None = CLIP_MEAN
    image_std: tuple[float, ...] | None = CLIP_STD
    text_encoder: Literal["gru", "bigru", "transformer"] = "transformer"
    text_weights: str = "google-bert/bert-base-uncased"
    text_width: int = Field(512, ge=1)
    max_words: int = Field(30, ge=1)
    width: int = Field(512, ge=1)
    temperature: float = Field(0.07, gt=0)
    """Initial, for both losses; each learns its own."""
    temperature_form: TemperatureForm = "raw"
    """What is learned: the temperature itself, as in the authors' code, or its logarithm."""
    spatial: bool = True
    """Spatial-PAE on the image, and with it belief and instruction."""
    temporal: bool = True
    """Temporal-PAE on the text."""
    affiliation: float = Field(1.0, ge=0)
    """Weight of the affiliation loss, lambda of Eq. 17, the paper's centre scale."""
    labels: Literal["class", "prefix"] = "class"
    """What a class is: the dataset's, or as in the authors' code the beginning of a file's name."""
    spatial_layers: int = Field(2, ge=1)
    temporal_layers: int = Field(3, ge=1)
    heads: int = Field(8, ge=1)
    attention_dropout: float = Field(0.2, ge=0, lt=1)
    """Of both progressive attention encoders."""
    instruction_backbone: str = "resnet50"
    """Any image model of timm."""
    instruction_weights: str = "scenes://paper/resnet50-aid"
    """As ``image_weights``, or scenes://EXPERIMENT/NAME; ``none``, random weights, is the control."""
    instruction_size: int | None = Field(None, ge=16)
    """Side of its images in pixels, which are resized from those of the image tower; None for the same size."""
    instruction_mean: tuple[float, ...] | None = None
    """Pixel statistics; None for those of the instruction encoder."""
    instruction_std: tuple[float, ...] | None = None
    instruction_options: dict[str, Any] = Field({})
    """Further arguments of timm.create_model."""


class PIR(DualEncoder):
    """The frame: v = norm(F_cls + S-PAE(belief(F), g)) and t = norm(T_cls + T-PAE(T)), compared by their cosine.

    F are the tokens of the image with their mean, T those of the text, g the instruction. Without S-PAE and T-PAE, v
    and t are F_cls and T_cls: the ``vse`` of Table I. Padding is not attended to, unlike in the authors' code.
    """

    Config: ClassVar[type[PIRConfig]] = PIRConfig
    config: PIRConfig
    classes: Tensor
    """[images]: the class number of each training image."""

    def __init__(self, config: PIRConfig, text: TextEncoder):
        super().__init__(config, text)
        width, shape = config.width, (config.heads, config.attention_dropout)
        self.text_head = nn.Linear(text.width, width)
        self.temperature = Temperature(config.temperature, config.temperature_form)
        if isinstance(self.backbone, InstructedBackbone):
            self.instruction_head = nn.Linear(self.backbone.instruction_width, width)
            self.spatial = SpatialPAE(width, config.spatial_layers, *shape)
        if config.temporal:
            self.temporal = TemporalPAE(width, config.temporal_layers, *shape)
        if config.affiliation:
            self.centre_temperature = Temperature(config.temperature, config.temperature_form)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """Raises ``Unsupported`` where the affiliation loss finds no classes."""
        built = super().build(config, corpus)
        if config.affiliation and corpus.captions:
            built.register_buffer("classes", classes_of(config, corpus), persistent=False)
        return built

    @staticmethod
    def make_backbone(config: Any) -> ImageBackbone:
        """The image tower's backbone, together with the instruction encoder where it is used."""
        arguments = backbone_arguments(config)
        if not config.spatial:
            return ImageBackbone(**arguments)
        return InstructedBackbone(**arguments, instructor=backbone_arguments(config, "instruction"))

    @property
    def departures(self) -> list[str]:
        """From the paper and its authors' code."""
        config, spatial = self.config, self.config.spatial
        resnet = config.instruction_backbone.startswith("resnet50")
        found = {
            "random instruction encoder": spatial and config.instruction_weights == "none",
            "a scene classifier trained here, not the authors'": spatial and "scenes://" in config.instruction_weights,
            "pixel statistics of the instruction encoder's own, not CLIP's": spatial,
            "instructions of 2,048 numbers; section V-C says 1,024": spatial and resnet,
            "one dropout of attention weights for all places of Spatial-PAE": spatial and config.attention_dropout > 0,
            "classes as the dataset states them; the authors read them from file names": config.affiliation > 0
            and config.labels == "class",
        }
        chosen = chosen_weights(config, "instruction") if spatial else []
        return [*super().departures, *those(found), *chosen, *from_pir_code(config)]

    @property
    def fixed_weights(self) -> tuple[str, ...]:
        """Those of the instruction encoder, too, unless nobody else has them."""
        instructed = self.config.spatial and not self.apart
        return (*super().fixed_weights, *(("instruction_weights",) if instructed else ()))

    @property
    def apart(self) -> dict[str, nn.Module]:
        """An instruction encoder that was trained or drawn here."""
        weights, backbone = self.config.instruction_weights, self.backbone
        own = weights == "none" or weights.startswith(f"{SCENES}://")
        return {"instruction": backbone.instructor} if own and isinstance(backbone, InstructedBackbone) else {}

    @abstractmethod
    def believe(self, tokens: Tensor, belief: Tensor) -> Tensor:
        """What the belief [B, N] makes of tokens [B, N, D]."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        if not self.config.spatial:
            return super().encode_images(images)
        tokens, instruction = self.instructed(images)
        believed = self.believe(tokens, belief_matrix(tokens, instruction))
        return F.normalize(tokens[:, 0] + self.spatial(believed, instruction), dim=1)

    def instructed(self, images: Tensor) -> Instructed:
        """F [B, N, width], the token of the whole image first, and g [B, width]."""
        assert isinstance(self.backbone, InstructedBackbone)
        tokens, instruction = self.backbone.unpack(token_images(images, self.backbone))
        sequence = image_sequence(tokens, self.config.image_pool, self.dropout)
        return Instructed(self.image_head(sequence), self.instruction_head(instruction))

    def saliency(self, images: Tensor) -> Tensor:
        """Where the belief is, [B, h, w] in 0..1, of a backbone whose tokens are a square grid."""
        found = belief_matrix(*self.instructed(images))[:, 1:]
        lowest, highest = found.amin(1, keepdim=True), found.amax(1, keepdim=True)
        return ((found - lowest) / (highest - lowest).clamp(min=1e-12)).unflatten(1, (math.isqrt(found.shape[1]), -1))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        if not self.config.temporal:
            return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)
        states, padding = text_sequence(self.text, tokens)
        states = self.text_head(states)
        return F.normalize(states[:, 0] + self.temporal(states, padding), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 17: Eq. 15 and the weighted affiliation loss."""
        images, texts = self.encode_images(batch.images), self.encode_texts(batch.tokens)
        contrastive = contrastive_loss((images @ texts.t()).float(), batch.positives, self.temperature())
        if not self.config.affiliation:
            return self.total(contrastive=contrastive)
        affiliated = affiliation_loss(images, texts, self.classes[batch.image_ids], self.centre_temperature())
        return self.total(contrastive=contrastive, affiliation=self.config.affiliation * affiliated)


WITHOUT: dict[str, Any] = {"spatial": False, "temporal": False, "affiliation": 0.0}
ABLATION: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("baseline", WITHOUT),
    "spatial": ("+S-PAE", WITHOUT | {"spatial": True}),
    "temporal": ("+T-PAE", WITHOUT | {"temporal": True}),
    "affiliation": ("+L_A", WITHOUT | {"affiliation": 1.0}),
    "spatial-temporal": ("+S-PAE+T-PAE", {"affiliation": 0.0}),
    "spatial-affiliation": ("+S-PAE+L_A", {"temporal": False}),
    "temporal-affiliation": ("+T-PAE+L_A", {"spatial": False}),
}
"""Variant -> what Table III calls it, and what it changes."""
FILTER_SIZES = (10, 20, 30, 50)
"""Of Table IV, besides the default."""
INSTRUCTORS = {
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "vit": "vit_base_patch16_224",
    "swin-t": SWIN,
}
"""What Table V calls an instruction encoder -> its name in timm."""
PRIORS = {
    "AID": ("vgg16", "vgg19", "resnet101", "vit", "swin-t"),
    "ImageNet": ("vgg16", "resnet50", "swin-t"),
    "RESISC45": ("vgg16", "resnet50", "swin-t"),
}
"""What they are trained on in Table V, besides the default."""


class PIRHardConfig(PIRConfig):
    """Defaults of section V-C, and the best filter size of Table IV."""

    keep: int = Field(40, ge=1)
    """Filter size K: how many tokens are kept, of a Swin-T's 49 and their mean; all where there are fewer."""


def _prior(instructor: str, trained_on: str) -> dict[str, Any]:
    weights = "timm" if trained_on == "ImageNet" else f"scenes://paper/{instructor}-{trained_on.lower()}"
    return {"instruction_backbone": INSTRUCTORS[instructor], "instruction_weights": weights}


def _row(table: str, variant: str = "") -> Published:
    return Published(paper="pir2024", table=table, method="pir-itr-hard", variant=variant)


@method("pir-itr-hard")
class PIRHard(PIR):
    """PIR-ITR (J. Pan et al., "PIR", 2024) with the hard belief strategy: section IV-B, Eqs. 3 and 4; Tables I, III, IV
    and V.

    The K tokens of highest belief are kept, in that order, so the first, which S-PAE ends with, is the one believed in
    most and not the mean of all.
    """

    Config: ClassVar[type[PIRHardConfig]] = PIRHardConfig
    config: PIRHardConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = (
        {name: overlay for name, (_, overlay) in ABLATION.items()}
        | {f"keep-{size}": {"keep": size} for size in FILTER_SIZES}
        | {f"{name}-{source.lower()}": _prior(name, source) for source, names in PRIORS.items() for name in names}
        | {"random-prior": {"instruction_weights": "none"}, "prefix-labels": {"labels": "prefix"}}
    )
    published: ClassVar[dict[str, Published]] = (
        {"": _row("table1")}
        | {name: _row("table3", printed) for name, (printed, _) in ABLATION.items()}
        | {f"keep-{size}": _row("table4", f"k={size} hard") for size in FILTER_SIZES}
        | {
            f"{name}-{source.lower()}": _row("table5", f"instruction={name}@{source}")
            for source, names in PRIORS.items()
            for name in names
        }
    )

    def believe(self, tokens: Tensor, belief: Tensor) -> Tensor:
        """Eq. 4."""
        return select(tokens, belief, self.config.keep)


@method("pir-itr-soft")
class PIRSoft(PIR):
    """PIR-ITR (J. Pan et al., "PIR", 2024) with the soft belief strategy: section IV-B, Eqs. 3, 5 and 6; Table I.

    All tokens are kept in their original order, weighted by belief and rank, so that S-PAE ends with the mean token.
    The formulas are reconstructions, made from the prose and the code of PIR-CLIP (``rsitr.nn.belief``).
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "random-prior": {"instruction_weights": "none"},
        "prefix-labels": {"labels": "prefix"},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table1", method="pir-itr-soft"),
    }

    @property
    def departures(self) -> list[str]:
        """The formulas, besides those of ``PIR``."""
        equations = "reconstructions of Eqs. 5 and 6, made from the prose and the code of PIR-CLIP"
        return [*super().departures, *([equations] if self.config.spatial else [])]

    def believe(self, tokens: Tensor, belief: Tensor) -> Tensor:
        """Eqs. 5 and 6."""
        return weigh(tokens, belief)
