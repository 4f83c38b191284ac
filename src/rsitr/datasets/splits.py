"""The kept images and captions of each split, as training and evaluation read them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsitr.datasets.canonical import DatasetFacts, read_table


class SplitData(NamedTuple):
    """Images of a split with their captions, in the order of image ids."""

    image_ids: list[str]
    paths: list[Path]
    hashes: list[str]
    """SHA-256 of each image file."""
    captions: list[str]
    """All captions, image by image."""
    image_of: np.ndarray
    """int64 [captions]: the position of each caption's image."""


def load_splits(clean: Path) -> tuple[dict[str, SplitData], DatasetFacts, dict[str, int]]:
    """Splits of a clean table, its facts, and how many images were left out for which reason."""
    frame, facts = read_table(clean)
    left_out = frame.loc[~frame["keep"], "reason"].value_counts().to_dict()
    kept = frame[frame["keep"]]
    splits = {}
    for split in ("train", "val", "test"):
        rows = kept[kept["split"] == split]
        counts = rows["captions"].map(len).to_numpy(dtype=np.int64)
        splits[split] = SplitData(
            rows["image_id"].tolist(),
            [Path(facts.root) / path for path in rows["path"]],
            rows["sha256"].tolist(),
            [caption for captions in rows["captions"] for caption in captions],
            np.repeat(np.arange(len(rows)), counts),
        )
    return splits, facts, left_out
