"""Drawn data under the names of real sets: what each of them states, and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image

from rsitr.datasets.table import read_table
from rsitr.records.paths import Paths
from rsitr.stages.drawn import DrawnData, words


@pytest.fixture
def made(tmp_path, monkeypatch):
    """``made(dataset)``: the rows of its drawn table."""
    monkeypatch.chdir(tmp_path)

    def of(dataset: str):
        DrawnData().canonical(dataset)
        return read_table(Paths.dataset(dataset))[0].to_pylist()

    return of


def test_a_captioned_set_has_eight_images_of_each_split(made):
    rows = made("rsitmd")
    assert Counter(row["split"] for row in rows) == {"train": 8, "val": 8, "test": 8}
    assert {len(row["captions"]) for row in rows} == {2}
    assert all(row["class_name"] and row["keywords"] and not row["problem"] for row in rows)
    assert Counter(row["class_name"] for row in rows if row["split"] == "train").most_common()[0][1] == 2
    assert len({row["sha256"] for row in rows}) == 24
    assert {(row["width"], row["height"]) for row in rows} == {(256, 256)}


def test_a_set_of_scenes_has_classes_alone(made):
    rows = made("aid")
    assert Counter(row["split"] for row in rows) == {"train": 24}
    assert not any(row["captions"] or row["keywords"] for row in rows)
    assert len({row["class_name"] for row in rows}) == 4


def test_what_a_set_does_not_state_is_not_drawn(made):
    assert not any(row["class_name"] or row["keywords"] for row in made("sydney"))
    assert not any(row["keywords"] for row in made("rsicd"))


def test_what_is_here_stays(made):
    made("ucm")
    before = Paths.dataset("ucm").stat().st_mtime_ns
    made("ucm")
    assert Paths.dataset("ucm").stat().st_mtime_ns == before
    picture = next(Paths.extracted("ucm").glob("*.png"))
    assert Image.open(picture).size == (256, 256)


def test_the_words_of_captions_are_words():
    found = words()
    assert found == sorted(set(found))
    assert {"a", "the"} & set(found)
    assert not any(word != word.lower() or word.endswith((".", ",")) for word in found)
