"""Ranking and contrastive losses over a batch.

``positives`` is a symmetric bool [B, B]: the pairs that are never negatives, captions of the same image among them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CERTAIN = 1e-6
"""How close a probability may come to 0 or 1 before its logarithm is taken."""


def triplet_loss(
    scores: Tensor, positives: Tensor, margin: float | Tensor, negatives: Literal["hardest", "most-similar", "all"]
) -> Tensor:
    """Hinge loss in both directions, averaged over the batch.

    ``scores`` [B, B]: image i against caption j; the diagonal holds the matching pairs. ``hardest`` keeps the largest
    violation of each query (VSE++, Faghri et al., BMVC 2018, Eq. 6), ``most-similar`` that of the negative with the
    highest score, ``all`` sums them (Eq. 5). The first two differ only where ``margin`` is a matrix [B, B].
    """
    positive = scores.diagonal()
    to_text = (margin + scores - positive[:, None]).clamp(min=0).masked_fill(positives, 0)
    to_image = (margin + scores - positive[None, :]).clamp(min=0).masked_fill(positives, 0)
    if negatives == "hardest":
        return (to_text.amax(1) + to_image.amax(0)).mean()
    if negatives == "most-similar":
        nearest = scores.masked_fill(positives, -torch.inf)
        text, image = nearest.argmax(1, keepdim=True), nearest.argmax(0, keepdim=True)
        return (to_text.gather(1, text).squeeze(1) + to_image.gather(0, image).squeeze(0)).mean()
    return (to_text.sum(1) + to_image.sum(0)).mean()


def matching_loss(matches: Tensor, positives: Tensor, negatives: Literal["hardest", "all"]) -> Tensor:
    """Binary cross-entropy of probabilities of a match in both directions, averaged over the batch.

    ``matches`` [B, B]: image i against caption j; the diagonal holds the matching pairs and counts in each direction.
    ``hardest`` takes the negative of each query that looks most like a match (CAMP, Wang et al., ICCV 2019, section
    3.4, L_BCE-h), ``all`` the mean over its negatives. Probabilities are kept ``CERTAIN`` away from 0 and 1.
    """
    matches = matches.clamp(CERTAIN, 1 - CERTAIN)
    missed = -matches.diagonal().log()
    mistaken = -(1 - matches).log().masked_fill(positives, 0)
    if negatives == "hardest":
        return (2 * missed + mistaken.amax(1) + mistaken.amax(0)).mean()
    # Symmetric, so that one count serves both directions.
    count = (~positives).sum(1).clamp(min=1)
    return (2 * missed + (mistaken.sum(1) + mistaken.sum(0)) / count).mean()


def contrastive_loss(scores: Tensor, positives: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric InfoNCE (PIR, section IV-D1, Eq. 15), its targets uniform over the positives of each query.

    ``scores`` [B, B] are cosines; ``temperature`` is the positive scalar they are divided by.
    """
    logits = scores / temperature
    targets = positives.to(logits.dtype)
    targets = targets / targets.sum(1, keepdim=True)
    to_text = -(targets * logits.log_softmax(1)).sum(1).mean()
    to_image = -(targets * logits.t().log_softmax(1)).sum(1).mean()
    return (to_text + to_image) / 2


def distillation_loss(scores: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far a student's distributions are from its teacher's (G. Hinton et al., 2015, section 2), in nats.

    ``scores`` and ``teacher`` [B, B]: image i against caption j. The softmax of a row is a distribution over captions
    for an image, that of a column over images for a caption; the Kullback-Leibler divergences of the student's from the
    teacher's are averaged over the queries of each direction, then over the two. Scores are divided by ``temperature``.
    """
    student, target = scores / temperature, teacher / temperature
    to_text = F.kl_div(student.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)
    to_image = F.kl_div(student.t().log_softmax(1), target.t().log_softmax(1), reduction="batchmean", log_target=True)
    return (to_text + to_image) / 2


def collapse(embeddings: Tensor) -> float:
    """Mean cosine between different rows of embeddings [N, D], of fragments [N, M, D] between their means.

    1 means that all of them are the same point.
    """
    directions = F.normalize(embeddings.mean(1) if embeddings.ndim == 3 else embeddings, dim=1)
    total = directions.sum(0)
    count = len(embeddings)
    return float((total @ total - count) / max(count * (count - 1), 1))


TemperatureForm = Literal["logarithm", "raw"]
LEAST_TEMPERATURE = 1e-3
"""A raw temperature is kept above it, or a step could make it negative."""


class Temperature(nn.Module):
    """A learned temperature, kept as its logarithm or as the number itself (``raw``).

    A step of Adam changes a parameter by about the learning rate, so a logarithm moves by a share of the temperature
    and a raw one by an amount: at a temperature of .07, 1 / .07 = 14 times faster.
    """

    def __init__(self, initial: float, form: TemperatureForm):
        super().__init__()
        self.form = form
        start = torch.tensor(float(initial))
        self.value = nn.Parameter(start.log() if form == "logarithm" else start)

    def forward(self) -> Tensor:
        """The positive scalar that cosines are divided by."""
        if self.form == "logarithm":
            return self.value.exp()
        with torch.no_grad():
            self.value.clamp_(min=LEAST_TEMPERATURE)
        return self.value


def temperature_parameter(initial: float) -> torch.nn.Parameter:
    """A learnable temperature, kept as its logarithm so that it stays positive."""
    return torch.nn.Parameter(torch.tensor(float(initial)).log())
