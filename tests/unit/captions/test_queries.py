"""Queries of sentences, keywords and both: how they are composed, taken apart and put in the place of captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.captions.queries import as_queries, compose, parts
from rsitr.captions.words import normal_form, words
from rsitr.datasets.splits import SplitData

plain = st.text(st.characters(exclude_characters="\x1f"), max_size=20)


def split(*ids: str) -> SplitData:
    """Images with two captions each."""
    captions = [f"{image} {number}" for image in ids for number in (1, 2)]
    hashes = [f"hash of {image}" for image in ids]
    paths, image_of = [Path(f"{image}.png") for image in ids], np.repeat(np.arange(len(ids)), 2)
    return SplitData(list(ids), paths, hashes, captions, image_of, tuple(f"class of {image}" for image in ids))


SPLITS = {"train": split("a", "b", "c"), "val": split("d"), "test": split("e", "f")}
KEYWORDS = {
    "a": ["green trees", "- road"],
    "b": ["white plane"],
    "c": ["grey plane", "- pond"],
    "d": ["- trees"],
    "e": ["red roof", "white plane"],
    "f": [],
}


@given(plain, st.lists(plain, max_size=4))
def test_a_query_comes_apart_as_it_was_composed(sentence: str, keywords: list[str]) -> None:
    assert parts(compose(sentence, keywords)) == (sentence, keywords)


def test_a_method_that_knows_no_keywords_reads_them_joined() -> None:
    query = compose("Two planes.", ["white plane", "- port"])
    assert words(query) == ["two", "planes", "white", "plane", "port"]
    assert normal_form(query) == "two planes white plane port"


def test_sentences_stay_as_they_are() -> None:
    splits, left_out = as_queries(SPLITS, "sentence", {})
    assert splits == SPLITS
    assert left_out == {}


def test_keywords_are_one_query_for_each_image_that_has_any() -> None:
    splits, left_out = as_queries(SPLITS, "keywords", KEYWORDS)
    assert parts(splits["train"].captions[0]) == ("", ["green trees", "- road"])
    assert [len(part.captions) for part in splits.values()] == [3, 1, 1]
    assert splits["test"].image_ids == ["e"]
    assert splits["test"].paths == [Path("e.png")]
    assert splits["test"].hashes == ["hash of e"]
    assert splits["test"].image_of.tolist() == [0]
    assert splits["test"].classes == ("class of e",)
    assert left_out == {"no keywords": 1}


def test_joint_queries_go_without_what_is_frequent_in_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsitr.captions.queries.FREQUENT", 0.5)
    splits, left_out = as_queries(SPLITS, "joint", KEYWORDS)
    # "plane" is in two of three training images; the roof of the test image is in none.
    assert [parts(query) for query in splits["test"].captions] == [
        ("e 1", ["red roof", "- white"]),
        ("e 2", ["red roof", "- white"]),
        ("f 1", []),
        ("f 2", []),
    ]
    assert splits["train"].captions[4] == compose("c 1", ["- grey", "- pond"])
    assert splits["train"].image_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert left_out == {}
