"""Two matrices ranked from outside: by hand, against a reference that counts pair by pair, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import rsitr.retrieval
from rsitr.errors import DatasetError
from rsitr.retrieval import Ranking, rank
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import RecallReport, ceiling, duplicates_of, recall
from tests.helpers.examples import examples
from tests.helpers.ranked import assert_same

# Image i is axis i; image 3 has no caption and looks like image 0 seen from the captions of image 1.
IMAGES = np.eye(4)
TEXTS = np.array([[4, 3, 0, 0], [0, 4, 3, 0], [3, 0, 0, 4], [0, 0, 5, 0]]) / 5
IMAGE_OF = [0, 1, 1, 2]


def reference(scores: np.ndarray, relevant: np.ndarray) -> list[int]:
    """Rank of every row's best relevant column; 0 without one."""
    found = []
    for line, own in zip(scores.tolist(), relevant.tolist(), strict=True):
        best = max((score for score, is_own in zip(line, own, strict=True) if is_own), default=None)
        ahead = [score for score, is_own in zip(line, own, strict=True) if not is_own and best is not None]
        found.append(0 if best is None else 1 + sum(score >= best for score in ahead))
    return found


def relevance(image_of: list[int], n_images: int, texts: list[str] | None, pictures: list[str] | None) -> np.ndarray:
    """bool [I, C], pair by pair; an empty picture is like no other."""
    named = [(sha or str(place)) for place, sha in enumerate(pictures or [""] * n_images)]
    said = texts or [str(caption) for caption in range(len(image_of))]
    owned = {(named[image], said[caption]) for caption, image in enumerate(image_of)}
    return np.array([[(picture, text) in owned for text in said] for picture in named])


def test_by_hand() -> None:
    found = rank(IMAGES[:3], TEXTS, IMAGE_OF)
    # Image 1 scores .6, .8, 0, 0: its caption 1 is first. Image 0: .8, 0, .6, 0. Image 2: 0, .6, 0, 1.
    assert_array_equal(found.plain.ranks.i2t, [1, 1, 1])
    # Caption 2 scores .6, 0, 0: its image 1 ties with image 2 behind image 0, and a tie counts against it.
    assert_array_equal(found.plain.ranks.t2i, [1, 1, 3, 1])
    assert found.plain.recall == RecallReport(100, 100, 100, 75, 100, 100, mr=pytest.approx(575 / 6))
    assert found.plain.median == (1, 1)
    assert (found.duplicate_aware, found.ceiling) == (None, None)
    assert_array_equal(found.image_queries, [0, 1, 2])
    assert_array_equal(found.caption_queries, [0, 1, 2, 3])


def test_images_without_captions_stand_in_the_way_and_do_not_ask() -> None:
    with pytest.raises(DatasetError, match="1 of 4 images have no caption, such as 3: pass distractors=True"):
        rank(IMAGES, TEXTS, IMAGE_OF)
    found = rank(IMAGES, TEXTS, IMAGE_OF, distractors=True)
    assert_array_equal(found.plain.ranks.i2t, [1, 1, 1])
    # Image 3 scores .8 for caption 2, so that images 3 and 0 are ahead of its own, and image 2 ties.
    assert_array_equal(found.plain.ranks.t2i, [1, 1, 4, 1])
    assert_array_equal(found.image_queries, [0, 1, 2])


def test_some_ask_in_the_order_they_are_named() -> None:
    found = rank(IMAGES, TEXTS, IMAGE_OF, distractors=True, image_queries=[2, 0], caption_queries=np.arange(4) > 1)
    assert_array_equal(found.image_queries, [2, 0])
    assert_array_equal(found.caption_queries, [2, 3])
    assert_array_equal(found.plain.ranks.t2i, [4, 1])
    assert found.plain.recall == RecallReport(100, 100, 100, 50, 100, 100, mr=pytest.approx(550 / 6))
    assert found.plain.median == (1, 2.5)


def test_identical_captions_and_pictures_by_hand() -> None:
    """Images 0 and 3 are one picture, 3 without a caption; captions 0 and 2 say the same."""
    captions, pictures = ["A dot.", "a bar", "a dot", "a field"], ["x", "y", "", "x"]
    images = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    texts = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    found = rank(images, texts, IMAGE_OF, captions=captions, pictures=pictures, distractors=True)
    assert_array_equal(found.plain.ranks.i2t, [2, 1, 1])  # caption 2 ties with caption 0
    assert_array_equal(found.plain.ranks.t2i, [2, 1, 4, 1])  # image 3 ties with image 0; caption 2 scores 0 for image 1
    assert found.duplicate_aware is not None
    assert_array_equal(found.duplicate_aware.ranks.i2t, [1, 1, 1])
    assert_array_equal(found.duplicate_aware.ranks.t2i, [1, 1, 1, 1])
    # i2t: caption 0 has a copy on image 1, which has caption 1 for itself. t2i: "a dot" is asked twice; put first,
    # picture y finds one of them at place 1, and picture x takes places 2 and 3.
    assert found.ceiling == RecallReport(200 / 3, 100, 100, 75, 100, 100, mr=pytest.approx((200 / 3 + 475) / 6))


@pytest.mark.parametrize("image_of", [[[0, 3], [2], [1]], np.array([0, 2, 1, 0]), torch.tensor([0, 2, 1, 0])])
def test_image_of_in_any_form(image_of) -> None:
    expected = rank_embeddings(np.eye(3), np.eye(3)[[0, 1, 1, 2]], np.array([0, 2, 1, 0]))
    assert_same(rank(np.eye(3), np.eye(3)[[0, 1, 1, 2]], image_of).plain.ranks, expected)


def test_captions_of_every_image_in_a_matrix_or_in_lists_with_gaps() -> None:
    images, texts = torch.eye(3), torch.eye(3)[[0, 0, 1, 1]]
    lists = rank(images, texts, [[0, 1], [3, 2], []], distractors=True)
    assert_same(lists.plain.ranks, rank(images, texts, [0, 0, 1, 1], distractors=True).plain.ranks)
    assert_same(rank(images[:2], texts, torch.tensor([[0, 1], [3, 2]])).plain.ranks, lists.plain.ranks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": np.eye(3)}, "images have 4 numbers a row and texts 3: embed both with one model"),
        ({"images": 2 * IMAGES}, "images have rows of length 2 to 2, not 1: pass normalise=True"),
        ({"texts": TEXTS * [[1], [1], [3], [1]]}, "texts have rows of length 1 to 3, not 1"),
        ({"texts": [[1, 0, 0, float("nan")]] * 4}, "row 0 of texts is not finite"),
        ({"image_of": [0, 1, 2]}, "image_of has 3 images for 4 captions: give one for each caption"),
        ({"image_of": [1, 2, 3, 4]}, "image_of has numbers from 1 to 4, but the images are 0 to 3: count from 0"),
        ({"image_of": [0, 1, 2, -1]}, "image_of has numbers from -1 to 2, but the images are 0 to 3"),
        ({"image_of": [0.0, 1.0, 2.0, 3.0]}, "image_of must be a list of whole numbers, not float64"),
        ({"image_of": []}, "image_of has 0 images for 4 captions"),
        ({"image_of": [[0], [1], [2, 3]]}, "image_of lists the captions of 3 images, but there are 4"),
        ({"image_of": [[0], [1], [2], [2, 3]]}, "image_of lists caption 2 2 times: every caption is of one image"),
        ({"image_of": [[0], [1], [3], []]}, "image_of lists caption 2 0 times: every caption is of one image"),
        ({"image_of": [[0], [1], [2], [4]]}, "image_of has numbers from 0 to 4, but the captions are 0 to 3"),
        ({"image_of": [[0], [1], [2], 3]}, "image_of[3] must be a list of whole numbers"),
        ({"captions": ["a"]}, "captions must be 4 strings, in the order of the embeddings"),
        ({"captions": ["a", "b", "c", None]}, "captions must be 4 strings"),
        ({"pictures": ["x"] * 5}, "pictures must be 4 strings"),
        ({"image_queries": []}, "image_queries must name at least one query, and none of them twice"),
        ({"image_queries": [0, 0]}, "image_queries must name at least one query, and none of them twice"),
        ({"image_queries": [0, 3]}, "image_queries names 3, which has no caption to find"),
        ({"caption_queries": [4]}, "caption_queries has numbers from 4 to 4, but the captions are 0 to 3"),
        ({"caption_queries": [True, False]}, "caption_queries must be a list of whole numbers, not bool"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    arguments = {"images": IMAGES, "texts": TEXTS, "image_of": IMAGE_OF, "distractors": True} | change
    with pytest.raises(DatasetError, match=re.escape(message)):
        rank(**arguments)


def test_cosine_and_dot_product_are_two_rankings() -> None:
    """The long image 1 wins every dot product, and the caption of image 0 points at image 0."""
    images, texts = np.array([[1.0, 0], [30, 40]]), np.array([[0.8, 0.6], [0.6, 0.8]])
    with pytest.raises(DatasetError, match="images have rows of length 1 to 50, not 1"):
        rank(images, texts, [0, 1])
    assert_array_equal(rank(images, texts, [0, 1], normalise=False).plain.ranks.t2i, [2, 1])
    near = np.array([[10.0, 0], [3, 4]])
    assert_array_equal(rank(near, np.array([[1.0, 0], [0.6, 0.8]]), [0, 1], normalise=True).plain.ranks.t2i, [1, 1])


def test_equal_directions_tie_after_normalising_whatever_their_length() -> None:
    generator = np.random.default_rng(0)
    direction = generator.integers(-99, 100, size=(50, 64))
    twice = np.concatenate([direction, 3 * direction])
    found = rank(twice, twice, np.arange(100), normalise=True)
    assert_array_equal(found.plain.ranks.i2t, np.full(100, 2))
    assert_array_equal(found.plain.ranks.t2i, np.full(100, 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_any_precision_and_container_is_ranked_as_float32(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(60, 32, generator=generator, dtype=torch.float64)
    rows = torch.nn.functional.normalize(drawn, dim=1).to(dtype)
    images, texts, image_of = rows[:20], rows[20:], np.arange(40) // 2
    expected = rank_embeddings(images.float(), texts.float(), image_of)
    assert_same(rank(images, texts, image_of).plain.ranks, expected)
    assert_same(rank(images.tolist(), [*texts], image_of.tolist(), block=7).plain.ranks, expected)
    if dtype != torch.bfloat16:
        assert_same(rank(images.numpy(), texts.numpy(), image_of).plain.ranks, expected)


@st.composite
def captioned(draw: st.DrawFn) -> dict:
    """Integer embeddings full of ties, some images without captions, shared texts and pictures, some who ask."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_images, n_texts = draw(st.integers(1, 9)), draw(st.integers(1, 14))
    image_of = generator.integers(n_images, size=n_texts).tolist()
    described = np.unique(image_of)
    return {
        "images": generator.integers(-2, 3, size=(n_images, 3)),
        "texts": generator.integers(-2, 3, size=(n_texts, 3)),
        "image_of": image_of,
        "captions": [str(text) for text in generator.integers(5, size=n_texts)] if draw(st.booleans()) else None,
        "pictures": generator.choice(["", "a", "b"], n_images).tolist() if draw(st.booleans()) else None,
        "image_queries": generator.permutation(described)[: draw(st.integers(1, len(described)))],
        "caption_queries": generator.permutation(n_texts)[: draw(st.integers(1, n_texts))],
        "block": draw(st.integers(1, 6)),
    }


@examples(150)
@given(captioned())
def test_ranks_are_those_of_the_reference(drawn: dict) -> None:
    n_images = len(drawn["images"])
    found = rank(**drawn, normalise=False, distractors=True)
    scores = drawn["images"] @ drawn["texts"].T
    known = [None] if drawn["captions"] is drawn["pictures"] is None else [None, (drawn["captions"], drawn["pictures"])]
    for measured, same in zip([found.plain, found.duplicate_aware], known, strict=False):
        assert measured is not None
        relevant = relevance(drawn["image_of"], n_images, *(same or (None, None)))
        i2t, t2i = (np.array(reference(*side)) for side in ((scores, relevant), (scores.T, relevant.T)))
        assert_array_equal(measured.ranks.i2t, i2t[drawn["image_queries"]])
        assert_array_equal(measured.ranks.t2i, t2i[drawn["caption_queries"]])
        assert measured.recall == recall(measured.ranks)
    assert (found.duplicate_aware is None) == (len(known) == 1)


def best_of_all_orders(relevant: np.ndarray, asking: list, listed: list, queries: set[int], k: int) -> int:
    """The most ``queries`` found at k: every order of the distinct ``listed`` for each of the distinct ``asking``."""
    total = 0
    for query in set(asking):
        best = 0
        for order in permutations(sorted(set(listed))):
            line = [-order.index(item) for item in listed]
            ranks = reference(np.array([line] * len(asking)), relevant)
            best = max(best, sum(asking[q] == query and 0 < ranks[q] <= k for q in queries))
        total += best
    return total


@examples(30)
@given(st.data())
def test_the_ceiling_is_the_best_of_all_orders(data: st.DataObject) -> None:
    """With images that take places and ask for nothing, and with some who ask."""
    n_images, n_texts = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    image_of = data.draw(st.lists(st.integers(0, n_images - 1), min_size=n_texts, max_size=n_texts))
    captions = data.draw(st.lists(st.sampled_from("abcd"), min_size=n_texts, max_size=n_texts))
    pictures = data.draw(st.lists(st.sampled_from("xyz"), min_size=n_images, max_size=n_images))
    asking = sorted(data.draw(st.sets(st.sampled_from(sorted(set(image_of))), min_size=1)))
    named = sorted(data.draw(st.sets(st.integers(0, n_texts - 1), min_size=1)))
    found = rank(
        np.ones((n_images, 1)),
        np.ones((n_texts, 1)),
        image_of,
        captions=captions,
        pictures=pictures,
        distractors=True,
        image_queries=asking,
        caption_queries=named,
    ).ceiling
    relevant = relevance(image_of, n_images, None, None)
    for k in (1, 5, 10):
        i2t = best_of_all_orders(relevant, pictures, captions, {*asking}, k)
        t2i = best_of_all_orders(relevant.T, captions, pictures, {*named}, k)
        assert getattr(found, f"i2t_r{k}") == pytest.approx(100 * i2t / len(asking))
        assert getattr(found, f"t2i_r{k}") == pytest.approx(100 * t2i / len(named))


def test_of_a_whole_test_set_the_ceiling_is_that_of_the_benchmark() -> None:
    generator = np.random.default_rng(5)
    image_of = np.repeat(np.arange(40), 5)
    captions, pictures = generator.integers(60, size=200).astype(str), generator.integers(30, size=40).astype(str)
    found = rank(np.ones((40, 1)), np.ones((200, 1)), image_of, captions=[*captions], pictures=[*pictures])
    assert found.ceiling == ceiling(image_of, duplicates_of(captions, pictures))


def test_one_picture_listed_twice_lowers_the_ceiling_and_not_the_duplicate_aware_recall() -> None:
    """40 pictures, each twice with captions of its own, and a perfect model."""
    directions = np.linalg.qr(np.random.default_rng(2).standard_normal((40, 40)))[0]
    pictures = [f"sha-{number % 40}" for number in range(80)]
    found = rank(np.tile(directions, (2, 1)), np.tile(directions, (2, 1)), range(80), pictures=pictures)
    assert found.plain.recall.t2i_r1 == 0
    assert found.duplicate_aware is not None
    assert found.duplicate_aware.recall.t2i_r1 == 100
    assert found.ceiling is not None
    assert found.ceiling.t2i_r1 == 0


def test_the_package_is_imported_without_torch() -> None:
    script = "import sys, rsitr.retrieval; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "numpy", "scipy"} & {*found}
    assert issubclass(Ranking, tuple)
    with pytest.raises(AttributeError, match="has no attribute 'ranked'"):
        rsitr.retrieval.ranked  # noqa: B018
