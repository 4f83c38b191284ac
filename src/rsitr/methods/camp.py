"""What ``camp-triplet`` and ``camp-bce`` share: regions and words, message passing between them, staged training."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from rsitr.methods.base import Batch, Corpus, Phase, token_images
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.nn.blocks import score_in_blocks
from rsitr.nn.message_passing import MessagePassing
from rsitr.nn.message_passing_released import ReleasedMessagePassing
from rsitr.nn.text import TextEncoder
from rsitr.records.cell import Published

STAGES = (
    Phase(epochs=110, optimizer="adam", learning_rate=2e-4),
    Phase(epochs=65, optimizer="sgd", learning_rate=0.01, learns=("passing.fusion.",), from_best=True),
    Phase(epochs=65, optimizer="sgd", learning_rate=0.01, from_best=True),
)
"""Attention; gates, with the attention fixed; everything. The first two are as long as in the released configurations,
which state only a limit of 300 for the third."""
VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"form": "released"},
    # One token leaves the attention nothing to learn: no stage of its own.
    "single-token": {"form": "released", "regions": "pooled", "phases": ()},
}
KEYWORDS_ROW = Published(paper="amfmn2022", table="table3", method="camp")
"""The table does not say which loss."""


class CAMPConfig(DualEncoderConfig):
    """Defaults of the authors' paper and configurations, with the ResNet-18 of the remote sensing comparisons."""

    phases: tuple[Phase, ...] = STAGES
    """Of several phases, the first trains the attention: its score is the cosine of the messages."""
    step_epochs: int = Field(50, ge=1)
    image_size: int = Field(256, ge=16)
    text_encoder: Literal["gru", "bigru"] = "bigru"  # type: ignore[assignment]
    text_pool: Literal["last", "mean"] = "mean"
    """Of a GRU, where ``regions`` is ``pooled``."""
    min_count: int = Field(4, ge=1)
    regions: Literal["grid", "pooled"] = "grid"
    """All tokens of the backbone and all words, or one pooled token of each."""
    form: Literal["paper", "released"] = "paper"
    """Of message passing: that of the paper, or that of its code (``rsitr.nn.message_passing_released``)."""

    def fuses(self, epoch: int) -> bool:
        """Whether an epoch (0-based) trains the fused score."""
        return len(self.phases) < 2 or epoch >= self.phases[0].epochs


class CAMP(DualEncoder):
    """Regions [B, N, width] and words [B, L, width], scored by the messages that they pass each other."""

    Config: ClassVar[type[CAMPConfig]] = CAMPConfig
    config: CAMPConfig
    fuses: Tensor
    """Boolean, kept in the checkpoint: whether ``score`` is the fused one."""

    def __init__(self, config: CAMPConfig, text: TextEncoder):
        super().__init__(config, text)
        self.passing = (MessagePassing if config.form == "paper" else ReleasedMessagePassing)(config.width)
        self.register_buffer("fuses", torch.tensor(config.fuses(0)))

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The GRU's states are the words, so they have the width of the regions."""
        return super().build(config.model_copy(update={"text_width": config.width}), corpus)

    def encode_images(self, images: Tensor) -> Tensor:
        """Regions [B, N, width]."""
        if self.config.regions == "pooled":
            return self.image_head(self.pool_image(images))[:, None]
        return self.image_head(self.dropout(token_images(images, self.backbone)))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Words [B, L, width]; zero where there is none."""
        states = self.text(tokens)
        return self.text.pool(states, tokens)[:, None] if self.config.regions == "pooled" else states

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Log-odds [I, C] of a match, which rank as m(I, T) does, with fewer ties; the cosine in the first phase."""
        return self.passing(images, texts, fuse=bool(self.fuses)).float()

    def matches(self, batch: Batch) -> Tensor:
        """m(I, T) [B, B] of section 3.4; the cosine in the first phase."""
        self.fuses.fill_(self.config.fuses(batch.epoch))
        scores = score_in_blocks(self.score, self.encode_images(batch.images), self.encode_texts(batch.tokens))
        return scores.sigmoid() if self.fuses else scores
