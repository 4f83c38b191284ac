"""The frame of the CLIP methods that are trained on the dataset itself."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rsitr.methods.base import Batch, Optimizer, TrainingConfig
from rsitr.methods.clip_encoder import CLIPEncoder, CLIPEncoderConfig
from rsitr.nn.losses import contrastive_loss

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
