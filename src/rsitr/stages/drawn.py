"""Small canonical tables of drawn scenes, under the names of real datasets: what a rehearsal reads."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rsitr.datasets.base import Row, Split
from rsitr.datasets.canonical import write_rows
from rsitr.datasets.synthetic.drawing import Style, draw_scene
from rsitr.datasets.synthetic.grammar import captions, keywords
from rsitr.datasets.synthetic.sampling import CLASSES, sample_scene
from rsitr.records.paths import Paths
from rsitr.stages.small import SmallData

SIDE = 256
"""Pixels, as most sets have."""
IMAGES, CAPTIONS = 8, 2
"""Of each split, two of each class; and of each image. All pairs of both are scored twice."""
SCENE_SETS = ("aid", "resisc45")
"""Sets with classes and no captions, whose images are all in train."""
WITHOUT_CLASSES = ("sydney",)
WITH_KEYWORDS = ("rsitmd",)
STYLE = Style(gain=(1.0, 1.0, 1.0), contrast=1.0, haze=0, grain=4)


class DrawnData(SmallData):
    """Drawn data below ``data`` in this folder. It has classes, captions and keywords where the real set has them."""

    def canonical(self, dataset: str) -> None:
        """Eight drawn images of each split, with two captions each."""
        if Paths.dataset(dataset).is_file():
            return
        root = Paths.extracted(dataset)
        root.mkdir(parents=True, exist_ok=True)
        write_rows(rows(dataset, root), (dataset, dataset, "generated", "none", True), root, Paths.dataset(dataset))


def rows(dataset: str, root: Path) -> Iterator[Row]:
    """Draw the images of a dataset below ``root``; the same for the same name."""
    splits: tuple[Split, ...] = ("train", "train", "train") if dataset in SCENE_SETS else ("train", "val", "test")
    for part, split in enumerate(splits):
        for number in range(IMAGES):
            class_name = CLASSES[number // 2]
            rng = np.random.default_rng([zlib.crc32(dataset.encode()), part, number])
            scene = sample_scene(class_name, rng)
            name = f"{class_name}_{part}{number}.png"
            draw_scene(scene, STYLE, rng).resize((SIDE, SIDE)).save(root / name, compress_level=1)
            yield Row(
                name,
                name,
                split,
                "" if dataset in WITHOUT_CLASSES else class_name,
                [] if dataset in SCENE_SETS else captions(scene, rng)[:CAPTIONS],
                keywords(scene, rng) if dataset in WITH_KEYWORDS else [],
            )


def words() -> list[str]:
    """The words of some captions of every class, in alphabetical order."""
    rng = np.random.default_rng(0)
    texts = [text for name in CLASSES for text in captions(sample_scene(name, rng), rng)]
    return sorted({word.strip(".,").lower() for text in texts for word in text.split()})
