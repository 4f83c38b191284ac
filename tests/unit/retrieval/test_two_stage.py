"""Two-stage ranks: worked out by hand, against a loop over sorted lists, at full length the exhaustive ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsitr.errors import DatasetError, ParamsError, TrainingDiverged
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import Duplicates
from rsitr.retrieval.two_stage import shortlist, two_stage
from tests.helpers.examples import examples
from tests.helpers.ranked import relevance


class Matrix:
    """A scorer that looks its scores [I, T] up and counts the pairs that it is asked for."""

    def __init__(self, scores: np.ndarray):
        self.scores, self.asked = torch.from_numpy(scores).double(), 0

    def __call__(self, image: int, texts: torch.Tensor) -> torch.Tensor:
        self.asked += len(texts)
        return self.scores[image, texts]


def run(first, second, image_of, lengths, **options):
    first = torch.as_tensor(np.asarray(first)).double()
    scorer = Matrix(np.asarray(second, dtype=float))
    return two_stage(lambda i, t: first[i, t], scorer, np.array(image_of), lengths, **options), scorer.asked


def slow_rank(first, second, relevant, copies, k):
    """One query: ``first`` and ``second`` [G], how many copies of each item are relevant and are there, as lists."""
    order = sorted(range(len(first)), key=lambda item: -first[item])
    inside = set(order[:k])
    if len(order) > k:
        inside = {item for item in inside if first[item] > first[order[k]]}
    # A relevant item stands behind all irrelevant ones of its place.
    key = [(item in inside, second[item] if item in inside else first[item]) for item in range(len(first))]
    best = max(key[item] for item in range(len(first)) if relevant[item])
    return 1 + sum(copies[item] - relevant[item] for item in range(len(first)) if key[item] >= best)


def slow(first, second, image_of, text_of, k, duplicates=None):
    copies, relevant = np.bincount(text_of), relevance(image_of, duplicates)
    i2t = []
    for image in range(len(first)):
        own = np.bincount(text_of[relevant[image]], None, len(copies))
        i2t.append(slow_rank(first[image], second[image], own, copies, k))
    ones = np.ones(len(first), dtype=int)
    t2i = [
        slow_rank(first[:, text], second[:, text], relevant[:, caption], ones, k)
        for caption, text in enumerate(text_of)
    ]
    return i2t, t2i


def test_by_hand():
    """Three images with one caption each. The filter puts caption 1 first for image 0; the scorer knows better."""
    first = [[2, 3, 1], [0, 5, 4], [9, 8, 7]]
    second = [[1, 0, 5], [0, 1, 2], [3, 2, 1]]
    (one, two, three), asked = run(first, second, [0, 1, 2], [1, 2, 3])
    # Image 0: [1 | 0 2], [0 1 | 2], [2 0 1]. Image 1: [1 | 2 0], [2 1 | 0], [2 1 0]. Image 2: [0 | 1 2] and so on.
    assert [list(ranks.i2t) for ranks in (one, two, three)] == [[2, 1, 3], [1, 2, 3], [2, 2, 3]]
    # Columns, by the filter and then by the scorer: [2 0 1] and (1 0 3), [2 1 0] and (0 1 2), [2 1 0] and (5 2 1).
    assert [list(ranks.t2i) for ranks in (one, two, three)] == [[2, 2, 1], [2, 2, 2], [2, 2, 3]]
    assert asked == 9  # of the longest lists, once for both directions


def test_ties_go_against_the_method_in_either_part():
    first, flat = [[4, 3, 2, 2]], [[7, 7, 7, 7]]
    image_of = [0, 0, 0, 0]
    # All captions are relevant: nothing irrelevant is ever ahead.
    assert list(run(first, flat, image_of, [2])[0][0].i2t) == [1]
    scores = np.array([[4.0, 3, 3, 1], [0, 0, 0, 9]])
    flat = np.full((2, 4), 7.0)
    # Image 0 has caption 0 alone: within the shortlist {0} it is first; of {0, 1, 2} with equal new scores it is last.
    (one, two, three), _ = run(scores, flat, [0, 1, 1, 1], [1, 2, 3])
    assert [ranks.i2t[0] for ranks in (one, two, three)] == [1, 1, 3]


def test_a_group_of_equal_filter_scores_is_in_or_out_as_a_whole():
    lists = shortlist(torch.tensor([[3.0, 1.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]]), 3)
    assert lists.inside.tolist() == [[True, True, True], [False] * 3, [True] * 3]
    assert sorted(lists.items[0].tolist()) == [0, 2, 3]
    assert lists.items[2].tolist() == [3, 2, 1]
    assert shortlist(torch.ones(2, 3), 3).inside.all()
    assert not shortlist(torch.ones(2, 3), 2).inside.any()


def test_identical_captions_are_scored_once_and_counted_each():
    # Text 0 is a caption of image 0 and twice of image 1; text 1 is image 1's alone.
    first, second = [[1, 0], [1, 0]], [[5, 6], [5, 6]]
    (ranks,), asked = run(first, second, [0, 1, 1, 1], [2], text_of=np.array([0, 0, 0, 1]))
    assert asked == 2 * 2
    # Image 0: text 1 stands before, and the two copies of text 0 that are another image's tie.
    assert list(ranks.i2t) == [4, 1]
    assert list(ranks.t2i) == [2, 2, 2, 2]


def test_only_pairs_of_shortlists_are_scored():
    """Image 0 shortlists caption 0 and is shortlisted by captions 0 and 1; image 1 shortlists caption 0."""
    _, asked = run([[3, 2, 0], [2, 1, 1]], np.zeros((2, 3)), [0, 0, 1], [1])
    assert asked == 2 + 2  # (0, 0), (0, 1), (1, 0) and, by caption 2, (1, 2)


def test_a_gallery_of_one_and_shortlists_beyond_it():
    (one, many), asked = run([[0.3]], [[0.1]], [0], [1, 100])
    assert list(one.i2t) == list(one.t2i) == list(many.i2t) == list(many.t2i) == [1]
    assert asked == 1


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ParamsError, match="its length is 0, give 1 or more"):
        run([[1.0]], [[1.0]], [0], [0])
    with pytest.raises(TrainingDiverged, match="a score of the scorer is not a number"):
        run([[1.0]], [[np.nan]], [0], [1])
    with pytest.raises(TrainingDiverged, match="a score of the filter is not a number"):
        run([[np.nan]], [[1.0]], [0], [1])
    with pytest.raises(DatasetError, match="text_of must give every caption"):
        run([[1.0, 1.0]], [[1.0, 1.0]], [0, 0], [1], text_of=np.array([0, 2]))
    with pytest.raises(DatasetError, match="every image from 0 upwards a caption"):
        run([[1.0], [1.0]], [[1.0], [1.0]], [1], [1])


@st.composite
def galleries(draw):
    """Whole-number scores, which tie often, of some images and of texts that captions share."""
    n_images, n_texts = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    n_captions = draw(st.integers(max(n_images, n_texts), 14))
    image_of = [*range(n_images), *(draw(st.integers(0, n_images - 1)) for _ in range(n_captions - n_images))]
    text_of = [*range(n_texts), *(draw(st.integers(0, n_texts - 1)) for _ in range(n_captions - n_texts))]
    text_of = draw(st.permutations(text_of))
    matrix = st.lists(st.integers(0, 4), min_size=n_images * n_texts, max_size=n_images * n_texts)
    first, second = (np.array(draw(matrix), dtype=float).reshape(n_images, n_texts) for _ in range(2))
    return first, second, np.array(image_of), np.array(text_of)


@examples(150)
@given(galleries(), st.integers(1, 9), st.integers(1, 4))
def test_it_is_the_slow_definition(gallery, k, block):
    first, second, image_of, text_of = gallery
    (ranks,), _ = run(first, second, image_of, [k], text_of=text_of, block=block)
    assert ([*ranks.i2t], [*ranks.t2i]) == slow(first, second, image_of, text_of, k)


@examples(150)
@given(galleries(), st.integers(1, 9), st.integers(1, 4), st.data())
def test_with_duplicates_it_is_the_slow_definition_of_both_protocols(gallery, k, block, data):
    """What the duplicates say of texts need not be what the method can tell apart."""
    first, second, image_of, text_of = gallery
    texts, pictures = (np.array([data.draw(st.integers(0, 6)) for _ in side]) for side in (text_of, first))
    same = Duplicates(texts, pictures)
    (found, *_), asked = run(first, second, image_of, [k, 1], text_of=text_of, duplicates=same, block=block)
    for ranks, duplicates in zip(found, (None, same), strict=True):
        assert ([*ranks.i2t], [*ranks.t2i]) == slow(first, second, image_of, text_of, k, duplicates)
    assert asked == run(first, second, image_of, [k, 1], text_of=text_of, block=block)[1]


@examples(100)
@given(galleries())
def test_the_whole_gallery_as_a_shortlist_is_exhaustive_scoring(gallery):
    first, second, image_of, text_of = gallery
    full = max(second.shape)
    (ranks,), asked = run(first, second, image_of, [full], text_of=text_of)
    scores = torch.from_numpy(second[:, text_of])
    exhaustive = rank_scores(lambda i, t: scores[i, t], image_of)
    assert list(ranks.i2t) == list(exhaustive.i2t)
    assert list(ranks.t2i) == list(exhaustive.t2i)
    assert asked == second.size
