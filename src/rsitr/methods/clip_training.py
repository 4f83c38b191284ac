"""The frame of those of the CLIP family that are trained on the dataset itself."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from rsitr.methods.base import Batch, TrainingConfig
from rsitr.methods.clip_encoder import CLIPEncoder, CLIPEncoderConfig
from rsitr.nn.losses import contrastive_loss

LEAST_TEMPERATURE = 0.01
"""CLIP, section 2.5: cosines are multiplied by 100 at most."""


class CLIPTrainingConfig(CLIPEncoderConfig, TrainingConfig):
    """Architecture, weights, protocol, and the course of training."""


class TrainedCLIP(CLIPEncoder):
    """Both towers and the temperature learn, from the temperature that the weights have.

    The loss is CLIP's symmetric InfoNCE, with the captions of one image as positives of each other (PIR, Eq. 15) where
    CLIP's own takes them for negatives. Weight decay applies to all parameters; open_clip spares gains and biases.
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
        with torch.no_grad():
            self.log_temperature.clamp_(min=math.log(LEAST_TEMPERATURE))
        scores = (self.encode_images(batch.images) @ self.encode_texts(batch.tokens).t()).float()
        return contrastive_loss(scores, batch.image_ids, self.log_temperature.exp())
