"""AMFMN's released prior: worked out by hand, against nltk and plain sets, and the figures of the paper."""

from __future__ import annotations

import warnings
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import sentence_bleu

from rsitr.captions.released import STOP_WORDS, Released, stems
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.errors import DatasetError, ParamsError
from tests.helpers.examples import examples


def prior(caption, references):
    """The prior of one caption with one image."""
    scorer = Released([caption, *references], [range(1, len(references) + 1)])
    return scorer.scores([0], [0])[0, 0]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Many planes are parked .", ["mani", "plane", "are", "park", "."]),
        ("Many planes are parked.", ["mani", "plane", "are", "park", "."]),
        # The first full stop is a token as well, though a letter stands before it and a word after it.
        ("There is a lake. Boats, too!", ["there", "is", "a", "lake", ".", "boat", ",", "too", "!"]),
        ("it's very small", ["it", "'s", "veri", "small"]),
        ("三 trees", ["三", "tree"]),
        ("  ", []),
    ],
)
def test_stems(caption, expected):
    assert stems(caption) == expected


def test_stop_words():
    assert len(STOP_WORDS) == 179 + 2
    assert {"i", "very", "should've", "ain", "wouldn't", ",", "."} < STOP_WORDS
    # Its stem is what would have to be in the list.
    assert "veri" not in STOP_WORDS


def test_entities_are_shares_of_each_reference():
    # The caption has "tree" of "mani tree" and "green" of "green lake"; no two words follow each other in both.
    assert prior("green trees", ["Many trees", "a green lake"]) == pytest.approx((0 + (1 / 2 + 1 / 2) / 2) / 2)


def test_a_repeated_word_of_a_reference_counts_once_among_its_matches():
    assert prior("trees", ["trees and trees"]) == pytest.approx((0 + 1 / 2) / 2)


def test_a_reference_of_stop_words_is_no_reference_for_entities():
    assert prior("green lake", ["it is there .", "a green boat"]) == pytest.approx((0 + 1 / 2) / 2)


def test_a_stop_word_whose_stem_is_not_in_the_list_is_an_entity():
    # "very" stays as "veri", "the" does not stay.
    assert prior("a very", ["the very lake"]) == pytest.approx((0 + 1 / 2) / 2)


def test_semantics_are_bleu_on_stems():
    # 4 of 5 words, 3 of 4 bigrams, 2 of 3 trigrams, 1 of 2 four-grams; 4 of 5 entities.
    found = prior("red green blue white roofs", ["Red green blue white cars"])
    assert found == pytest.approx((sqrt(sqrt(0.2)) + 4 / 5) / 2, abs=1e-12)


def test_equal_stems_are_alike_however_few():
    # BLEU-4 of three tokens is 0.
    assert prior("Two boats .", ["a lake", "two boat."]) == pytest.approx((1 + (0 + 1) / 2) / 2)


@pytest.mark.parametrize(
    ("caption", "references", "expected"),
    [
        ("", ["a lake"], 0),
        ("", [""], 0),
        ("", [], 0),
        ("a lake", [], 0),
        ("a lake", ["", " "], 0),
        # The same stems, and no entity to share.
        ("it is here .", ["It is here."], 1 / 2),
        ("?!", ["?!", "a lake"], (1 + (1 + 0) / 2) / 2),
    ],
)
def test_blank_and_missing_captions_have_a_value(caption, references, expected):
    assert prior(caption, references) == pytest.approx(expected)


def test_captions_of_500_words_and_fifty_references():
    caption = " ".join(["lake"] * 300 + [f"w{number}" for number in range(200)])
    assert prior(caption, [caption, *["a boat"] * 49]) == pytest.approx((1 + 201 / 500 / 50) / 2)


def plain_prior(caption, references):
    """The same from the libraries' parts, for captions and images that have entities."""
    own, others = stems(caption), [stems(reference) for reference in references]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        semantic = 1 if own in others else sentence_bleu(others, own)
    left = [[stem for stem in other if stem not in STOP_WORDS] for other in others]
    return (semantic + np.mean([len(set(other) & set(own) - STOP_WORDS) / len(other) for other in left if other])) / 2


SENTENCES = st.lists(
    st.sampled_from(["Many", "green", "trees", "tree", "are", "very", "near", "a", "the", "lake", ",", "."]), max_size=9
).map(lambda words: " ".join(["Two", *words]))


@examples(60)
@given(
    texts=st.lists(SENTENCES, min_size=1, max_size=6),
    places=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=3),
)
def test_libraries_agree(texts, places):
    references = [[place % len(texts) for place in own] for own in places]
    found = Released(texts, references).scores(range(len(texts)), range(len(references)))
    expected = [[plain_prior(text, [texts[place] for place in own]) for own in references] for text in texts]
    assert found == pytest.approx(np.array(expected), abs=1e-9)


def test_threads_and_division_change_nothing():
    rng = np.random.default_rng(0)
    words = np.array(["many", "green", "trees", "are", "near", "a", "lake", "."])
    texts = [" ".join(words[rng.integers(0, len(words), rng.integers(0, 9))]) for _ in range(50)]
    references = [rng.integers(0, 50, rng.integers(0, 6)).tolist() for _ in range(11)]
    captions, images = rng.permutation(50), rng.integers(0, 11, 17)
    whole = Released(texts, references).scores(captions, images)
    assert whole.shape == (50, 17)
    for threads in (2, 3, 40):
        assert np.array_equal(Released(texts, references, threads).scores(captions, images), whole)
    scorer = Released(texts, references)
    assert np.array_equal(scorer.scores(captions[7:8], images), whole[7:8])
    assert np.array_equal(scorer.scores(captions, images[16:]), whole[:, 16:])


def test_input_is_checked():
    assert Released([], []).scores([], []).shape == (0, 0)
    with pytest.raises(DatasetError, match="references: place 1 of 1 does not exist"):
        Released(["a"], [[1]])
    with pytest.raises(DatasetError, match="captions: place -1 of 1"):
        Released(["a"], [[0]]).scores([-1], [0])
    with pytest.raises(DatasetError, match="images: place 1 of 1"):
        Released(["a"], [[0]]).scores([0], [1])
    with pytest.raises(ParamsError, match="threads is 0"):
        Released(["a"], [[0]], threads=0)


@pytest.mark.slow
@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "published", "on_test"),
    [("rsicd", 0.072, 0.036), ("rsitmd", 0.028, 0.028), ("ucm", 0.058, 0.057), ("sydney", 0.178, 0.187)],
)
def test_the_means_of_the_paper_are_those_of_the_validation_sets(mirror, name, published, on_test):
    """AMFMN, Fig. 9d. Section IV-A says so: "for each text in the validation set"."""
    file = {"rsicd": "dataset_rsicd.json", "rsitmd": "dataset_rsitmd.json"}.get(name, "dataset.json")
    rows = list(karpathy_rows(mirror / name / file, image_dir="x"))
    assert round(mean_prior([row for row in rows if row.split == "val"]), 3) == published
    assert round(mean_prior([row for row in rows if row.split == "test"]), 3) == on_test


def mean_prior(rows):
    """Over all captions and all images of the rows, repeated captions as often as they occur."""
    places: dict[str, int] = {}
    references = [[places.setdefault(text, len(places)) for text in row.captions] for row in rows]
    times = np.bincount([place for own in references for place in own])
    scorer = Released(list(places), references)
    blocks = [scorer.scores(np.arange(len(places)), block) for block in np.array_split(np.arange(len(rows)), 8)]
    return sum((times @ block).sum() for block in blocks) / times.sum() / len(rows)
