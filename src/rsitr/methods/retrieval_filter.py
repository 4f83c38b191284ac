"""MTGFE's retrieval filter: three layers on the class features of an image and a text, taught by the fusion encoder."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from rsitr.methods.base import Batch, method
from rsitr.methods.dual_encoder import DualEncoder
from rsitr.methods.filter_training import FilterConfig, filter_loss
from rsitr.nn.retrieval_filter import PairMLP
from rsitr.nn.text import TextEncoder


class RetrievalFilterConfig(FilterConfig):
    """Defaults of section 4.5; the paper does not say how wide the hidden layers are."""

    width: int = Field(256, ge=1)
    """Of both hidden layers."""


@method("retrieval-filter")
class RetrievalFilter(DualEncoder):
    """Retrieval filter of MTGFE ("A Fusion Encoder with Multi-Task Guided for Cross-Modal Text-Image Retrieval in
    Remote Sensing", 2023): section 3.4, Eqs. 9-11, Fig. 5; section 4.5 and Table 4 for its use (``two_stage``).

    Input: v_cls, the class token of the image encoder, and w_cls, that of the text encoder, side by side; a mean-pooled
    backbone or a GRU gives its pooled vector. Three linear layers, the first two with batch norm and ReLU, two outputs;
    the score is the log-odds of a match. The first layer is the sum of an image part and a text part; these are the
    encodings of the two sides, so a pair costs an addition and two small products.

    In the paper the student has the unimodal encoders of its teacher. Here they are its own, of the same kind: the same
    ones where both keep pretrained encoders frozen.
    """

    Config: ClassVar[type[RetrievalFilterConfig]] = RetrievalFilterConfig
    config: RetrievalFilterConfig

    def __init__(self, config: RetrievalFilterConfig, text: TextEncoder):
        super().__init__(config, text)
        self.text_head = nn.Linear(text.width, config.width, bias=False)
        self.pair = PairMLP(config.width)

    def encode_images(self, images: Tensor) -> Tensor:
        """The image's part of the first layer [B, width]."""
        return self.image_head(self.pool_image(images))

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """The text's part of the first layer [B, width]."""
        return self.text_head(self.text.pool(self.text(tokens), tokens))

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Log-odds of a match [I, C]."""
        return self.pair(images, texts).float()

    def pair_numbers(self, fragments: int, words: int, width: int) -> int:
        """Both hidden layers."""
        return 2 * width

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 11 over all pairs of the batch."""
        scores = self.score(self.encode_images(batch.images), self.encode_texts(batch.tokens))
        return filter_loss(scores, batch, self.config)
