"""Statistics of captions worked out by hand, annotations of others, and the numbers of AMFMN's Fig. 9."""

from __future__ import annotations

from math import floor

import pyarrow as pa
import pytest

from rsitr.captions.statistics import Image, Statistics, describe, images_of
from rsitr.captions.tokens import tokens
from rsitr.datasets import registry
from rsitr.datasets.table import DATASET_SCHEMA
from rsitr.errors import DatasetError
from rsitr.tables.published import load


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A pier. It's long .", ["A", "pier", ".", "It", "'s", "long", "."]),
        ("two T-shaped piers,one boat", ["two", "T-shaped", "piers", ",", "one", "boat"]),
        ("a pier.the sea", ["a", "pier.the", "sea"]),  # no sentence ends without a space
        ("Seen at 3 p.m. from above", ["Seen", "at", "3", "p.m", ".", "from", "above"]),  # as if it did
        ("Übersee 海 !", ["Übersee", "海", "!"]),
        (" \t", []),
        ("", []),
    ],
)
def test_tokens(caption, expected):
    assert tokens(caption) == expected


def test_statistics_by_hand():
    images = [
        Image("a", "train", "port", ["Two boats .", "two boats .", "Two boats ."]),
        Image("b", "test", "port", ["two boats ."]),
        Image("c", "test", "", ["A sea, blue"]),
        Image("d", "val", "beach", []),
    ]
    # Tokens: two boats . / a sea , blue; captions that differ: Two boats . / two boats . / A sea, blue.
    expected = Statistics(images=4, captions=5, sentence_length=16 / 5, diversity=3 / 4, words=7, classes=2)
    assert describe(images) == expected


def test_blank_captions_count_and_are_one():
    found = describe([Image("a", "train", "", ["", "two boats"]), Image("b", "train", "", [""])])
    assert found == Statistics(images=2, captions=3, sentence_length=2 / 3, diversity=1, words=2, classes=0)


@pytest.mark.parametrize("images", [[], [Image("a", "train", "port", [])]])
def test_nothing_to_describe(images):
    with pytest.raises(DatasetError, match=f"{len(images)} images and no captions"):
        describe(images)


def test_images_of_a_canonical_table():
    row = {"image_id": "a.tif", "split": "val", "class_name": "port", "captions": ["two boats"], "path": "x"}
    bare = {"image_id": "b.tif", "split": "test", "class_name": "", "captions": []}
    assert images_of(pa.Table.from_pylist([row, bare], DATASET_SCHEMA)) == [
        Image("a.tif", "val", "port", ["two boats"]),
        Image("b.tif", "test", "", []),
    ]


@pytest.mark.slow
@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "splits", "classes"),
    [
        ("sydney", ("train", "val"), 0),  # 555 images; the annotation states no classes
        ("ucm", ("train", "val", "test"), 21),
        ("rsicd", ("train", "val", "test"), 31),  # with playfields and playground
        ("rsitmd", ("train", "val", "test"), 33),  # with plane, which the paper counts as airport
    ],
)
def test_published_numbers_come_out(mirror, name, splits, classes):
    """All of Fig. 9 but the classes: diversity as rounded there, the sentence length as cut."""
    images = [
        Image(row.image_id, row.split, row.class_name, row.captions) for row in registry()[name]().parse(mirror / name)
    ]
    found = describe([image for image in images if image.split in splits])
    printed = load().query("paper == 'amfmn2022' and table == 'fig9' and dataset == @name")
    printed = dict(zip(printed["metric"], printed["value"], strict=True))
    assert found.images == printed["images"]
    assert floor(100 * found.sentence_length) / 100 == printed["avg_sentence_length"]
    assert round(found.diversity, 2) == printed["diversity"]
    assert found.words == printed["words"]
    assert found.classes == classes
