"""Rank any two matrices of embeddings: whatever holds them, checked before a number is made of them.

``rank`` is what a program of one's own calls. The benchmark calls ``rsitr.retrieval.ranks``, which trusts its caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.errors import DatasetError
from rsitr.retrieval.embeddings import Matrix, array_of, checked, normalised, whole_numbers
from rsitr.retrieval.ranks import rank_pairs, relevant_pairs
from rsitr.retrieval.recall import (
    Duplicates,
    MedianRanks,
    ProtocolRanks,
    Ranks,
    RecallReport,
    ceiling_of,
    median_ranks,
    picture_groups,
    recall,
    text_groups,
)
from rsitr.retrieval.tiles import BLOCK, Device

Numbers = Sequence[Any] | Matrix
"""Whole numbers in a list, an array or a tensor."""


class Measured(NamedTuple):
    """The queries under one reading of what is relevant."""

    recall: RecallReport
    """In percent."""
    median: MedianRanks
    ranks: Ranks
    """1-based, of ``image_queries`` and ``caption_queries``."""


class Ranking(NamedTuple):
    """How well images find their captions and captions their image."""

    plain: Measured
    """An image and its own captions are relevant to each other."""
    duplicate_aware: Measured | None
    """So are identical captions and pictures; None where neither captions nor pictures were given."""
    ceiling: RecallReport | None
    """The best plain recall of a method that scores identical captions alike, and identical pictures alike."""
    image_queries: npt.NDArray[np.int64]
    """The image of each of ``ranks.i2t``."""
    caption_queries: npt.NDArray[np.int64]
    """The caption of each of ``ranks.t2i``."""


class _TestSet(NamedTuple):
    """What belongs together, and who asks."""

    image_of: npt.NDArray[np.int64]
    same: Duplicates
    image_queries: npt.NDArray[np.int64]
    caption_queries: npt.NDArray[np.int64]


def rank(
    images: Sequence[Any] | Matrix,
    texts: Sequence[Any] | Matrix,
    image_of: Numbers,
    *,
    captions: Sequence[str] | None = None,
    pictures: Sequence[str] | None = None,
    normalise: bool | None = None,
    distractors: bool = False,
    image_queries: Numbers | None = None,
    caption_queries: Numbers | None = None,
    device: Device = "cpu",
    block: int = BLOCK,
) -> Ranking:
    """Rank by dot product in float32, exactly, with ties against the method, in bounded memory.

    ``images`` [I, D] and ``texts`` [C, D] are lists, arrays (on disk, too) or tensors (on any device) of numbers of any
    precision. Their rows have unit length, or ``normalise`` says what is meant: True ranks by cosine, False by the dot
    product of the rows as they are.

    ``image_of`` has the image of each caption [C], or for each image the positions of its captions [I]. Images without
    captions are refused unless ``distractors``: then they are in the gallery of the captions and ask for nothing.

    ``captions`` [C] and ``pictures`` [I], a string for each that is equal where pictures are, such as the SHA-256 of a
    file, or "" where it is unknown, bring the duplicate-aware recalls and the ceiling.

    ``image_queries`` and ``caption_queries``, positions or a mask, name those that ask, in any order; the galleries
    stay whole. By default every image with captions asks, and every caption.

    Raises ``DatasetError`` for what does not fit together, for rows that are not finite, and for rows that are not of
    unit length unless ``normalise`` says what to do with them.
    """
    sides = checked(images, "images"), checked(texts, "texts")
    if sides[0].shape[1] != sides[1].shape[1]:
        raise DatasetError(
            f"images have {sides[0].shape[1]} numbers a row and texts {sides[1].shape[1]}: embed both with one model"
        )
    image_rows, text_rows = normalised(sides[0], "images", normalise), normalised(sides[1], "texts", normalise)
    n_images, n_texts = len(image_rows), len(text_rows)
    test = _test_set(_images_of(image_of, n_images, n_texts), n_images, captions, pictures, distractors)
    test = test._replace(
        image_queries=_queries(image_queries, "image_queries", test.image_queries, n_images),
        caption_queries=_queries(caption_queries, "caption_queries", test.caption_queries, n_texts),
    )
    aware = captions is not None or pictures is not None
    pairs = relevant_pairs(test.image_of, test.same if aware else None, n_images)
    found = rank_pairs(image_rows, text_rows, pairs, block=block, device=device)
    plain, duplicate_aware = found if isinstance(found, ProtocolRanks) else (found, None)
    return Ranking(
        _measured(plain, test),
        None if duplicate_aware is None else _measured(duplicate_aware, test),
        ceiling_of(*test) if aware else None,
        test.image_queries,
        test.caption_queries,
    )


def _measured(ranks: Ranks, test: _TestSet) -> Measured:
    asked = Ranks(ranks.i2t[test.image_queries], ranks.t2i[test.caption_queries])
    return Measured(recall(asked), median_ranks(asked), asked)


def _images_of(image_of: Numbers, n_images: int, n_texts: int) -> npt.NDArray[np.int64]:
    """The image of each caption [C], from that or from the captions of each image."""
    if not isinstance(image_of, list | tuple):
        image_of = array_of(image_of, "image_of")
    if len(image_of) and np.ndim(image_of[0]) == 1:
        return _from_lists(image_of, n_images, n_texts)
    numbers = whole_numbers(image_of, "image_of")
    if len(numbers) != n_texts:
        raise DatasetError(f"image_of has {len(numbers)} images for {n_texts} captions: give one for each caption")
    _check_range(numbers, "image_of", n_images, "images")
    return numbers


def _from_lists(lists: Numbers, n_images: int, n_texts: int) -> npt.NDArray[np.int64]:
    if len(lists) != n_images:
        raise DatasetError(f"image_of lists the captions of {len(lists)} images, but there are {n_images}")
    owned = [whole_numbers(each, f"image_of[{image}]") for image, each in enumerate(lists)]
    caption, image = np.concatenate(owned), np.repeat(np.arange(n_images), [len(each) for each in owned])
    _check_range(caption, "image_of", n_texts, "captions")
    times = np.bincount(caption, minlength=n_texts)
    if (times != 1).any():
        wrong = int(np.flatnonzero(times != 1)[0])
        raise DatasetError(f"image_of lists caption {wrong} {times[wrong]} times: every caption is of one image")
    found = np.empty(n_texts, dtype=np.int64)
    found[caption] = image
    return found


def _check_range(numbers: npt.NDArray[np.int64], name: str, count: int, things: str) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < count):
        raise DatasetError(
            f"{name} has numbers from {numbers.min()} to {numbers.max()}, but the {things} are 0 to {count - 1}: count "
            "from 0"
        )


def _test_set(
    image_of: npt.NDArray[np.int64],
    n_images: int,
    captions: Sequence[str] | None,
    pictures: Sequence[str] | None,
    distractors: bool,
) -> _TestSet:
    """Every image with captions asks, and every caption."""
    described = np.bincount(image_of, minlength=n_images) > 0
    if not (described.all() or distractors):
        without = np.flatnonzero(~described)
        raise DatasetError(
            f"{len(without)} of {n_images} images have no caption, such as {without[0]}: pass distractors=True if they "
            "are there to be confused with the others"
        )
    for name, values, count in (("captions", captions, len(image_of)), ("pictures", pictures, n_images)):
        if values is not None and (len(values) != count or not all(isinstance(value, str) for value in values)):
            raise DatasetError(f"{name} must be {count} strings, in the order of the embeddings")
    texts = np.arange(len(image_of)) if captions is None else text_groups(captions)
    same = Duplicates(texts, np.arange(n_images) if pictures is None else picture_groups(pictures))
    return _TestSet(image_of, same, np.flatnonzero(described), np.arange(len(image_of)))


def _queries(wanted: Numbers | None, name: str, possible: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The positions of those who ask, of those who can."""
    if wanted is None:
        return possible
    stated = array_of(wanted, name)
    numbers = whole_numbers(
        np.flatnonzero(stated) if stated.dtype == bool and stated.shape == (count,) else stated, name
    )
    _check_range(numbers, name, count, name.removesuffix("_queries") + "s")
    if not len(numbers) or len(np.unique(numbers)) < len(numbers):
        raise DatasetError(f"{name} must name at least one query, and none of them twice")
    if not (known := np.isin(numbers, possible)).all():
        raise DatasetError(f"{name} names {numbers[~known][0]}, which has no caption to find")
    return numbers
