"""BLEU of all pairs: worked out by hand, against pycocoevalcap and nltk, and on captions that nobody should write."""

from __future__ import annotations

from itertools import pairwise
from math import cbrt, exp, log, sqrt

import numpy as np
import pytest
from benchmarks.bleu_peers import NLTK_METHODS, nltk_bleu, pycocoevalcap_bleu
from hypothesis import given
from hypothesis import strategies as st

from rsitr.captions.bleu import METHODS, Bleu
from rsitr.captions.ngrams import count_ngrams
from rsitr.captions.words import words
from rsitr.errors import DatasetError, ParamsError
from tests.helpers.examples import examples


def bleu(caption, references, definition="pycocoevalcap", tokenize=str.split):
    """BLEU-1 to BLEU-4 [4] of one caption against one image."""
    scorer = Bleu([caption, *references], [range(1, len(references) + 1)], definition, tokenize=tokenize)
    return scorer.scores([0], [0])[0, 0]


def fourth_root(*factors):
    return sqrt(sqrt(np.prod(factors)))


@pytest.mark.parametrize("definition", ["pycocoevalcap", "nltk-0", "nltk-1", "nltk-3", "nltk-4"])
def test_the_geometric_mean_of_precisions(definition):
    # 4 of 5 words, 3 of 4 bigrams, 2 of 3 trigrams, 1 of 2 four-grams; the products are .8, .6, .4 and .2.
    found = bleu("a b c d e", ["a b c d f"], definition)
    assert found == pytest.approx([0.8, sqrt(0.6), cbrt(0.4), fourth_root(0.2)], abs=1e-8)


# Shared 2, 1, 0 and 0 of 4 words, 3 bigrams, 2 trigrams and 1 four-gram.
HALF = log(4) / 5 / 2
"""Method 4: the n-grams that stand for a first order without matches."""
BY_HAND = {
    "nltk-0": [1 / 2, 1 / 3, 0, 0],
    "nltk-1": [1 / 2, 1 / 3, 0.1 / 2, 0.1],
    "nltk-2": [1 / 2, 2 / 4, 1 / 3, 1 / 2],
    "nltk-3": [1 / 2, 1 / 3, 1 / 2 / 2, 1 / 4],
    "nltk-4": [1 / 2, 1 / 3, HALF / 2, HALF / 2],
    "nltk-5": [7 / 9, 10 / 27, 10 / 81, 10 / 243],
    "nltk-7": [
        7 / 9,
        (7 / 9 + 1 / 3 + HALF / 2) / 3,
        ((7 / 9 + 1 / 3 + HALF / 2) / 3 + HALF) / 3,
        (((7 / 9 + 1 / 3 + HALF / 2) / 3 + HALF) / 3 + HALF / 2) / 3,
    ],
}


@pytest.mark.parametrize("definition", BY_HAND)
def test_smoothing(definition):
    p = BY_HAND[definition]
    expected = [p[0], sqrt(p[0] * p[1]), cbrt(np.prod(p[:3])), fourth_root(*p)]
    assert bleu("a b x y", ["a b c d"], definition) == pytest.approx(expected, abs=1e-12)


def test_the_prior_of_method_6():
    # Shared 3 of 4, 2 of 3, 1 of 2, 0 of 1; the prior of an order is p(n-1)^2 / p(n-2) and counts five times.
    third = (1 + 5 * (2 / 3) ** 2 / (3 / 4)) / (2 + 5)
    fourth = (0 + 5 * third**2 / (2 / 3)) / (1 + 5)
    expected = [3 / 4, sqrt(1 / 2), cbrt(third / 2), fourth_root(third / 2, fourth)]
    assert bleu("a b c x", ["a b c d"], "nltk-6") == pytest.approx(expected, abs=1e-12)


def test_method_6_is_zero_without_a_common_trigram():
    assert bleu("a b x y", ["a b c d"], "nltk-6").tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("definition", METHODS)
def test_a_match_needs_every_repetition_in_one_reference(definition):
    # 2 of 3: "a" is twice in the first reference and once in the second. Method 5 starts with (p1 + 1 + p1 + p2) / 3.
    p2 = {"nltk-5": 1 / 2, "nltk-7": 1 / 2}.get(definition)
    expected = 2 / 3 if p2 is None else (2 / 3 + 1 + 2 / 3 + p2) / 3
    expected = 0 if definition == "nltk-6" else expected
    assert bleu("a a a", ["a a b", "x a y"], definition)[0] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("definition", ["pycocoevalcap", "nltk-0"])
def test_the_brevity_penalty(definition):
    assert bleu("a b c d", ["a b c d e"], definition) == pytest.approx([exp(1 - 5 / 4)] * 4, abs=1e-8)
    # A reference of three words is as near, and of two as near the shorter counts.
    assert bleu("a b c d", ["a b c d e", "x y z"], definition) == pytest.approx([1] * 4, abs=1e-8)
    assert bleu("a b c d", ["x y z", "a b c d e"], definition) == pytest.approx([1] * 4, abs=1e-8)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "ä", "海", "."]), max_size=9).map(" ".join)


@pytest.mark.parametrize("definition", METHODS)
@examples(60)
@given(
    texts=st.lists(WORDS, min_size=1, max_size=8),
    places=st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=6), min_size=1, max_size=3),
)
def test_peers_agree(definition, texts, places):
    references = [[place % len(texts) for place in own] for own in places]
    pairs = [(text, [texts[place] for place in own]) for text in texts for own in references]
    method = METHODS[definition]
    peer = nltk_bleu(pairs, method) if method in NLTK_METHODS else pycocoevalcap_bleu(pairs)
    found = Bleu(texts, references, definition, tokenize=str.split).scores(range(len(texts)), range(len(references)))
    # The peer gives NaN where it fails.
    assert found.reshape(-1, 4) == pytest.approx(np.nan_to_num(peer), abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("definition", METHODS)
@pytest.mark.parametrize(
    ("caption", "references"),
    [
        ("a lake", []),
        ("", ["a lake"]),
        ("", [""]),
        ("?! ...", ["a lake", "..."]),
        ("", []),
    ],
)
def test_nothing_to_compare_is_zero(caption, references, definition):
    assert bleu(caption, references, definition, words).tolist() == [0, 0, 0, 0]


def test_a_reference_without_words_matches_nothing():
    assert bleu("a lake", [""]) == pytest.approx([0] * 4, abs=1e-3)
    assert bleu("a lake", [""], "nltk-1").tolist() == [0, 0, 0, 0]


def test_no_captions_and_no_images():
    assert Bleu([], []).scores([], []).shape == (0, 0, 4)
    assert Bleu(["a"], []).scores([0], []).shape == (1, 0, 4)
    assert Bleu(["a"], [[0]]).scores([], [0]).shape == (0, 1, 4)


@pytest.mark.parametrize("definition", METHODS)
def test_captions_of_500_words_and_counts_beyond_a_byte(definition):
    caption = " ".join(["a"] * 300 + [f"w{number}" for number in range(200)])
    references = [" ".join(["a"] * 280), " ".join(["a"] * 300 + ["w0", "w1"] * 50), "a"]
    method = METHODS[definition]
    pairs = [(caption, references)]
    peer = nltk_bleu(pairs, method) if method in NLTK_METHODS else pycocoevalcap_bleu(pairs)
    assert bleu(caption, references, definition) == pytest.approx(peer[0], abs=1e-9)


def test_fifty_references_are_as_one_where_they_are_the_same():
    assert bleu("a b c x", ["a b c d"] * 50).tolist() == bleu("a b c x", ["a b c d"]).tolist()
    others = [f"x{number} y{number} z{number} b c" for number in range(49)]
    pairs = [("a b c x", [*others, "a b c d"])]
    assert bleu(*pairs[0]) == pytest.approx(pycocoevalcap_bleu(pairs)[0], abs=1e-9)


def test_by_default_case_and_punctuation_do_not_count():
    scorer = Bleu(["Many green trees , and a lake .", "many green trees and a lake"], [[1]])
    assert scorer.scores([0], [0])[0, 0] == pytest.approx([1] * 4, abs=1e-8)


def random_captions(rng, count):
    words = np.array(["many", "green", "trees", "are", "near", "a", "lake", "two", "boats"])
    return [" ".join(words[rng.integers(0, len(words), rng.integers(0, 14))]) for _ in range(count)]


@pytest.mark.parametrize("definition", METHODS)
def test_threads_and_division_change_nothing(definition):
    rng = np.random.default_rng(0)
    texts = random_captions(rng, 60)
    references = [rng.integers(0, 60, rng.integers(0, 6)).tolist() for _ in range(11)]
    captions, images = rng.permutation(60), rng.integers(0, 11, 17)
    whole = Bleu(texts, references, definition).scores(captions, images)
    assert whole.shape == (60, 17, 4)
    for threads in (2, 3, 40):
        assert np.array_equal(Bleu(texts, references, definition, threads).scores(captions, images), whole)
    scorer = Bleu(texts, references, definition, threads=2)
    for row, column in ((0, 0), (59, 16), (30, 5)):
        single = scorer.scores(captions[row : row + 1], images[column : column + 1])
        assert np.array_equal(single, whole[row : row + 1, column : column + 1])
    halves = [scorer.scores(captions, half) for half in (images[:4], images[4:])]
    assert np.array_equal(np.concatenate(halves, axis=1), whole)


def test_ngrams_have_one_number_each():
    counted = count_ngrams([list("abab"), [], list("ba")], orders=2)
    # a 0, b 1; a b 2, b a 3.
    entries = [
        dict(zip(counted.numbers[first:last].tolist(), counted.counts[first:last].tolist(), strict=True))
        for first, last in pairwise(counted.starts)
    ]
    assert entries == [{0: 2, 1: 2}, {2: 2, 3: 1}, {}, {}, {0: 1, 1: 1}, {3: 1}]
    assert counted.lengths.tolist() == [4, 0, 2]
    assert counted.distinct == 4


@pytest.mark.parametrize(
    ("references", "captions", "images"),
    [([[2]], [0], [0]), ([[-1]], [0], [0]), ([[0]], [2], [0]), ([[0]], [-1], [0]), ([[0]], [0], [1])],
)
def test_places_that_do_not_exist_are_refused(references, captions, images):
    with pytest.raises(DatasetError, match="does not exist"):
        Bleu(["a", "b"], references).scores(captions, images)


def test_parameters_are_checked():
    with pytest.raises(ParamsError, match="unknown definition of BLEU: 'nltk'; choose from pycocoevalcap, nltk-0"):
        Bleu([], [], "nltk")
    with pytest.raises(ParamsError, match="threads is 0"):
        Bleu([], [], threads=0)
