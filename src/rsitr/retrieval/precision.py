"""Average precision in both directions, how often the right one of a few captions is picked, and mean cosines.

The first two need, for every relevant item of a query, how many irrelevant ones rank above it. Ties go against the
method, as in ``rsitr.retrieval.ranks``: an irrelevant item with the score of a relevant one ranks above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rsitr.retrieval.ranks import relevant_pairs
from rsitr.retrieval.recall import Duplicates
from rsitr.retrieval.tiles import Integers, Score

BLOCK = 512
"""Queries sorted at a time: 11 MiB of scores with the 5,465 captions of RSICD's test set."""

Floats = npt.NDArray[np.float64]


class Precision(NamedTuple):
    """Of every query of a test set, from 0 to 1."""

    i2t: Floats
    """[I], average precision of image queries."""
    t2i: Floats
    """[C], average precision of caption queries."""
    choice: Floats
    """[I], of image queries: the probability that the right caption is picked among a few wrong ones."""


def precision(score: Score, image_of: Integers, duplicates: Duplicates | None = None, others: int = 4) -> Precision:
    """For a pairwise scorer; ``score``, ``image_of`` and ``duplicates`` as in ``ranks.rank_scores``, and the errors.

    With ``duplicates`` a caption is relevant to an image when its text is one of those of the image's picture,
    otherwise only when it is its own caption.

    The average precision of a query is the mean, over its relevant items, of the share of relevant ones among all items
    ranked down to it (C. Manning et al., Introduction to Information Retrieval, section 8.4). With one relevant item it
    is the reciprocal of its rank.

    ``choice`` is how often, over all draws of one relevant caption and ``others`` irrelevant ones (or as many as there
    are), the relevant one has the highest score.
    """
    pairs = relevant_pairs(image_of, duplicates)
    image, text = pairs.protocols[-1]
    i2t, choice = np.empty(pairs.n_images), np.empty(pairs.n_images)
    everything = slice(None)
    for rows, query, item in _blocks(image, text, pairs.n_images):
        ahead, real = _ahead(score(rows, everything), query, item)
        i2t[rows] = _average_precision(ahead, real)
        choice[rows] = _choice(ahead, real, pairs.n_texts, others)
    t2i = np.empty(pairs.n_texts)
    for rows, query, item in _blocks(text, image, pairs.n_texts):
        t2i[rows] = _average_precision(*_ahead(score(everything, rows).T.contiguous(), query, item))
    return Precision(i2t, t2i, choice)


def _blocks(query: Integers, item: Integers, total: int) -> Iterator[tuple[slice, Integers, Integers]]:
    """Slices of queries, each with its relevant pairs: the position of the query in the slice, and the item."""
    order = np.argsort(query, kind="stable")
    query, item = query[order], item[order]
    for start in range(0, total, BLOCK):
        rows = slice(start, min(start + BLOCK, total))
        inside = slice(*np.searchsorted(query, [rows.start, rows.stop]))
        yield rows, query[inside] - start, item[inside]


def _ahead(scores: Tensor, query: Integers, item: Integers) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Of scores [Q, N]: how many irrelevant items rank above the best, the second best ... relevant one, [Q, R].

    The mask [Q, R] marks the places that a query with fewer than R relevant items lacks.
    """
    counts = np.bincount(query, minlength=len(scores))
    column = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = torch.from_numpy(query.astype(np.int64)), torch.from_numpy(column)
    relevant = torch.full((len(scores), int(counts.max())), torch.inf, dtype=scores.dtype)
    relevant[places] = scores[places[0], torch.from_numpy(item.astype(np.int64))]
    relevant = relevant.sort(1).values.contiguous()
    sizes = torch.from_numpy(counts)[:, None]
    reached = scores.shape[1] - torch.searchsorted(scores.sort(1).values.contiguous(), relevant)
    of_relevant = sizes - torch.searchsorted(relevant, relevant)
    # From ascending to descending scores; the padding of the row, which came first, goes last.
    ahead = (reached - of_relevant).flip(1).numpy().astype(np.float64)
    shift = (np.arange(ahead.shape[1])[None] + (ahead.shape[1] - counts)[:, None]) % ahead.shape[1]
    return np.take_along_axis(ahead, shift, 1), np.arange(ahead.shape[1])[None] < counts[:, None]


def _average_precision(ahead: Floats, real: npt.NDArray[np.bool_]) -> Floats:
    """[Q] from what ``_ahead`` returns."""
    place = 1 + np.arange(ahead.shape[1])
    return np.where(real, place / (place + ahead), 0).sum(1) / real.sum(1)


def _choice(ahead: Floats, real: npt.NDArray[np.bool_], n_items: int, others: int) -> Floats:
    """[Q]: of all draws of irrelevant items without replacement, the share in which none ranks above."""
    irrelevant = n_items - real.sum(1, keepdims=True)
    share = np.ones_like(ahead)
    for drawn in range(others):
        left = irrelevant - drawn
        share *= np.where(left > 0, np.clip(left - ahead, 0, None) / np.maximum(left, 1), 1)
    return np.where(real, share, 0).sum(1) / real.sum(1)


class PairCosines(NamedTuple):
    """Mean cosines, from -1 to 1."""

    matched: float
    """Of an image and one of its own captions."""
    unmatched: float | None
    """Of an image and a caption whose text none of its picture has; None where there is no such pair."""


def pair_cosines(scores: Tensor, image_of: Integers, duplicates: Duplicates) -> PairCosines:
    """Of cosines [I, C], with ``image_of`` [C] and ``duplicates`` as in ``ranks.rank_scores``, and its errors.

    A caption of another image counts in neither mean where its text is one of those of the image's picture.
    """
    pairs = relevant_pairs(image_of, duplicates)
    (own, fitting) = (
        scores[torch.from_numpy(image).long(), torch.from_numpy(text).long()].double()
        for image, text in pairs.protocols
    )
    left = scores.numel() - len(fitting)
    # Rows are summed in float64: a million float32 values of one sign would lose digits.
    unmatched = float((scores.sum(1, dtype=torch.float64).sum() - fitting.sum()) / left) if left else None
    return PairCosines(float(own.mean()), unmatched)
