"""Re-ranking against a reference that reads like the formula, by hand, and where it must change nothing."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.errors import DatasetError, ParamsError, TrainingDiverged
from rsitr.retrieval.ranks import rank_embeddings, rank_scores
from rsitr.retrieval.recall import Duplicates, Ranks
from rsitr.retrieval.rerank import PUBLISHED, Formula, dot_product, rerank
from tests.helpers.examples import examples
from tests.helpers.ranked import assert_same, captioned_images, relevance

module = sys.modules["rsitr.retrieval.rerank"]


def new_scores(matrix: list[list[float]], query: int, candidates: list[int], formula: Formula) -> dict[int, float]:
    """The formula, candidate by candidate; rows of the matrix are the queries."""
    row = matrix[query]
    backwards = {c: 1 + sum(other[c] > row[c] for other in matrix) for c in candidates}
    found = {}
    for c in candidates:
        total = math.fsum(max(other[c], 0) for other in matrix)
        share = max(row[c], 0) / total if total > 0 else 0.0
        place = 1 + sum(score > row[c] for score in row)
        reverse = backwards[c]
        if formula.form == "released":
            reverse = 1 + sum(other < backwards[c] for other in backwards.values())
        worth = math.exp(-formula.decay * reverse)
        if formula.depth is not None and backwards[c] > formula.depth:
            worth = 0.0
        found[c] = formula.share * share + math.exp(-formula.decay * place) + formula.reverse * worth
    return found


def one_rank(matrix: list[list[float]], query: int, relevant: list[bool], formula: Formula) -> int:
    row = matrix[query]
    candidates = [c for c, score in enumerate(row) if sum(other >= score for other in row) <= formula.k]
    if any(relevant[c] for c in candidates):
        scores = new_scores(matrix, query, candidates, formula)
        best = max(scores[c] for c in candidates if relevant[c])
        limit = best - 1e-9 * max(1.0, abs(best))
        return 1 + sum(scores[c] >= limit for c in candidates if not relevant[c])
    best = max(score for score, r in zip(row, relevant, strict=True) if r)
    return 1 + sum(score >= best for score, r in zip(row, relevant, strict=True) if not r)


def reference(scores: np.ndarray, image_of: np.ndarray, duplicates: Duplicates | None, formula: Formula) -> Ranks:
    n_images, n_texts = scores.shape
    relevant = relevance(image_of, duplicates).tolist()
    rows, columns = scores.astype(float).tolist(), scores.astype(float).T.tolist()
    return Ranks(
        i2t=np.array([one_rank(rows, i, relevant[i], formula) for i in range(n_images)]),
        t2i=np.array(
            [one_rank(columns, c, [relevant[i][c] for i in range(n_images)], formula) for c in range(n_texts)]
        ),
    )


def of(scores: np.ndarray):
    """The scorer that reads a matrix."""
    return lambda images, texts: torch.from_numpy(scores[images, texts].copy())


formulas = st.builds(
    Formula,
    k=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.3, 2.0]),
    reverse=st.sampled_from([0.0, 1.0, 1.1]),
    decay=st.sampled_from([0.05, 0.5]),
    depth=st.sampled_from([None, 1, 3]),
    form=st.sampled_from(["paper", "released"]),
)

BY_HAND = np.array([[0.6, 0.7, 0.1], [0.2, 0.9, 0.3], [0.2, 0.4, 0.6]])
HALVES = Formula(share=1, reverse=1, decay=math.log(2))
"""A place n is worth 2^-n."""


def test_by_hand() -> None:
    """Image 0 prefers caption 1, which prefers image 1; caption 0 prefers image 0.

    caption 0: 0.6 / 1.0 + 1/4 + 1/2 = 1.35    caption 1: 0.7 / 2.0 + 1/2 + 1/4 = 1.10    caption 2: 0.1 + 1/8 + 1/8
    """
    before = rank_scores(of(BY_HAND), np.arange(3))
    after = rerank(of(BY_HAND), np.arange(3), formula=HALVES)
    assert (before.i2t.tolist(), after.i2t.tolist()) == ([2, 1, 1], [1, 1, 1])
    assert before.t2i.tolist() == after.t2i.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changed", "rank"),
    [
        ({"k": 2}, 1),
        ({"k": 1}, 2),  # caption 0 is no candidate: the list stays
        ({"share": 0}, 2),  # 3/4 each: a tie goes against the method
        ({"share": 0, "reverse": 1.01}, 1),
        ({"share": 0, "depth": 1}, 1),  # caption 1 loses its 1/4, caption 0 keeps its 1/2
        ({"share": -1, "k": 2}, 2),  # 0.15 against 0.40
    ],
)
def test_each_component_by_hand(changed: dict, rank: int) -> None:
    formula = replace(HALVES, **changed)
    assert rerank(of(BY_HAND), np.arange(3), formula=formula).i2t[0] == rank


def test_the_reverse_place_of_the_released_code_counts_candidates() -> None:
    """Image 0 is second in the list of caption 0 and fourth in that of caption 1; of the two, that is first and second.

    caption 0, caption 1 in the paper: 1/4 + 1.2/4 = 0.55, 1/2 + 1.2/16 = 0.575; released: 0.25 + 0.6, 0.5 + 0.3.
    """
    scores = np.array([[0.5, 0.6, 0.1, 0.1], [0.9, 0.9, 0.9, 0.9], [0.1, 0.8, 0.9, 0.8], [0.1, 0.7, 0.8, 0.9]])
    paper = replace(HALVES, share=0, k=2, reverse=1.2)
    assert rerank(of(scores), np.arange(4), formula=paper).i2t[0] == 2
    assert rerank(of(scores), np.arange(4), formula=replace(paper, form="released")).i2t[0] == 1


def test_the_defaults_are_the_published_numbers() -> None:
    assert Formula(k=30, share=0.30, reverse=1.1, decay=0.05) == PUBLISHED
    generator = np.random.default_rng(0)
    scores = generator.random((40, 120), np.float32)
    image_of = np.arange(120) // 3
    expected = reference(scores, image_of, None, Formula(30, 0.30, 1.1, 0.05))
    assert_same(rerank(of(scores), image_of, block=37), expected)
    assert (expected.i2t != rank_scores(of(scores), image_of).i2t).any()


@examples(100)
@given(captioned_images(), formulas, st.sampled_from([0, -2]))
def test_scores_full_of_ties_equal_the_reference(drawn: tuple, formula: Formula, low: int) -> None:
    """With low = -2 many sums are zero or negative."""
    generator, image_of, duplicates, block = drawn
    scores = generator.integers(low, low + 6, size=(image_of.max() + 1, len(image_of))).astype(np.float32)
    plain, aware = rerank(of(scores), image_of, duplicates=duplicates, formula=formula, block=block)
    assert_same(plain, reference(scores, image_of, None, formula))
    assert_same(aware, reference(scores, image_of, duplicates, formula))
    assert_same(rerank(of(scores), image_of, formula=formula, block=block), plain)


@examples(50)
@given(captioned_images(), formulas)
def test_scores_without_ties_equal_the_reference(drawn: tuple, formula: Formula) -> None:
    generator, image_of, duplicates, block = drawn
    scores = generator.standard_normal((image_of.max() + 1, len(image_of)), np.float32)
    plain, aware = rerank(of(scores), image_of, duplicates=duplicates, formula=formula, block=block)
    assert_same(plain, reference(scores, image_of, None, formula))
    assert_same(aware, reference(scores, image_of, duplicates, formula))


@examples(50)
@given(
    captioned_images(), st.sampled_from([Formula(k=1), Formula(share=0, reverse=0), Formula(k=99, share=0, depth=0)])
)
def test_one_candidate_or_the_place_alone_changes_nothing(drawn: tuple, formula: Formula) -> None:
    generator, image_of, duplicates, block = drawn
    scores = generator.integers(5, size=(image_of.max() + 1, len(image_of))).astype(np.float32)
    found = rerank(of(scores), image_of, duplicates=duplicates, formula=formula, block=block)
    expected = rank_scores(of(scores), image_of, duplicates=duplicates)
    assert_same(found.plain, expected.plain)
    assert_same(found.duplicate_aware, expected.duplicate_aware)


@examples(50)
@given(captioned_images(), formulas)
def test_the_order_of_the_data_set_does_not_matter(drawn: tuple, formula: Formula) -> None:
    generator, image_of, _, block = drawn
    n_images, n_texts = image_of.max() + 1, len(image_of)
    scores = generator.integers(5, size=(n_images, n_texts)).astype(np.float32)
    images, texts = generator.permutation(n_images), generator.permutation(n_texts)
    ranks = rerank(of(scores), image_of, formula=formula, block=block)
    moved = rerank(of(scores[images][:, texts]), np.argsort(images)[image_of][texts], formula=formula, block=block)
    assert_same(moved, Ranks(ranks.i2t[images], ranks.t2i[texts]))


@pytest.mark.parametrize("block", [7, 64, 4096])
def test_equal_embeddings_stay_equal(block: int) -> None:
    """The reference scores each distinct pair once; float32 products would round it differently inside a tile."""
    generator = np.random.default_rng(3)
    distinct_images, distinct_texts = (
        generator.standard_normal((n, 512)).astype(np.float32) / 512**0.5 for n in (9, 40)
    )
    image_row, text_row = generator.integers(9, size=67), generator.integers(40, size=201)
    image_of = np.arange(201) // 3
    exact = (distinct_images.astype(np.float64) @ distinct_texts.T.astype(np.float64)).astype(np.float32)
    score = dot_product(distinct_images[image_row], torch.from_numpy(distinct_texts[text_row]))
    expected = reference(exact[image_row][:, text_row], image_of, None, PUBLISHED)
    assert_same(rerank(score, image_of, block=block), expected)


def test_collapsed_embeddings_rank_last() -> None:
    image_of = np.repeat(np.arange(50), 5)
    ranks = rerank(dot_product(np.full((50, 16), 0.1), np.full((250, 16), 0.3)), image_of, block=32)
    assert_array_equal(ranks.i2t, np.full(50, 246))
    assert_array_equal(ranks.t2i, np.full(250, 50))


def test_identical_captions_bound_re_ranking_too() -> None:
    """All images share one text: whatever the scores say of the images, no caption can be told from its copies."""
    generator = np.random.default_rng(1)
    images, text = generator.random((12, 8), np.float32), generator.random((1, 8), np.float32)
    same = Duplicates(np.zeros(12, int), np.arange(12))
    found = rerank(dot_product(images, np.repeat(text, 12, axis=0)), np.arange(12), duplicates=same)
    assert_array_equal(found.plain.i2t, np.full(12, 12))
    assert_array_equal(np.sort(found.plain.t2i), np.arange(1, 13))
    assert_array_equal(found.duplicate_aware.i2t, np.ones(12))


def test_a_group_that_reaches_beyond_k_stays_outside() -> None:
    """Captions 1 to 3 tie at places 2 to 4; with K = 3 caption 0 alone is a candidate, with K = 4 all of them are.

    Caption 3 has image 0 at place 1 of its list, caption 0 at place 4.
    """
    scores = np.array([[0.9, 0.5, 0.5, 0.5], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0.1]])
    formula = Formula(share=0, reverse=9)
    image_of = np.array([1, 2, 3, 0])
    assert rerank(of(scores), image_of, formula=replace(formula, k=3)).i2t[0] == 4
    assert rerank(of(scores), image_of, formula=replace(formula, k=4)).i2t[0] == 1


def test_an_infinite_score_has_no_share() -> None:
    scores = np.array([[0.5, np.inf], [0.4, 0.3]], dtype=np.float32)
    assert_array_equal(rerank(of(scores), np.array([0, 1]), formula=Formula(share=0)).i2t, [2, 2])


@pytest.mark.parametrize("own", [0, 1])
def test_what_rounding_of_a_sum_decides_is_a_tie(own: int) -> None:
    """Two captions score the same numbers in another order, so that their sums differ in the last place only."""
    generator = np.random.default_rng(0)
    column = (generator.random(50) * 10.0 ** generator.integers(-9, 1, size=50)).astype(np.float32)
    scores = np.stack([column, np.r_[column[0], np.sort(column[1:])]], axis=1)
    sums = torch.from_numpy(scores.T.copy()).sum(1, dtype=torch.float64)
    assert 0 < abs(sums[0] - sums[1]) < 1e-14
    image_of = np.r_[[1, 0] if own else [0, 1], np.arange(2, 50)]
    others = np.full((50, 48), -1, dtype=np.float32)
    ranks = rerank(of(np.c_[scores, others]), image_of, formula=Formula(share=1, reverse=0, decay=50))
    assert ranks.i2t[0] == 2


def test_the_scorer_is_asked_once_per_tile_while_tiles_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randn(40, 120, generator=torch.Generator().manual_seed(2))
    asked: list[tuple[int, int]] = []

    def score(images: slice, texts: slice) -> torch.Tensor:
        asked.append((images.start, texts.start))
        return scores[images, texts].clone()

    held = rerank(score, np.arange(120) // 3, block=10)
    assert len(asked) == len(set(asked)) == 4 * 12

    asked.clear()
    monkeypatch.setattr(module, "HELD_BYTES", 5 * 10 * 10 * 4)
    scarce = rerank(score, np.arange(120) // 3, block=10)
    assert len(asked) == 2 * 4 * 12 - 5
    assert_same(scarce, held)


def test_float64_is_rounded_and_half_precision_is_kept() -> None:
    generator = np.random.default_rng(6)
    scores = generator.integers(9, size=(8, 24)) / 8
    image_of = np.arange(24) // 3
    expected = rerank(of(scores), image_of)
    assert_same(rerank(of(scores.astype(np.float16)), image_of), expected)
    assert_same(rerank(of(scores + 1e-12 * generator.random((8, 24))), image_of), expected)


def test_nan_is_an_error() -> None:
    scores = np.eye(10)
    scores[0, 9] = np.nan
    with pytest.raises(TrainingDiverged, match="images 0 to 3 and captions 8 to 9"):
        rerank(of(scores), np.arange(10), block=4)


def test_pairs_that_describe_no_data_set_are_an_error() -> None:
    with pytest.raises(DatasetError, match="give one text per caption and one picture per image"):
        rerank(of(np.eye(3)), np.arange(3), duplicates=Duplicates(np.arange(2), np.arange(3)))


def test_no_candidates_are_an_error() -> None:
    with pytest.raises(ParamsError, match="k is 0, give 1 or more"):
        Formula(k=0)


def test_embeddings_beside_rank_embeddings() -> None:
    """With one candidate, ranks of embeddings are those of ``rank_embeddings``."""
    generator = torch.Generator().manual_seed(4)
    images, texts = torch.randn(30, 16, generator=generator), torch.randn(90, 16, generator=generator)
    image_of = np.arange(90) // 3
    expected = rank_embeddings(images, texts, image_of)
    assert_same(rerank(dot_product(images, texts), image_of, formula=Formula(k=1)), expected)
