"""Thumbnails of a dataset that is here, made on this machine for the site of its user."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from PIL import Image

from rsitr.datasets.images import load_rgb
from rsitr.datasets.table import read_table
from rsitr.errors import CorruptArchive
from rsitr.records.paths import Paths

SIDE = 128
"""Pixels of the longest side of a thumbnail."""
QUALITY = 80


def write(out: Path, dataset: str, wanted: Set[str], problems: list[str]) -> dict[str, int]:
    """Write the ``wanted`` images of a dataset into ``out``: image id -> number of its file.

    How many are missing or cannot be read is added to ``problems``.
    """
    if not Paths.dataset(dataset).is_file():
        return {}
    table, facts = read_table(Paths.dataset(dataset))
    rows = zip(table["image_id"].to_pylist(), table["path"].to_pylist(), strict=True)
    numbers: dict[str, int] = {}
    lost = []
    out.mkdir(parents=True, exist_ok=True)
    for number, (image_id, path) in enumerate(rows):
        if image_id not in wanted:
            continue
        try:
            write_small(load_rgb(Path(facts.root, path)), out, number)
        except CorruptArchive as error:
            lost.append(str(error))
            continue
        numbers[image_id] = number
    if lost:
        problems.append(f"{len(lost)} pictures of {dataset} are not shown: {lost[0]}")
    return numbers


def write_small(picture: Image.Image, out: Path, number: int) -> None:
    """Write a thumbnail, which is made of ``picture`` itself."""
    picture.thumbnail((SIDE, SIDE))
    picture.save(out / f"{number}.jpg", quality=QUALITY)
