"""Exact retrieval ranks, in both directions at once, in bounded memory.

The rank of a query is the position of its first relevant item in the gallery sorted by descending score (1 is first).
Ties go against the method: an irrelevant item with the score of the best relevant one ranks above it.

The score matrix is walked in square tiles. A first pass visits only the tiles that hold a relevant pair and finds the
best relevant score of every query; a second pass visits all tiles and counts the irrelevant items that reach it. Tiles
of the first pass are kept for the second while they fit in ``HELD_BYTES``, so that a test set of the usual size is
scored once; with 100,000 images and their captions in the same order, 2 % of the tiles are scored twice.

What is guaranteed about ties
-----------------------------
A matrix product may round the same dot product differently in different places of a tile, so equal embeddings alone do
not make equal scores. Gallery items whose embedding equals that of the best relevant item are therefore counted as ties
by identity, wherever they are. Scores that float32 represents without rounding (small integers, for one) tie exactly as
well. Between *different* embeddings whose exact scores are closer than float32 can distinguish, the order is that of
the rounded scores. Ranks of ``rank_scores`` are exact with respect to the numbers that the scorer returns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from rsitr.errors import DatasetError
from rsitr.retrieval.recall import Duplicates, ProtocolRanks, Ranks, check_duplicates, count_images
from rsitr.retrieval.tiles import BLOCK, HELD_BYTES, Device, Embeddings, Grid, Held, Integers, Score, Tile, rows
from rsitr.retrieval.top import FirstItems


@overload
def rank_embeddings(
    images: Embeddings,
    texts: Embeddings,
    image_of: Integers,
    *,
    duplicates: None = None,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks: ...
@overload
def rank_embeddings(
    images: Embeddings,
    texts: Embeddings,
    image_of: Integers,
    *,
    duplicates: Duplicates,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> ProtocolRanks: ...
def rank_embeddings(
    images: Embeddings,
    texts: Embeddings,
    image_of: Integers,
    *,
    duplicates: Duplicates | None = None,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks | ProtocolRanks:
    """Rank by dot product, computed in float32; the caller normalises the embeddings.

    ``images`` [I, D] and ``texts`` [C, D] may stay on disk or on any device: rows move to ``device`` one tile at a
    time. ``image_of`` [C] is the image of each caption; captions in image order keep the first pass short.
    ``duplicates`` of the captions and images (``recall.duplicates_of``) request both protocols in one pass, in which
    ``top`` gathers the first items of every query, too.

    Raises ``DatasetError`` when ``image_of`` or ``duplicates`` does not describe the embeddings, ``TrainingDiverged``
    when a score is not a number, ``ValueError`` when the two sides differ in D.
    """
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1]:
        raise ValueError(
            f"Embeddings of shape {tuple(images.shape)} and {tuple(texts.shape)} cannot be compared: "
            "pass [I, D] and [C, D]."
        )
    pairs = relevant_pairs(image_of, duplicates)
    if (pairs.n_images, pairs.n_texts) != (len(images), len(texts)):
        raise DatasetError(
            f"image_of speaks of {pairs.n_images} images and {pairs.n_texts} captions, but {len(images)} and "
            f"{len(texts)} were embedded. Embed every image and caption of the split once, in the order of the dataset."
        )
    return rank_pairs(images, texts, pairs, top=top, block=block, device=device)


@overload
def rank_scores(
    score: Score,
    image_of: Integers,
    *,
    duplicates: None = None,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks: ...
@overload
def rank_scores(
    score: Score,
    image_of: Integers,
    *,
    duplicates: Duplicates,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> ProtocolRanks: ...
def rank_scores(
    score: Score,
    image_of: Integers,
    *,
    duplicates: Duplicates | None = None,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks | ProtocolRanks:
    """Rank by a pairwise scorer, as interaction models need.

    ``score`` is called with slices of at most ``block`` images and captions; a block that does not fit in
    ``HELD_BYTES`` between the passes is requested twice. Scores are compared in their own dtype, on ``device``. The
    other arguments and the errors are those of ``rank_embeddings``.
    """
    return _rank(score, relevant_pairs(image_of, duplicates), TwinPair(None, None), top, block, device)


def rank_pairs(
    images: Embeddings,
    texts: Embeddings,
    pairs: Pairs,
    *,
    top: FirstItems | None = None,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks | ProtocolRanks:
    """Rank as ``rank_embeddings`` by relevant pairs that the caller has checked, of as many images and captions.

    A query without a pair gets a rank behind all items, which means nothing.
    """

    def score(image_rows: slice, text_rows: slice) -> Tensor:
        return rows(images, image_rows, device) @ rows(texts, text_rows, device).T

    with _full_float32(torch.device(device).type):
        return _rank(score, pairs, TwinPair(_twins(images, device), _twins(texts, device)), top, block, device)


class Pairs(NamedTuple):
    """The relevant (image, caption) pairs of one test set, once per protocol; the last has all of the others."""

    n_images: int
    n_texts: int
    protocols: list[tuple[Integers, Integers]]


def relevant_pairs(image_of: Integers, duplicates: Duplicates | None, n_images: int | None = None) -> Pairs:
    """The pairs of a ranking. A text that n captions of m images share makes n * m duplicate-aware pairs.

    Without ``n_images`` every image has to have a caption, and the arguments are checked.

    An image and a caption are relevant to each other by the duplicate-aware protocol if an image with the same picture
    has a caption with the same text.
    """
    if n_images is None:
        n_images = count_images(image_of)
        if duplicates is not None:
            check_duplicates(duplicates, image_of)
    n_texts = len(image_of)
    protocols: list[tuple[Integers, Integers]] = [(image_of, np.arange(n_texts))]
    if duplicates is not None:
        text, picture = (np.unique(side, return_inverse=True)[1] for side in duplicates)
        texts, pictures = int(text.max()) + 1, int(picture.max()) + 1
        shows = _incidence(np.arange(n_images), picture, (n_images, pictures))
        described = _incidence(picture[image_of], text, (pictures, texts))
        copies = _incidence(text, np.arange(n_texts), (texts, n_texts))
        protocols.append((shows @ described @ copies).nonzero())
    return Pairs(n_images, n_texts, protocols)


def _incidence(row: Integers, column: Integers, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(row), dtype=np.int32), (row, column)), shape=shape)


class TwinPair(NamedTuple):
    """Which gallery items have the same embedding (``_twins``)."""

    images: Tensor | None
    texts: Tensor | None


class _Direction:
    """The queries of one direction: the best relevant score of each, and how many irrelevant items reach it."""

    def __init__(self, query: Tensor, item: Tensor, n_queries: int, twins: Tensor | None) -> None:
        self.query, self.item, self.twins = query, item, twins
        self.ahead = torch.zeros(n_queries, dtype=torch.int64, device=query.device)

    def set_best(self, scores: Tensor) -> None:
        """``scores`` [P], one per relevant pair."""
        lowest = torch.full(self.ahead.shape, -torch.inf, dtype=scores.dtype, device=scores.device)
        self.best = lowest.scatter_reduce(0, self.query, scores, "amax")
        if self.twins is not None:
            leads = scores == self.best[self.query]
            nobody = torch.full_like(self.ahead, -1)
            twin = nobody.scatter_reduce(0, self.query[leads], self.twins[self.item[leads]], "amax")
            self.best_twin = twin.masked_fill(twin == -1, -2)  # -1 marks an item without a twin: it must not match any

    def count(self, block: Tensor, queries: slice, items: slice, pairs: slice) -> None:
        """``block`` [queries, items]; ``pairs`` are the relevant pairs inside it."""
        reached = block >= self.best[queries, None]
        if self.twins is not None:
            reached |= self.twins[items] == self.best_twin[queries, None]
        self.ahead[queries] += reached.sum(1, dtype=torch.int32)
        query, item = self.query[pairs], self.item[pairs]
        relevant = reached[query - queries.start, item - items.start]
        self.ahead.index_add_(0, query, relevant.to(torch.int64), alpha=-1)

    def ranks(self) -> npt.NDArray[np.int64]:
        return (1 + self.ahead).cpu().numpy()


class Protocol:
    """Both directions under one definition of relevance."""

    def __init__(self, image: Integers, text: Integers, grid: Grid, twins: TwinPair, device: Device) -> None:
        tile = grid.number(image, text)
        order = np.argsort(tile, kind="stable")
        self.start = np.searchsorted(tile[order], np.arange(len(grid.tiles) + 1))
        self.image, self.text = (
            torch.from_numpy(side[order].astype(np.int64, copy=False)).to(device) for side in (image, text)
        )
        self.i2t = _Direction(self.image, self.text, grid.n_images, twins.texts)
        self.t2i = _Direction(self.text, self.image, grid.n_texts, twins.images)
        self.scores: Tensor | None = None

    def pairs(self, tile: Tile) -> slice:
        """The relevant pairs inside a tile: pairs are sorted by the tile that holds them."""
        return slice(int(self.start[tile.number]), int(self.start[tile.number + 1]))

    def gather(self, tile: Tile, block: Tensor) -> None:
        """First pass: the scores of the relevant pairs inside a tile."""
        if self.scores is None:  # all at once: small pieces between the tiles would fragment memory
            self.scores = torch.empty(len(self.image), dtype=block.dtype, device=block.device)
        pairs = self.pairs(tile)
        self.scores[pairs] = block[self.image[pairs] - tile.images.start, self.text[pairs] - tile.texts.start]

    def set_best(self) -> None:
        """Between the passes: the best relevant score of every query."""
        assert self.scores is not None
        self.i2t.set_best(self.scores)
        self.t2i.set_best(self.scores)

    def count(self, tile: Tile, block: Tensor) -> None:
        """Second pass: the irrelevant items of a tile that reach that score."""
        pairs = self.pairs(tile)
        self.i2t.count(block, tile.images, tile.texts, pairs)
        self.t2i.count(block.T, tile.texts, tile.images, pairs)

    def ranks(self) -> Ranks:
        """After both passes."""
        return Ranks(i2t=self.i2t.ranks(), t2i=self.t2i.ranks())


def _rank(
    score: Score, pairs: Pairs, twins: TwinPair, top: FirstItems | None, block: int, device: Device
) -> Ranks | ProtocolRanks:
    grid = Grid(pairs.n_images, pairs.n_texts, block)
    protocols = [Protocol(image, text, grid, twins, device) for image, text in pairs.protocols]
    held = Held(score, HELD_BYTES)
    with torch.inference_mode():
        # The plain pairs are among the duplicate-aware ones, so the last protocol names every tile with a pair.
        for number in np.flatnonzero(np.diff(protocols[-1].start)):
            tile = grid.tiles[number]
            scores = held.first(tile)
            for protocol in protocols:
                protocol.gather(tile, scores)
        for protocol in protocols:
            protocol.set_best()
        for tile in grid.tiles:
            scores = held.last(tile)
            for protocol in protocols:
                protocol.count(tile, scores)
            if top is not None:
                top.add(scores, tile)
    return by_protocol([protocol.ranks() for protocol in protocols])


def by_protocol(found: list[Ranks]) -> Ranks | ProtocolRanks:
    """Ranks as returned: of the single protocol requested, or of both."""
    plain, *duplicate_aware = found
    return ProtocolRanks(plain, *duplicate_aware) if duplicate_aware else plain


def _twins(embeddings: Embeddings, device: Device) -> Tensor | None:
    """Int64 [N], equal for rows of equal values and -1 for a row that is certainly unique; None when all rows are.

    Twins share their first value, so only rows that do are compared; a 128-bit digest represents the row, which keeps
    memory small even when training collapsed and all rows are equal.
    """
    first = rows(embeddings[:, :1], slice(None), "cpu").numpy()[:, 0]
    _, group, size = np.unique(first, return_inverse=True, return_counts=True)
    suspects = np.flatnonzero(size[group] > 1)
    if len(suspects) == 0:
        return None
    known: dict[bytes, int] = {}
    twins = np.full(len(first), -1)
    for part in np.array_split(suspects, -(-len(suspects) // BLOCK)):
        for row, values in zip(part, rows(embeddings, part, "cpu").numpy() + 0.0, strict=True):  # -0.0 becomes 0.0
            twins[row] = known.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), len(known))
    return torch.from_numpy(twins).to(device)


@contextmanager
def _full_float32(device_type: str) -> Iterator[None]:
    """Training code may have allowed TF32 or half precision; ten bits of mantissa would reorder close scores."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
