"""How similar the captions of a dataset are to the captions of its images: the map of AMFMN's Fig. 7 and its average.

Z. Yuan et al., 'Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval' (IEEE TGRS,
2021), sections IV-A and IV-B. The similarity is the one of the released code, which reproduces all four
printed averages of Fig. 9(d) on the validation splits that the paper names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.captions.similarity import CaptionSet
from rsitr.captions.statistics import Image
from rsitr.errors import DatasetError
from rsitr.progress import Progress

CELLS = 500
"""Largest number of cells along a side: with more, a printed panel has fewer dots than cells."""
BLOCK = 1 << 22
"""Similarities in memory at a time: 32 MiB."""


class SimilarityMap(NamedTuple):
    """Similarity of images with captions, from 0 to 1."""

    images: int
    captions: int
    average: float
    """Over all captions and all images, a caption with its own image included (Fig. 9d)."""
    cells: npt.NDArray[np.float32]
    """[N, N], N at most ``CELLS``. Rows are images, columns the images that captions belong to, both by class and id.

    The similarity of two images is the average over the captions of the second. Where several pairs of images share a
    cell, it shows the highest: their average would drown the diagonal, which is one pair in many.
    """
    classes: list[tuple[str, float]]
    """Class and where it ends, in cells, in the order of the map; the name is empty for no class."""


def similarity_map(images: Sequence[Image], threads: int = 1, title: str = "similarity") -> SimilarityMap:
    """The map of ``images``; those without captions are left out, and blank captions count.

    Only a block of images is in memory at a time, and ``title`` labels the progress. ``DatasetError`` without captions.
    """
    from rsitr.captions.released import Released  # nltk, which whoever asks for the tables need not wait for

    images = sorted((image for image in images if image.captions), key=_class_and_id)
    if not images:
        raise DatasetError("no image has a caption: there is nothing to compare")
    per_image = np.array([len(image.captions) for image in images])
    image_of = np.repeat(np.arange(len(images)), per_image)
    texts, references, caption_of = CaptionSet.of([text for image in images for text in image.captions], image_of)
    first_of = np.cumsum(per_image) - per_image
    similarity, distinct = Released(texts, references, threads), np.arange(len(texts))

    side = -(-len(images) // CELLS)
    rows, total = [], 0.0
    step = side * max(1, BLOCK // (side * len(caption_of)))
    with Progress(title, -(-len(images) // step)) as progress:
        for start in range(0, len(images), step):
            block = np.arange(start, min(start + step, len(images)))
            found = similarity.scores(distinct, block)[caption_of]
            total += found.sum()
            pairs = np.add.reduceat(found, first_of, axis=0).T / per_image
            for axis in (0, 1):
                pairs = np.maximum.reduceat(pairs, np.arange(0, pairs.shape[axis], side), axis=axis)
            rows.append(pairs.astype(np.float32))
            progress.advance()
    average = float(total / len(caption_of) / len(images))
    last = {image.class_name: place + 1 for place, image in enumerate(images)}
    ends = [(name, end / side) for name, end in last.items()]
    return SimilarityMap(len(images), len(caption_of), average, np.concatenate(rows), ends)


def _class_and_id(image: Image) -> tuple[str, list[tuple[int, str]]]:
    """Numbers in an id sort by value: the published sets number their images scene by scene."""
    parts = re.findall(r"\d+|\D+", image.image_id)
    return image.class_name, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
