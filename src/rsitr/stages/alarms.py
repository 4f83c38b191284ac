"""Alarms on a training that learns nothing: embeddings that are one point, and a contrastive loss that stays at chance.

Such a cell ends in numbers that look like those of a weak method, so it fails instead, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rsitr.errors import TrainingDiverged
from rsitr.records.cell import Epoch

COLLAPSED, COLLAPSED_EPOCHS = 0.999, 3
"""Mean cosine of different images above which all are one point, and for how many epochs in a row."""
COLLAPSED_TEXTS = 0.9999
"""The same of texts, which short training brings apart more slowly."""
AT_CHANCE = 0.005
"""How close to ln B, relatively, a contrastive loss over B pairs is chance. It begins above and falls past it."""
CONTRASTIVE = "contrastive"
"""The task whose loss is an InfoNCE over the batch (``Method.total``)."""


def check(history: Sequence[Epoch], batch: int) -> None:
    """Raise ``TrainingDiverged`` where the latest epochs, trained in batches of ``batch``, have learned nothing."""
    recent = history[-COLLAPSED_EPOCHS:]
    if len(recent) < COLLAPSED_EPOCHS:
        return
    for what, limit, cosines in (
        ("images", COLLAPSED, [epoch.image_cosine for epoch in recent]),
        ("texts", COLLAPSED_TEXTS, [epoch.text_cosine or 0.0 for epoch in recent]),
    ):
        if min(cosines) > limit:
            raise TrainingDiverged(
                f"all {what} have had one embedding for {COLLAPSED_EPOCHS} epochs (mean cosine {cosines[-1]:.4f}): "
                "lower learning_rate, raise batch_size, or train on all negatives"
            )
    losses, chance = [epoch.tasks.get(CONTRASTIVE, 0.0) for epoch in recent], math.log(batch)
    if all(abs(loss - chance) < AT_CHANCE * chance for loss in losses):
        raise TrainingDiverged(
            f"the contrastive loss has stayed at chance for {COLLAPSED_EPOCHS} epochs ({losses[-1]:.4f}, ln {batch} is "
            f"{chance:.4f}): raise learning_rate, or see whether an encoder that stays fixed tells its inputs apart"
        )
