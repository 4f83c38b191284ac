"""Recall at K, mR, median rank, and the ceiling that identical captions and identical pictures put on them.

R@K is hit@K, as the field defines it: the share of queries whose first relevant item is among the first K. mR is the
mean of R@1, R@5 and R@10 in both directions. All are in percent and unrounded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.captions.words import normal_form
from rsitr.errors import DatasetError

CUTOFFS = (1, 5, 10)
"""The K of R@K, in the order of the fields of ``RecallReport``."""


@dataclass(frozen=True)
class Ranks:
    """1-based rank of every query of a test set."""

    i2t: npt.NDArray[np.int64]
    """[I], of image queries: the place of the first relevant caption."""
    t2i: npt.NDArray[np.int64]
    """[C], of caption queries: the place of the first relevant image."""


class ProtocolRanks(NamedTuple):
    """The ranks of one scorer under both readings of what is relevant."""

    plain: Ranks
    """An image and its own captions."""
    duplicate_aware: Ranks
    """An image and every caption whose text is one of its own, or of an identical picture."""


@dataclass(frozen=True)
class RecallReport:
    """The seven figures of a table row, in percent."""

    i2t_r1: float
    i2t_r5: float
    i2t_r10: float
    t2i_r1: float
    t2i_r5: float
    t2i_r10: float
    mr: float


class MedianRanks(NamedTuple):
    """Median rank of the first relevant item, counted from 1; may end in .5 where the two middle queries differ."""

    i2t_medr: float
    t2i_medr: float


def count_images(image_of: npt.NDArray[np.integer]) -> int:
    """Number of images that the captions describe.

    Raises ``DatasetError`` unless ``image_of`` [C] numbers the images from 0 and leaves none without a caption.
    """
    if np.ndim(image_of) != 1 or len(image_of) == 0 or image_of.min() < 0 or np.bincount(image_of).min() == 0:
        raise DatasetError(
            "image_of must give every caption the index of its image, and every image from 0 upwards a caption. "
            "Drop images without captions and renumber the rest."
        )
    return int(image_of.max()) + 1


def recall(ranks: Ranks) -> RecallReport:
    """Share of the queries of each direction with a rank of at most 1, 5 and 10."""
    i2t, t2i = ([float(100 * np.mean(side <= k)) for k in CUTOFFS] for side in (ranks.i2t, ranks.t2i))
    return report_of(i2t, t2i)


def median_ranks(ranks: Ranks) -> MedianRanks:
    """Median rank of each direction."""
    return MedianRanks(float(np.median(ranks.i2t)), float(np.median(ranks.t2i)))


def text_groups(captions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number the distinct texts among ``captions``: int64 [C], equal where their normal forms are."""
    return np.unique([normal_form(caption) for caption in captions], return_inverse=True)[1].astype(np.int64)


def picture_groups(pictures: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number the distinct ``pictures``, each stated by the SHA-256 of its file: int64 [I], in the order of the first.

    An empty string is a picture that nothing is known of, and identical to no other.
    """
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(sha or place, len(known)) for place, sha in enumerate(pictures)], dtype=np.int64)


class Duplicates(NamedTuple):
    """Which captions and which images of a test set are the same."""

    texts: npt.NDArray[np.integer]
    """[C], equal for identical captions."""
    pictures: npt.NDArray[np.integer]
    """[I], equal for identical pictures."""


def duplicates_of(captions: Sequence[str], pictures: Sequence[str]) -> Duplicates:
    """Of captions [C] and the SHA-256 of image files [I], as ``text_groups`` and ``picture_groups`` have them."""
    return Duplicates(text_groups(captions), picture_groups(pictures))


def check_duplicates(duplicates: Duplicates, image_of: npt.NDArray[np.integer]) -> None:
    """Raise ``DatasetError`` unless there is a text for every caption [C] and a picture for every image [I]."""
    captions, images = len(image_of), count_images(image_of)
    texts, pictures = len(duplicates.texts), len(duplicates.pictures)
    if (texts, pictures) != (captions, images):
        raise DatasetError(
            f"{texts} texts and {pictures} pictures came with {captions} captions and {images} images: give one text "
            "per caption and one picture per image."
        )


def ceiling(image_of: npt.NDArray[np.integer], duplicates: Duplicates) -> RecallReport:
    """The best recall that any method can reach that scores identical captions alike, and identical pictures alike.

    ``image_of`` [C] is the image of each caption. The recall in question is the plain one, with ties against the
    method. Each figure is the maximum over all methods; ``mr`` is the mean of the six, which no method exceeds, but
    which may need another method for each.

    A method orders the pictures for each text, and the texts for each picture; a tie between different ones gains
    nothing, since it counts against the method.

    t2i: a query is found at K when its picture and those before it are together at most K images. So for a text the
    best choice of pictures fills K places: each takes as many as the images that show it, and finds as many queries as
    these images have captions with the text (a knapsack; without identical pictures, the K images with most copies).

    i2t: an image is found at K when fewer than K captions of others are ahead: those of the texts before its first own
    text, and the copies of this one elsewhere. An image whose picture no other has puts the text with the fewest
    copies elsewhere first. Images of one picture share one order, which finds as many of them as it can.

    Raises ``DatasetError`` when ``image_of`` or ``duplicates`` does not describe the captions.
    """
    check_duplicates(duplicates, image_of)
    return ceiling_of(image_of, duplicates, np.arange(len(duplicates.pictures)), np.arange(len(image_of)))


def ceiling_of(
    image_of: npt.NDArray[np.integer],
    duplicates: Duplicates,
    image_queries: npt.NDArray[np.integer],
    caption_queries: npt.NDArray[np.integer],
) -> RecallReport:
    """``ceiling`` of the queries that ask, by their positions; images without captions take places, too."""
    texts, pictures = (np.unique(side, return_inverse=True)[1] for side in duplicates)
    copies, showing = np.bincount(texts).tolist(), np.bincount(pictures).tolist()
    own: dict[int, dict[int, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))  # picture -> text -> image
    asking = np.isin(image_of, image_queries)
    for text, image in zip(texts[asking].tolist(), image_of[asking].tolist(), strict=True):
        own[int(pictures[image])][text][image] += 1
    queries: dict[int, Counter[int]] = defaultdict(Counter)  # text -> picture -> captions
    for caption in caption_queries.tolist():
        queries[int(texts[caption])][int(pictures[image_of[caption]])] += 1
    images = [[most_images([(copies[t], n) for t, n in of.items()], k) for k in CUTOFFS] for of in own.values()]
    captions = [most_queries((showing[p], n) for p, n in of.items()) for of in queries.values()]
    return report_of(
        i2t=(100 * np.sum(images, axis=0) / len(image_queries)).tolist(),
        t2i=(100 * np.sum(captions, axis=0) / len(caption_queries)).tolist(),
    )


def most_queries(pictures: Iterable[tuple[int, int]]) -> list[int]:
    """The most queries of one text that one order of ``pictures`` finds among the first 1, 5 and 10 images.

    Of each picture: how many images show it, and how many of the queries belong to these.
    """
    best = [0] * (CUTOFFS[-1] + 1)  # by number of places
    for size, found in pictures:
        for places in range(CUTOFFS[-1], size - 1, -1):
            best[places] = max(best[places], best[places - size] + found)
    return [best[k] for k in CUTOFFS]


def most_images(texts: Sequence[tuple[int, Mapping[int, int]]], k: int) -> int:
    """The most images of one picture that one order of ``texts`` finds among the first ``k`` captions.

    Of each text: its copies in all, and how many of them belong to which of the images. The search ends early where
    every image is found, or ``k`` of them, which is as many as ``k`` captions can belong to. It takes long only where
    dozens of images are one picture and few of them can be found.
    """

    fewest_first = sorted(texts, key=itemgetter(0))

    @cache
    def most(ahead: int, missing: frozenset[int]) -> int:
        best = 0
        for copies, own in fewest_first:
            found = {image for image, count in own.items() if image in missing and ahead + copies - count < k}
            if found:
                best = max(best, len(found) + most(ahead + copies, missing - found))
            if best >= min(len(missing), k - ahead):
                break
        return best

    return most(0, frozenset(image for _, own in texts for image in own))


def report_of(i2t: Sequence[float], t2i: Sequence[float]) -> RecallReport:
    """From the recalls of each direction at the three cutoffs."""
    (i2t_r1, i2t_r5, i2t_r10), (t2i_r1, t2i_r5, t2i_r10) = i2t, t2i
    return RecallReport(i2t_r1, i2t_r5, i2t_r10, t2i_r1, t2i_r5, t2i_r10, mr=float(np.mean([*i2t, *t2i])))
