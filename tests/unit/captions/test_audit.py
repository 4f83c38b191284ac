"""The audit of captions: every fault planted once, and what must not be taken for one."""

from __future__ import annotations

import pandas as pd
import pytest

from rsitr.captions.audit import KINDS, audit, summarise
from rsitr.captions.misfits import ClassNames, split_name, subject
from rsitr.captions.spelling import known_words, misspellings, neighbours
from rsitr.captions.words import normal_form, words


def frame(*rows):
    return pd.DataFrame(rows, columns=["image_id", "split", "class_name", "captions"])


def found(kind, *rows):
    """(image, caption, detail) of the findings of one kind."""
    findings = [finding for finding in audit(frame(*rows), "tiny") if finding.kind == kind]
    assert all(finding.dataset == "tiny" for finding in findings)
    return [(finding.image_id, finding.caption, finding.detail) for finding in findings]


def test_blank_captions_and_images_without_any():
    rows = [("a", "train", "", ["two boats sail", " ", ". ."]), ("b", "test", "", [])]
    assert found("blank", *rows) == [("a", 1, "no word in it"), ("a", 2, "no word in it"), ("b", 0, "empty")]
    # Blanks are no captions: they are neither short nor repeated nor shared.
    assert {finding.kind for finding in audit(frame(*rows), "tiny")} == {"blank"}


def test_short_captions_have_fewer_than_three_words():
    assert found("short", ("a", "train", "", ["Green lawn.", "a big lawn", "1 ."])) == [
        ("a", 0, "2 words"),
        ("a", 2, "1 words"),
    ]


def test_characters_beyond_ascii_are_named():
    assert found("non-ascii", ("a", "train", "", ["the water’s edge", "a café’s roof", "plain"])) == [
        ("a", 0, "’ U+2019"),
        ("a", 1, "é U+00E9 ’ U+2019"),
    ]


def test_repeated_captions_of_an_image_point_at_the_first():
    rows = [("a", "train", "", ["A red roof.", "a lake here", "a red  roof", "A RED ROOF"])]
    assert found("repeated", *rows) == [("a", 2, "the same as caption 0"), ("a", 3, "the same as caption 0")]


SHARED = [
    ("a", "train", "", ["two boats sail", "Two boats sail."]),
    ("b", "train", "", ["two boats sail", "a pier alone"]),
    ("c", "val", "", ["a river bends"]),
    ("d", "test", "", ["two boats, sail", "a river bends"]),
]


def test_captions_shared_by_images_of_a_split():
    other = "on 1 other images of train"
    assert found("shared-in-split", *SHARED) == [("a", 0, other), ("a", 1, other), ("b", 0, other)]


def test_captions_shared_across_splits_say_with_how_many_images():
    assert found("shared-across-splits", *SHARED) == [
        ("a", 0, "on images: 1 of test"),
        ("a", 1, "on images: 1 of test"),
        ("b", 0, "on images: 1 of test"),
        ("c", 0, "on images: 1 of test"),
        ("d", 0, "on images: 2 of train"),
        ("d", 1, "on images: 1 of val"),
    ]


def test_the_summary_counts_captions_by_split_and_images():
    findings = audit(frame(*SHARED), "tiny")
    lines = {line.kind: line for line in summarise(findings)}
    assert list(lines) == list(KINDS)
    assert lines["shared-across-splits"].captions == {"train": 3, "val": 1, "test": 2}
    assert lines["shared-across-splits"].images == 4
    assert lines["shared-across-splits"].example == "a: 'two boats sail' (on images: 1 of test)"
    assert (lines["class"].captions, lines["class"].images, lines["class"].example) == (
        {"train": 0, "val": 0, "test": 0},
        0,
        "",
    )


def test_a_caption_with_two_misspelt_words_counts_once():
    rows = [(str(n), "train", "", ["a green playground beside the buildings"]) for n in range(20)]
    rows.append(("x", "test", "", ["a grenn playgrund"]))
    findings = [finding for finding in audit(frame(*rows), "tiny") if finding.kind == "spelling"]
    assert [finding.detail for finding in findings] == ["grenn: perhaps green", "playgrund: perhaps playground"]
    assert next(line for line in summarise(findings) if line.kind == "spelling").captions["test"] == 1


def test_neighbours_of_a_word_are_one_keystroke_away():
    near = neighbours("on")
    assert {"o", "n", "no", "one", "won", "in", "of"} <= near
    # 2 dropped, 1 swapped, 2 x 25 changed, 3 x 26 added less 2 that double a letter at two places
    assert len(near) == 2 + 1 + 50 + 78 - 2
    assert "on" not in near


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("playgrund", "playground"),
        ("playgruond", "playground"),
        ("playgroundd", "playground"),
        ("pkayground", "playground"),
        ("plyagruond", None),  # two swaps
        ("fou1", "four"),
        ("b2b", ""),
        ("4th", None),
        ("100m", None),
        ("s-shaped", None),
        ("broad", None),  # a word, though one letter from road
        ("decorates", None),  # a form of decorated
        ("river's", None),
        ("teh", None),  # too short to tell
    ],
)
def test_suspected_words(word, expected):
    usual = dict.fromkeys(["playground", "four", "road", "decorated", "rivers", "shaped", "the"], 20)
    assert misspellings({**usual, word: 1}).get(word) == expected
    assert not misspellings({"playground": 19, "playgrund": 1})  # not frequent enough to be the standard


def test_the_word_list_knows_english_and_no_typing_errors():
    assert {"the", "residential", "viaduct", "airport", "meadow"} <= known_words()
    assert not {"playgrund", "surroudned", "buildiings"} & known_words()
    assert 30_000 < len(known_words()) < 49_000


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("There is a gas station near the road.", "a gas station"),
        ("many commercial areas are here", "many commercial"),
        ("a piece of green farmland beside a river", "green farmland"),
        ("it's mountains and lakes", "mountains"),
        ("The bridge is on a river", "the bridge"),
        ("This is a viaduct", "a viaduct"),
        ("in the city", ""),
        ("", ""),
    ],
)
def test_the_subject_of_a_caption(caption, expected):
    assert " ".join(subject(words(caption))) == expected


def test_class_names_written_together_are_taken_apart_by_the_words_of_the_captions():
    from collections import Counter

    counts = Counter(baseball=9, field=30, base=6, ballfield=5, moun=9, mountain=9, storage=9, tanks=4)
    assert split_name("baseballfield", counts) == ("baseball", "field")
    assert split_name("mountain", counts) is None  # "ta" and "in" are too short, "tain" no word
    assert split_name("storagetanks", counts) is None  # tanks is too rare


def names_of_three_classes(extra=()):
    """Three classes with a hundred captions each: a bridge is over a river, a park has a pond, a church is a church."""
    kinds = {"bridge": "a long bridge over a river", "park": "a green park with a pond", "church": "a church is here"}
    captions = [(name, text) for name, text in kinds.items() for _ in range(100)]
    return ClassNames((name, words(text)) for name, text in [*captions, *extra])


@pytest.mark.parametrize(
    ("class_name", "caption", "expected"),
    [
        ("park", "a bridge is on a river", "bridge"),
        ("park", "two bridges are here", "bridge"),
        ("park", "two bridges near a park", ""),  # names its own class
        ("park", "two bridges near a pond", ""),  # has a word of its own class
        ("park", "many trees near a bridge", ""),  # is not about the bridge
        ("bridge", "there is a park", "park"),
        ("", "there is a park", ""),  # no class, nothing to contradict
    ],
)
def test_captions_about_another_class(class_name, caption, expected):
    assert names_of_three_classes().misfit(class_name, words(caption)) == expected


def test_a_name_that_many_captions_of_the_class_use_says_nothing():
    # Two of 102 captions of park are about a bridge: more than one in a hundred.
    names = names_of_three_classes([("park", "a bridge is here")] * 2)
    assert names.misfit("park", words("a bridge is here")) == ""


def test_a_name_used_by_every_class_says_nothing():
    # 101 captions of other classes speak of bridges, more than the 100 of the class itself.
    names = names_of_three_classes([(f"class{n}", "a bridge is here") for n in range(101)])
    assert names.misfit("park", words("a bridge is here")) == ""


def test_the_finding_says_what_the_other_captions_of_the_image_name():
    kinds = {"bridge": "a long bridge over a river", "park": "a green park with a pond", "church": "a church"}
    rows = [(f"{name}{n}", "train", name, [text]) for name, text in kinds.items() for n in range(200)]
    rows.append(("x", "test", "park", ["a bridge is here", "some trees near a bridge", "a quiet park"]))
    assert found("class", *rows) == [("x", 0, "about bridge, class park; 2 of the image's 3 captions name bridge")]


def test_identical_captions_are_those_that_recall_takes_for_identical():
    from rsitr.retrieval.recall import text_groups

    captions = ["A red roof.", "a red  roof", "a_red roof", "ared roof", "a red-roof", "", ".", "café", "CAFÉ!"]
    groups = text_groups(captions).tolist()
    for first, one in zip(groups, captions, strict=True):
        for second, other in zip(groups, captions, strict=True):
            assert (first == second) == (normal_form(one) == normal_form(other)), (one, other)
