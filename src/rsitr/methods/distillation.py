"""Learning from the scores of another method of the experiment, as params.yaml sets it."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import Batch, MethodConfig
from rsitr.nn.losses import distillation_loss


class DistillationConfig(MethodConfig):
    """What a method that may have a teacher lets params.yaml set."""

    teacher: str = ""
    """A method of the same experiment, perhaps with a variant: its cell of the same dataset and seed is trained first.
    Empty for no teacher."""
    distillation: float = Field(1.0, gt=0)
    """Weight of the divergence from the teacher, next to the loss on the captions themselves."""
    distillation_temperature: float = Field(0.1, gt=0)
    """What the scores of student and teacher are divided by."""


def teacher_tasks(scores: Tensor, batch: Batch, config: DistillationConfig) -> dict[str, Tensor]:
    """The teacher's share of the loss, where the configuration has a teacher; ``scores`` [B, B] as in the batch."""
    if not config.teacher:
        return {}
    assert batch.teacher is not None
    divergence = distillation_loss(scores.float(), batch.teacher, config.distillation_temperature)
    return {"distillation": config.distillation * divergence}
