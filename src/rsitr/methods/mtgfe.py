"""MTGFE: a fusion encoder guided by image-text matching, masked words, and two views of one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from rsitr.methods.base import Batch, method, those, token_images
from rsitr.methods.fusion_encoder import FusionConfig, FusionMethod
from rsitr.nn.bert_halves import Halves
from rsitr.nn.fusion_tasks import Pairs, WordHead, gradient_ratio
from rsitr.nn.pixels import PixelFormat
from rsitr.records.cell import Published

AT_A_TIME, MAGNITUDE = 2, 7
"""Section 4.2."""
SCALE, PROBABILITY, GREY = 10, 0.5, 128 / 255
"""Where the paper is silent, those of ALBEF's code (J. Li et al., 2021), whose operations the paper's are but for
ShearX: the largest magnitude, how often a drawn operation is applied, and what an image that was moved leaves."""
NARROWING = 4
"""Ratio of the projection's width to that inside the predictor, as in SimSiam; the paper states none."""


def _up_to(largest: float, least: float = 0.0, *, signed: bool) -> tuple[Callable[..., Tensor], bool]:
    """What magnitudes 0 ... ``SCALE`` mean, and whether the sign is drawn."""
    return lambda bins, height, width: least + torch.arange(bins) * (largest - least) / (bins - 1), signed


def _nothing(bins: int, height: int, width: int) -> None:
    """An operation without a magnitude."""


class MildRandAugment(v2.RandAugment):
    """RandAugment with only the nine operations of section 4.2, on ALBEF's scale: at most .3 of shear, 10 pixels, 30
    degrees, and .1 to 1.9 times the brightness or sharpness."""

    _AUGMENTATION_SPACE: ClassVar = {
        "Identity": (_nothing, False),
        "AutoContrast": (_nothing, False),
        "Equalize": (_nothing, False),
        "Brightness": _up_to(0.9, -0.9, signed=False),
        "Sharpness": _up_to(0.9, -0.9, signed=False),
        "ShearY": _up_to(0.3, signed=True),
        "TranslateX": _up_to(10, signed=True),
        "TranslateY": _up_to(10, signed=True),
        "Rotate": _up_to(30, signed=True),
    }

    def __init__(self) -> None:
        super().__init__(AT_A_TIME, MAGNITUDE, SCALE + 1, v2.InterpolationMode.BILINEAR, GREY)

    def _get_random_item(self, dct: dict[str, Any]) -> tuple[str, Any]:
        drawn = super()._get_random_item(dct)
        return drawn if torch.rand(()) < PROBABILITY else ("Identity", dct["Identity"])


class Views(nn.Module):
    """A view of each image of a batch, drawn from torch's global generator.

    Of pixels: ``MildRandAugment`` before the pixel statistics. Of tokens, such as those of a frozen backbone, where
    there are no pixels to change: all but a share ``dropped`` of them, drawn for each image.
    """

    def __init__(self, pixels: PixelFormat, dropped: float):
        super().__init__()
        self.dropped = dropped
        self.augment = MildRandAugment()
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
    word_weight: Literal["equal", "gradient"] = "equal"
    """``equal`` as in the paper's sum; ``gradient``: masked words weigh as much as makes their gradient at the last
    fusion layer as large as that of matching, which they otherwise exceed several times."""
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
    one if a variant needs just one; RandAugment is on the scale of ALBEF's code.

    The dual encoder with the same backbones is ``vse`` with image_backbone deit_base_patch16_224 and image_pool first,
    or as here in an experiment's settings, text_encoder transformer, and the same text_weights and freeze_text.
    """

    Config: ClassVar[type[MTGFEConfig]] = MTGFEConfig
    scores_by: ClassVar[tuple[str, ...]] = (*FusionMethod.scores_by, "make_view", "view_heads")
    config: MTGFEConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "itm": {"mlm": False, "mvjrc": False},
        "itm-mlm": {"mvjrc": False},
        "itm-mvjrc": {"mlm": False},
        "balanced": {"word_weight": "gradient"},
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
        """Where it is certain or likely that the authors did something else, with the sections that say so."""
        config = self.config
        of_tokens = config.freeze_backbone or config.views == "tokens"
        said = {
            "views by dropout of the backbone's tokens instead of RandAugment": of_tokens,
            "one GPU, where the batch of section 4.2 may be that of each of four": True,
            "word head of BERT on its word vectors instead of a fully connected one (section 3.3.1)": config.mlm,
            "masked words weighted by gradients instead of an equal sum (Eq. 8)": config.word_weight == "gradient",
        }
        return [*super().departures, *those(said)]

    def weighted(self, words: Tensor, matching: Tensor) -> Tensor:
        """The loss of masked words as it enters the sum."""
        if self.config.word_weight == "equal":
            return words
        return words * gradient_ratio(matching, words, list(self.fusion.layers[-1].parameters()))

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the tasks (section 3.3)."""
        of_tokens = self.config.views == "tokens"
        images = token_images(batch.images, self.backbone) if of_tokens else batch.images
        memory = self.fusion.memory(self.encode_images(self.make_view(images)))
        texts, pairs = self.encode_texts(batch.tokens), self.draw(batch)
        fused = self.fuse(texts, batch.tokens, memory, pairs)
        tasks = {"matching": self.matching.loss(fused, pairs.match)}
        if self.config.mlm:
            tasks["words"] = self.weighted(self.word_loss(batch.tokens, memory), tasks["matching"])
        if self.config.mvjrc:
            count = len(batch.tokens)
            matching = Pairs(*(part[:count] for part in pairs))
            other = self.fusion.memory(self.encode_images(self.make_view(images)))
            tasks["views"] = self.view_heads.loss(fused[:count], self.fuse(texts, batch.tokens, other, matching))
        return self.total(**tasks)
