"""METEOR of all pairs: worked out by hand, against a plain search, against the jar, and on odd captions."""

from __future__ import annotations

import random

import numpy as np
import pytest
from benchmarks.meteor_peer import PACKAGE, jar_meteor, java_is_missing
from hypothesis import given
from hypothesis import strategies as st

from rsitr.captions.meteor import Meteor
from rsitr.captions.meteor.aligner import MAX_WORDS
from rsitr.captions.meteor.tables import JAR, PARAPHRASES, load_tables
from rsitr.errors import DatasetError, ParamsError
from tests.helpers.examples import examples
from tests.helpers.meteor_oracle import meteor as oracle
from tests.helpers.meteor_package import ENTRIES, write_package, write_paraphrases


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meteor")
    return load_tables(folder / "cache", write_package(folder / "package"))


def meteor(tables, caption, *references):
    """The score of one caption against one image."""
    scorer = Meteor([caption, *references], [range(1, len(references) + 1)], tables)
    return scorer.scores(np.array([0]), np.array([0]))[0, 0]


def penalty(chunks, words):
    return 0.6 * (chunks / words) ** 0.2


def mean(precision, recall):
    return 1 / (0.15 / precision + 0.85 / recall)


# a, the and of are function words and weigh .25, others .75.
BY_HAND = {
    "equal": ("A red car.", "a red car .", 1.0),
    "nothing": ("a car", "the tree", 0.0),
    # a and car match, .25 + .75 of 1.75 on both sides, in two chunks of a word.
    "chunks": ("a red car", "a blue car", mean(1 / 1.75, 1 / 1.75) * (1 - penalty(2, 2))),
    "one chunk": ("a car", "a car tree", mean(1, 1 / 1.75) * (1 - penalty(1, 2))),
    # Unequal words in one chunk have no penalty where all of both texts match.
    "stem": ("trees", "tree", 0.6),
    "synonym": ("auto", "car", 0.8),
    # The stems agree, and so do the meanings: two proposals, of which the beam takes none (see competing).
    "stem and synonym": ("cars", "car", 0.0),
    "synonym by exception": ("geese", "goose", 0.8),
    "paraphrase": ("from", "of", 0.6),
    # .6 of the weight 1.75 is all of the reference, and of the weight .75 all of the caption.
    "paraphrase of several words": ("river", "stream of water", 0.6),
    # Of two matches that compete, neither is worth the chunk that it would open.
    "competing": ("tree", "trees trees", 0.0),
    # Beside an exact match the first of them opens none: 1.2 of 1.5 and 1.2 of 2.25 in one chunk.
    "competing in a chunk": ("red tree", "red trees trees", mean(1.2 / 1.5, 1.2 / 2.25) * (1 - penalty(1, 2))),
    # The beam prefers the long paraphrase, half of three words rounded down and none of one, to nothing.
    "both directions": ("a river", "stream of water a", mean(0.7 / 1, 1.3 / 2) * (1 - penalty(2, 3))),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(tables, name):
    caption, reference, expected = BY_HAND[name]
    assert meteor(tables, caption, reference) == pytest.approx(expected, abs=1e-12)


def test_the_best_reference_counts(tables):
    alone = [meteor(tables, "a red car", reference) for reference in ("a tree", "a red tree", "tree")]
    assert meteor(tables, "a red car", "a tree", "a red tree", "tree") == max(alone) == alone[1] > 0


def test_all_pairs(tables):
    texts = ["a red car", "auto", "a stream of water", "red river", ""]
    references = [[0, 0, 2], [3], [], [4], [1, 2, 3, 0]]
    scores = Meteor(texts, references, tables).scores(np.array([4, 3, 0, 0]), np.array([4, 0, 2, 3, 1, 0]))
    expected = [
        [meteor(tables, texts[caption], *(texts[place] for place in references[image])) for image in (4, 0, 2, 3, 1, 0)]
        for caption in (4, 3, 0, 0)
    ]
    assert scores.shape == (4, 6)
    np.testing.assert_array_equal(scores, expected)
    assert scores[2, 1] == 1
    assert not scores[0].any()
    assert not scores[:, [2, 3]].any()


def test_places_and_threads_are_checked(tables):
    with pytest.raises(DatasetError, match="references: place 2 of 2"):
        Meteor(["a", "b"], [[0, 2]], tables)
    with pytest.raises(ParamsError, match="threads"):
        Meteor(["a"], [[0]], tables, threads=0)
    scorer = Meteor(["a"], [[0]], tables)
    for captions, images in (([1], [0]), ([0], [1]), ([-1], [0])):
        with pytest.raises(DatasetError, match="does not exist"):
            scorer.scores(np.array(captions), np.array(images))


def test_nothing_to_score(tables):
    none = np.array([], dtype=np.int64)
    assert Meteor([], [], tables).scores(none, none).shape == (0, 0)
    assert Meteor(["a car"], [[0]], tables).scores(none, np.array([0])).shape == (0, 1)
    assert Meteor(["a car"], [[0]], tables).scores(np.array([0]), none).shape == (1, 0)


@pytest.mark.parametrize("blank", ["", "  ", "\n\t", "\u00a0"])
def test_blank_captions(tables, blank):
    assert meteor(tables, blank, "a car") == meteor(tables, "a car", blank) == meteor(tables, blank, blank) == 0
    assert meteor(tables, "a car", blank, "a car") == 1


def test_odd_captions(tables):
    assert meteor(tables, "...!", "...!") == 1
    assert 0 < meteor(tables, "... !", "?! .") < 1
    assert meteor(tables, "façade 日本 😀", "FAÇADE 日本 😀") == 1
    assert meteor(tables, "a red car", *(f"{number} trees" for number in range(49)), "a red car") == 1


def test_long_captions(tables):
    words = [f"w{number}" for number in range(500)]
    assert meteor(tables, " ".join(words), " ".join(words)) == 1
    # All words match; each of the 250 pairs has changed places, and the second of one joins nothing.
    swapped = [words[place ^ 1] for place in range(500)]
    expected = 1 - penalty(500, 500)
    assert meteor(tables, " ".join(words), " ".join(swapped)) == pytest.approx(expected, abs=1e-12)
    moved = " ".join([*words[200:], *words[:200]])
    assert meteor(tables, " ".join(words), moved) == pytest.approx(1 - penalty(2, 500), abs=1e-12)
    assert meteor(tables, "car " * 500, "car " * 500) == 1


def test_captions_beyond_the_limit(tables):
    assert meteor(tables, "w " * MAX_WORDS, "w") > 0
    with pytest.raises(DatasetError, match="cut the text"):
        Meteor(["w " * (MAX_WORDS + 1)], [[0]], tables)


# Words of every kind of match with each other, so that matches compete.
AMBIGUOUS = ("a", "the", "of", "from", "car", "cars", "auto", "motor", "river", "water", "stream", "tree")
WORDS = st.lists(st.sampled_from(AMBIGUOUS), max_size=9).map(" ".join)


@examples(150)
@given(WORDS, WORDS)
def test_as_a_plain_search_finds_it(tables, caption, reference):
    expected = oracle(caption, reference, tables, list(ENTRIES))
    assert meteor(tables, caption, reference) == pytest.approx(expected, abs=1e-12)


def test_as_a_plain_search_finds_it_where_the_beam_is_full(tables):
    shuffle = random.Random(5)
    for _ in range(60):
        caption, reference = (" ".join(shuffle.choices(AMBIGUOUS[:9], k=14)) for _ in range(2))
        expected = oracle(caption, reference, tables, list(ENTRIES))
        assert meteor(tables, caption, reference) == pytest.approx(expected, abs=1e-12), (caption, reference)


@examples(40)
@given(st.lists(WORDS, min_size=1, max_size=6), st.data())
def test_neither_threads_nor_the_division_of_calls_matter(tables, texts, data):
    place = st.integers(0, len(texts) - 1)
    references = data.draw(st.lists(st.lists(place, max_size=4), min_size=1, max_size=5))
    captions = np.array(data.draw(st.lists(place, min_size=1, max_size=8)))
    images = np.array(data.draw(st.lists(st.integers(0, len(references) - 1), min_size=1, max_size=8)))
    whole = Meteor(texts, references, tables, threads=data.draw(st.integers(1, 4))).scores(captions, images)
    one = Meteor(texts, references, tables)
    parts = [
        [one.scores(captions[[row]], images[[column]])[0, 0] for column in range(len(images))]
        for row in range(len(captions))
    ]
    np.testing.assert_array_equal(whole, parts)
    assert ((whole >= 0) & (whole <= 1)).all()


@examples(60)
@given(WORDS, st.lists(WORDS, max_size=5))
def test_no_reference_beats_the_caption_itself(tables, caption, references):
    own = meteor(tables, caption, caption)
    assert own == pytest.approx(1 if caption else 0, abs=1e-12)
    assert meteor(tables, caption, *references, caption) == pytest.approx(own, abs=1e-12)


@pytest.fixture(scope="module")
def jar_tables(tmp_path_factory):
    """The jar of pycocoevalcap with a small paraphrase table of our own."""
    if reason := java_is_missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("jar")
    entries = (*ENTRIES, ("next to", "near"), ("near", "next to"), ("many", "a lot of"), ("are", "is"), ("is", "are"))
    write_paraphrases(folder / PARAPHRASES, entries)
    (folder / JAR).symlink_to(PACKAGE / JAR)
    return load_tables(folder / "cache", folder), folder / PARAPHRASES


SUBJECTS = (
    "a car",
    "Many green trees",
    "the U.S.-style houses",
    "some cars",
    "two small lakes",
    "a stream of water",
    "a lot of ships",
)
VERBS = ("is", "are", "lies", "lie", "is parked", "are parking", "was")
PLACES = (
    "near a river",
    "next to the rivers",
    "beside the road , roads and a road",
    "in the harbour.",
    "by the sea's shore",
    "of water",
    "...",
)


def sentence(choose: random.Random) -> str:
    clauses = [
        f"{choose.choice(SUBJECTS)} {choose.choice(VERBS)} {choose.choice(PLACES)}"
        for _ in range(choose.choice((1, 1, 2, 3)))
    ]
    return choose.choice((" and ", ", ", " ")).join(clauses)


@pytest.mark.slow
def test_as_the_jar_scores(jar_tables):
    found, paraphrases = jar_tables
    choose = random.Random(1)
    pairs = [(sentence(choose), [sentence(choose) for _ in range(choose.choice((1, 2, 5)))]) for _ in range(300)]
    odd = ["", "?!", "façade 日本 😀", "car " * 60, "a " * 30 + "b", "is are is are is are is are"]
    pairs += [(caption, [reference]) for caption in odd for reference in (*odd, "a car is near the river")]
    expected = jar_meteor(pairs, paraphrases)
    assert len(set(expected)) > 250
    texts = [text for caption, references in pairs for text in (caption, *references)]
    places = {text: place for place, text in enumerate(texts)}
    scorer = Meteor(texts, [[places[text] for text in references] for _, references in pairs], found)
    ours = [
        scorer.scores(np.array([places[caption]]), np.array([image]))[0, 0] for image, (caption, _) in enumerate(pairs)
    ]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
