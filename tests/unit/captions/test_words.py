"""Words and vocabularies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.captions.words import PAD, UNKNOWN, Vocabulary, words


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Many green trees , and a building .", ["many", "green", "trees", "and", "a", "building"]),
        ("a T-shaped road; it's 2 lanes", ["a", "t-shaped", "road", "it's", "2", "lanes"]),
        ("-trees' 'and- roads--", ["trees", "and", "roads"]),
        ("...", []),
        ("", []),
    ],
)
def test_words(caption, expected):
    assert words(caption) == expected


def test_vocabulary_is_ordered_by_count_then_alphabet():
    # a 3, trees 2, and/green/road 1
    vocabulary = Vocabulary.of(["a road and trees", "a green a", "trees"])
    assert vocabulary.index == {"a": 2, "trees": 3, "and": 4, "green": 5, "road": 6}
    assert len(vocabulary) == 7


def test_rare_words_are_unknown():
    vocabulary = Vocabulary.of(["a road", "a tree"], min_count=2)
    assert vocabulary.index == {"a": 2}
    assert vocabulary.encode("A tree, a road", max_words=10) == [2, UNKNOWN, 2, UNKNOWN]


def test_encoding_is_cut_at_max_words_and_never_empty():
    vocabulary = Vocabulary.of(["a b c"])
    assert vocabulary.encode("c b a", max_words=2) == [4, 3]
    assert vocabulary.encode("?!", max_words=2) == [UNKNOWN]


@given(st.lists(st.text(), max_size=5), st.text(), st.integers(1, 5))
def test_every_index_is_inside_the_vocabulary_and_none_is_padding(captions, caption, max_words):
    vocabulary = Vocabulary.of(captions)
    indices = vocabulary.encode(caption, max_words)
    assert 1 <= len(indices) <= max_words
    assert all(PAD < index < len(vocabulary) for index in indices)
    assert UNKNOWN not in [index for text in captions if words(text) for index in vocabulary.encode(text, 99)]
