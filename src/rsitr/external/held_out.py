"""What a model is assessed on: the test split of a dataset here, or of any folder of pictures with an annotation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rsitr.datasets import known
from rsitr.datasets.base import Row, Split
from rsitr.datasets.images import inspect
from rsitr.datasets.importing import located, unpack
from rsitr.datasets.layouts import Annotation, Lost, read_annotation, reasons
from rsitr.datasets.splits import SplitData, load_splits
from rsitr.errors import DatasetError
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_json

UNPACKED = Path("cache/assess")
"""Where the images of shards are unpacked."""
LOST_AT_MOST = 5.0
"""Percent of the images that may be missing or unreadable."""


class HeldOut(NamedTuple):
    """Images and captions to retrieve, and what a record says about them."""

    dataset: str
    split: SplitData
    data: dict[str, Any]
    """Origin, licence, synthetic, and the number of images and captions."""
    data_sha: str
    lost: list[str]
    """What was left out, by reason."""


class Folder(NamedTuple):
    """Pictures of a user's own."""

    images: Path
    """Their folder, or that of shards with them."""
    annotation: Path | None = None
    """A file, folder or pattern (``rsitr.datasets.layouts``); None: it is in the folder."""
    layout: str | None = None
    split: Split = "test"
    lost_at_most: float = LOST_AT_MOST

    @property
    def name(self) -> str:
        """What the folder is called, as a dataset."""
        return re.sub(r"[^a-z0-9+.-]+", "-", self.images.resolve().name.lower()).strip("-.+") or "folder"


def of_dataset(name: str) -> HeldOut:
    """The test split of a dataset whose clean table is here; raises ``DatasetError`` for one without test images."""
    path = Paths.clean(CleanId(name))
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build it with `snakemake --cores 2 {path}`")
    splits, facts, left_out = load_splits(path)
    lost = [f"{count} images: {reason}" for reason, count in left_out.items()]
    if not splits["test"].captions:
        raise DatasetError(
            f"{name} has no usable test images with captions ({'; '.join(lost) or 'it has no test split'})"
        )
    known_of = {"origin": facts.origin, "licence": facts.licence, "synthetic": facts.synthetic}
    return HeldOut(name, splits["test"], known_of | _counts(splits["test"]), facts.data_sha, lost)


def of_folder(folder: Folder) -> HeldOut:
    """A split of a folder with an annotation in any known layout; images in shards are unpacked to ``cache/assess``.

    Raises ``DatasetError`` where the split has no images with captions, and where too many images are missing or
    cannot be read.
    """
    read = read_annotation(folder.annotation or folder.images, folder.layout)
    rows, images, missing = _images(read, folder)
    chosen = [row for row in rows if row.split == folder.split]
    described = [row for row in chosen if row.captions]
    if not described:
        splits = ", ".join(sorted({row.split for row in rows})) or "none"
        raise DatasetError(f"{folder.images} has no images with captions in {folder.split}; its splits are: {splits}")
    with ThreadPoolExecutor(2) as pool:
        facts = [*pool.map(inspect, (images / row.path for row in described))]
    lost = [*read.lost, *missing]
    whole = len(rows) + sum(each.kind == "image" for each in lost)
    lost += [Lost(row.path, "it has no captions", "image") for row in chosen if not row.captions]
    lost += [Lost(row.path, fact.problem, "image") for row, fact in zip(described, facts, strict=True) if fact.problem]
    _check_lost(folder, lost, whole)
    usable = [(row, fact.sha256) for row, fact in zip(described, facts, strict=True) if not fact.problem]
    split = _split(images, usable)
    data = {"origin": "external", "licence": "", "synthetic": False, "layout": read.layout}
    sha = sha256_json([[row.image_id, sha, row.captions] for row, sha in usable])
    return HeldOut(folder.name, split, data | _counts(split), sha, reasons(lost))


def _images(read: Annotation, folder: Folder) -> tuple[Sequence[Row], Path, list[Lost]]:
    """The rows whose images are there, their folder, and those that are lost."""
    if not read.packed:
        return located(read.rows, folder.images)
    shards = sorted({place.shard for place in read.packed.values()})
    stated = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in shards]
    into = UNPACKED / sha256_json(stated)[:16]
    if not into.is_dir():
        staging = into.with_name(f".{into.name}.unpacking")
        shutil.rmtree(staging, ignore_errors=True)  # of one that was killed
        unpack(read.packed, staging)
        staging.rename(into)
    return read.rows, into, []


def _check_lost(folder: Folder, lost: Sequence[Lost], whole: int) -> None:
    """Raise ``DatasetError`` where too many of the ``whole`` images are lost."""
    images = sum(each.kind == "image" for each in lost)
    if 100 * images > folder.lost_at_most * whole:
        raise DatasetError(
            f"{images} of {whole} images of {folder.images} would be left out, more than {folder.lost_at_most:g} %: "
            f"{'; '.join(reasons(lost))}. Correct the annotation, or raise --lost-at-most"
        )


def _split(images: Path, rows: Sequence[tuple[Row, str]]) -> SplitData:
    rows = sorted(rows, key=lambda each: each[0].image_id)
    return SplitData(
        [row.image_id for row, _ in rows],
        [images / row.path for row, _ in rows],
        [sha for _, sha in rows],
        [caption for row, _ in rows for caption in row.captions],
        np.repeat(np.arange(len(rows)), [len(row.captions) for row, _ in rows]),
        tuple(row.class_name for row, _ in rows),
    )


def _counts(split: SplitData) -> dict[str, dict[str, int]]:
    return {"images": {"test": len(split.paths)}, "captions": {"test": len(split.captions)}}


def held_out(data: str, folder: Folder) -> HeldOut:
    """What ``data`` names: a dataset, or a folder; raises ``DatasetError`` where it is neither."""
    if data in known():
        return of_dataset(data)
    if not folder.images.exists():
        raise DatasetError(f"{data} is neither a dataset ({', '.join(known())}) nor a folder: name one of these")
    return of_folder(folder)
