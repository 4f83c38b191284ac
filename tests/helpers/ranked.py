"""Captioned images of any shape, and ranks of them held against each other."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.retrieval.recall import Duplicates, Ranks


def assert_same(actual: Ranks, expected: Ranks) -> None:
    assert_array_equal(actual.i2t, expected.i2t)
    assert_array_equal(actual.t2i, expected.t2i)


@st.composite
def captioned_images(draw: st.DrawFn) -> tuple[np.random.Generator, np.ndarray, Duplicates, int]:
    """A generator, captions in any order with 1 to many per image, shared texts and pictures, and a block side."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_images = draw(st.integers(1, 9))
    extra = generator.integers(n_images, size=draw(st.integers(0, 20)))
    image_of = generator.permutation(np.concatenate([np.arange(n_images), extra]))
    texts = generator.integers(draw(st.integers(1, 30)), size=len(image_of))
    pictures = generator.integers(draw(st.integers(1, 30)), size=n_images)
    return generator, image_of, Duplicates(texts, pictures), draw(st.integers(1, 12))


def relevance(image_of: np.ndarray, duplicates: Duplicates | None) -> np.ndarray:
    """bool [I, C], pair by pair: whether a caption is relevant to an image, duplicate-aware where they are given."""
    texts, pictures = duplicates or (range(len(image_of)), range(max(image_of) + 1))
    owned = {(pictures[image], texts[caption]) for caption, image in enumerate(image_of)}
    return np.array([[(picture, text) in owned for text in texts] for picture in pictures])


def alone(image_of: np.ndarray, texts: list[int]) -> Duplicates:
    """Captions of these texts, and no picture twice."""
    return Duplicates(np.array(texts), np.arange(max(image_of) + 1))
