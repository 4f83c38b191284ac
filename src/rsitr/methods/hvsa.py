"""HVSA: key-entity attention on the image; alignment from easy to hard and uniformity on the unit hypersphere."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, method, token_images
from rsitr.methods.dual_encoder import SAME_IMAGE, DualEncoder, DualEncoderConfig
from rsitr.nn.text import TextEncoder
from rsitr.records.cell import Published

SMALLEST = 1e-9
"""Added to a divisor."""


class KeyEntityAttention(nn.Module):
    """HVSA's KEA (W. Zhang et al., IEEE TGRS 2023), as in its authors' code: external attention (M.-H. Guo et al.,
    2021) to ``entities`` keys, in a residual block.

    With keys K and values V of the memory, both learned: A = softmax over places of K W x, each place divided by its
    sum over entities; y = ReLU(x + norm(U V A)). V starts as the transpose of K.

    There is nothing between W and K or V and U, so they are multiplied with each other before they meet the tokens.
    The bias of W, which the authors' code has, is the same for all places, so the softmax ignores it.
    """

    def __init__(self, channels: int, entities: int):
        super().__init__()
        self.project = nn.Linear(channels, channels, bias=False)
        self.keys = nn.Linear(channels, entities, bias=False)
        self.values = nn.Linear(entities, channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)
        with torch.no_grad():
            self.values.weight.copy_(self.keys.weight.t())

    def attention(self, tokens: Tensor) -> Tensor:
        """A, [B, N, entities]; each place sums to one."""
        scores = F.linear(tokens, self.keys.weight @ self.project.weight).softmax(1)
        return scores / (scores.sum(2, keepdim=True) + SMALLEST)

    def forward(self, tokens: Tensor) -> Tensor:
        """y [B, N, C] of tokens x [B, N, C]."""
        found = F.linear(self.attention(tokens), self.out.weight @ self.values.weight)
        return F.relu(tokens + self.norm(found.flatten(0, 1)).view_as(tokens))


EVERY = 5
"""Uniformity is that of every fifth image of a batch."""


def alignment_loss(scores: Tensor, positives: Tensor, margin: float, difficulty: float) -> Tensor:
    """Adaptive alignment: hinge losses c of all negatives in both directions, each times exp(-``difficulty`` c).

    ``scores`` [B, B]: image i against caption j. The sum is divided by B^2. A pair far on the wrong side of the margin
    weighs little, so training goes from easy to hard as c falls.
    """
    positive = scores.diagonal()
    hinges = [margin + scores - positive[:, None], margin + scores - positive[None, :]]
    costs = torch.stack(hinges).clamp(min=0).masked_fill(positives, 0)
    return (costs * (-difficulty * costs).exp()).sum() / scores.numel()


def uniformity_loss(embeddings: Tensor, scale: float) -> Tensor:
    """Mean over pairs of exp(-``scale`` |x_i - x_j|^2), zero without a pair.

    x is every fifth of the embeddings [B, D] of unit length. T. Wang, P. Isola (ICML 2020, section 4.1) take the
    logarithm of it.
    """
    some = embeddings[::EVERY]
    if len(some) < 2:
        return embeddings.new_zeros(())
    return (-scale * F.pdist(some.float()).square()).exp().mean()


class LossWeights(nn.Module):
    """A network that weights losses: their sum, with weights that are a softmax of its outputs for them."""

    def __init__(self, losses: int):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(losses, 64, bias=False),
            nn.PReLU(),
            nn.Linear(64, 128, bias=False),
            nn.PReLU(),
            nn.Linear(128, losses, bias=False),
            nn.Softmax(0),
        )

    def forward(self, losses: Tensor) -> Tensor:
        """Scalar, of losses [N]."""
        return (self.network(losses) * losses).sum()


class HVSAConfig(DualEncoderConfig):
    """Defaults of the options of the authors' code for RSICD; on RSITMD the learning rate is 5e-4."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(256, ge=2)
    clip_norm: float | None = None
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    step_epochs: int = Field(20, ge=1)
    warmup: float = Field(0.2, ge=0, lt=1)
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "rotate-crop"
    image_size: int = Field(256, ge=16)
    text_width: int = Field(2400, ge=1)
    width: int = Field(512, ge=1)
    dropout: float = Field(0.25, ge=0, lt=1)
    """Of a GRU's word vectors."""
    entities: int = Field(64, ge=1)
    """That the attention knows."""
    margin: float = Field(0.2, gt=0)
    difficulty: float = Field(0.5, ge=0)
    """How fast the weight of a pair falls with its hinge loss; 0 for the same weight."""
    uniformity: float = Field(2.0, gt=0)
    """Factor of the squared distance between two images."""


@method("hvsa")
class HVSA(DualEncoder):
    """HVSA (W. Zhang et al., "Hypersphere-Based Remote Sensing Cross-Modal Text-Image Retrieval via Curriculum
    Learning", IEEE TGRS 2023), as in its authors' code; its row is that of PIR's Table I.

    Image: the last map of ResNet-18, key-entity attention, mean, linear. Text: linear and ReLU. Cosine similarity. Two
    losses, adaptive alignment and the uniformity of the images, are weighted by a network that learns with the rest.

    The paper's text vectors are skip-thoughts of 2400 dimensions, which are unavailable; the last state of a GRU of
    that width replaces them. On RSICD, PIR's Table I prints mR 20.61, SWAN's; the six recalls next to it give 20.16.
    """

    Config: ClassVar[type[HVSAConfig]] = HVSAConfig
    config: HVSAConfig
    of_dataset: ClassVar[dict[str, dict[str, Any]]] = {"rsitmd": {"learning_rate": 5e-4}}
    published: ClassVar[dict[str, Published]] = {"": Published(paper="pir2024", table="table1", method="hvsa")}

    def __init__(self, config: HVSAConfig, text: TextEncoder):
        super().__init__(config, text)
        self.attention = KeyEntityAttention(self.backbone.width, config.entities)
        self.text_head = nn.Sequential(nn.Linear(text.width, config.width), nn.ReLU())
        self.loss_weights = LossWeights(2)

    @property
    def departures(self) -> list[str]:
        """From the authors' code, and from what Table I of PIR prints."""
        return [
            *super().departures,
            SAME_IMAGE,
            "text from words instead of skip-thoughts",
            "ResNet-18, as in the authors' code; PIR's Table I prints ResNet-50",
            "a warm-up in steps; the authors' code raises the rate once an epoch",
        ]

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.image_head(self.attention(token_images(images, self.backbone)).mean(1)), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Adaptive alignment and uniformity, weighted."""
        images = self.encode_images(batch.images)
        scores = (images @ self.encode_texts(batch.tokens).t()).float()
        aligned = alignment_loss(scores, batch.positives, self.config.margin, self.config.difficulty)
        return self.loss_weights(torch.stack([aligned, uniformity_loss(images, self.config.uniformity)]))
