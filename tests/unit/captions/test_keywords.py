"""Keywords: noun phrases of captions, their ranking, the filter of frequent words, and the file of a dataset."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.captions import keyword_table
from rsitr.captions.keyword_table import KeywordFacts, build_keywords, read_keywords
from rsitr.captions.keywords import MOST, Keyword, extract, frequent_words, without_frequent
from rsitr.captions.noun_phrases import noun_phrases
from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.errors import DatasetError
from rsitr.records.parquet import write_table


def texts(*captions: str) -> list[str]:
    return [keyword.text for keyword in extract(captions)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Many green trees are near a large building .", ["green trees", "large building"]),
        ("a railway station", ["- railway station"]),
        # Of several adjectives the nearest one; of a colour in two words the noun is no object.
        ("two large white planes", ["white planes"]),
        ("a light green lake in a medium residential area", ["green lake", "residential area"]),
        ("a square building and round tanks", ["square building", "round tanks"]),
        ("a fan shaped square and red roofed houses", ["fan shaped square", "red roofed houses"]),
        # What counts, compares or places is no modifier.
        ("several houses next to other trees and bigger ponds", ["- houses", "- trees", "- ponds"]),
        ("some houses nearby green trees", ["- houses", "green trees"]),
        # Participles: attributes and verbs.
        ("a swimming pool", ["swimming pool"]),
        ("a road crossing farmland", ["- road", "- farmland"]),
        ("there are scattered houses", ["scattered houses"]),
        ("trees are surrounding houses", ["- trees", "- houses"]),
        ("houses have swimming pools", ["- houses", "swimming pools"]),
        ("a runway with white marking lines", ["- runway", "marking lines"]),
        # Said of the noun, and not of the noun before the verb.
        ("the roofs are very red and the walls are white .", ["red roofs", "white walls"]),
        ("the houses near the lake are red", ["- houses", "- lake"]),
        ("the road is next to a river", ["- road", "- river"]),
        ("the road is full of cars", ["- road", "- cars"]),
        ("the green trees are tall", ["green trees"]),
        # The phrase is about what follows "of".
        ("a large piece of green bareland", ["green bareland"]),
        ("both sides of the road and lots of boats", ["- road", "- boats"]),
        ("three houses of different sizes", ["- houses"]),
        ("rows of houses in the middle", ["- houses"]),
        # An area alone says nothing.
        ("trees in this area", ["- trees"]),
        ("trees in an industrial area", ["- trees", "industrial area"]),
        ("a round center with a roof in the center", ["round center", "- roof"]),
        # Words that are nouns and verbs.
        ("a river flows through forests", ["- river", "- forests"]),
        ("many cars stop near many railway tracks", ["- cars", "- railway tracks"]),
        ("a bridge spans a river", ["- bridge", "- river"]),
        ("planes park near the terminal", ["- planes", "- terminal"]),
        ("a sports field", ["- sports field"]),
        ("a chaparral .", ["- chaparral"]),
        # What is not there.
        ("there are no trees in the desert without a road", ["- desert"]),
        ("a road like a snake", ["- road"]),
        # Spelling.
        ("GREEN TREES SURROUND A LAKE", ["green trees", "- lake"]),
        ("Café-lined streets near the river’s bank", ["café-lined streets", "- river", "- bank"]),
        ("trees,houses/ponds", ["- trees", "- houses", "- ponds"]),
    ],
)
def test_keywords_of_one_caption(caption, expected):
    assert texts(caption) == expected


@pytest.mark.parametrize("captions", [[], [""], ["  \n "], ["...", "?! -"], ["there are two of them"], ["no trees"]])
def test_captions_without_nouns_have_no_keywords(captions):
    assert extract(captions) == []


def test_nouns_that_name_no_object_are_taken_where_there_is_nothing_else():
    assert texts("a picture") == ["- picture"]
    assert texts("It is like a round tank .") == ["round tank"]
    assert texts("a picture", "a tank") == ["- tank"]


def test_a_caption_of_500_words():
    assert texts("a road beside a tree " * 100) == ["- road", "- tree"]
    assert texts("tree " * 500) == ["- tree tree tree"]


def test_first_what_most_captions_name_then_what_comes_first():
    # houses 1, road 2, pond 3, forest 1: the pond first; houses before forest as they come first.
    captions = ["some houses and a road", "a pond near a road", "a forest with a pond", "the ponds"]
    assert texts(*captions) == ["- pond", "- road", "- houses", "- forest"]
    # Named twice in a caption is named once.
    assert texts("a road , a road and a pond", "a pond") == ["- pond", "- road"]


def test_five_keywords_at_most():
    assert texts("a road, a pond, a lake, a forest, a church, a desert") == [
        "- road",
        "- pond",
        "- lake",
        "- forest",
        "- church",
    ]


def test_singular_and_plural_are_one_noun_in_its_usual_form():
    assert texts("a tree", "trees", "some trees") == ["- trees"]
    assert texts("the grass", "a bus and buses", "the grass") == ["- grass", "- bus"]


def test_the_modifier_is_that_of_most_captions_in_their_form():
    # green 2, tall 1, none 2: green; of green, "trees" and "tree" once each, "trees" first.
    captions = ["green trees", "a green tree", "tall trees", "trees", "a tree"]
    assert texts(*captions) == ["green trees"]
    # Each once: the first.
    assert texts("tall trees", "green trees") == ["tall trees"]


def test_a_noun_joins_the_compound_that_as_many_captions_name():
    assert texts("two storage tanks", "white tanks") == ["white storage tanks"]
    # The bare noun is the more usual: both stay.
    assert texts("an office building", "buildings", "some buildings") == ["- buildings", "- office building"]
    # tanks (1) -> storage tanks (1) -> oil storage tanks (1)
    assert texts("tanks", "storage tanks", "oil storage tanks") == ["- oil storage tanks"]


NOUNS = ["road", "pond", "lake", "forest", "church", "desert", "bridge", "river"]


WORDS = [
    *NOUNS,
    "trees",
    "tanks",
    "storage",
    "green",
    "round",
    "swimming",
    "parked",
    "are",
    "of",
    "no",
    "like",
    "the",
    ".",
]
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))


@given(st.lists(TEXTS, max_size=6))
def test_any_text_has_at_most_five_keywords_and_their_nouns_are_in_a_caption(captions):
    keywords = extract(captions)
    named = {" ".join(phrase.nouns) for caption in captions for phrase in noun_phrases(caption)}
    assert len(keywords) == len(set(keywords)) <= MOST
    assert bool(keywords) == bool(named)
    assert all(keyword.noun in named for keyword in keywords)
    assert all(word in caption.lower() for caption in captions for p in noun_phrases(caption) for word in p.nouns)
    assert extract(captions) == keywords


@given(st.lists(st.lists(st.sampled_from(NOUNS), min_size=1, max_size=4), min_size=1, max_size=5), st.randoms())
def test_the_order_of_captions_decides_ties_only(chosen, random):
    counts = Counter(noun for nouns in chosen for noun in set(nouns))
    captions = [" and ".join(f"a {noun}" for noun in nouns) for nouns in chosen]
    shuffled = random.sample(captions, len(captions))
    for order in (captions, shuffled):
        ranks = [counts[keyword.noun] for keyword in extract(order)]
        assert ranks == sorted(counts.values(), reverse=True)[:MOST]


@pytest.mark.parametrize(
    ("text", "modifier", "noun", "written"),
    [
        ("white planes", "white", "planes", "white planes"),
        ("green tennis courts", "green", "tennis courts", "green tennis courts"),
        ("- port", "", "port", "- port"),
        ("-port", "", "port", "- port"),
        ("port", "", "port", "- port"),
        ("-", "", "", "- "),
    ],
)
def test_keywords_as_text(text, modifier, noun, written):
    keyword = Keyword.parse(text)
    assert keyword == Keyword(modifier, noun)
    assert keyword.text == written


TRAINING = [["green trees", "- building"], ["green grass", "- trees"], ["tall trees", "green roof"], []]


def test_frequent_words_are_in_more_than_a_share_of_the_images():
    # Of four images: green 3, trees 3, building, grass, tall and roof 1; "-" is no word.
    assert frequent_words(TRAINING, 0.5) == {"green", "trees"}
    assert frequent_words(TRAINING, 0.75) == frozenset()
    assert frequent_words(TRAINING, 0.25) == {"green", "trees"}
    assert frequent_words(TRAINING, 0.2) == {"green", "trees", "building", "grass", "tall", "roof"}
    assert frequent_words([["green trees", "Green grass"], []], 0.5) == frozenset()  # one image of two
    assert frequent_words([], 0.0) == frozenset()


def test_keywords_without_frequent_words():
    frequent = {"green", "trees"}
    assert without_frequent(["green trees", "- building", "green roof", "tall trees"], frequent) == [
        "- building",
        "- roof",
        "- tall",
    ]
    assert without_frequent(["Green roof", "- roof", "-port", "port"], frequent) == ["- roof", "-port", "port"]
    assert without_frequent(["blue tennis courts"], {"courts"}) == ["blue tennis"]
    assert without_frequent(["green trees"], frequent) == []
    assert without_frequent(["green trees"], frozenset()) == ["green trees"]


def put(folder: Path, keywords: list[list[str]], sha: str = "sha") -> Path:
    """A canonical table of images a, b, c; their own keywords, and captions that name green trees, a road, nothing."""
    frame = pd.DataFrame({"image_id": list("abc"), "split": ["train", "val", "test"], "keywords": keywords})
    frame["captions"] = [["some green trees", "green trees"], ["a road"], [""]]
    frame = frame.assign(path="x", class_name="", width=9, height=9, sha256="", fingerprint="", problem="")
    path = folder / "dataset.parquet"
    facts = DatasetFacts("tiny", "Tiny", "mirror", "none", False, "root", sha)
    write_table(pa.Table.from_pandas(frame, DATASET_SCHEMA, preserve_index=False), facts, path)
    return path


def test_own_keywords_win_and_no_image_is_lost(tmp_path):
    out = tmp_path / "new" / "keywords.parquet"
    assert build_keywords(put(tmp_path, [["-port", "white ships"], [], []]), out)
    table, facts = read_keywords(out)
    assert table.to_pylist() == [
        {"image_id": "a", "split": "train", "keywords": ["-port", "white ships"], "origin": "dataset"},
        {"image_id": "b", "split": "val", "keywords": ["- road"], "origin": "captions"},
        {"image_id": "c", "split": "test", "keywords": [], "origin": "captions"},
    ]
    assert facts == KeywordFacts("tiny", "sha", keyword_table.VERSION)
    assert [path.name for path in out.parent.iterdir()] == ["keywords.parquet"]


def test_the_same_input_is_not_read_again(tmp_path, monkeypatch):
    canonical, out = put(tmp_path, [[], [], []]), tmp_path / "keywords.parquet"
    build_keywords(canonical, out)
    before = out.read_bytes()
    monkeypatch.setattr(keyword_table, "read_table", lambda path: pytest.fail("read again"))
    assert not build_keywords(canonical, out)
    assert out.read_bytes() == before


def test_equal_input_gives_equal_files(tmp_path):
    canonical = put(tmp_path, [[], [], []])
    files = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    assert all(build_keywords(canonical, out) for out in files)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_outdated_file_is_built_again_and_this_is_said(tmp_path, monkeypatch, capsys):
    out = tmp_path / "keywords.parquet"
    build_keywords(put(tmp_path, [[], [], []]), out)
    assert "built again" not in capsys.readouterr().err

    assert build_keywords(put(tmp_path, [["- port"], [], []], sha="other"), out)
    assert "was made from other data of tiny: it is built again" in capsys.readouterr().err
    assert read_keywords(out)[0]["keywords"].to_pylist() == [["- port"], ["- road"], []]

    monkeypatch.setattr(keyword_table, "VERSION", 2)
    with pytest.raises(DatasetError, match="out of date"):
        read_keywords(out)
    assert build_keywords(tmp_path / "dataset.parquet", out)
    assert "is of version 1, not 2: it is built again" in capsys.readouterr().err
    assert read_keywords(out)[1].version == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [("cut", "is damaged"), ("header", "is damaged"), ("json", "build it with `snakemake --cores 2")],
)
def test_a_damaged_file_is_built_again(tmp_path, capsys, damage, message):
    canonical, out = put(tmp_path, [[], [], []]), tmp_path / "keywords.parquet"
    if damage == "cut":
        out.write_bytes(b"PAR1")
    else:
        header = None if damage == "header" else {b"rsitr": json.dumps({"other": 1}).encode()}
        pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(header), out)
    with pytest.raises(DatasetError, match=message):
        read_keywords(out)
    assert build_keywords(canonical, out)
    assert "cannot be read: it is built again" in capsys.readouterr().err


def test_a_missing_table_says_how_to_get_it(tmp_path):
    with pytest.raises(DatasetError, match="build it with"):
        build_keywords(tmp_path / "dataset.parquet", tmp_path / "keywords.parquet")
    with pytest.raises(DatasetError, match="missing"):
        read_keywords(tmp_path / "keywords.parquet")


@pytest.mark.mirror
@pytest.mark.parametrize(("file", "mean"), [("sydney/dataset.json", (3.8, 4.3)), ("ucm/dataset.json", (3.4, 3.8))])
def test_nearly_every_real_image_has_one_to_five_keywords(mirror, file, mean):
    images = json.loads((mirror / file).read_text(encoding="utf-8"))["images"]
    keywords = [extract([sentence["raw"] for sentence in image["sentences"]]) for image in images]
    assert all(1 <= len(some) <= MOST for some in keywords)
    assert mean[0] < sum(map(len, keywords)) / len(images) < mean[1]
