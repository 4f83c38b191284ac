"""The triplet loss of a method as params.yaml sets it: which negatives count, and a fixed or a dynamic margin."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from rsitr.captions.margin import SimilarityName, TextSimilarity, margin, weights_of
from rsitr.captions.queries import parts
from rsitr.captions.similarity import CaptionSet
from rsitr.methods.base import Batch, Corpus, MethodConfig
from rsitr.nn.losses import triplet_loss


class TripletConfig(MethodConfig):
    """What a method with a triplet loss lets params.yaml set."""

    margin: float = Field(0.2, gt=0)
    """The largest dynamic margin, gamma of AMFMN's Eq. 29."""
    margin_type: Literal["fixed", "dynamic"] = "fixed"
    """``dynamic``: a negative pair whose caption resembles the image's own captions has a smaller margin."""
    beta: float = 5.0
    """Of a dynamic margin: how sharply it falls near S = 1."""
    prior: SimilarityName = "paper"
    """The prior similarity S that a dynamic margin depends on."""
    prior_bleu: float = Field(0.5, ge=0, le=1)
    """Weight of BLEU-4 in the prior similarity ``paper``; METEOR has the rest."""
    negatives: Literal["hardest", "most-similar", "all"] = "hardest"
    all_negatives_epochs: int = Field(0, ge=0)
    """Train on all negatives for so many epochs first. With a frozen backbone, whose pooled features are nearly equal,
    the hardest negative alone keeps the loss at its collapsed value, twice the margin."""


class TripletLoss:
    """The loss over batches of a training set. Its prior similarity is prepared at the first batch that needs it."""

    def __init__(self, config: TripletConfig, corpus: Corpus):
        self.config, self.corpus = config, corpus

    def __call__(self, scores: Tensor, batch: Batch) -> Tensor:
        """Scalar loss of ``scores`` [B, B]: image i of the batch against caption j."""
        negatives = "all" if batch.epoch < self.config.all_negatives_epochs else self.config.negatives
        dynamic = self.config.margin_type == "dynamic"
        margins = self.margins(batch).to(scores.device) if dynamic else self.config.margin
        return triplet_loss(scores.float(), batch.positives, margins, negatives)

    def margins(self, batch: Batch) -> Tensor:
        """AMFMN, Eq. 29: float32 [B, B], the margin of image i and caption j by S(caption j, captions of image i)."""
        similarity = self._similarity(batch.captions.cpu().numpy(), batch.image_ids.cpu().numpy())
        return torch.from_numpy(margin(similarity.T, self.config.margin, self.config.beta)).float()

    @cached_property
    def _similarity(self) -> TextSimilarity:
        # Similarity compares sentences; a query of keywords alone has only those.
        sentences = [parts(query)[0] or query for query in self.corpus.captions]
        captions = CaptionSet.of(sentences, self.corpus.image_of)
        weights = weights_of(self.config.prior, self.config.prior_bleu)
        return TextSimilarity(weights, captions, self.corpus.similarity, torch.get_num_threads())
