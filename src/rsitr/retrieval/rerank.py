"""Multivariate re-ranking of retrieved lists from the score matrix alone, exact and in bounded memory.

Source: Z. Yuan et al., "Remote Sensing Cross-Modal Text-Image Retrieval Based on Global and Local Information", IEEE
TGRS 2022 (GaLR), the part on the multivariate rerank algorithm and its figure.

The first K items of a query's list, its candidates, are re-sorted by the sum of three components:

    share * s / sum of the candidate's scores with all queries  (the share of the query in what the candidate scores)
    + exp(-decay * place of the candidate in the query's list)
    + reverse * exp(-decay * place of the query in the candidate's own list)

Places count from 1. The candidate's own list holds all queries of the direction: for an image query the candidates are
captions and the own list of a caption ranks all images; for a caption query it is the other way round.

What the sources leave open:

- The new score of a candidate depends on the score matrix only, not on relevance and not on the order of the data set:
  the place of an item is one more than the number of items with a higher score, so equal captions stay equal. In the
  re-sorted list, ties go against the method, as in ``ranks``; scores closer than ``TIE`` are a tie.
- Re-ranking permutes only the candidates: a query with no relevant item among them keeps its rank. The
  released code gives all other items the score 0, which leaves their order to the sort.
- K counts whole groups of equal scores: a group that extends beyond place K is left out as a whole.
- A score below 0 shares nothing, and counts as 0 in the sum: where scores have both signs, as cosines around 0 do, the
  published quotient would change sign, or outweigh everything else when the sum is just above 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rsitr.errors import ParamsError
from rsitr.retrieval.ranks import Protocol, TwinPair, by_protocol, relevant_pairs
from rsitr.retrieval.recall import Duplicates, ProtocolRanks, Ranks
from rsitr.retrieval.tiles import BLOCK, HELD_BYTES, Device, Embeddings, Grid, Held, Integers, Score, rows

TIE = 1e-9
"""Of new scores, relative above 1: how much the rounding of the sums may amount to."""


@dataclass(frozen=True)
class Formula:
    """The numbers of the re-ranking; defaults as in the script that its authors released."""

    k: int = 30
    """Candidates of a query. The released code never takes fewer than 10."""
    share: float = 0.30
    """Weight of the share."""
    reverse: float = 1.1
    """Weight of the reverse place; the place itself has the weight 1."""
    decay: float = 0.05
    """ξ of the paper: how fast the value of a place decays."""
    depth: int | None = None
    """l of the paper: the reverse component is 0 where the query is not among the first l of the candidate's list.
    None searches the whole list, like the released code."""
    form: Literal["paper", "released"] = "paper"
    """``released`` replaces the reverse place by its own rank among the reverse places of the candidates, from 1 to K,
    as the released code computes it."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ParamsError(f"Re-ranking needs candidates: k is {self.k}, give 1 or more.")

    def __call__(self, score: Tensor, total: Tensor, place: Tensor, reverse: Tensor) -> Tensor:
        """New scores, float64 [Q, K], of the candidates' scores, the sums they are divided by, and their places."""
        share = torch.where((total > 0) & total.isfinite(), score.double().clamp(min=0) / total, 0.0)
        counted = _places(reverse) if self.form == "released" else reverse
        backwards = torch.exp(-self.decay * counted.double())
        if self.depth is not None:
            backwards = torch.where(reverse <= self.depth, backwards, 0.0)
        return self.share * share + torch.exp(-self.decay * place.double()) + self.reverse * backwards


PUBLISHED = Formula()


@overload
def rerank(
    score: Score,
    image_of: Integers,
    *,
    duplicates: None = None,
    formula: Formula = PUBLISHED,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks: ...
@overload
def rerank(
    score: Score,
    image_of: Integers,
    *,
    duplicates: Duplicates,
    formula: Formula = PUBLISHED,
    block: int = BLOCK,
    device: Device = "cpu",
) -> ProtocolRanks: ...
def rerank(
    score: Score,
    image_of: Integers,
    *,
    duplicates: Duplicates | None = None,
    formula: Formula = PUBLISHED,
    block: int = BLOCK,
    device: Device = "cpu",
) -> Ranks | ProtocolRanks:
    """Ranks after re-ranking, by a pairwise scorer.

    ``score``, ``image_of`` [C], ``duplicates`` and the errors are those of ``ranks.rank_scores``; embeddings are
    scored by ``dot_product``. Scores are taken as float32. Besides one tile, and tiles kept up to ``HELD_BYTES``,
    memory is about 100 bytes per candidate of each query.
    """
    pairs = relevant_pairs(image_of, duplicates)
    grid = Grid(pairs.n_images, pairs.n_texts, block)
    protocols = [Protocol(image, text, grid, TwinPair(None, None), device) for image, text in pairs.protocols]
    held = Held(lambda image_rows, text_rows: score(image_rows, text_rows).to(torch.float32), HELD_BYTES)
    of_images = _Lists(grid.n_images, grid.n_texts, formula.k, device)
    of_texts = _Lists(grid.n_texts, grid.n_images, formula.k, device)
    with torch.inference_mode():
        for tile in grid.tiles:
            scores = held.first(tile)
            of_images.add(scores, tile.images, tile.texts)
            of_texts.add(scores.T.contiguous(), tile.texts, tile.images)
            for protocol in protocols:
                protocol.gather(tile, scores)
        for protocol in protocols:
            protocol.set_best()
        i2t, t2i = _NewLists(of_images, of_texts), _NewLists(of_texts, of_images)
        for tile in grid.tiles:
            scores = held.last(tile)
            i2t.count(_sorted(scores.T.contiguous()), tile.texts)
            t2i.count(_sorted(scores), tile.images)
            for protocol in protocols:
                protocol.count(tile, scores)
        i2t.rescore(formula)
        t2i.rescore(formula)
    return by_protocol([_ranks(protocol, i2t, t2i) for protocol in protocols])


def dot_product(images: Embeddings, texts: Embeddings, device: Device = "cpu") -> Score:
    """The scorer of embeddings [I, D] and [C, D], which gives equal embeddings equal scores.

    In float32 a matrix product rounds the same dot product differently in different places. So it is computed in
    float64; converted to float32, equal scores are equal again except for one pair in many millions.
    """

    def score(image_rows: slice, text_rows: slice) -> Tensor:
        return rows(images, image_rows, device).double() @ rows(texts, text_rows, device).double().T

    return score


class _Lists:
    """The lists of all queries of one side: the head of each, and the sum of the whole."""

    def __init__(self, n_queries: int, n_items: int, k: int, device: Device) -> None:
        # One more than K, to see whether a group of equal scores extends beyond K.
        length = min(k + 1, n_items)
        self.k = min(k, n_items)
        self.scores = torch.full((n_queries, length), -torch.inf, device=device)
        self.items = torch.zeros((n_queries, length), dtype=torch.int64, device=device)
        self.total = torch.zeros(n_queries, dtype=torch.float64, device=device)

    def add(self, block: Tensor, queries: slice, items: slice) -> None:
        """``block`` [queries, items]"""
        self.total[queries] += block.clamp(min=0).sum(1, dtype=torch.float64)
        scores, item = block.topk(min(self.scores.shape[1], block.shape[1]))
        scores = torch.cat([self.scores[queries], scores], 1)
        item = torch.cat([self.items[queries], item + items.start], 1)
        self.scores[queries], order = scores.topk(self.scores.shape[1])
        self.items[queries] = item.gather(1, order)

    def candidates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores in descending order, items, and whether each is a candidate; all [Q, K]."""
        limit = self.scores[:, self.k :] if self.scores.shape[1] > self.k else -torch.inf
        scores = self.scores[:, : self.k]
        return scores, self.items[:, : self.k], scores > limit


class _NewLists:
    """The candidates of all queries of one direction: their places in both lists, and then their new scores."""

    def __init__(self, queries: _Lists, candidates: _Lists) -> None:
        self.scores, self.items, self.inside = queries.candidates()
        self.total = candidates.total[self.items]
        self.order = self.items.flatten().argsort()
        self.item = self.items.flatten()[self.order]
        self.score = self.scores.flatten()[self.order]
        everyone = torch.arange(len(candidates.total) + 1, device=self.item.device)
        self.start = torch.searchsorted(self.item, everyone).tolist()
        self.ahead = torch.zeros_like(self.item)

    def count(self, block: Tensor, candidates: slice) -> None:
        """``block`` [candidates, queries], every row in ascending order."""
        part = slice(self.start[candidates.start], self.start[candidates.stop])
        self.ahead[part] += _larger(block, self.item[part] - candidates.start, self.score[part])

    def rescore(self, formula: Formula) -> None:
        """After the second pass."""
        reverse = torch.empty_like(self.ahead)
        reverse[self.order] = 1 + self.ahead
        reverse = reverse.reshape(self.items.shape).masked_fill(~self.inside, torch.iinfo(torch.int64).max)
        self.scores = formula(self.scores, self.total, _places(-self.scores), reverse)

    def ranks(self, query: Tensor, item: Tensor, before: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Ranks, given the relevant pairs [P] and the ranks ``before`` [Q], kept without a relevant candidate."""
        codes = torch.arange(len(self.items), device=self.items.device)[:, None] << 32 | self.items
        relevant = torch.isin(codes, query << 32 | item)
        best = self.scores.masked_fill(~(self.inside & relevant), -torch.inf).amax(1)
        reached = self.scores >= (best - TIE * best.abs().clamp(min=1))[:, None]
        ranks = 1 + (reached & self.inside & ~relevant).sum(1)
        return np.where(best.isfinite().cpu().numpy(), ranks.cpu().numpy(), before)


def _ranks(protocol: Protocol, i2t: _NewLists, t2i: _NewLists) -> Ranks:
    before = protocol.ranks()
    image, text = protocol.image, protocol.text
    return Ranks(i2t=i2t.ranks(image, text, before.i2t), t2i=t2i.ranks(text, image, before.t2i))


def _places(values: Tensor) -> Tensor:
    """Of each value of a row [Q, K], one more than the number of smaller ones."""
    return 1 + torch.searchsorted(values.sort(1).values, values.contiguous())


def _sorted(block: Tensor) -> Tensor:
    """Rows in ascending order. NumPy keeps no positions and is ten times as fast as torch."""
    return torch.from_numpy(np.sort(block.cpu().numpy(), axis=1)).to(block.device)


def _larger(block: Tensor, row: Tensor, value: Tensor) -> Tensor:
    """How many entries of ``block[row]`` [P, N], in ascending order, exceed ``value`` [P]: bisection, all at once."""
    length, flat = block.shape[1], block.flatten()
    low, high = torch.zeros_like(row), torch.full_like(row, length)
    for _ in range(length.bit_length()):
        middle = (low + high) // 2
        right = (low < high) & (flat[row * length + middle.clamp(max=length - 1)] <= value)
        low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
    return length - low
