"""How filters learn from an expensive scorer: the loss that MTGFE's retrieval filter and the dual encoder share.

MTGFE (2023), section 3.4: the divergence from the teacher's scores, and .2 of the cross-entropy with the truth.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import Batch
from rsitr.methods.distillation import DistillationConfig
from rsitr.methods.dual_encoder import DualEncoderConfig
from rsitr.nn.losses import contrastive_loss, distillation_loss
from rsitr.nn.retrieval_filter import pair_divergence, pair_entropy


class FilterConfig(DualEncoderConfig, DistillationConfig):
    """MTGFE's encoders, and the training of its section 4.5: batches of 128, 30 epochs.

    A teacher that interacts scores all pairs of a batch in every step, which takes a GPU no time; on a laptop keep the
    batch small (16), since the cost of a step grows with its square.
    """

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=2)
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    schedule: Literal["step", "linear", "cosine"] = "cosine"
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "none"
    """The teacher sees images as they are, and scores what it sees."""
    image_backbone: str = "vit_base_patch16_224"
    image_pool: Literal["mean", "first"] = "first"
    text_encoder: Literal["gru", "bigru", "transformer"] = "transformer"
    text_weights: str = "google-bert/bert-base-uncased"
    teacher: str = "mtgfe"
    """The expensive scorer, with its variant, of the same experiment. Empty for learning from the truth alone."""
    distillation_temperature: float = Field(1.0, gt=0)
    """Divisor that turns the teacher's scores into log-odds of a match or logits: far below 1 for cosines."""
    truth: float = Field(0.2, ge=0)
    """Weight of the cross-entropy with the truth, next to the divergence: alpha of Eq. 11."""
    compare: Literal["pairs", "lists"] = "pairs"
    """``pairs``: match or no match of each pair of the batch (Eqs. 9 and 10), for teachers whose score is the log-odds
    of a match. ``lists``: which caption an image has and which image a caption has, for any teacher."""


def filter_loss(scores: Tensor, batch: Batch, config: FilterConfig, shift: Tensor | float = 0.0) -> Tensor:
    """Eq. 11 over a batch; ``scores`` [B, B] are logits, to which ``shift`` is added where pairs are compared."""
    scores = scores.float()
    if config.compare == "pairs":
        truth = pair_entropy(scores + shift, batch.image_ids)
    else:
        truth = contrastive_loss(scores, batch.image_ids, scores.new_ones(()))
    if not config.teacher:
        return truth
    assert batch.teacher is not None
    teacher = batch.teacher / config.distillation_temperature
    pairs = config.compare == "pairs"
    soft = pair_divergence(scores + shift, teacher) if pairs else distillation_loss(scores, teacher, 1.0)
    return config.distillation * soft + config.truth * truth
