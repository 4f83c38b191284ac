"""Batches of images for a method: decoded pixels, cached tokens of a frozen backbone, or bare row numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from rsitr.nn.pixels import PixelDataset, PixelFormat

KEPT_BYTES = 2**28
"""Pixels of unaugmented images are kept up to this total size, so that later epochs need not decode them again."""


class PixelInputs:
    """Pixels [B, 3, H, W] decoded on the way, by ``workers`` processes where there are any."""

    def __init__(self, paths: list[Path], pixels: PixelFormat, augment: str = "none", seed: int = 0, workers: int = 0):
        self.dataset = PixelDataset(paths, pixels, augment, seed)
        self.workers = workers
        self.keeps = augment == "none" and len(paths) * 3 * pixels.size**2 * 4 <= KEPT_BYTES
        self.kept: dict[int, Tensor] = {}

    def batches(self, batches: Sequence[np.ndarray], epoch: int = 0) -> Iterator[Tensor]:
        """The images at each batch of positions, as ``epoch`` sees them."""
        if self.keeps:
            yield from (torch.stack([self._unchanging(int(position)) for position in batch]) for batch in batches)
            return
        indices = [[(epoch, int(position)) for position in batch] for batch in batches]
        # A loader draws from the generator it is given, otherwise from torch's, which dropout and resuming rely on.
        own = torch.Generator()
        yield from DataLoader(self.dataset, batch_sampler=indices, num_workers=self.workers, generator=own)  # type: ignore[arg-type]

    def _unchanging(self, position: int) -> Tensor:
        if position not in self.kept:
            self.kept[position] = self.dataset[0, position]
        return self.kept[position]


class TokenInputs:
    """Tokens [B, N, C] of a frozen backbone, from its cache."""

    def __init__(self, tokens: np.ndarray, rows: np.ndarray):
        self.tokens = tokens
        self.rows = rows

    def batches(self, batches: Sequence[np.ndarray], epoch: int = 0) -> Iterator[Tensor]:
        """The tokens at each batch of positions; the same in every epoch. The next batch is read ahead."""
        chosen = [self.rows[batch] for batch in batches]
        with _reading_ahead(self.tokens) as announce:
            announce(*chosen[:1])
            for number, rows in enumerate(chosen, start=1):
                announce(*chosen[number : number + 1])
                yield torch.from_numpy(self.tokens[rows])


@contextmanager
def _reading_ahead(tokens: np.ndarray) -> Iterator[Callable[..., None]]:
    """A function that has the system read batches of rows of a file while others are used, each in one request.

    Otherwise it reads a row in dozens of requests, one after another, and only when it is used.
    """
    name = getattr(tokens, "filename", None)  # of a memory map
    if name is None or not hasattr(os, "posix_fadvise"):
        yield lambda *batches: None
        return
    assert isinstance(tokens, np.memmap)
    file, size, begin = os.open(name, os.O_RDONLY), tokens.strides[0], tokens.offset

    def announce(*batches: np.ndarray) -> None:
        for row in sorted({int(row) for rows in batches for row in rows}):
            os.posix_fadvise(file, begin + row * size, size, os.POSIX_FADV_WILLNEED)

    try:
        yield announce
    finally:
        os.close(file)


class RowInputs:
    """Row numbers [B], for a method that does not look at pixels."""

    def batches(self, batches: Sequence[np.ndarray], epoch: int = 0) -> Iterator[Tensor]:
        """The positions themselves."""
        for batch in batches:
            yield torch.from_numpy(np.asarray(batch))


class ChosenInputs:
    """A selection of other inputs: position i is their position ``places[i]``."""

    def __init__(self, inputs: Inputs, places: np.ndarray):
        self.inputs = inputs
        self.places = places

    def batches(self, batches: Sequence[np.ndarray], epoch: int = 0) -> Iterator[Tensor]:
        """The images at each batch of positions."""
        yield from self.inputs.batches([self.places[batch] for batch in batches], epoch)


Inputs = PixelInputs | TokenInputs | RowInputs | ChosenInputs
