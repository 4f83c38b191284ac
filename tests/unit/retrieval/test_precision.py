"""Average precision against sklearn and loops, the choice among a few captions against all draws, mean cosines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from rsitr.errors import DatasetError
from rsitr.retrieval import precision as module
from rsitr.retrieval.precision import pair_cosines, precision
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import Duplicates
from tests.helpers.ranked import alone, relevance


def blocks_of(matrix):
    """A scorer of a matrix [I, C]."""
    values = torch.tensor(np.array(matrix), dtype=torch.float32)
    return lambda images, captions: values[images, captions]


def slowly(scores, relevant):
    """Average precision of one query: the items one after another, the irrelevant one first where two tie."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], relevant[item]))
    found, total = 0, 0.0
    for place, item in enumerate(order, start=1):
        if relevant[item]:
            found += 1
            total += found / place
    return total / found


def all_draws(scores, relevant, others):
    """The share of all draws of one relevant item and some irrelevant ones in which the relevant one is the best."""
    right, wrong = np.flatnonzero(relevant), np.flatnonzero(~relevant)
    draws = [(r, drawn) for r in right for drawn in combinations(wrong, min(others, len(wrong)))]
    return np.mean([all(scores[item] < scores[r] for item in drawn) for r, drawn in draws])


def test_by_hand():
    # Two images with two captions each. Image 0 finds own 0, foreign 2, own 1, foreign 3.
    matrix = [[0.9, 0.5, 0.7, 0.1], [0.2, 0.8, 0.8, 0.3]]
    found = precision(blocks_of(matrix), np.array([0, 0, 1, 1]), others=1)
    # Image 1: caption 1 ties with its own caption 2 and stands before it; then caption 3, then caption 0.
    np.testing.assert_allclose(found.i2t, [(1 / 1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])
    np.testing.assert_allclose(found.t2i, [1, 1 / 2, 1, 1])
    # Image 0: its captions .9 and .5 against .7 and .1; image 1: .8 and .3 against .2 and .8.
    np.testing.assert_allclose(found.choice, [(1 + 1 / 2) / 2, (1 / 2 + 1 / 2) / 2])


def test_identical_captions_are_relevant_where_they_are_asked_for():
    matrix = [[0.9, 0.2, 0.9], [0.1, 0.4, 0.1]]
    image_of = np.array([0, 1, 1])
    plain, aware = (precision(blocks_of(matrix), image_of, same) for same in (None, alone(image_of, [5, 6, 5])))
    np.testing.assert_allclose(plain.i2t, [1 / 2, (1 + 2 / 3) / 2])
    np.testing.assert_allclose(plain.t2i, [1, 1, 1 / 2])
    np.testing.assert_allclose(aware.i2t, [1, 1])
    np.testing.assert_allclose(aware.t2i, [1, 1, 1])
    # Every caption fits image 1, so that nothing can be mistaken for one of its own.
    np.testing.assert_allclose(aware.choice, [1, 1])


def test_without_ties_it_is_sklearns():
    random = np.random.default_rng(0)
    matrix, image_of = random.normal(size=(6, 24)).astype(np.float32), np.repeat(np.arange(6), 4)
    for duplicates in (None, Duplicates(random.integers(0, 9, 24), np.array([0, 1, 2, 3, 4, 0]))):
        relevant = relevance(image_of, duplicates)
        found = precision(blocks_of(matrix), image_of, duplicates)
        i2t = [average_precision_score(r, s) for r, s in zip(relevant, matrix, strict=True)]
        t2i = [average_precision_score(r, s) for r, s in zip(relevant.T, matrix.T, strict=True)]
        np.testing.assert_allclose(found.i2t, i2t)
        np.testing.assert_allclose(found.t2i, t2i)


@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
    levels=st.integers(1, 5),
    others=st.integers(1, 4),
    block=st.integers(1, 3),
)
def test_ties_duplicates_and_blocks_against_loops(counts, seed, levels, others, block):
    random = np.random.default_rng(seed)
    image_of = np.repeat(np.arange(len(counts)), counts)
    matrix = random.integers(0, levels, (len(counts), len(image_of))).astype(np.float64)
    n_images, n_texts = matrix.shape
    duplicates = Duplicates(random.integers(0, n_texts, n_texts), random.integers(0, 2 * n_images, n_images))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = precision(blocks_of(matrix), image_of, duplicates, others)
    relevant = relevance(image_of, duplicates)
    np.testing.assert_allclose(found.i2t, [slowly(s, r) for s, r in zip(matrix, relevant, strict=True)])
    np.testing.assert_allclose(found.t2i, [slowly(s, r) for s, r in zip(matrix.T, relevant.T, strict=True)])
    np.testing.assert_allclose(found.choice, [all_draws(s, r, others) for s, r in zip(matrix, relevant, strict=True)])


def test_with_one_relevant_item_it_is_the_reciprocal_of_the_rank():
    random = np.random.default_rng(1)
    matrix, image_of = random.integers(0, 4, (9, 27)), np.repeat(np.arange(9), 3)
    ranks = rank_scores(blocks_of(matrix), image_of)
    np.testing.assert_allclose(precision(blocks_of(matrix), image_of).t2i, 1 / ranks.t2i)


def test_a_gallery_of_one_is_always_right():
    found = precision(blocks_of([[0.3, -0.2]]), np.array([0, 0]))
    assert [side.tolist() for side in found] == [[1.0], [1.0, 1.0], [1.0]]


def test_captions_of_another_test_set_are_refused():
    with pytest.raises(DatasetError, match="image_of must give"):
        precision(blocks_of([[1.0]]), np.array([1]))


def test_mean_cosines_by_hand():
    # Caption 2 repeats caption 0 of the other image: image 0 with it is neither matched nor unmatched.
    scores = torch.tensor([[0.5, 0.1, 0.5], [0.3, 0.7, 0.9]])
    found = pair_cosines(scores, np.array([0, 1, 1]), alone([0, 1, 1], [0, 1, 0]))
    assert found.matched == pytest.approx((0.5 + 0.7 + 0.9) / 3)
    assert found.unmatched == pytest.approx(0.1)
    assert pair_cosines(scores[:1, :1], np.array([0]), alone([0], [0])).unmatched is None
    # Not a repetition: every foreign caption counts.
    apart = pair_cosines(scores, np.array([0, 1, 1]), alone([0, 1, 1], [0, 1, 2]))
    assert apart.unmatched == pytest.approx((0.1 + 0.5 + 0.3) / 3)
