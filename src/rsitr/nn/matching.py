"""Image-text matching on the fused class token: MTGFE (X. Zhang et al., 2023, section 3.3.3, Eq. 7)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsitr.nn.losses import same_image


class Pairs(NamedTuple):
    """Pairs of a batch by the positions of their image and caption, and whether they match."""

    images: Tensor
    texts: Tensor
    match: Tensor
    """int64, 1 or 0"""


def draw_pairs(image_ids: Tensor, scores: Tensor | None = None) -> Pairs:
    """The B matching pairs, then each image with a caption and each caption with an image drawn among its negatives.

    Captions of one image are not negatives of each other, nor is a copy of the image; a sample without a negative, as
    in a batch of a single image, gives only its matching pair. ``scores`` [B, B] are logits, image i against caption j;
    negatives are drawn in proportion to their exponentials. Without ``scores`` all are equally likely.
    """
    possible = ~same_image(image_ids)
    everyone = torch.arange(len(image_ids), device=image_ids.device)
    having = everyone[possible.any(1)]
    if not len(having):
        return Pairs(everyone, everyone, torch.ones_like(everyone))
    logits = torch.zeros_like(possible, dtype=torch.float32) if scores is None else scores.detach().float()
    texts, images = (
        torch.multinomial(side.masked_fill(~possible, -torch.inf)[having].softmax(1), 1).squeeze(1)
        for side in (logits, logits.t())
    )
    match = torch.cat([torch.ones_like(everyone), torch.zeros_like(having), torch.zeros_like(having)])
    return Pairs(torch.cat([everyone, having, images]), torch.cat([everyone, texts, having]), match)


class MatchingHead(nn.Module):
    """One linear layer to the two classes of p_itm."""

    def __init__(self, width: int):
        super().__init__()
        self.classes = nn.Linear(width, 2)

    def forward(self, fused: Tensor) -> Tensor:
        """Scores [...] of u_cls [..., D]: the log-odds of a match.

        They rank like the probability, their sigmoid, which runs out of digits sooner.
        """
        logits = self.classes(fused).float()
        return logits[..., 1] - logits[..., 0]

    def loss(self, fused: Tensor, match: Tensor) -> Tensor:
        """Cross-entropy (Eq. 7), the mean over pairs [P]."""
        return F.cross_entropy(self.classes(fused).float(), match)
