"""CLIP trained further on the pairs of a dataset, from the weights of OpenAI or of GeoRSCLIP."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rsitr.methods.base import Batch, Optimizer, TrainingConfig, method
from rsitr.methods.clip import CLIPEncoder, CLIPEncoderConfig
from rsitr.nn.losses import contrastive_loss
from rsitr.records.cell import Published

LEAST_TEMPERATURE = 0.01
"""CLIP, section 2.5: cosines are multiplied by 100 at most."""


class CLIPTrainingConfig(CLIPEncoderConfig, TrainingConfig):
    """Architecture, weights, protocol, and the course of training."""


class CLIPTuningConfig(CLIPTrainingConfig):
    """Defaults of PIR, section V-B, fine-tuning of its CLIP; rate and decay are those of its public code."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(512, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(1e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.5, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "linear"
    warmup: float = Field(0.1, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "randaugment"


class TrainedCLIP(CLIPEncoder):
    """Both towers and the temperature learn; the latter starts at that of the weights.

    The loss is CLIP's symmetric InfoNCE, with the captions of one image as positives of each other (PIR, Eq. 15) where
    CLIP's own treats them as negatives. Weight decay applies to all parameters; open_clip exempts gains and biases.
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
        return self.contrast(self.encode_images(batch.images), self.encode_texts(batch.tokens), batch.image_ids)

    def contrast(self, images: Tensor, texts: Tensor, image_ids: Tensor) -> Tensor:
        """Eq. 15 of embeddings [B, D], with a temperature no lower than its minimum."""
        with torch.no_grad():
            self.log_temperature.clamp_(min=math.log(LEAST_TEMPERATURE))
        return contrastive_loss((images @ texts.t()).float(), image_ids, self.log_temperature.exp())


@method("clip-ft")
class CLIPFT(TrainedCLIP):
    """CLIP-FT of PIR (J. Pan et al., 2024), Table II, which is the CLIP-baseline of its Table III.

    PIR states no recipe for this row. The second stage of its own model is used, from which the baseline differs only
    in modules and loss. Loss: its Eq. 15, starting at CLIP's learned temperature.
    """

    Config: ClassVar[type[CLIPTuningConfig]] = CLIPTuningConfig
    config: CLIPTuningConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="clip-ft", backbone="ViT-B / Transformer"),
    }


class GeoRSCLIPFTConfig(CLIPTrainingConfig):
    """Defaults of its authors' fine-tuning. Their 100 steps of warm-up are a fifth of seven epochs on RSICD."""

    weights: str = "georsclip-vit-b-32"
    epochs: int = Field(7, ge=1)
    batch_size: int = Field(600, ge=2)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(5e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.5, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "cosine"
    warmup: float = Field(0.2, ge=0, lt=1)
    clip_norm: float = Field(50.0, gt=0)


@method("georsclip-ft")
class GeoRSCLIPFT(TrainedCLIP):
    """GeoRSCLIP-FT (Z. Zhang et al., "RS5M and GeoRSCLIP", IEEE TGRS 2024), PIR's Table II.

    The known parts of the recipe are rate, decay, batch, epochs, warm-up and the norm that gradients are clipped to;
    schedule, betas and loss are CLIP's (A. Radford et al., ICML 2021, section 2.5), the augmentation is the
    benchmark's. The row on RET-2 is ``georsclip@ret-2``, its authors' own weights.
    """

    Config: ClassVar[type[GeoRSCLIPFTConfig]] = GeoRSCLIPFTConfig
    config: GeoRSCLIPFTConfig
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="pir2024", table="table2", method="georsclip-ft", variant="train=own"),
    }

    @property
    def departures(self) -> list[str]:
        """The unknown parts of the recipe."""
        return [*super().departures, "augmentation and schedule of the benchmark, those of the authors are not known"]
