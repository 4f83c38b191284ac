"""What ``camp-triplet`` and ``camp-bce`` share: regions and words, message passing between them, staged training."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from rsitr.methods.base import Batch, Corpus, Phase, method, those, token_images
from rsitr.methods.camp_message_passing import MessagePassing, ReleasedMessagePassing, score_in_blocks
from rsitr.methods.dual_encoder import SAME_IMAGE, DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.nn.losses import matching_loss
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
"""The table does not say which loss; ``camp-triplet`` claims it."""


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
    """Of message passing: that of the paper, or that of its code (``rsitr.methods.camp_message_passing``)."""

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

    @property
    def departures(self) -> list[str]:
        """From the paper, its authors' configurations and AMFMN's comparison."""
        config, pooled = self.config, self.config.regions == "pooled"
        found = {
            "cells of a feature map stand for the boxes of a detector": not pooled,
            "training of the authors' configurations; AMFMN does not state that of its comparison": True,
            "one stage of training, with Adam": not config.phases,
            "the rate falls every 50 epochs of each stage; in the authors' configurations every 75, 45 and 50": bool(
                config.phases
            ),
            "no weight decay; the authors' SGD has 1e-4": bool(config.phases) and config.weight_decay == 0,
            "random word vectors; the authors' first stage begins with pretrained ones": True,
            "either loss; AMFMN's Table III does not say which": config.query == "keywords",
        }
        return [*super().departures, *those(found)]

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
        fuse = self.config.fuses(batch.epoch)
        self.fuses.fill_(fuse)
        score = partial(self.passing, fuse=fuse)
        scores = score_in_blocks(score, self.encode_images(batch.images), self.encode_texts(batch.tokens)).float()
        return scores.sigmoid() if fuse else scores


TRIPLET_ROW = Published(paper="amfmn2022", table="table2", method="camp-triplet")


class CAMPTripletConfig(CAMPConfig, TripletConfig):
    """What params.yaml may set."""


@method("camp-triplet")
class CAMPTriplet(CAMP):
    """CAMP (Z. Wang et al., ICCV 2019): model of sections 3.1-3.4, with a hinge on the match instead of its own loss.

    The score is that of ``camp-bce``, which says more about it and about the variants. The loss is a hinge on the
    hardest negative of each query (VSE++, Eq. 6), as in the row CAMP-triplet of AMFMN's Table II.
    """

    Config: ClassVar[type[CAMPTripletConfig]] = CAMPTripletConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = VARIANTS
    published: ClassVar[dict[str, Published]] = {"single-token": TRIPLET_ROW, "keywords": KEYWORDS_ROW}

    @property
    def departures(self) -> list[str]:
        """The loss, for the paper."""
        return [*super().departures, "a hinge on the match instead of the cross-entropy, as in AMFMN's Table II"]

    def loss(self, batch: Batch) -> Tensor:
        """The hinge between probabilities of a match."""
        return self.triplet_loss(self.matches(batch), batch)


BCE_ROW = Published(paper="amfmn2022", table="table2", method="camp-bce")


class CAMPBCEConfig(CAMPConfig):
    """What params.yaml may set."""

    negatives: Literal["hardest", "all"] = "hardest"


@method("camp-bce")
class CAMPBCE(CAMP):
    """CAMP (Z. Wang et al., ICCV 2019): messages and gates of sections 3.1-3.3, binary cross-entropy of section 3.4.

    Image: regions, projected. Text: the states of a bidirectional GRU, its directions averaged. For each pair, every
    region hears a mean of the words and every word a mean of the regions; gates decide how much of that is fused into
    the fragment; a perceptron on the summary of both sides gives the probability of a match. Training covers the
    attention alone, whose score is the cosine of what both sides hear, then the gates, then everything (``STAGES``).

    The paper's regions are boxes of a detector; here they are the cells of the backbone's last map. Variant
    ``released`` is the authors' code, which departs from the paper (``rsitr.methods.camp_message_passing``). The row of
    AMFMN's Table II was produced with one pooled token on either side, variant ``single-token``, which alone claims it:
    each attention then has nothing to choose from.
    """

    Config: ClassVar[type[CAMPBCEConfig]] = CAMPBCEConfig
    config: CAMPBCEConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = VARIANTS
    published: ClassVar[dict[str, Published]] = {"single-token": BCE_ROW}

    @property
    def departures(self) -> list[str]:
        """The negatives."""
        return [*super().departures, SAME_IMAGE]

    def loss(self, batch: Batch) -> Tensor:
        """L_BCE-h of section 3.4."""
        return matching_loss(self.matches(batch), batch.positives, self.config.negatives)
