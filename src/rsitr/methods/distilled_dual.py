"""A dual encoder as a filter: taught by an expensive scorer, as MTGFE's filter is, but compared by dot product."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, method
from rsitr.methods.dual_encoder import DualEncoder
from rsitr.methods.filter_training import FilterConfig, filter_loss
from rsitr.nn.losses import temperature_parameter
from rsitr.nn.text import TextEncoder


class DistilledDualConfig(FilterConfig):
    """Like the retrieval filter, but comparing lists instead of pairs: a cosine is not the log-odds of a match."""

    compare: Literal["pairs", "lists"] = "lists"
    width: int = Field(512, ge=1)
    """Of the embedding."""
    temperature: float = Field(0.07, gt=0)
    """Initial; it is learned."""


@method("distilled-dual")
class DistilledDual(DualEncoder):
    """Our alternative to the retrieval filter of MTGFE (2023), section 3.4: same teacher, same losses (Eqs. 9-11), no
    pass over pairs at all.

    Each tower is a backbone and one linear layer, L2, as in VSE (PIR, 2024, section V-A); the cosine, divided by a
    learned temperature, is the student's logit. Where pairs are compared (``compare: pairs``), a learned number is
    added to make it the log-odds of a match. A shortlist is then a search for the nearest embeddings, which any index
    can do.
    """

    Config: ClassVar[type[DistilledDualConfig]] = DistilledDualConfig
    config: DistilledDualConfig

    def __init__(self, config: DistilledDualConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width)
        self.log_temperature = temperature_parameter(config.temperature)
        if config.compare == "pairs":
            # In a batch one caption per image matches: a student that knows nothing starts with these odds.
            self.shift = nn.Parameter(torch.tensor(-math.log(config.batch_size)))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text_head(self.text.pool(self.text(tokens), tokens)), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 11 over the batch, of lists or of pairs."""
        cosines = (self.encode_images(batch.images) @ self.encode_texts(batch.tokens).t()).float()
        shift = self.shift if self.config.compare == "pairs" else 0.0
        return filter_loss(cosines / self.log_temperature.exp(), batch, self.config, shift)
