"""Recall, median ranks, identical captions and pictures, and the ceiling they impose."""

import json
import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.errors import DatasetError
from rsitr.retrieval.ranks import rank_embeddings, rank_scores
from rsitr.retrieval.recall import (
    Duplicates,
    Ranks,
    RecallReport,
    ceiling,
    duplicates_of,
    median_ranks,
    picture_groups,
    recall,
    text_groups,
)
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


def test_pictures_are_numbered_and_an_unknown_one_is_like_no_other() -> None:
    assert_array_equal(picture_groups(["b", "a", "", "b", ""]), [0, 1, 2, 0, 3])


def test_ceiling_by_hand() -> None:
    captions = ["a", "a", "b", "A.", "c", "a", "a", "a"]
    image_of = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    report = ceiling(image_of, duplicates_of(captions, ["", "", ""]))
    # t2i: text a has 2, 1 and 3 copies on images 0, 1 and 2, so R@1 finds 3 of its 6; b and c are alone.
    # i2t: images 0 and 1 own a caption that nobody shares; three copies of a stand elsewhere than on image 2.
    assert figures(report) == pytest.approx([200 / 3, 100, 100, 62.5, 100, 100, (200 / 3 + 462.5) / 6])


def test_ceiling_with_one_picture_twice_by_hand() -> None:
    """Of the images 0 and 2 with one picture only one has a caption of its own at the first place."""
    report = ceiling(np.array([0, 1, 2, 2]), duplicates_of(list("abcd"), ["x", "y", "x"]))
    # t2i: the captions a, c and d find the two images at places 1 and 2, in neither order alone.
    assert figures(report) == pytest.approx([200 / 3, 100, 100, 25, 100, 100, (200 / 3 + 425) / 6])


def test_ceiling_with_identical_captions_and_pictures_by_hand() -> None:
    """Picture x is images 0 and 1, picture y images 2 to 7; text a is on 0 and five of y, b on 1 and 7."""
    image_of, captions = np.array([0, 1, 2, 3, 4, 5, 6, 7]), list("abaaaaab")
    report = ceiling(image_of, duplicates_of(captions, list("xxyyyyyy")))
    # i2t: b first, with one copy elsewhere, finds image 1 at place 2, and then a finds image 0 at 2 + 6 = 8, after the
    # two copies of b and five of a; in y the same order finds image 7 at 2, and the five others at 8.
    # t2i: text a has room for x alone at K = 5, which finds one of its six queries, and for both at 10, since 2 + 6 are
    # not more. Text b finds one of its two queries at 5, and both at 10.
    assert figures(report) == pytest.approx([0, 25, 100, 0, 25, 100, 250 / 6])


def test_without_shared_captions_and_pictures_the_ceiling_is_100() -> None:
    assert figures(ceiling(np.array([0, 1, 1, 2]), duplicates_of(["a", "b", "b", "c"], list("xyz")))) == [100] * 7


def best_of_all_orders(image_of: np.ndarray, duplicates: Duplicates, k: int) -> tuple[int, int]:
    """The most image queries and caption queries found at k: every order of the texts for every picture, and vice
    versa, ranked by ``rank_scores``."""
    texts, pictures = duplicates
    found = [0, 0]
    for direction, (asking, listed) in enumerate(((pictures, texts), (texts, pictures))):
        for query in set(asking):
            best = 0
            for order in permutations(set(listed)):
                places = torch.tensor([-order.index(item) for item in listed])
                scores = places.expand(len(asking), -1).float()
                scores = scores if direction == 0 else scores.T
                ranks = rank_scores(lambda i, t, scores=scores: scores[i, t].clone(), image_of)
                best = max(best, int(((ranks.i2t, ranks.t2i)[direction][asking == query] <= k).sum()))
            found[direction] += best
    return found[0], found[1]


@examples(40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=16), st.data())
def test_ceiling_is_the_best_of_all_orders(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    texts = np.array([text for text, _ in pairs])
    image_of = np.unique([image for _, image in pairs], return_inverse=True)[1]
    n_images = image_of.max() + 1
    pictures = np.array(data.draw(st.lists(st.integers(0, 2), min_size=int(n_images), max_size=int(n_images))))
    report = ceiling(image_of, Duplicates(texts, pictures))
    for k in (1, 5, 10):
        i2t, t2i = best_of_all_orders(image_of, Duplicates(texts, pictures), k)
        assert getattr(report, f"i2t_r{k}") == pytest.approx(100 * i2t / n_images)
        assert getattr(report, f"t2i_r{k}") == pytest.approx(100 * t2i / len(texts))


@examples(60)
@given(st.integers(0, 2**32), st.integers(2, 25), st.booleans())
def test_no_method_passes_the_ceiling_and_duplicate_aware_is_never_below_plain(
    seed: int, n_images: int, repeat: bool
) -> None:
    """A method that is right wherever it can be: each picture sees the texts it owns, weighted at random."""
    generator = np.random.default_rng(seed)
    image_of = np.repeat(np.arange(n_images), 5)
    group = generator.integers(4 * n_images, size=len(image_of))
    picture = generator.integers(n_images, size=n_images) if repeat else np.arange(n_images)
    owned = np.zeros((n_images, 4 * n_images), dtype=np.float32)
    owned[picture[image_of], group] = generator.integers(1, 5, size=len(image_of))
    same = Duplicates(group, picture)
    plain, aware = rank_embeddings(
        owned[picture], np.eye(4 * n_images, dtype=np.float32)[group], image_of, duplicates=same
    )
    bound = figures(ceiling(image_of, same))
    for reached, aware_reached, best in zip(figures(recall(plain)), figures(recall(aware)), bound, strict=True):
        assert reached <= best + 1e-9
        assert reached <= aware_reached
    assert recall(aware).mr == pytest.approx(100)


def test_many_images_of_one_picture_are_found_in_no_time() -> None:
    """The search over orders of 500 texts ends with the first order that finds as many as there are places."""
    report = ceiling(np.repeat(np.arange(100), 5), Duplicates(np.arange(500), np.zeros(100, int)))
    assert figures(report)[:6] == pytest.approx([1, 5, 10, 0, 0, 0])


def test_sizes_must_agree() -> None:
    with pytest.raises(DatasetError, match="3 texts and 2 pictures came with 2 captions and 2 images"):
        ceiling(np.array([0, 1]), Duplicates(np.arange(3), np.arange(2)))
    with pytest.raises(DatasetError, match="renumber"):
        ceiling(np.array([0, 2]), Duplicates(np.arange(2), np.arange(2)))


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
    image_of = np.repeat(np.arange(len(test)), [len(sentences) for sentences in test])
    report = ceiling(image_of, duplicates_of(captions, [""] * len(test)))
    assert (report.t2i_r1, report.t2i_r5, report.t2i_r10) == pytest.approx(expected, abs=0.005)
