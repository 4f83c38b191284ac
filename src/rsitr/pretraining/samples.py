"""From a position in the training order to pixels and tokens."""

from __future__ import annotations

import os
import sys
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from rsitr.datasets.pictures import read_picture
from rsitr.datasets.tars import BLOCK
from rsitr.errors import CorruptArchive, UnreadableImage
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.seeds import derive, seeded
from rsitr.pretraining.shards import CAPTIONS, PROBLEMS, Index, parse_captions

IMAGE_BROKEN, CAPTION_BROKEN = PROBLEMS.index("image broken"), PROBLEMS.index("caption broken")

OPEN = 64
"""Shards that a process keeps open: those it has read last. Many systems allow 1,024 open files."""
CHUNK = 2**23
"""Bytes of a shard that are read ahead at once."""


class Sample(NamedTuple):
    """An image with one of its captions. A broken sample keeps its place, with zeros, and is left out of the loss."""

    pixels: Tensor
    """[3, H, W]"""
    tokens: Tensor
    """[L]"""
    problem: int
    """Place in ``PROBLEMS``."""


class Order:
    """Which samples are trained on at which step: a function only of the seed and the step.

    Training passes over the samples repeatedly, each time in a different order and in batches of ``batch_size``; the
    last, incomplete batch of a pass is left out. Process ``rank`` of ``world`` reads a contiguous part of each batch.

    ``shard_of`` [samples] is that of an ``Index``. A pass draws ``window`` shards at a time and mixes their samples;
    with None it mixes all.
    """

    def __init__(self, shard_of: np.ndarray, batch_size: int, seed: int, window: int | None = None):
        self.batch_size = batch_size
        self.steps_per_pass = len(shard_of) // batch_size
        sizes = np.bincount(shard_of)
        window = window or len(sizes)

        def draw(number: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
            """The samples of a pass in their order, the shards of each window, and the end of each in that order."""
            random = np.random.default_rng(derive(seed, "order", number))
            mixed, shards = random.permutation(len(shard_of)), random.permutation(len(sizes))
            window_of = np.empty_like(shards)
            window_of[shards] = np.arange(len(shards)) // window
            starts = range(0, len(shards), window)
            ends = np.add.reduceat(sizes[shards], starts).cumsum()
            return mixed[np.argsort(window_of[shard_of[mixed]], kind="stable")], np.split(shards, starts[1:]), ends

        self._pass = lru_cache(maxsize=2)(draw)  # a pass and, for its last window, the next one

    def batch(self, step: int) -> tuple[int, np.ndarray]:
        """The pass (0-based) that a step (0-based) belongs to, and the samples [batch_size] of the step."""
        number, place = divmod(step, self.steps_per_pass)
        start = place * self.batch_size
        return number, self._pass(number)[0][start : start + self.batch_size]

    def windows(self, step: int) -> Iterator[tuple[int, np.ndarray]]:
        """From the window of a step on, without end: the step that first needs a window, and its shards."""
        for number in count(step // self.steps_per_pass):
            first, start = number * self.steps_per_pass, 0
            _, windows, ends = self._pass(number)
            for shards, end in zip(windows, ends.tolist(), strict=True):
                if first * self.batch_size + end > step * self.batch_size:
                    yield first + start // self.batch_size, shards
                start = end

    def parts(self, steps: range, rank: int, world: int) -> Iterator[list[tuple[int, int]]]:
        """For each step the (pass, sample) pairs that a process reads."""
        share = self.batch_size // world
        for step in steps:
            number, samples = self.batch(step)
            yield [(number, int(sample)) for sample in samples[rank * share : (rank + 1) * share]]


class ReadAhead:
    """Reads the shards of an order's ``windows`` from beginning to end, each before its samples are needed.

    The samples then come from the system's memory, which has to hold the shards of two windows.
    """

    def __init__(self, shards: list[Path], windows: Iterator[tuple[int, np.ndarray]]):
        self.shards, self._windows, self._last = shards, windows, 0
        self._pool = ThreadPoolExecutor(1)

    def reach(self, step: int) -> None:
        """Begin to read the window that follows the one of a step."""
        while step >= self._last:
            self._last, shards = next(self._windows, (sys.maxsize, ()))
            for shard in shards:
                self._pool.submit(_read_whole, self.shards[shard])

    def close(self) -> None:
        """Read no further shard."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _read_whole(shard: Path) -> None:
    """An error is that of whoever needs its samples."""
    buffer = bytearray(CHUNK)
    with suppress(OSError), shard.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


class ShardSamples(Dataset[Sample]):
    """The samples of an index, by (pass, sample): the same pair is the same crop and caption in any process."""

    def __init__(
        self,
        index: Index,
        pixels: PixelFormat,
        crop: tuple[float, float],
        tokenize: Callable[[list[str]], Tensor],
        seed: int,
    ):
        from open_clip.transform import AugmentationCfg, image_transform

        self.index, self.tokenize, self.seed = index, tokenize, seed
        self.transform: Any = image_transform(
            pixels.size, is_train=True, mean=pixels.mean, std=pixels.std, aug_cfg=AugmentationCfg(scale=crop)
        )
        self.nothing = Sample(torch.zeros(3, pixels.size, pixels.size), torch.zeros_like(tokenize(["a"])[0]), 0)
        self._open: OrderedDict[int, IO[bytes]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}  # every worker opens the shards itself

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Pixels of a random crop of the image, and tokens of one of its captions drawn at random."""
        number, sample = key
        image_at, image_size, text_at, text_size = map(int, self.index.places[sample])
        captions = parse_captions(self._read(sample, text_at, text_size), CAPTIONS[self.index.kinds[sample]])
        if not captions:
            return self.nothing._replace(problem=CAPTION_BROKEN)
        image = decode(self._read(sample, image_at, image_size))
        if image is None:
            return self.nothing._replace(problem=IMAGE_BROKEN)
        with seeded(derive(self.seed, "augment", number, sample)):
            caption = captions[int(torch.randint(len(captions), ()))]
            return Sample(self.transform(image), self.tokenize([caption])[0], 0)

    def name(self, sample: int) -> str:
        """Shard and member of a sample's image, for messages."""
        shard = self.index.shards[self.index.shard_of[sample]]
        try:
            header = self._read(sample, int(self.index.places[sample, 0]) - BLOCK, BLOCK)
        except CorruptArchive:
            return f"{shard.name}: a sample whose name can no longer be read"
        return f"{shard.name}: {tarfile.TarInfo.frombuf(header, 'utf-8', 'surrogateescape').name}"

    def _read(self, sample: int, offset: int, size: int) -> bytes:
        number = int(self.index.shard_of[sample])
        shard = self.index.shards[number]
        try:
            if number not in self._open:
                self._open[number] = shard.open("rb", buffering=0)
            self._open.move_to_end(number)
            if len(self._open) > OPEN:
                self._open.popitem(last=False)[1].close()
            content = os.pread(self._open[number].fileno(), size, offset)
        except OSError as error:
            raise CorruptArchive(f"{shard} could be read when training began, and not now: {error}") from None
        if len(content) != size:
            raise CorruptArchive(f"{shard} is shorter than when training began: fetch it again")
        return content


def decode(content: bytes) -> Image.Image | None:
    """An image as RGB, or None if it is broken."""
    try:
        return Image.fromarray(read_picture(content).rgb)
    except UnreadableImage:
        return None
