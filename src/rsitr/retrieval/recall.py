"""Recall at K, mR, median rank, and the ceiling that identical captions put on them.

R@K is hit@K, as the field defines it: the share of queries whose first relevant item is among the first K. mR is the
mean of R@1, R@5 and R@10 in both directions. All are in percent and unrounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    """An image and every caption whose text is one of its own."""


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
    return _report(i2t, t2i)


def median_ranks(ranks: Ranks) -> MedianRanks:
    """Median rank of each direction."""
    return MedianRanks(float(np.median(ranks.i2t)), float(np.median(ranks.t2i)))


def text_groups(captions: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number the distinct texts among ``captions``: int64 [C], equal where their normal forms are."""
    return np.unique([normal_form(caption) for caption in captions], return_inverse=True)[1].astype(np.int64)


def ceiling(captions: Sequence[str], image_of: npt.NDArray[np.integer]) -> RecallReport:
    """The best recall that any deterministic method can reach, given captions that several images share.

    ``captions`` [C] belong to the images ``image_of`` [C]. The recall in question is the plain one, with ties against
    the method.

    t2i: identical captions get identical rankings. For a text with n_j copies on image j, the ranking that puts the
    images with most copies first has the most hits: the sum of the K largest n_j.

    i2t: identical captions get equal scores, so copies on other images rank above an image's own. An image is found
    at K when its rarest caption has fewer than K such copies.

    Raises ``DatasetError`` when ``image_of`` does not describe the captions.
    """
    n_images = count_images(image_of)
    if len(captions) != len(image_of):
        raise DatasetError(f"{len(captions)} captions came with {len(image_of)} image numbers: give one per caption.")
    group = text_groups(captions)
    (text, image), copies = np.unique(np.stack([group, image_of]), axis=1, return_counts=True)  # sorted by text

    most_copies_first = np.lexsort((-copies, text))
    place = 1 + np.arange(len(text)) - np.searchsorted(text, text)
    hits = [copies[most_copies_first][place <= k].sum() for k in CUTOFFS]

    copies_elsewhere = np.bincount(group)[text] - copies
    fewest = np.full(n_images, len(captions))
    np.minimum.at(fewest, image, copies_elsewhere)
    return _report(
        i2t=[float(100 * np.mean(fewest < k)) for k in CUTOFFS],
        t2i=[float(100 * hit / len(captions)) for hit in hits],
    )


def _report(i2t: Sequence[float], t2i: Sequence[float]) -> RecallReport:
    """From the recalls of each direction at the three cutoffs."""
    (i2t_r1, i2t_r5, i2t_r10), (t2i_r1, t2i_r5, t2i_r10) = i2t, t2i
    return RecallReport(i2t_r1, i2t_r5, i2t_r10, t2i_r1, t2i_r5, t2i_r10, mr=float(np.mean([*i2t, *t2i])))
