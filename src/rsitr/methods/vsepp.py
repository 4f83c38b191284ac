"""VSE++: a joint embedding trained with the hardest negative of the batch."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rsitr.methods.base import Batch, Corpus, method
from rsitr.methods.dual_encoder import DualEncoder, DualEncoderConfig
from rsitr.methods.triplet import TripletConfig
from rsitr.records.cell import Published


class VSEppConfig(DualEncoderConfig, TripletConfig):
    """Defaults of the authors' paper, with the ResNet-18 that the remote sensing comparisons use."""

    min_count: int = Field(4, ge=1)
    normalize_image_features: bool = True
    """L2 on the pooled features before the projection, and on the embedding after it."""


@method("vse++")
class VSEpp(DualEncoder):
    """VSE++ (F. Faghri, D. Fleet, J. Kiros, S. Fidler, BMVC 2018): sections 3.1-3.3, loss Eq. 6.

    Image: pooled CNN features, L2, linear, L2. Text: word embeddings and a GRU whose last state, L2-normalised, is the
    embedding. The loss is a hinge on the hardest negative of each query.

    The row of the AMFMN paper (Table II) was produced by another form of the method, variant ``amfmn``: image embedding
    not normalised, GRU states averaged over the sentence.
    """

    Config: ClassVar[type[VSEppConfig]] = VSEppConfig
    config: VSEppConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "amfmn": {"normalize_image_features": False, "text_pool": "mean", "image_size": 256},
    }
    published: ClassVar[dict[str, Published]] = {
        "": Published(paper="amfmn2022", table="table2", method="vse++"),
        "amfmn": Published(paper="amfmn2022", table="table2", method="vse++"),
    }

    @classmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The GRU's state is the embedding, so it has the embedding's width."""
        return super().build(config.model_copy(update={"text_width": config.width}), corpus)

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, width]; of unit length unless the variant says otherwise."""
        features = self.pool_image(images)
        if not self.config.normalize_image_features:
            return self.image_head(F.normalize(features, dim=1))
        return F.normalize(self.image_head(F.normalize(features, dim=1)), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, width] of unit length."""
        return F.normalize(self.text.pool(self.text(tokens), tokens), dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 6 over the batch; Eq. 5 in the epochs that the configuration gives it."""
        return self.triplet_loss(self.encode_images(batch.images) @ self.encode_texts(batch.tokens).t(), batch)
