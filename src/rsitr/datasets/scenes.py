"""The embedded synthetic datasets: drawn top views with true captions and planted near duplicates as ground truth.

``scenes-a``, ``scenes-b`` and ``scenes-c`` share their classes and differ in content and look. They let everything run
in minutes without a download; their numbers say nothing about real images.
"""

from __future__ import annotations

import io
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from rsitr.datasets.base import Bundle, Dataset, Row, Split
from rsitr.datasets.karpathy import karpathy_json, karpathy_rows
from rsitr.datasets.synthetic.drawing import SIZE, Style, draw_scene
from rsitr.datasets.synthetic.grammar import captions, keywords
from rsitr.datasets.synthetic.sampling import CLASSES, sample_scene
from rsitr.errors import DatasetError, ParamsError
from rsitr.records.files import write_csv

Transformation = Literal["exact", "jpeg", "resize", "crop", "flip", "rotate", "brightness"]
"""How a planted near duplicate was made from its original: the file copied byte by byte, re-encoded as JPEG of quality
70, reduced to 3/4 of the side, cropped to the central 7/8 and enlarged again, mirrored left to right, rotated by 90
degrees, made a quarter brighter."""
TRANSFORMATIONS: tuple[Transformation, ...] = get_args(Transformation)
_MOVES = frozenset({"crop", "flip", "rotate"})
"""The transformations that move what the image shows."""


@dataclass(frozen=True)
class _Variant:
    """What sets one of the datasets apart: its size and its look."""

    per_class: int
    copies: int
    """Near duplicates within the set: a training image that reappears in the test split."""
    style: Style


_VARIANTS = {
    "scenes-a": _Variant(15, 14, Style(gain=(1.0, 1.0, 1.0), contrast=1.0, haze=0, grain=4)),
    "scenes-b": _Variant(10, 10, Style(gain=(1.05, 1.0, 0.9), contrast=1.05, haze=0, grain=5)),
    "scenes-c": _Variant(10, 10, Style(gain=(0.94, 1.0, 1.06), contrast=0.82, haze=14, grain=6)),
}
_SOURCE = "scenes-a"
"""The set whose images reappear in the others."""
_CROSS_COPIES = 10
"""Near duplicates of ``scenes-a`` in each other set: alternately train -> test and test -> train."""


@dataclass(frozen=True)
class _Slot:
    """One image of a dataset before anything is drawn."""

    dataset: str
    index: int
    class_name: str
    split: Split
    original: _Slot | None = None
    """Of a near duplicate: the image that it was made from."""
    transformation: Transformation | None = None
    """Of a near duplicate: how it was made."""

    @property
    def file(self) -> str:
        """File name, numbered from 1 within the class."""
        number = self.index % _VARIANTS[self.dataset].per_class + 1
        return f"{self.class_name}_{number}.{'jpg' if self.transformation == 'jpeg' else 'png'}"


def generate(name: str, root: Path, seed: int = 0) -> None:
    """Write ``images/``, ``dataset.json`` and ``duplicates.csv`` of a dataset to ``root``, all of them or nothing.

    Equal arguments give equal bytes. A dataset that was generated at ``root`` before is replaced; any other content
    raises ``DatasetError``, an unknown name ``ParamsError``.
    """
    slots = _plan(name, seed)
    if root.is_dir() and any(root.iterdir()) and not (root / "duplicates.csv").is_file():
        raise DatasetError(f"{root} holds files that are not a generated dataset: name an empty or a new folder")
    # Not the number of this process, which another host that shares the folder may use at the same time.
    building = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    old = building.with_name(f"{building.name}.old")
    try:
        _write(name, slots, building, seed)
        if root.is_dir():
            root.rename(old)  # what is half removed would be no generated dataset to the next run
        building.rename(root)
    finally:
        for left in (building, old):
            shutil.rmtree(left, ignore_errors=True)


def _write(name: str, slots: list[_Slot], root: Path, seed: int) -> None:
    """The files of a dataset; a near duplicate gets the scene of its original and its own sentences."""
    (root / "images").mkdir(parents=True)
    rows = []
    for slot in slots:
        origin = slot.original or slot
        scene = sample_scene(origin.class_name, _rng(seed, origin, "scene"))
        picture = draw_scene(scene, _VARIANTS[origin.dataset].style, _rng(seed, origin, "texture"))
        (root / "images" / slot.file).write_bytes(_encode(picture, slot.transformation))
        positions = slot.transformation not in _MOVES
        rows.append(
            {
                "image_id": slot.file,
                "split": slot.split,
                "class_name": slot.class_name,
                "captions": captions(scene, _rng(seed, slot, "captions"), positions=positions),
                "keywords": keywords(scene, _rng(seed, slot, "keywords")),
            }
        )
    (root / "dataset.json").write_text(karpathy_json(name, rows), encoding="utf-8")
    planted = [
        (slot.dataset, slot.file, slot.original.dataset, slot.original.file, slot.transformation)
        for slot in slots
        if slot.original
    ]
    write_csv(root / "duplicates.csv", ("dataset", "image", "of_dataset", "of_image", "transformation"), planted)


def _rng(seed: int, slot: _Slot, purpose: str) -> np.random.Generator:
    """A separate generator for every image and purpose, so that no image depends on another."""
    return np.random.default_rng([seed, zlib.crc32(f"{slot.dataset}/{purpose}".encode()), slot.index])


_CHANGES: dict[Transformation, Callable[[Image.Image], Image.Image]] = {
    "resize": lambda picture: picture.resize((SIZE * 3 // 4, SIZE * 3 // 4), Image.Resampling.BICUBIC),
    "crop": lambda picture: ImageOps.crop(picture, SIZE // 16).resize((SIZE, SIZE), Image.Resampling.BICUBIC),
    "flip": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotate": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "brightness": lambda picture: ImageEnhance.Brightness(picture).enhance(1.25),
}


def _encode(picture: Image.Image, transformation: Transformation | None) -> bytes:
    buffer = io.BytesIO()
    if transformation == "jpeg":
        picture.save(buffer, "JPEG", quality=70)
    else:
        changed = _CHANGES[transformation](picture) if transformation in _CHANGES else picture
        changed.save(buffer, "PNG", compress_level=1)  # the grain barely compresses, whatever the level
    return buffer.getvalue()


def _split(name: str, seed: int) -> list[_Slot]:
    """The images of a dataset with their splits: 60 % train, 15 % val, 25 % test, as even as possible by class."""
    per_class = _VARIANTS[name].per_class
    rng = np.random.default_rng([seed, zlib.crc32(f"{name}/split".encode())])
    slots = []
    for k, class_name in enumerate(CLASSES):
        train = 60 * per_class // 100
        # 15 % of a class is not a whole number; rounding the running total keeps the share of the whole set exact.
        val = 15 * per_class * (k + 1) // 100 - 15 * per_class * k // 100
        shares: dict[Split, int] = {"train": train, "val": val, "test": per_class - train - val}
        splits = [split for split, number in shares.items() for _ in range(number)]
        order = rng.permutation(per_class)
        slots += [_Slot(name, k * per_class + n, class_name, splits[order[n]]) for n in range(per_class)]
    return slots


def _plan(name: str, seed: int) -> list[_Slot]:
    """The images of a dataset with the near duplicates planted.

    No image takes part in two pairs: of every class and split, the first image is reserved for pairs within the set,
    and the next ones for the pairs of ``scenes-a`` with the other sets. So the truth has no indirect pairs.
    """
    if name not in _VARIANTS:
        raise ParamsError(f"unknown synthetic dataset {name!r}: the known ones are {', '.join(_VARIANTS)}")
    rng = np.random.default_rng([seed, zlib.crc32(f"{name}/duplicates".encode())])
    slots = _split(name, seed)
    source = _split(_SOURCE, seed)
    classes = [CLASSES[k] for k in rng.permutation(len(CLASSES))]
    for turn, class_name in enumerate(classes[: _VARIANTS[name].copies]):
        _plant(slots, _nth(slots, class_name, "test", 0), _nth(slots, class_name, "train", 0), turn)
    if name == _SOURCE:
        return slots
    place = list(_VARIANTS).index(name)
    directions: tuple[tuple[Split, Split], ...] = (("test", "train"), ("train", "test"))
    for turn, class_name in enumerate(classes[-_CROSS_COPIES:]):
        here, there = directions[turn % 2]
        _plant(slots, _nth(slots, class_name, here, 1), _nth(source, class_name, there, place), turn)
    return slots


def _nth(slots: list[_Slot], class_name: str, split: Split, n: int) -> _Slot:
    return [slot for slot in slots if slot.class_name == class_name and slot.split == split][n]


def _plant(slots: list[_Slot], target: _Slot, original: _Slot, turn: int) -> None:
    transformation = TRANSFORMATIONS[turn % len(TRANSFORMATIONS)]
    slots[target.index] = replace(target, original=original, transformation=transformation)


class Scenes(Dataset):
    """What the three synthetic datasets share; each subclass is one of them."""

    citation = "drawn by rsitr; no publication"
    bundles = (Bundle(origin="generated", sources=(), licence="Apache-2.0", homepage=""),)
    synthetic: ClassVar[bool] = True

    def prepare(self, root: Path) -> None:
        """Draw the dataset into ``root``, which must not hold other files."""
        generate(self.name, root)

    def parse(self, root: Path) -> Iterator[Row]:
        """Rows of ``dataset.json``; class, split, captions and keywords are those of the generator."""
        yield from karpathy_rows(root / "dataset.json", image_dir="images")


class ScenesA(Scenes):
    """360 images, clear sky."""

    name = "scenes-a"
    title = "Scenes A (synthetic)"


class ScenesB(Scenes):
    """240 images in a warm light; ten of them are near duplicates of images of ``scenes-a``."""

    name = "scenes-b"
    title = "Scenes B (synthetic)"


class ScenesC(Scenes):
    """240 images through haze; ten of them are near duplicates of images of ``scenes-a``."""

    name = "scenes-c"
    title = "Scenes C (synthetic)"
