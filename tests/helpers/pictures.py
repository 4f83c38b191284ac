"""Pictures without a meaning, and datasets of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from PIL import Image

from rsitr.datasets.base import Row
from rsitr.datasets.canonical import CANONICAL_SCHEMA, data_sha, rows_to_frame
from rsitr.datasets.table import DatasetFacts
from rsitr.dedup.thumbnails import SIZE
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths


def picture(seed: int, size: int = SIZE) -> np.ndarray:
    """Random blobs of several sizes in colour: uint8 [size, size, 3]."""
    draw = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(draw.integers(0, 255, (grid, grid, 3), dtype=np.uint8)).resize(
                (size, size), Image.Resampling.BICUBIC
            )
        )
        for grid in (3, 6, 12, 24, 48)
    ]
    return np.mean(layers, axis=0).astype(np.uint8)


def put(name: str, images: dict[str, tuple[str, Image.Image]]) -> None:
    """A dataset of images, given as (split, picture) by id, with its canonical table."""
    root = Paths.extracted(name)
    root.mkdir(parents=True)
    for image_id, (_, image) in images.items():
        image.save(root / image_id, compress_level=0)
    rows = [Row(image_id, image_id, split, "", ["a caption"], []) for image_id, (split, _) in images.items()]
    frame = rows_to_frame(rows, root)
    facts = DatasetFacts(name, name, "generated", "", True, root.as_posix(), data_sha(frame))
    write_table(pa.Table.from_pandas(frame, CANONICAL_SCHEMA, preserve_index=False), facts, Paths.dataset(name))
