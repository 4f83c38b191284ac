"""The first items of every query against a stable sort of the whole, in tiles of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.retrieval import ranks as ranking
from rsitr.retrieval import top as module
from rsitr.retrieval.ranks import rank_embeddings, rank_scores
from rsitr.retrieval.rerank import dot_product
from rsitr.retrieval.top import FirstItems
from rsitr.retrieval.top_files import Top
from tests.helpers.examples import examples
from tests.helpers.ranked import captioned_images


def reference(scores: np.ndarray) -> Top:
    """Of scores [Q, N]."""
    items = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return Top(items, np.take_along_axis(scores, items, 1))


def assert_same(found: Top, expected: Top) -> None:
    assert (found.items.dtype, found.scores.dtype) == (np.int32, np.float32)
    assert_array_equal(found.items, expected.items)
    assert_array_equal(found.scores, expected.scores)


def test_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENGTH", 2)
    scores = torch.tensor([[0.5, -1.0, 0.5, 0.25], [-2.0, -1.0, -3.0, -0.0], [0.5, 0.0, 0.0, 0.0]])
    top = FirstItems(3, 4)
    rank_scores(lambda i, t: scores[i, t].clone(), np.array([0, 1, 2, 2]), top=top, block=2)
    assert_array_equal(top.i2t.items, [[0, 2], [3, 1], [0, 1]])
    assert_array_equal(top.i2t.scores, [[0.5, 0.5], [0, -1], [0.5, 0]])
    # A zero is a zero, whatever its sign: image 1 is before image 2 for the last caption.
    assert_array_equal(top.t2i.items, [[0, 2], [2, 0], [0, 2], [0, 1]])


@examples(150)
@given(captioned_images(), st.sampled_from([torch.float16, torch.float32, torch.float64]), st.integers(1, 4))
def test_scores_full_of_ties_equal_a_stable_sort(drawn: tuple, dtype: torch.dtype, rows: int) -> None:
    generator, image_of, duplicates, block = drawn
    scores = generator.integers(-3, 3, size=(image_of.max() + 1, len(image_of))) / 4
    top, exact = FirstItems(*scores.shape), torch.from_numpy(scores).to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", rows)
        patch.setattr(ranking, "HELD_BYTES", 64)
        rank_scores(lambda i, t: exact[i, t].clone(), image_of, duplicates=duplicates, top=top, block=block)
    assert_same(top.i2t, reference(scores))
    assert_same(top.t2i, reference(scores.T))


@examples(50)
@given(captioned_images())
def test_embeddings_equal_a_stable_sort_of_their_products(drawn: tuple) -> None:
    generator, image_of, _, block = drawn
    images, texts = (
        generator.integers(-2, 3, size=(n, 3)).astype(np.float32) for n in (image_of.max() + 1, len(image_of))
    )
    top = FirstItems(len(images), len(texts))
    rank_embeddings(images, texts, image_of, top=top, block=block)
    scores = dot_product(images, texts)(slice(None), slice(None)).numpy()
    assert_same(top.i2t, reference(scores))
    assert_same(top.t2i, reference(scores.T))


@pytest.mark.parametrize("scale", [1e-42, 1.0, 1e37])
def test_every_float_keeps_its_value(scale: float) -> None:
    """Subnormal, usual and huge scores of either sign, infinities among them."""
    values = np.random.default_rng(0).standard_normal((5, 300)) * scale
    scores = values.astype(np.float32)
    scores[0, :2], scores[1, 7] = (-np.inf, np.inf), np.inf
    top, image_of = FirstItems(5, 300), np.arange(300) % 5
    rank_scores(lambda i, t: torch.from_numpy(scores[i, t]), image_of, top=top, block=64)
    assert_same(top.i2t, reference(scores))
    assert_same(top.t2i, reference(scores.T))


def test_the_first_item_is_relevant_where_the_rank_is_1() -> None:
    """Without ties, the rank of a query is the place of its own item in its list."""
    generator = torch.Generator().manual_seed(0)
    scores, image_of = torch.randn(30, 90, generator=generator), np.arange(90) // 3
    top = FirstItems(30, 90)
    ranks = rank_scores(lambda i, t: scores[i, t].clone(), image_of, top=top, block=16)
    own = image_of[top.i2t.items] == np.arange(30)[:, None]
    assert_array_equal(np.where(own.any(1), 1 + own.argmax(1), 0), np.where(ranks.i2t <= 10, ranks.i2t, 0))
    hits = top.t2i.items == image_of[:, None]
    assert_array_equal(np.where(hits.any(1), 1 + hits.argmax(1), 0), np.where(ranks.t2i <= 10, ranks.t2i, 0))
