"""Two-stage retrieval: a cheap filter shortlists K items for each query, an expensive scorer re-sorts the shortlist.

Source: the retrieval filter of MTGFE (2023), section 3.4; any filter and any scorer of pairs will do.

The final ranking of a query is the shortlist in the order of the scorer, followed by all other items in the order of
the filter. What the paper leaves open:

- The rank of a query is the position of its first relevant item in that ranking. Ties go against the method in both
  parts, as in ``ranks``: an irrelevant item with the score of the best relevant one ranks above it.
- K counts whole groups of items with the same filter score: a group that extends beyond place K is left out as a whole,
  so that no result depends on the order of the data set. A shortlist may therefore be shorter than K.
- A K larger than the gallery means the whole gallery, and the ranks are then those of exhaustive scoring. A gallery of
  one item has a single rank, 1.
- Identical captions are one text: it is scored once, takes one place in a shortlist, and counts as all its captions in
  the final ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rsitr.errors import DatasetError, ParamsError, TrainingDiverged
from rsitr.retrieval.ranks import by_protocol, relevant_pairs
from rsitr.retrieval.recall import Duplicates, ProtocolRanks, Ranks
from rsitr.retrieval.tiles import Integers, Score

BLOCK = 512
"""Queries whose filter scores are in memory at a time: 11 MiB with RSICD's 5,465 captions, and a few masks as large."""


Rescore = Callable[[int, Tensor], Tensor]
"""Scores [K], on the CPU, of an image against texts (int64 [K]) by the expensive scorer."""


class Shortlists(NamedTuple):
    """The candidates of several queries."""

    items: Tensor
    """int64 [Q, K], best first."""
    inside: Tensor
    """bool [Q, K]: whether the item at that place is a candidate; the others are padding."""


def shortlist(scores: Tensor, k: int) -> Shortlists:
    """The first K items of each query by the filter's ``scores`` [Q, G].

    Raises ``ParamsError`` for a K below 1.
    """
    if k < 1:
        raise ParamsError(f"a shortlist needs candidates: its length is {k}, give 1 or more")
    k = min(k, scores.shape[1])
    best, items = scores.topk(min(k + 1, scores.shape[1]))
    limit = best[:, k:] if best.shape[1] > k else torch.full_like(best[:, :1], -torch.inf)
    everything = best.shape[1] == k
    return Shortlists(items[:, :k], (best[:, :k] > limit) | everything)


class Relevant(NamedTuple):
    """Which gallery items answer which queries; several queries may share a list."""

    row: Tensor
    """int64 [N]: the list of each query."""
    query: Tensor
    """int64 [P], of each relevant pair of a query and an item."""
    item: Tensor
    """int64 [P]"""
    own: Tensor
    """int64 [P]: how many of the copies of the item are relevant to the query."""
    copies: Tensor
    """int64 [G]: how many entries of the gallery each item stands for."""


Answers = Callable[[slice], tuple[Integers, Relevant]]
"""Of the rows of a slice: which queries have their lists there, and what is relevant to them."""


def final_ranks(first: Tensor, lists: Shortlists, second: Tensor, relevant: Relevant) -> npt.NDArray[np.int64]:
    """Rank [N] of each query in its final ranking.

    ``first`` [Q, G] are the filter's scores, ``second`` [Q, K] the scorer's of ``lists``.
    """
    inside = torch.zeros_like(first, dtype=torch.bool).scatter_(1, lists.items, lists.inside)
    value = first.scatter(1, lists.items, torch.where(lists.inside, second, first.gather(1, lists.items)))
    of_pair = relevant.row[relevant.query], relevant.item
    count = len(relevant.row)
    # The best relevant item: in the shortlist if any is there, and of those the one with the highest score.
    shortlisted = torch.zeros(count, dtype=torch.bool)
    shortlisted[relevant.query[inside[of_pair]]] = True
    contends = inside[of_pair] == shortlisted[relevant.query]
    scores = value[of_pair].masked_fill(~contends, -torch.inf)
    best = torch.full((count,), -torch.inf, dtype=value.dtype).scatter_reduce(0, relevant.query, scores, "amax")

    level, values = inside[relevant.row], value[relevant.row]
    ahead = (level & ~shortlisted[:, None]) | ((level == shortlisted[:, None]) & (values >= best[:, None]))
    places = (ahead * relevant.copies).sum(1)
    places.index_add_(0, relevant.query, ahead[relevant.query, relevant.item] * relevant.own, alpha=-1)
    return (1 + places).numpy()


@overload
def two_stage(
    first: Score,
    second: Rescore,
    image_of: Integers,
    lengths: Sequence[int],
    *,
    text_of: Integers | None = None,
    duplicates: None = None,
    block: int = BLOCK,
) -> list[Ranks]: ...
@overload
def two_stage(
    first: Score,
    second: Rescore,
    image_of: Integers,
    lengths: Sequence[int],
    *,
    text_of: Integers | None = None,
    duplicates: Duplicates,
    block: int = BLOCK,
) -> list[ProtocolRanks]: ...
def two_stage(
    first: Score,
    second: Rescore,
    image_of: Integers,
    lengths: Sequence[int],
    *,
    text_of: Integers | None = None,
    duplicates: Duplicates | None = None,
    block: int = BLOCK,
) -> list[Ranks] | list[ProtocolRanks]:
    """Ranks of all queries in both directions, for each length K of the shortlists.

    ``first`` gives the filter's scores of a slice of images against a slice of texts; it is called twice, for the
    shortlists and for what follows them. ``second`` is called once per image, with the texts of its shortlist and the
    texts whose shortlists it is in, so that no pair is scored twice; it is called only for the longest shortlists,
    since shorter ones are their beginnings. ``image_of`` [C] is the image of each caption, ``text_of`` [C] its text,
    numbered from 0; without it, every caption is its own text. ``duplicates`` as in ``ranks.rank_scores``.

    Raises ``ParamsError`` for a K below 1, ``DatasetError`` when ``text_of`` or ``duplicates`` does not describe the
    captions, ``TrainingDiverged`` when a score is not a number.
    """
    image_of = np.asarray(image_of, dtype=np.int64)
    text_of = np.arange(len(image_of)) if text_of is None else np.asarray(text_of, dtype=np.int64)
    pairs = relevant_pairs(image_of, duplicates)
    n_images = pairs.n_images
    if text_of.shape != image_of.shape or np.bincount(text_of).min() == 0:
        raise DatasetError("text_of must give every caption the number of its text, and every text from 0 a caption.")
    n_texts = int(text_of.max()) + 1

    def of_images(part: slice) -> Tensor:
        return _checked(first(part, slice(0, n_texts)), "filter")

    def of_texts(part: slice) -> Tensor:
        return _checked(first(slice(0, n_images), part), "filter").T.contiguous()

    with torch.inference_mode():
        i2t = _shortlists(of_images, _parts(n_images, block), max(lengths))
        t2i = _shortlists(of_texts, _parts(n_texts, block), max(lengths))
        of_image, of_text = _rescored(second, i2t, t2i)
        copies = torch.from_numpy(np.bincount(text_of))
        to_images = [_of_images(image, text_of[caption], copies) for image, caption in pairs.protocols]
        to_texts = [_of_texts(image, caption, text_of, n_images) for image, caption in pairs.protocols]
        images = _ranks(of_images, of_image, to_images, n_images, lengths, block)
        texts = _ranks(of_texts, of_text, to_texts, len(image_of), lengths, block)
    return [
        by_protocol([Ranks(*both) for both in zip(*sides, strict=True)]) for sides in zip(images, texts, strict=True)
    ]  # type: ignore[return-value]


def _shortlists(scores: Callable[[slice], Tensor], parts: Iterator[slice], k: int) -> Shortlists:
    """Of all queries of a direction, whose filter scores [Q, G] come part by part."""
    found = [shortlist(scores(part), k) for part in parts]
    return Shortlists(*map(torch.cat, zip(*found, strict=True)))


def _rescored(score: Rescore, i2t: Shortlists, t2i: Shortlists) -> tuple[Tensor, Tensor]:
    """The scorer's scores [I, K] and [T, K] of the shortlists; those of padding are never read."""
    of_images, of_texts = (torch.full(side.items.shape, -torch.inf, dtype=torch.float64) for side in (i2t, t2i))
    text, place = t2i.inside.nonzero().T
    image = t2i.items[text, place]
    order = image.argsort()
    ends = torch.searchsorted(image[order].contiguous(), torch.arange(len(i2t.items)), right=True)
    for number, asking in enumerate(torch.tensor_split(order, ends)[:-1]):
        own = i2t.items[number, i2t.inside[number]]
        if len(own) + len(asking) == 0:
            continue
        texts, where = torch.cat([own, text[asking]]).unique(return_inverse=True)
        scores = _checked(score(number, texts), "scorer")[where]
        of_images[number, i2t.inside[number]] = scores[: len(own)]
        of_texts[text[asking], place[asking]] = scores[len(own) :]
    return of_images, of_texts


def _of_images(image: Integers, text: Integers, copies: Tensor) -> Answers:
    """From the relevant pairs of an image and a caption, whose ``text`` is given."""
    # One pair for each text of an image, with how many of its copies are relevant.
    pairs, own = np.unique(np.stack([image, text]), axis=1, return_counts=True)

    def answers(part: slice) -> tuple[Integers, Relevant]:
        here = (pairs[0] >= part.start) & (pairs[0] < part.stop)
        query, item = (torch.from_numpy(side) for side in (pairs[0][here] - part.start, pairs[1][here]))
        rows = torch.arange(part.stop - part.start)
        return np.arange(part.start, part.stop), Relevant(rows, query, item, torch.from_numpy(own[here]), copies)

    return answers


def _of_texts(image: Integers, caption: Integers, text_of: Integers, n_images: int) -> Answers:
    """From the relevant pairs of an image and a caption."""
    alone = torch.ones(n_images, dtype=torch.int64)

    def answers(part: slice) -> tuple[Integers, Relevant]:
        inside = (text_of >= part.start) & (text_of < part.stop)
        captions, here = np.flatnonzero(inside), inside[caption]
        query = torch.from_numpy(np.searchsorted(captions, caption[here]))
        item = torch.from_numpy(image[here].astype(np.int64))
        rows = torch.from_numpy(text_of[captions] - part.start)
        return captions, Relevant(rows, query, item, torch.ones_like(query), alone)

    return answers


def _ranks(
    first: Callable[[slice], Tensor],
    second: Tensor,
    protocols: Sequence[Answers],
    count: int,
    lengths: Sequence[int],
    block: int,
) -> list[list[npt.NDArray[np.int64]]]:
    """Rank of each of ``count`` queries of a direction, for each length and then for each protocol.

    ``second`` [Q, K] are the new scores.

    Shortlists of a shorter length are the beginning of those whose new scores are in ``second``.
    """
    found = [[np.zeros(count, dtype=np.int64) for _ in protocols] for _ in lengths]
    for part in _parts(len(second), block):
        answered = [answers(part) for answers in protocols]
        scores = first(part)
        for ranks, k in zip(found, lengths, strict=True):
            lists = shortlist(scores, k)
            for of, (queries, relevant) in zip(ranks, answered, strict=True):
                of[queries] = final_ranks(scores, lists, second[part, : lists.items.shape[1]], relevant)
    return found


def _checked(scores: Tensor, by: str) -> Tensor:
    if scores.isnan().any():
        raise TrainingDiverged(f"a score of the {by} is not a number: lower its learning rate, and train it again")
    return scores.double()


def _parts(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
