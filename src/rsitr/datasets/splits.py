"""The kept images and captions of each split, as training and evaluation read them.

Results name a caption ``IMAGE#K``, so that they state which one they mean without including the words of a dataset.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from rsitr.datasets.table import DatasetFacts, read_table
from rsitr.errors import DatasetError
from rsitr.params.ids import JOINT, CleanId
from rsitr.records.paths import Paths


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
    classes: tuple[str, ...]
    """Scene class of each image, an empty string if the dataset states none."""


def spread_images(split: SplitData, count: int) -> tuple[SplitData, np.ndarray]:
    """``count`` images spread evenly over a split, or all of fewer, with their captions; and their positions in it."""
    chosen = np.arange(count) * len(split.paths) // count if count < len(split.paths) else np.arange(len(split.paths))
    captions = np.flatnonzero(np.isin(split.image_of, chosen))
    some = SplitData(
        [split.image_ids[place] for place in chosen],
        [split.paths[place] for place in chosen],
        [split.hashes[place] for place in chosen],
        [split.captions[place] for place in captions],
        np.searchsorted(chosen, split.image_of[captions]),
        tuple(split.classes[place] for place in chosen),
    )
    return some, chosen


def load_splits(clean: Path) -> tuple[dict[str, SplitData], DatasetFacts, dict[str, int]]:
    """Splits of a clean table, its facts, and how many images were left out for each reason."""
    table, facts = read_table(clean)
    left_out = Counter(table.filter(pc.invert(table["keep"]))["reason"].to_pylist())
    splits = {}
    for split in ("train", "val", "test"):
        kept = table.filter(pc.and_(table["keep"], pc.equal(table["split"], split)))
        splits[split] = SplitData(
            kept["image_id"].to_pylist(),
            [Path(os.path.normpath(Path(facts.root, path))) for path in kept["path"].to_pylist()],
            kept["sha256"].to_pylist(),
            pc.list_flatten(kept["captions"]).to_pylist(),
            np.repeat(np.arange(len(kept)), pc.list_value_length(kept["captions"]).to_numpy()),
            tuple(pc.fill_null(kept["class_name"], "").to_pylist()),
        )
    return splits, facts, dict(left_out)


def member_of(clean: CleanId, image_id: str) -> str:
    """The dataset of an image of a clean table; a training image of a joint one is called ``dataset/image_id``."""
    joined = clean.split_protocol in JOINT and image_id.partition("/")[0] in JOINT[clean.split_protocol]
    return image_id.partition("/")[0] if joined else clean.dataset


def training_images(clean: CleanId) -> list[tuple[str, str]]:
    """(dataset, image id) of what is trained on with a clean table."""
    table, _ = read_table(Paths.clean(clean))
    rows = table.select(["image_id", "split", "keep"]).to_pylist()
    kept = (row["image_id"] for row in rows if row["keep"] and row["split"] == "train")
    return [(member, name.removeprefix(f"{member}/")) for name in kept for member in [member_of(clean, name)]]


def caption_name(split: SplitData, caption: int) -> str:
    """``IMAGE#K``: the K-th caption of an image, from 1. ``caption`` is its position among those of the split."""
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
