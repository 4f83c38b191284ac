"""The first items of every query, gathered from the tiles that ranks are counted in, in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rsitr.retrieval.tiles import Device, Tile
from rsitr.retrieval.top_files import Top

LENGTH = 10
"""Items of each query."""
ROWS = 256
"""Queries of a tile that are sorted at a time: 4 MiB of keys."""
LAST_POSITION, MAGNITUDE = 2**32 - 1, 2**31 - 1


class FirstItems:
    """The first ``LENGTH`` items, or all of fewer, of every image query and every caption query.

    Scores are compared as float32; of equal ones, the item with the lower position is first. Identical captions are
    items of their own, next to each other where their scores are equal. A matrix product may round the scores of equal
    embeddings differently, as ``ranks`` explains; their order is then that of the rounded scores.
    """

    def __init__(self, n_images: int, n_texts: int, device: Device = "cpu") -> None:
        self._i2t, self._t2i = (_lists(*sides, device) for sides in ((n_images, n_texts), (n_texts, n_images)))

    def add(self, scores: Tensor, tile: Tile) -> None:
        """Take ``scores`` [images, captions] of a tile in; every tile once."""
        _add(self._i2t, scores, tile.images.start, tile.texts.start)
        _add(self._t2i, scores.T, tile.texts.start, tile.images.start)

    @property
    def i2t(self) -> Top:
        """Captions, by their positions, of every image query."""
        return _top(self._i2t)

    @property
    def t2i(self) -> Top:
        """Images, by their positions, of every caption query."""
        return _top(self._t2i)


def _lists(n_queries: int, n_items: int, device: Device) -> Tensor:
    """int64 [Q, K]: the largest keys of each query, in descending order."""
    return torch.full((n_queries, min(LENGTH, n_items)), torch.iinfo(torch.int64).min, device=device)


def _add(lists: Tensor, scores: Tensor, query: int, item: int) -> None:
    """Take ``scores`` [queries, items] in, of which the first is that of the given query and item."""
    length = lists.shape[1]
    for start in range(0, len(scores), ROWS):
        keys = _keys(scores[start : start + ROWS], item)
        best = keys.topk(min(length, keys.shape[1])).values
        rows = slice(query + start, query + start + len(keys))
        lists[rows] = torch.cat([lists[rows], best], 1).topk(length).values


def _keys(scores: Tensor, first: int) -> Tensor:
    """int64 [Q, N], no two of a row equal: the larger, the higher the score, and then the lower the item's position.

    The bits of a float are in the order of its value, from which negative ones only differ in the direction.
    """
    bits = (scores.to(torch.float32) + 0.0).contiguous().view(torch.int32)  # -0.0 becomes 0.0
    position = torch.arange(first, first + scores.shape[1], device=scores.device)
    return (_flipped(bits).long() << 32) | (LAST_POSITION - position)


def _top(keys: Tensor) -> Top:
    position = LAST_POSITION - (keys & LAST_POSITION)
    scores = _flipped((keys >> 32).to(torch.int32)).view(torch.float32)
    return Top(position.cpu().numpy().astype(np.int32), scores.cpu().numpy())


def _flipped(bits: Tensor) -> Tensor:
    """Turn the order of negative numbers around; twice changes nothing."""
    return torch.where(bits < 0, bits ^ MAGNITUDE, bits)
