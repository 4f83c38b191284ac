"""EnVLF: two aligned encoders, a shallow vision transformer between them instead of a detector, and fusion."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.methods.base import Batch, method
from rsitr.methods.fusion_encoder import FusionConfig, FusionMethod
from rsitr.nn.bert_halves import Halves
from rsitr.nn.fusion_tasks import WordHead
from rsitr.nn.losses import contrastive_loss, temperature_parameter
from rsitr.nn.text import mean_state
from rsitr.nn.token_sequence import TransformerLayers, image_sequence


class EnVLFConfig(FusionConfig):
    """All ours, with MTGFE's training: the abstract states no settings."""

    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "randaugment"
    image_backbone: str = "resnet50"
    image_size: int = Field(256, ge=16)
    image_pool: Literal["mean", "first"] = "mean"
    """What the state of the whole image starts as in the vision transformer: the mean of the tokens, or the first of
    them."""
    local_layers: int = Field(2, ge=1)
    """Of the vision transformer."""
    heads: int = Field(8, ge=1)
    """Of the vision transformer."""
    local_dropout: float = Field(0.1, ge=0, lt=1)
    """Of the vision transformer."""
    width: int = Field(256, ge=1)
    """Of the space in which images and captions are aligned."""
    temperature: float = Field(0.07, gt=0)
    """Of the alignment; initial, it is learned."""


@method("envlf")
class EnVLF(FusionMethod):
    """EnVLF (L. He, S. Liu, R. An, Y. Zhuo, J. Tao, "An End-to-End Framework Based on Vision-Language Fusion for Remote
    Sensing Cross-Modal Text-Image Retrieval", Mathematics, 2023), of which only the abstract was available.

    The abstract fixes: an encoder for images and one for texts; a vision transformer module for local features of the
    image instead of a detector, aligned with the text; a multimodal encoder that ranks the top results of retrieval;
    all of it trained end to end on several tasks. The other choices are ours:

    - images: a ResNet-50 whose map is the input of the vision transformer, two plain layers without positions of their
      own (nn.token_sequence); the state of the whole comes first, then the local ones;
    - texts and multimodal encoder: the halves of a BERT, as MTGFE has them (X. Zhang et al., 2023, section 3.1.2, 3.2);
    - alignment: symmetric InfoNCE (PIR, Eq. 15) on one vector of each side through a linear layer: the first state, or
      the mean of the words' states where the encoder of texts is frozen (its [CLS] has not learned to sum up);
    - tasks, with equal weights: alignment, image-text matching, masked words (MTGFE, section 3.3); negatives for
      matching are drawn in proportion to how similar the alignment finds them, as a re-ranker would meet them.

    The record of a cell scores all pairs with the multimodal encoder. The paper's retrieval, which re-ranks the top
    results, is two-stage retrieval with this method as scorer and as filter: shortlists come from the alignment.
    """

    Config: ClassVar[type[EnVLFConfig]] = EnVLFConfig
    config: EnVLFConfig

    def __init__(self, config: EnVLFConfig, bert: Halves):
        super().__init__(config, bert)
        width = self.shape.hidden_size
        self.local = TransformerLayers(width, config.local_layers, config.heads, config.local_dropout)
        self.image_align, self.text_align = (nn.Linear(width, config.width) for _ in range(2))
        self.log_temperature = temperature_parameter(config.temperature)
        self.words = WordHead(self.shape)

    @property
    def departures(self) -> list[str]:
        """The method is known only from its abstract."""
        return [*super().departures, "built from the abstract alone"]

    def encode_images(self, images: Tensor) -> Tensor:
        """States [B, N, D] of the vision transformer, that of the whole image first."""
        tokens = super().encode_images(images)
        return self.local(image_sequence(tokens, self.config.image_pool, nn.Identity()))

    def filter_images(self, images: Tensor) -> Tensor:
        """Where encoded images are in the space of the alignment, [I, width], length one."""
        return F.normalize(self.image_align(images[:, 0]), dim=1)

    def filter_texts(self, texts: Tensor) -> Tensor:
        """Where encoded texts are in it, [C, width]."""
        captions = mean_state(texts, texts.any(2)) if self.config.freeze_text else texts[:, 0]
        return F.normalize(self.text_align(captions), dim=1)

    def align(self, images: Tensor, texts: Tensor) -> Tensor:
        """Cosines [I, C] of images and texts from their encodings, without the multimodal encoder."""
        return self.filter_images(images) @ self.filter_texts(texts).t()

    def loss(self, batch: Batch) -> Tensor:
        """The sum of alignment, matching and masked words."""
        images, texts = self.encode_images(batch.images), self.encode_texts(batch.tokens)
        scores, temperature = self.align(images, texts).float(), self.log_temperature.exp()
        memory, pairs = self.fusion.memory(images), self.draw(batch, scores / temperature)
        matching = self.matching.loss(self.fuse(texts, batch.tokens, memory, pairs), pairs.match)
        words = self.word_loss(batch.tokens, memory)
        contrastive = contrastive_loss(scores, batch.positives, temperature)
        return self.total(contrastive=contrastive, matching=matching, words=words)
