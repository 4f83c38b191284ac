"""MTGFE: a fusion encoder guided by image-text matching, masked words, and two views of one image."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from rsitr.methods.base import Batch, method, token_images
from rsitr.methods.fusion_encoder import FusionConfig, FusionMethod
from rsitr.nn.bert_halves import Halves
from rsitr.nn.joint_views import ViewHeads, Views
from rsitr.nn.masked_words import WordHead
from rsitr.nn.matching import Pairs, draw_pairs
from rsitr.records.cell import Published


class MTGFEConfig(FusionConfig):
    """Defaults of section 4.2."""

    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "none"
    """In addition to the paper's RandAugment, which the method itself applies to whatever images it gets."""
    image_backbone: str = "deit_base_patch16_224"
    mlm: bool = True
    """Masked language modelling, in addition to image-text matching."""
    mvjrc: bool = True
    """Multi-view joint representations contrast, in addition to image-text matching."""
    views: Literal["pixels", "tokens"] = "pixels"
    """A view of an image is its pixels after RandAugment, or some of the backbone's tokens. With a frozen backbone it
    is always the latter."""
    token_dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the tokens that a view of tokens leaves out."""


def _row(table: str, variant: str = "") -> Published:
    return Published(paper="mtgfe2023", table=table, method="mtgfe", variant=variant)


@method("mtgfe")
class MTGFE(FusionMethod):
    """MTGFE (X. Zhang et al., "A Fusion Encoder with Multi-Task Guided for Cross-Modal Text-Image Retrieval in Remote
    Sensing", 2023): encoders section 3.1, fusion encoder 3.2, tasks 3.3, settings 4.2, their ablation Table 3.

    L = L_mlm + L_mvjrc + L_itm; the score is that of image-text matching. The image model is DeiT's ViT-B/16, whose
    ImageNet-1k weights the paper cites. Where the paper is silent: the word head is BERT's, on its word vectors; the
    heads of the views have SimSiam's proportions; matching and masked words see the first of the two views, or the only
    one if a variant needs just one; the strength of RandAugment is on torchvision's scale.

    The dual encoder with the same backbones is ``vse`` with image_backbone deit_base_patch16_224 and image_pool first,
    or as here in an experiment's settings, text_encoder transformer, and the same text_weights and freeze_text.
    """

    Config: ClassVar[type[MTGFEConfig]] = MTGFEConfig
    config: MTGFEConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "itm": {"mlm": False, "mvjrc": False},
        "itm-mlm": {"mvjrc": False},
        "itm-mvjrc": {"mlm": False},
    }
    published: ClassVar[dict[str, Published]] = {
        "": _row("table2"),
        "itm": _row("table3", "ITM"),
        "itm-mlm": _row("table3", "ITM+MLM"),
        "itm-mvjrc": _row("table3", "ITM+MVJRC"),
    }

    def __init__(self, config: MTGFEConfig, bert: Halves):
        super().__init__(config, bert)
        self.make_view = Views(self.pixels, config.token_dropout)
        if config.mlm:
            self.words = WordHead(self.shape)
        if config.mvjrc:
            self.view_heads = ViewHeads(self.shape.hidden_size)

    @property
    def departures(self) -> list[str]:
        """Views that are not made from pixels."""
        of_tokens = self.config.freeze_backbone or self.config.views == "tokens"
        return ["views by dropout of the backbone's tokens instead of RandAugment"] if of_tokens else []

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the tasks (section 3.3)."""
        of_tokens = self.config.views == "tokens"
        images = token_images(batch.images, self.backbone) if of_tokens else batch.images
        memory = self.fusion.memory(self.encode_images(self.make_view(images)))
        texts, pairs = self.encode_texts(batch.tokens), draw_pairs(batch.image_ids)
        fused = self.fuse(texts, batch.tokens, memory, pairs)
        loss = self.matching.loss(fused, pairs.match)
        if self.config.mlm:
            loss = loss + self.word_loss(batch.tokens, memory)
        if self.config.mvjrc:
            count = len(batch.tokens)
            matching = Pairs(*(part[:count] for part in pairs))
            other = self.fusion.memory(self.encode_images(self.make_view(images)))
            loss = loss + self.view_heads.loss(fused[:count], self.fuse(texts, batch.tokens, other, matching))
        return loss
