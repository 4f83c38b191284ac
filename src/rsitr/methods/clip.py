"""CLIP and its relatives as published (CLIP, RemoteCLIP, GeoRSCLIP, SkyCLIP), and trained further on the pairs of a
dataset, from the weights of OpenAI or of GeoRSCLIP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.captions.evaluation import CaptionProtocol, as_evaluated
from rsitr.methods.base import Batch, Corpus, Method, MethodConfig, Optimizer, TrainingConfig, method, token_images
from rsitr.nn.clip_models import BuiltCLIP, ImageTower, build_clip
from rsitr.nn.losses import contrastive_loss
from rsitr.nn.state import Unmatched
from rsitr.records.cell import Published

B32, L14 = "ViT-B-32-quickgelu", "ViT-L-14-quickgelu"
LEAST_TEMPERATURE = 0.01
"""CLIP, section 2.5: cosines are multiplied by 100 at most."""


class CLIPEncoderConfig(MethodConfig):
    """Defaults of PIR's Table II: OpenAI's ViT-B/32."""

    model: str = B32
    """Any model of open_clip or of ``rsitr.nn.clip_models``. Most weights need a ``-quickgelu`` one: without it they
    give different embeddings."""
    weights: str = "openai"
    """A name in ``rsitr/nn/checkpoints.csv``, a pretrained tag of open_clip, ``none``, or a file: path, mirror://path,
    package://name/path."""
    unmatched: Unmatched = "refuse"
    """Whether to refuse a file whose tensors do not match the model exactly, or to skip those that do not."""
    prompt: str = "{}"
    """Text around each caption."""
    protocol: CaptionProtocol = "georsclip"
    """Whose evaluation protocol captions follow (``rsitr.captions.evaluation``)."""


class CLIPEncoder(Method):
    """Encoders of CLIP (A. Radford et al., ICML 2021, section 2.4)."""

    Config: ClassVar[type[CLIPEncoderConfig]] = CLIPEncoderConfig
    config: CLIPEncoderConfig
    backbone: ImageTower
    left_out: Sequence[str] = ()
    """The tensors of the weights that the model has no place for; known once it is built."""
    trainable = False

    def __init__(self, config: CLIPEncoderConfig):
        super().__init__()
        self.config = config
        text, self.tokenizer, self.pixels, self.left_out = self.make_model(config)
        self.backbone = ImageTower(text.visual)  # type: ignore[arg-type]
        del text.visual
        self.text: Any = text

    @staticmethod
    def make_model(config: Any) -> BuiltCLIP:
        """The model that a configuration names."""
        return build_clip(config.model, config.weights, config.unmatched)

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The pretrained model; nothing is learned from the corpus yet."""
        return cls(config)

    @property
    def departures(self) -> list[str]:
        """The weights that were left out, besides those of every method."""
        return [*super().departures, *(f"tensors {words}" for words in self.left_out)]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length."""
        return F.normalize(token_images(images, self.backbone)[:, 0], dim=1)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Byte-pair indices [B, L]; CLIP's tokenizer makes all letters lower-case, whatever the protocol did."""
        texts = [as_evaluated(caption, self.config.protocol) for caption in captions]
        return self.tokenizer([self.config.prompt.format(text) for text in texts])

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length."""
        return F.normalize(self.text.encode_text(tokens), dim=1)


class CLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: OpenAI's ViT-B/32."""


@method("clip")
class CLIP(CLIPEncoder):
    """CLIP (A. Radford et al., ICML 2021, section 3.1.2) as evaluated zero-shot in PIR, Table II."""

    Config: ClassVar[type[CLIPConfig]] = CLIPConfig
    config: CLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "rn50": {"model": "RN50-quickgelu"},
        "vit-b-16": {"model": "ViT-B-16-quickgelu"},
        "vit-l-14": {"model": L14},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip", backbone="ViT-B / Transformer"),
    }


def _row(method: str, backbone: str = "ViT-B") -> Published:
    """Of PIR's Table II."""
    return Published(paper="pir2024", table="table2", method=method, backbone=f"{backbone} / Transformer")


class RemoteCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32 under its own protocol."""

    weights: str = "remoteclip-vit-b-32"
    protocol: CaptionProtocol = "remoteclip"


@method("remoteclip")
class RemoteCLIP(CLIPEncoder):
    """RemoteCLIP (F. Liu et al., IEEE TGRS 2024) as released, PIR's Table II.

    It is zero-shot in name only: its training set RET-3 + DET-10 + SEG-4 holds the training images and captions of
    RSICD, RSITMD and UCM-Captions (``saw`` in ``rsitr/nn/checkpoints.csv``), without the near duplicates of test images
    that its authors' perceptual hash found. ``rsitr.dedup`` measures what that leaves.
    """

    Config: ClassVar[type[RemoteCLIPConfig]] = RemoteCLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "rn50": {"model": "RN50-quickgelu", "weights": "remoteclip-rn50"},
        "vit-l-14": {"model": L14, "weights": "remoteclip-vit-l-14"},
    }
    published: ClassVar[dict[str, Published]] = {"": _row("remoteclip"), "vit-l-14": _row("remoteclip", "ViT-L")}


class GeoRSCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32."""

    weights: str = "georsclip-vit-b-32"


@method("georsclip")
class GeoRSCLIP(CLIPEncoder):
    """GeoRSCLIP (Z. Zhang et al., "RS5M and GeoRSCLIP", IEEE TGRS 2024) as released, PIR's Table II.

    ``ret-2`` is the model that its authors fine-tuned on RSICD and RSITMD together and released: the row GeoRSCLIP-FT
    on RET-2 of that table.
    """

    Config: ClassVar[type[GeoRSCLIPConfig]] = GeoRSCLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "ret-2": {"weights": "georsclip-vit-b-32-ret-2"},
        "vit-l-14": {"model": L14, "weights": "georsclip-vit-l-14"},
    }
    published: ClassVar[dict[str, Published]] = {
        "": _row("georsclip"),
        "ret-2": Published(paper="pir2024", table="table2", method="georsclip-ft", variant="train=RET-2"),
    }


class SkyCLIPConfig(CLIPEncoderConfig):
    """Defaults of PIR's Table II: the released ViT-B/32, tested by PIR's authors, so without SkyScript's prefix."""

    # The one released checkpoint with GELU: it began with LAION's weights, not OpenAI's.
    model: str = "ViT-B-32"
    weights: str = "skyclip-vit-b-32"


@method("skyclip")
class SkyCLIP(CLIPEncoder):
    """SkyCLIP (Z. Wang et al., "SkyScript", AAAI 2024) as released, PIR's Table II.

    ``skyscript`` follows the protocol of its authors; their numbers merge identical captions, so the
    duplicate-aware recall alone compares with them.
    """

    Config: ClassVar[type[SkyCLIPConfig]] = SkyCLIPConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "skyscript": {"protocol": "skyscript"},
        "vit-l-14": {"model": L14, "weights": "skyclip-vit-l-14"},
    }
    published: ClassVar[dict[str, Published]] = {"": _row("skyclip"), "vit-l-14": _row("skyclip", "ViT-L")}


class CLIPTrainingConfig(CLIPEncoderConfig, TrainingConfig):
    """Architecture, weights, protocol, and the course of training."""

    decays: Literal["all", "matrices"] = "matrices"
    clip_norm: float | None = None


class CLIPTuningConfig(CLIPTrainingConfig):
    """Defaults of PIR, section V-C, fine-tuning of its CLIP; rate and decay are those of its public code."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(512, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.5, ge=0)
    schedule: Literal["step", "linear", "cosine", "plateau"] = "linear"
    warmup: float = Field(0.1, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "randaugment"


POSITIVES = "captions of one image as positives of each other; in CLIP's loss they are negatives"


class TrainedCLIP(CLIPEncoder):
    """Both towers and the temperature learn; the latter starts at that of the weights.

    The loss is CLIP's symmetric InfoNCE, with the captions of one image as positives of each other (PIR, Eq. 15) where
    CLIP's own treats them as negatives. Weight decay applies to matrices alone, as in open_clip.
    ``freeze_backbone`` keeps the image tower fixed and computes its embeddings once.
    """

    Config: ClassVar[type[CLIPTrainingConfig]] = CLIPTrainingConfig
    config: CLIPTrainingConfig
    trainable = True

    def __init__(self, config: CLIPTrainingConfig):
        super().__init__(config)
        self.log_temperature = nn.Parameter(-self.text.logit_scale.detach().reshape(()))
        del self.text.logit_scale

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 15 of PIR."""
        images, texts = self.encode_images(batch.images), self.encode_texts(batch.tokens)
        return self.total(contrastive=self.contrast(images, texts, batch.positives))

    def contrast(self, images: Tensor, texts: Tensor, positives: Tensor) -> Tensor:
        """Eq. 15 of embeddings [B, D], with a temperature no lower than its minimum."""
        with torch.no_grad():
            self.log_temperature.clamp_(min=math.log(LEAST_TEMPERATURE))
        return contrastive_loss((images @ texts.t()).float(), positives, self.log_temperature.exp())


@method("clip-ft")
class CLIPFT(TrainedCLIP):
    """CLIP-FT of PIR (J. Pan et al., 2024), Table II, which is the CLIP-baseline of its Table III.

    PIR states no recipe for this row. The second stage of its own model is used, from which the baseline differs only
    in modules and loss. Loss: its Eq. 15, starting at CLIP's learned temperature.
    """

    Config: ClassVar[type[CLIPTuningConfig]] = CLIPTuningConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip-ft", backbone="ViT-B / Transformer"),
    }

    @property
    def departures(self) -> list[str]:
        """The unknown recipe."""
        recipe = "the recipe of PIR-CLIP's second stage; the paper states none for this row"
        return [*super().departures, POSITIVES, recipe]


class GeoRSCLIPFTConfig(CLIPTrainingConfig):
    """Defaults of its authors' fine-tuning. Their 100 steps of warm-up are a fifth of seven epochs on RSICD, and two
    fifths on RSITMD."""

    weights: str = "georsclip-vit-b-32"
    epochs: int = Field(7, ge=1)
    batch_size: int = Field(600, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(5e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.5, ge=0)
    schedule: Literal["step", "linear", "cosine", "plateau"] = "cosine"
    warmup: float = Field(0.2, ge=0, lt=1)
    clip_norm: float | None = Field(50.0, gt=0)


@method("georsclip-ft")
class GeoRSCLIPFT(TrainedCLIP):
    """GeoRSCLIP-FT (Z. Zhang et al., "RS5M and GeoRSCLIP", IEEE TGRS 2024), PIR's Table II.

    The known parts of the recipe are rate, decay, batch, epochs, warm-up and the norm that gradients are clipped to;
    schedule, betas and loss are CLIP's (A. Radford et al., ICML 2021, section 2.5), the augmentation is the
    benchmark's. The row on RET-2 is ``georsclip@ret-2``, its authors' own weights.
    """

    Config: ClassVar[type[GeoRSCLIPFTConfig]] = GeoRSCLIPFTConfig
    of_dataset: ClassVar[dict[str, dict[str, Any]]] = {"rsitmd": {"warmup": 0.4}}
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="georsclip-ft", variant="train=own"),
    }

    @property
    def departures(self) -> list[str]:
        """The unknown parts of the recipe."""
        unknown = "augmentation of the benchmark, schedule of CLIP; the authors' are not known"
        return [*super().departures, POSITIVES, unknown]
