"""MTGFE: a fusion encoder guided by image-text matching, masked words, and two views of one image."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from rsitr.methods.base import Batch, method, token_images
from rsitr.methods.fusion_encoder import FusionConfig, FusionMethod
from rsitr.nn.bert_halves import Halves
from rsitr.nn.fusion_tasks import Pairs, WordHead, draw_pairs
from rsitr.nn.pixels import PixelFormat
from rsitr.records.cell import Published

OPERATIONS = (
    "Identity",
    "AutoContrast",
    "Equalize",
    "Brightness",
    "Sharpness",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
)
"""Section 4.2."""
AT_A_TIME, MAGNITUDE = 2, 7
"""Section 4.2; the magnitude is on torchvision's scale from 0 to 30; the paper states none."""
NARROWING = 4
"""Ratio of the projection's width to that inside the predictor, as in SimSiam; the paper states none."""


class MildRandAugment(v2.RandAugment):
    """RandAugment with only the nine operations of section 4.2."""

    _AUGMENTATION_SPACE: ClassVar = {name: v2.RandAugment._AUGMENTATION_SPACE[name] for name in OPERATIONS}


class Views(nn.Module):
    """A view of each image of a batch, drawn from torch's global generator.

    Of pixels: ``MildRandAugment`` before the pixel statistics. Of tokens, such as those of a frozen backbone, where
    there are no pixels to change: all but a share ``dropped`` of them, drawn for each image.
    """

    def __init__(self, pixels: PixelFormat, dropped: float):
        super().__init__()
        self.dropped = dropped
        self.augment = MildRandAugment(AT_A_TIME, MAGNITUDE)
        mean, std = (torch.tensor(values)[:, None, None] for values in (pixels.mean, pixels.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Pixels [B, 3, H, W], or of tokens [B, N, C] at least one, [B, n, C]."""
        if images.ndim == 3:
            kept = max(1, round(images.shape[1] * (1 - self.dropped)))
            order = torch.rand(images.shape[:2], device=images.device).argsort(1)[:, :kept].sort(1).values
            return images.gather(1, order[..., None].expand(-1, -1, images.shape[2]))
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        plain = (images.float() * std + mean).clamp(0, 1)
        # In low precision the coordinates of a rotated image would be a pixel off.
        with torch.autocast(images.device.type, enabled=False):
            return (torch.stack([self.augment(image) for image in plain]) - mean) / std


class ViewHeads(nn.Module):
    """f_proj, three linear layers with batch normalisation, and f_pred, two (Fig. 4), as wide as the fusion encoder."""

    def __init__(self, width: int):
        super().__init__()
        inner = max(1, width // NARROWING)
        self.project = nn.Sequential(
            *(_linear(width, width), nn.ReLU(), _linear(width, width), nn.ReLU(), _linear(width, width))
        )
        self.predict = nn.Sequential(_linear(width, inner), nn.ReLU(), nn.Linear(inner, width))

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """-1/2 (S(p1, z2) + S(p2, z1)) of u_cls [B, D] of both views, z without gradient; between -1 and 1.

        The paper prints it without the minus that maximising a similarity needs. A single sample has no batch to be
        normalised with: its loss is 0.
        """
        if len(first) < 2:
            return first.new_zeros(())
        projected = [self.project(view) for view in (first, second)]
        predicted = [self.predict(view) for view in projected]
        similar = [
            F.cosine_similarity(prediction.float(), target.detach().float(), dim=1).mean()
            for prediction, target in zip(predicted, reversed(projected), strict=True)
        ]
        return -torch.stack(similar).mean()


def _linear(inputs: int, outputs: int) -> nn.Sequential:
    # The batch's mean takes the place of a bias.
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs))


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
        tasks = {"matching": self.matching.loss(fused, pairs.match)}
        if self.config.mlm:
            tasks["words"] = self.word_loss(batch.tokens, memory)
        if self.config.mvjrc:
            count = len(batch.tokens)
            matching = Pairs(*(part[:count] for part in pairs))
            other = self.fusion.memory(self.encode_images(self.make_view(images)))
            tasks["views"] = self.view_heads.loss(fused[:count], self.fuse(texts, batch.tokens, other, matching))
        return self.total(**tasks)
