"""Recall, median ranks, identical captions and the ceiling they impose."""

import json
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.errors import DatasetError
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import Ranks, RecallReport, ceiling, median_ranks, recall, text_groups
from tests.helpers.examples import examples

FIELDS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mr")


def figures(report: RecallReport) -> list[float]:
    return [getattr(report, field) for field in FIELDS]


def test_recall_by_hand() -> None:
    report = recall(Ranks(i2t=np.array([1, 5, 6, 11]), t2i=np.array([1, 1, 2, 10, 11])))
    assert figures(report) == pytest.approx([25, 50, 75, 40, 60, 80, 55])


def test_median_ranks_by_hand() -> None:
    assert median_ranks(Ranks(i2t=np.array([1, 9, 4, 5]), t2i=np.array([7, 1, 3]))) == (4.5, 3.0)


@given(st.lists(st.integers(1, 20), min_size=1), st.lists(st.integers(1, 20), min_size=1))
def test_recall_grows_with_k(i2t: list[int], t2i: list[int]) -> None:
    report = recall(Ranks(i2t=np.array(i2t), t2i=np.array(t2i)))
    assert 0 <= report.i2t_r1 <= report.i2t_r5 <= report.i2t_r10 <= 100
    assert 0 <= report.t2i_r1 <= report.t2i_r5 <= report.t2i_r10 <= 100
    assert report.mr == pytest.approx(np.mean(figures(report)[:6]))


def test_captions_that_differ_in_case_punctuation_or_space_are_the_same() -> None:
    groups = text_groups(
        ["A plane, parked .", "a  plane parked", "two planes", "“Two” planes!", "two-planes", "twoplanes"]
    )
    assert groups[0] == groups[1]
    assert groups[2] == groups[3] != groups[0]
    assert groups[4] == groups[5] != groups[2]
    assert_array_equal(np.unique(groups), [0, 1, 2])


def test_ceiling_by_hand() -> None:
    captions = ["a", "a", "b", "A.", "c", "a", "a", "a"]
    image_of = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    report = ceiling(captions, image_of)
    # t2i: text a has 2, 1 and 3 copies on images 0, 1 and 2, so R@1 finds 3 of its 6; b and c are alone.
    # i2t: images 0 and 1 own a caption that nobody shares; three copies of a stand elsewhere than on image 2.
    assert figures(report) == pytest.approx([200 / 3, 100, 100, 62.5, 100, 100, (200 / 3 + 462.5) / 6])


def test_without_shared_captions_the_ceiling_is_100() -> None:
    assert figures(ceiling(["a", "b", "b", "c"], np.array([0, 1, 1, 2]))) == [100] * 7


@examples(60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=30))
def test_ceiling_is_the_best_of_all_rankings(pairs: list[tuple[str, int]]) -> None:
    captions = [text for text, _ in pairs]
    image_of = np.unique([image for _, image in pairs], return_inverse=True)[1]
    n_images = image_of.max() + 1
    report = ceiling(captions, image_of)
    for k, best in ((1, report.t2i_r1), (5, report.t2i_r5)):
        hits = 0
        for text in set(captions):
            owners = [image for image, caption in zip(image_of, captions, strict=True) if caption == text]
            hits += max(
                sum(owner in first for owner in owners)
                for first in combinations(range(n_images), int(min(k, n_images)))
            )
        assert best == pytest.approx(100 * hits / len(captions))


@examples(60)
@given(st.integers(0, 2**32), st.integers(2, 25))
def test_no_method_passes_the_ceiling_and_duplicate_aware_is_never_below_plain(seed: int, n_images: int) -> None:
    """A method that is right wherever it can be: each image sees the texts it owns, weighted at random."""
    generator = np.random.default_rng(seed)
    image_of = np.repeat(np.arange(n_images), 5)
    group = generator.integers(4 * n_images, size=len(image_of))
    owned = np.zeros((n_images, 4 * n_images), dtype=np.float32)
    owned[image_of, group] = generator.integers(1, 5, size=len(image_of))
    plain, aware = rank_embeddings(owned, np.eye(4 * n_images, dtype=np.float32)[group], image_of, text_group=group)
    bound = figures(ceiling([f"text {g}" for g in group], image_of))
    for reached, aware_reached, best in zip(figures(recall(plain)), figures(recall(aware)), bound, strict=True):
        assert reached <= best + 1e-9
        assert reached <= aware_reached
    assert recall(aware).mr == pytest.approx(100)


def test_sizes_must_agree() -> None:
    with pytest.raises(DatasetError, match="3 captions came with 2"):
        ceiling(["a", "b", "c"], np.array([0, 1]))
    with pytest.raises(DatasetError, match="renumber"):
        ceiling(["a", "b"], np.array([0, 2]))


@pytest.mark.mirror
@pytest.mark.skipif(not os.environ.get("RSITR_MIRROR"), reason="RSITR_MIRROR names no folder of real data")
@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("rsicd/dataset_rsicd.json", (93.12, 99.19, 99.78)),
        ("rsitmd/dataset_rsitmd.json", (99.82, 100, 100)),
        ("ucm/dataset.json", (38.29, 84.76, 100)),
        ("sydney/dataset.json", (50.69, 93.79, 100)),
    ],
)
def test_ceiling_of_the_test_splits(annotation: str, expected: tuple[float, ...]) -> None:
    images = json.loads((Path(os.environ["RSITR_MIRROR"]) / annotation).read_text())["images"]
    test = [image["sentences"] for image in images if image["split"] == "test"]
    captions = [sentence["raw"] for sentences in test for sentence in sentences]
    report = ceiling(captions, np.repeat(np.arange(len(test)), [len(sentences) for sentences in test]))
    assert (report.t2i_r1, report.t2i_r5, report.t2i_r10) == pytest.approx(expected, abs=0.005)
