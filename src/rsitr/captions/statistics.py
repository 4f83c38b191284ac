"""What the captions of a dataset are like, as AMFMN's Fig. 9 compares datasets: how long, how varied, how many words.

Z. Yuan et al., 'Exploring a Fine-Grained Multiscale Method for Cross-Modal Remote Sensing Image Retrieval' (IEEE TGRS,
2021), section IV. The paper does not say how it counts. The conventions here reproduce all its numbers from the
published annotations: tokens are nltk's, in lower case, and punctuation marks are tokens; captions differ when their
texts do, including case and punctuation. Fig. 9 cuts average lengths after two decimals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from rsitr.errors import DatasetError


class Image(NamedTuple):
    """The parts of an image that caption statistics need."""

    image_id: str
    split: str
    class_name: str
    """Empty if the annotation states none."""
    captions: list[str]


class Statistics(NamedTuple):
    """Counts and averages of a set of images with captions (AMFMN, Fig. 9a, b, c, e and f)."""

    images: int
    """Including those without captions."""
    captions: int
    sentence_length: float
    """Tokens of a caption, on average; punctuation marks count."""
    diversity: float
    """Captions that differ in any character, per image."""
    words: int
    """Distinct tokens in lower case; punctuation marks count."""
    classes: int
    """0 where the annotation states none."""


def describe(images: Sequence[Image]) -> Statistics:
    """The statistics of ``images``; raises ``DatasetError`` if they have no captions at all."""
    times = Counter(caption for image in images for caption in image.captions)
    captions = times.total()
    if not captions:
        raise DatasetError(f"{len(images)} images and no captions: there is nothing to describe")
    from rsitr.captions.tokens import tokens  # nltk takes a second, which who only names a table need not wait for

    tokens_of = {caption: [token.lower() for token in tokens(caption)] for caption in times}
    return Statistics(
        images=len(images),
        captions=captions,
        sentence_length=sum(len(tokens_of[caption]) * often for caption, often in times.items()) / captions,
        diversity=len(times) / len(images),
        words=len({token for found in tokens_of.values() for token in found}),
        classes=len({image.class_name for image in images} - {""}),
    )


def images_of(table: pa.Table) -> list[Image]:
    """The images of a canonical or clean table."""
    columns = (table[name].to_pylist() for name in Image._fields)
    return [Image(*values) for values in zip(*columns, strict=True)]
