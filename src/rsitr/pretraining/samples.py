"""From a position in the training order to pixels and tokens."""

from __future__ import annotations

import os
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache
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
    """

    def __init__(self, samples: int, batch_size: int, seed: int):
        self.samples, self.batch_size, self.seed = samples, batch_size, seed
        self.steps_per_pass = samples // batch_size
        self._permutation = lru_cache(maxsize=1)(
            lambda number: np.random.default_rng(derive(seed, "order", number)).permutation(samples)
        )

    def batch(self, step: int) -> tuple[int, np.ndarray]:
        """The pass (0-based) that a step (0-based) belongs to, and the samples [batch_size] of the step."""
        number, place = divmod(step, self.steps_per_pass)
        start = place * self.batch_size
        return number, self._permutation(number)[start : start + self.batch_size]

    def parts(self, steps: range, rank: int, world: int) -> Iterator[list[tuple[int, int]]]:
        """For each step the (pass, sample) pairs that a process reads."""
        share = self.batch_size // world
        for step in steps:
            number, samples = self.batch(step)
            yield [(number, int(sample)) for sample in samples[rank * share : (rank + 1) * share]]


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
