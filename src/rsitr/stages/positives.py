"""Which samples of a batch are positives of each other: a loss never takes one for a negative of the other."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rsitr.datasets.splits import SplitData
from rsitr.retrieval.recall import picture_groups, text_groups


class Positives:
    """The positives of any batch of a training set, by ``TrainingConfig.positives``."""

    def __init__(self, split: SplitData, kind: Literal["image", "caption"], device: str):
        groups = [split.image_of]
        if kind == "caption":
            groups = [picture_groups(split.hashes)[split.image_of], text_groups(split.captions)]
        self.groups = torch.from_numpy(np.stack(groups)).to(device)
        """[G, captions]: two captions are positives where their numbers agree in any row."""

    def of(self, captions: Tensor) -> Tensor:
        """bool [B, B] on the device, symmetric, of the captions at these places [B]."""
        own = self.groups[:, captions]
        return (own[:, :, None] == own[:, None, :]).any(0)
