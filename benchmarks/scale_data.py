"""The data path of a large set through its real stages: images in packed shards, and a test set with planted copies.

The images are drawn, and stand for RS5M's: canonical table, thumbnails, near duplicates against a test set of 1,000
images, half of which are changed copies, and a clean table. Every stage has a process of its own. An eighth of the
shards goes first, so that time and memory have a slope, by which they are extrapolated.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from webdataset import TarWriter

from recall import resident_mib
from rsitr.datasets.acquire import build
from rsitr.datasets.base import Row as ImageRow
from rsitr.datasets.canonical import write_rows
from rsitr.datasets.imported import RECEIPT
from rsitr.datasets.rs5m import SHARDS
from rsitr.dedup.clean import write_clean
from rsitr.dedup.near_duplicates import write_near_duplicates
from rsitr.dedup.pairs import read_near_duplicates
from rsitr.dedup.thumbnails import write_thumbnails
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from table import Row, machine

SET, TEST_SET = "rs5m", "test-set"
TRAINING = [shard for split, shard in SHARDS if split == "train"]
PART = 8
"""The shards that go first are the whole divided by this."""
TESTS, SIDE, FAR = 1_000, 96, 5_000_000
"""Images of the test set, sides of all in pixels, and images for which time and memory are extrapolated."""
CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda image: image,  # encoded again
    lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    lambda image: image.transpose(Image.Transpose.ROTATE_90),
    lambda image: image.crop((6, 12, 90, 96)),
)


class Cost(NamedTuple):
    """Of a stage."""

    seconds: float
    cpu: float
    """Seconds of all its threads."""
    mib: float
    """At its highest, of the whole process."""


def drawn(number: int) -> Image.Image:
    """The picture with this number: patches, and finer ones over them."""
    draw = np.random.default_rng(number)
    coarse, fine = (
        Image.fromarray(draw.integers(0, 256, (side, side, 3), np.uint8)).resize((SIDE, SIDE)) for side in (6, 24)
    )
    return Image.blend(coarse, fine, 0.35)


def jpeg(image: Image.Image, quality: int) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def numbers(images: int, shard: int) -> range:
    """Of the pictures in a shard."""
    return range(images * shard // len(TRAINING), images * (shard + 1) // len(TRAINING))


def write_shards(folder: Path, images: int) -> None:
    """The shards in RS5M's layout, and their receipt."""
    raw = folder / Paths.raw(SET)
    raw.mkdir(parents=True)
    for place, shard in enumerate(TRAINING):
        with TarWriter(str(raw / shard), encoder=False) as file:
            for number in numbers(images, place):
                sample = {"img_content": jpeg(drawn(number), 85), "img_name": f"{number:08}.jpg".encode()}
                file.write({"__key__": f"{number:08}", "caption": f"patches number {number}".encode()} | sample)
    write_receipt(raw, TRAINING)


def write_receipt(raw: Path, shards: list[str]) -> None:
    """What fetching leaves."""
    receipt = {"origin": "official", "licence": "CC0-1.0", "files": shards}
    (raw / RECEIPT).write_text(json.dumps(receipt), encoding="utf-8")


def planted(images: int) -> dict[str, int]:
    """The names of the copies in the test set, and the numbers of their originals."""
    numbers = np.random.default_rng(0).choice(images, TESTS // 2, replace=False)
    return {f"copy-{place:04}.jpg": int(number) for place, number in enumerate(sorted(numbers))}


def write_test_set(images: int) -> None:
    """Canonical table and thumbnails of the test set, in this folder."""
    root = Paths.extracted(TEST_SET)
    root.mkdir(parents=True)
    copies = planted(images)
    others = {f"other-{place:04}.jpg": FAR + place for place in range(TESTS - len(copies))}
    for place, (name, number) in enumerate({**copies, **others}.items()):
        (root / name).write_bytes(jpeg(CHANGES[place % len(CHANGES)](drawn(number)), 60))
    rows = [ImageRow(name, name, "test", "", ["patches"], []) for name in (*copies, *others)]
    write_rows(rows, (TEST_SET, "Test set", "generated", "CC0-1.0", True), root, Paths.dataset(TEST_SET))
    write_thumbnails(Paths.dataset(TEST_SET), Paths.thumbnails(TEST_SET))


def canonical() -> None:
    """``rsitr data build``."""
    logging.disable()  # shards of the real set that are not here
    build(SET, Paths.raw(SET) / RECEIPT, Paths.extracted(SET), Paths.dataset(SET))


def thumbnails() -> None:
    """``rsitr dedup thumbnails``."""
    write_thumbnails(Paths.dataset(SET), Paths.thumbnails(SET))


def copies() -> None:
    """``rsitr dedup pairs``."""
    near = Paths.near_duplicates(SET, TEST_SET)
    write_near_duplicates(Paths.thumbnails(SET), Paths.thumbnails(TEST_SET), near)


def clean() -> None:
    """``rsitr data clean``."""
    write_clean(CleanId(SET, dedup="remoteclip"))


STAGES: dict[str, Callable[[], None]] = {
    "canonical table": canonical,
    "thumbnails": thumbnails,
    "copies against a test set": copies,
    "clean table": clean,
}


def measured(folder: Path, stage: Callable[..., Any], *arguments: Any) -> Cost:
    """What a stage takes in ``folder``, in a process that nothing else has run in."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, folder, stage, *arguments).result()


def _measured(folder: Path, stage: Callable[..., Any], *arguments: Any) -> Cost:
    os.chdir(folder)
    torch.set_num_threads(1)
    begun, cpu = time.perf_counter(), time.process_time()
    stage(*arguments)
    return Cost(time.perf_counter() - begun, time.process_time() - cpu, resident_mib("VmHWM"))


def found(folder: Path) -> set[tuple[str, str]]:
    """Image of the set and image of the test set of every pair."""
    frame, _ = read_near_duplicates(folder / Paths.near_duplicates(SET, TEST_SET))
    return set(zip(frame["first"], frame["second"], strict=True))


def data_path(images: int) -> list[Row]:
    """Time and memory of every stage for so many images, their slopes, and what they come to for ``FAR`` images."""
    case = f"data-{images // 1000}k" if images < 1_000_000 else f"data-{images // 1_000_000}m"
    with tempfile.TemporaryDirectory() as name:
        whole, part = Path(name, "whole"), Path(name, "part")
        write_shards(whole, images)
        (part / Paths.raw(SET)).mkdir(parents=True)
        some = TRAINING[: len(TRAINING) // PART]
        for shard in some:
            os.link(whole / Paths.raw(SET) / shard, part / Paths.raw(SET) / shard)
        write_receipt(part / Paths.raw(SET), some)
        costs: dict[str, list[Cost]] = {stage: [] for stage in STAGES}
        for folder in (part, whole):
            measured(folder, write_test_set, images)
            for stage, work in STAGES.items():
                costs[stage].append(measured(folder, work))
                print(f"{case}, {folder.name}, {stage}: {costs[stage][-1]}, load {os.getloadavg()[0]:.1f}", flush=True)
        pairs = found(whole)
    shards = {number: shard for place, shard in enumerate(TRAINING) for number in numbers(images, place)}
    true = {(f"{Path(shards[number]).stem}/{number:08}.jpg", copy) for copy, number in planted(images).items()}
    where = f"{machine()}, load {os.getloadavg()[0]:.1f}"
    rows = [
        Row(case, "recall of planted copies", "%", 100 * len(pairs & true) / len(true), "", None, where, True),
        Row(case, "pairs that were not planted", "", len(pairs - true), "", None, where),
    ]
    return rows + [row for stage, both in costs.items() for row in _rows(case, stage, images, both, where)]


def _rows(case: str, stage: str, images: int, costs: list[Cost], where: str) -> Iterator[Row]:
    more = images - images // PART
    for kind, unit, each, factor in (
        ("seconds", "s", "ms", 1e3), ("cpu", "s", "ms", 1e3), ("mib", "MiB", "KiB", 1024)
    ):  # fmt: skip
        name = {"seconds": "time", "cpu": "CPU time", "mib": "peak memory"}[kind]
        first, last = (getattr(cost, kind) for cost in costs)
        slope = max(last - first, 0) / more  # less for more images is chance
        yield Row(case, f"{name}, {stage}", unit, last, "", None, where)
        yield Row(case, f"{name} of each further image, {stage}", each, factor * slope, "", None, where)
        far = last + slope * (FAR - images)
        yield Row(case, f"{name} of {FAR:,} images by this slope, {stage}", unit, far, "", None, where)
