"""Captioned images of any shape, and ranks of them held against each other."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.retrieval.recall import Ranks


def assert_same(actual: Ranks, expected: Ranks) -> None:
    assert_array_equal(actual.i2t, expected.i2t)
    assert_array_equal(actual.t2i, expected.t2i)


@st.composite
def captioned_images(draw: st.DrawFn) -> tuple[np.random.Generator, np.ndarray, np.ndarray, int]:
    """A generator, captions in any order with 1 to many per image, shared texts, and a block side."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_images = draw(st.integers(1, 9))
    extra = generator.integers(n_images, size=draw(st.integers(0, 20)))
    image_of = generator.permutation(np.concatenate([np.arange(n_images), extra]))
    text_group = generator.integers(draw(st.integers(1, 30)), size=len(image_of))
    return generator, image_of, text_group, draw(st.integers(1, 12))
