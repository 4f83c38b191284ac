"""Names of captions, for results that state which caption they mean without including the words of a dataset."""

from __future__ import annotations

import numpy as np

from rsitr.datasets.splits import SplitData
from rsitr.errors import DatasetError


def caption_name(split: SplitData, caption: int) -> str:
    """``IMAGE#K``: the K-th caption of an image, counted from 1. ``caption`` is its position among those of the
    split."""
    image = split.image_of[caption]
    return f"{split.image_ids[image]}#{caption - np.searchsorted(split.image_of, image) + 1}"


def words_of(name: str, split: SplitData) -> str:
    """The words of the caption called ``name``; raises ``DatasetError`` if the split has no such caption."""
    image, _, number = name.rpartition("#")
    if image in split.image_ids and number.isdecimal():
        own = np.flatnonzero(split.image_of == split.image_ids.index(image))
        if 1 <= int(number) <= len(own):
            return split.captions[own[int(number) - 1]]
    raise DatasetError(f"the split has no caption {name}: the name belongs to other data: create that file again")
