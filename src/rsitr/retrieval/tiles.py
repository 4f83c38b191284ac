"""The score matrix of images against captions, walked in square tiles so that it never exists as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rsitr.errors import TrainingDiverged

Device = str | torch.device
Integers = npt.NDArray[np.integer]
Embeddings = np.ndarray | Tensor
"""Float [N, D]; an array may be a memory map."""
Score = Callable[[slice, slice], Tensor]
"""Scores of a slice of images against a slice of captions: a new float tensor [images, captions]."""

BLOCK = 2048
"""Side of a tile: 16 MiB of float32, large enough for a matrix product at full speed."""
HELD_BYTES = 128 * 2**20
"""Tiles kept between the passes; with the current tile, its rows and its masks, working memory is about 200 MiB."""


class Tile(NamedTuple):
    """A block of the score matrix: its position among the tiles, and what it scores."""

    number: int
    images: slice
    texts: slice


class Grid:
    """The tiles of an [I, C] score matrix, numbered row by row."""

    def __init__(self, n_images: int, n_texts: int, block: int) -> None:
        self.n_images, self.n_texts, self.block = n_images, n_texts, block
        self.columns = -(-n_texts // block)
        self.tiles = [
            Tile(number, slice(i, min(i + block, n_images)), slice(t, min(t + block, n_texts)))
            for number, (i, t) in enumerate((i, t) for i in range(0, n_images, block) for t in range(0, n_texts, block))
        ]

    def number(self, image: Integers, text: Integers) -> Integers:
        """The tile that holds a pair."""
        return image // self.block * self.columns + text // self.block


class Held:
    """A scorer called tile by tile in two passes; results of the first are kept for the second while they fit."""

    def __init__(self, score: Score, room: int) -> None:
        self.score, self.room = score, room
        self.tiles: dict[int, Tensor] = {}

    def first(self, tile: Tile) -> Tensor:
        """Scores [images, captions] of a tile, kept as far as ``room`` bytes allow."""
        scores = _checked(self.score, tile)
        self.room -= scores.nbytes
        if self.room >= 0:
            self.tiles[tile.number] = scores
        return scores

    def last(self, tile: Tile) -> Tensor:
        """The same again, for the last time; recomputed if they were not kept."""
        return self.tiles.pop(tile.number) if tile.number in self.tiles else _checked(self.score, tile)


def _checked(score: Score, tile: Tile) -> Tensor:
    scores = score(tile.images, tile.texts)
    expected = (tile.images.stop - tile.images.start, tile.texts.stop - tile.texts.start)
    if scores.shape != expected:
        raise ValueError(f"The scorer returned a block of shape {tuple(scores.shape)}; it must be {expected}.")
    if scores.amax().isnan():  # amax propagates NaN and takes a tenth of the time of isnan
        raise TrainingDiverged(
            f"A score between images {tile.images.start} to {tile.images.stop - 1} and captions {tile.texts.start} to "
            f"{tile.texts.stop - 1} is not a number. Lower the learning rate, or look for a zero vector that the model "
            "normalises."
        )
    return scores


def rows(embeddings: Embeddings, part: slice | Integers, device: Device) -> Tensor:
    """Rows of embeddings on ``device``, float32."""
    values = embeddings[part]
    if isinstance(values, np.ndarray):
        values = torch.from_numpy(np.array(values, dtype=np.float32))  # torch cannot share a read-only memory map
    return values.detach().to(device, torch.float32)
