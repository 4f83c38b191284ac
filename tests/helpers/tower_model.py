"""A model without weights that says it is the shipped one, and has its text tower of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rsitr.datasets.images import as_shown
from rsitr.external.models import Encoder, ModelFacts
from rsitr.records.artefact import Pretrained
from rsitr.records.bundle import read_bundle
from rsitr.search.shipped import MODEL
from rsitr.search.tower import load_tower
from rsitr.stages.bundle import WEIGHTS

SIDE = 4


class TowerModel(Encoder):
    """Pictures to drawn projections of a few of their pixels."""

    def __init__(self, weights_sha: str = ""):
        self.tower = load_tower()
        sha = weights_sha or read_bundle(MODEL).weights_sha
        self.facts = ModelFacts("rsitr", Pretrained(location="model", files={WEIGHTS: sha}), 0, ("rsicd",))
        self.drawn = torch.randn(3 * SIDE * SIDE, len(self.tower.out.bias), generator=torch.Generator().manual_seed(0))

    def encode_images(self, pictures: Sequence[Image.Image]) -> Tensor:
        small = [np.asarray(as_shown(each).resize((SIDE, SIDE), Image.Resampling.BOX)) for each in pictures]
        return (torch.from_numpy(np.stack(small)).flatten(1) / 255 - 0.5) @ self.drawn

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        return self.tower.encode_texts(texts)
