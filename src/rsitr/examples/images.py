"""Images for pictures: a user's own file, and the test images of a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rsitr.datasets.images import load_rgb
from rsitr.datasets.splits import caption_name
from rsitr.datasets.table import read_table
from rsitr.errors import CorruptArchive, QueryError
from rsitr.records.cell import Spec
from rsitr.stages.setup import CellData


def picture(path: Path) -> np.ndarray:
    """A file as uint8 [H, W, 3]; raises ``QueryError`` unless it is an image."""
    try:
        return np.asarray(load_rgb(path))
    except CorruptArchive as error:
        raise QueryError(f"{path} cannot be read as an image: name a PNG, JPEG or TIFF") from error


class TestImages:
    """The test images of a cell, with their classes and captions."""

    __test__ = False  # pytest collects classes whose names start like this

    def __init__(self, data: CellData, spec: Spec):
        self.split = data.splits["test"]
        rows = read_table(spec.clean)[0].select(["image_id", "class_name"]).to_pylist()
        names = {row["image_id"]: row["class_name"] for row in rows}
        self.class_names = [names[image] for image in self.split.image_ids]

    def different(self, count: int) -> list[int]:
        """Places of images, the first of each class, spread over the classes; any images if there are too few
        classes."""
        first = {name: place for place, name in reversed(list(enumerate(self.class_names)))}
        places = sorted(first.values()) if len(first) >= count else range(len(self.class_names))
        steps = np.linspace(0, len(places) - 1, min(count, len(places))).astype(int)
        return [places[step] for step in dict.fromkeys(steps.tolist())]

    def pixels(self, place: int, side: int = 0) -> np.ndarray:
        """Uint8 [H, W, 3], of ``side`` pixels if that is not 0."""
        image = load_rgb(self.split.paths[place])
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC) if side else image)

    def caption(self, place: int) -> str:
        """The first caption of an image."""
        return self.split.captions[self.first_caption(place)]

    def caption_name(self, place: int) -> str:
        """The name of the first caption of an image."""
        return caption_name(self.split, self.first_caption(place))

    def first_caption(self, place: int) -> int:
        """The place of the first caption of an image."""
        return int(np.flatnonzero(self.split.image_of == place)[0])
