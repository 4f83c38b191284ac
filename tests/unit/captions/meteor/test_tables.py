"""METEOR's tables, read from hand-made files: what is in them, their compact form, and damage."""

from __future__ import annotations

import gzip
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rsitr.captions.meteor import paraphrases as meteor_paraphrases
from rsitr.captions.meteor.paraphrases import FILE, load_paraphrases
from rsitr.captions.meteor.tables import JAR, PARAPHRASES, load_tables
from rsitr.errors import CorruptArchive, SourceUnavailable
from tests.helpers.meteor_package import ENTRIES, write_package, write_paraphrases


@pytest.fixture
def package(tmp_path):
    return write_package(tmp_path / "meteor")


@pytest.fixture
def tables(tmp_path, package):
    return load_tables(tmp_path / "cache", package)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("car", {1, 2}),
        ("auto", {2}),  # 00002 and 0002 are one number
        ("cars", {1, 2}),
        ("geese", {3}),  # by exception
        ("geeses", set()),  # geese is no key of the synsets
        ("lorries", {4}),
        ("boxes", {5}),
        ("boxing", {5}),
        ("crated", {5}),  # of crated, crate and crat, the first known
        ("cas", set()),
        ("tree", set()),
        ("", set()),
    ],
)
def test_meanings(tables, word, expected):
    assert tables.meanings(word) == expected


def test_lists(tables):
    assert tables.function_words == {"the", "a", "of"}
    assert tables.normalizer.words("No. 5, Mr. X") == ["no.", "5", ",", "mr.", "x"]


def phrases_in(table, text):
    """(place, words of the phrase, words of its paraphrases) of the phrases in a text that have any."""
    spelled = {}
    names = list(table.words)
    for level in range(len(table.starts) - 1):
        for node in range(table.starts[level], table.starts[level + 1]):
            parent, word = divmod(int(table.keys[node]), len(names))
            before = spelled[table.starts[level - 1] + parent] if level else []
            spelled[node] = [*before, names[word]]
    numbers = np.array([table.words.get(word, -1) for word in text.split()])
    found = []
    for places, nodes in table.occurrences(numbers):
        for place, node in zip(places, nodes, strict=True):
            others = [" ".join(spelled[other]) for other in table.paraphrases[table.phrases == node]]
            found += [(int(place), " ".join(spelled[node]), others)] if others else []
    return found


def test_phrases_of_a_text(tables):
    assert phrases_in(tables.paraphrases, "river of stream of water stream") == [
        (0, "river", ["stream of water", "water"]),
        (1, "of", ["from"]),
        (2, "stream", ["river"]),
        (3, "of", ["from"]),
        (5, "stream", ["river"]),
        (2, "stream of water", ["river"]),
    ]


def test_no_phrase_crosses_a_border_or_an_unknown_word(tables):
    assert phrases_in(tables.paraphrases, "stream of green water") == [(0, "stream", ["river"]), (1, "of", ["from"])]


def test_the_compact_form_is_built_once(tmp_path, package, tables, capfd, monkeypatch):
    monkeypatch.setattr(meteor_paraphrases, "_build", None)
    again = load_tables(tmp_path / "cache", package)
    assert again.paraphrases.words == tables.paraphrases.words
    for name in ("starts", "keys", "phrases", "paraphrases"):
        np.testing.assert_array_equal(getattr(again.paraphrases, name), getattr(tables.paraphrases, name))
    assert "built again" not in capfd.readouterr().err


def test_an_older_compact_form_is_built_again_and_says_so(tmp_path, package, tables, capfd, monkeypatch):
    monkeypatch.setattr(meteor_paraphrases, "VERSION", meteor_paraphrases.VERSION + 1)
    load_tables(tmp_path / "cache", package)
    assert f"version {meteor_paraphrases.VERSION - 1} of" in capfd.readouterr().err
    load_tables(tmp_path / "cache", package)
    assert capfd.readouterr().err == ""


def test_the_compact_form_of_another_table_is_built_again(tmp_path, package, tables, capfd):
    write_paraphrases(package / PARAPHRASES, [("lake", "pond")])
    found = load_tables(tmp_path / "cache", package)
    assert phrases_in(found.paraphrases, "river lake") == [(1, "lake", ["pond"])]
    assert "built again" in capfd.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_compact_form_is_built_again_and_says_so(tmp_path, package, tables, capfd, damage):
    path = tmp_path / "cache" / FILE
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[content.index(b"stream")] ^= 1
    damaged = {"cut": content[: len(content) // 2], "flipped": content, "empty": b"", "other": b"no such thing"}
    path.write_bytes(damaged[damage])
    found = load_tables(tmp_path / "cache", package)
    assert found.paraphrases.words == tables.paraphrases.words
    assert f"{path} is built again: it cannot be read" in capfd.readouterr().err


def test_several_may_build_at_once(tmp_path, package):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load_tables(tmp_path / "shared", package), range(4)))
    assert all(phrases_in(each.paraphrases, "from of") == [(1, "of", ["from"])] for each in found)
    assert sorted(path.name for path in (tmp_path / "shared").glob("*") if path.suffix != ".lock") == [FILE]


def test_an_interrupted_build_leaves_nothing_behind(tmp_path, package, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(meteor_paraphrases.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        load_tables(tmp_path / "cache", package)
    assert not [path for path in (tmp_path / "cache").glob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize("file", [JAR, PARAPHRASES])
def test_missing_files(tmp_path, package, file):
    (package / file).unlink()
    with pytest.raises(SourceUnavailable, match="install pycocoevalcap again"):
        load_tables(tmp_path / "cache", package)


def test_pycocoevalcap_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceUnavailable, match=r"pip install .rsitr\[captions\]"):
        load_tables(tmp_path)


@pytest.mark.parametrize("file", [JAR, PARAPHRASES])
def test_damaged_files(tmp_path, package, file):
    content = (package / file).read_bytes()
    (package / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptArchive, match="install pycocoevalcap again"):
        load_tables(tmp_path / "cache", package)


def test_a_table_that_is_not_three_lines_an_entry(tmp_path):
    with gzip.open(tmp_path / "odd.gz", "wt") as file:
        file.write("0.5\nriver\n")
    with pytest.raises(CorruptArchive, match="2 lines"):
        load_paraphrases(tmp_path / "odd.gz", tmp_path)


def test_entries_without_words_do_not_count(tmp_path):
    odd = write_paraphrases(tmp_path / "odd.gz", [("", "river"), ("river", "  "), *ENTRIES[:1]])
    assert phrases_in(load_paraphrases(odd, tmp_path), "river") == [(0, "river", ["stream of water"])]


def test_a_table_without_entries_is_damaged(tmp_path):
    with pytest.raises(CorruptArchive):
        load_paraphrases(write_paraphrases(tmp_path / "none.gz", []), tmp_path)
