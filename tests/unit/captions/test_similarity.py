"""Matrices of how similar captions are: their content, continuation, and when they count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rsitr.captions import similarity
from rsitr.captions.similarity import MEASURES, CaptionSet, identity, measure, open_matrix, write_matrix
from rsitr.errors import ParamsError

CAPTIONS = ["a red barn", "two ships", "a red barn", "", "a ship", "a red barn"]
IMAGE_OF = np.array([0, 0, 1, 2, 2, 2])


@pytest.fixture
def captions():
    return CaptionSet.of(CAPTIONS, IMAGE_OF)


@pytest.fixture
def fake(monkeypatch):
    """A measure that tells caption and image from its value, and counts the images it was asked for."""
    asked = []

    def scores(texts, images):
        asked.extend(images.tolist())
        return texts[:, None] / 8 + images[None, :] / 100

    monkeypatch.setattr(similarity, "measure", lambda name, captions, threads=1: scores)
    return asked


def test_every_distinct_caption_once_and_repetitions_in_the_references(captions):
    assert captions.texts == ["a red barn", "two ships", "", "a ship"]
    assert captions.references == [[0, 1], [0], [2, 3, 0]]
    assert captions.place.tolist() == [0, 1, 0, 2, 3, 0]


def test_an_image_that_says_a_thing_twice(captions):
    twice = CaptionSet.of(["a barn", "a barn"], np.array([0, 0]))
    assert (twice.texts, twice.references) == (["a barn"], [[0, 0]])


def test_the_matrix_holds_the_measure_rounded(captions, fake, tmp_path):
    path = tmp_path / "deep" / "meteor.npy"
    assert write_matrix("meteor", captions, path)
    matrix = open_matrix("meteor", captions, path)
    assert (matrix.dtype, matrix.shape) == (np.float16, (3, 4))
    expected = np.arange(4)[None, :] / 8 + np.arange(3)[:, None] / 100
    np.testing.assert_array_equal(matrix, expected.astype(np.float16))
    np.testing.assert_array_equal(np.load(path), matrix)


def test_a_matrix_that_is_there_is_left_alone(captions, fake, tmp_path):
    path = tmp_path / "meteor.npy"
    assert write_matrix("meteor", captions, path)
    written = path.stat().st_mtime_ns
    assert not write_matrix("meteor", captions, path)
    assert (path.stat().st_mtime_ns, fake) == (written, [0, 1, 2])


def test_an_interrupted_run_continues_with_the_same_result(captions, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", 1)
    whole, path = tmp_path / "whole.npy", tmp_path / "meteor.npy"
    write_matrix("meteor", captions, whole)
    fake.clear()
    normal = similarity.measure("meteor", captions)

    def killed(texts, images):
        if images[0] == 2:
            raise KeyboardInterrupt
        return normal(texts, images)

    with monkeypatch.context() as patch:
        patch.setattr(similarity, "measure", lambda name, captions, threads=1: killed)
        with pytest.raises(KeyboardInterrupt):
            write_matrix("meteor", captions, path)
    assert open_matrix("meteor", captions, path) is None
    with path.open("ab") as file:
        file.write(b"half a row")
    fake.clear()
    assert write_matrix("meteor", captions, path)
    assert fake == [2]
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("damage", ["captions", "code", "note", "no note", "short file", "4 zeros"])
def test_what_is_not_current_does_not_count_and_is_made_anew(damage, captions, fake, tmp_path, monkeypatch, capsys):
    path = tmp_path / "meteor.npy"
    write_matrix("meteor", captions, path)
    note = path.with_suffix(".json")
    if damage == "captions":
        captions = CaptionSet.of([*CAPTIONS[:-1], "a red bridge"], IMAGE_OF)
    elif damage == "code":
        monkeypatch.setattr("rsitr.records.identity.code_sha", lambda modules: "newer")
    elif damage == "note":
        note.write_text('{"identity": ', encoding="utf-8")
    elif damage == "no note":
        note.unlink()
    elif damage == "short file":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(path.read_bytes()[:-4] + bytes(4))
    assert open_matrix("meteor", captions, path) is None
    told = "older version: it does not count" if damage in ("captions", "code", "note") else ""
    if damage in ("short file", "4 zeros"):
        told = f"{path}.damaged is damaged: it does not count"
        assert not path.exists()
    assert told in capsys.readouterr().err
    assert write_matrix("meteor", captions, path)
    assert json.loads(note.read_text())["rows"] == 3
    assert open_matrix("meteor", captions, path) is not None


def test_no_training_images_make_an_empty_matrix(tmp_path):
    nothing = CaptionSet.of([], np.array([], dtype=np.int64))
    write_matrix("meteor", nothing, tmp_path / "meteor.npy")
    assert np.load(tmp_path / "meteor.npy").shape == (0, 0)
    assert open_matrix("meteor", nothing, tmp_path / "meteor.npy") is None


def test_the_identity_of_a_matrix(captions):
    other = CaptionSet.of(CAPTIONS, np.array([0, 0, 1, 2, 2, 1]))
    found = {identity(name, which) for name in MEASURES for which in (captions, other)}
    assert len(found) == 2 * len(MEASURES)


@pytest.mark.usefixtures("installed_meteor")
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_one_for_an_image_s_own_caption_and_zero_for_a_blank_one(name):
    captions = CaptionSet.of(["a red barn by a road", "two ships", ""], np.array([0, 1, 1]))
    scores = measure(name, captions)(np.arange(3), np.arange(2))
    assert scores.shape == (3, 2)
    assert scores[0, 0] == pytest.approx(1, abs=1e-6)
    assert scores[0, 1] < scores[0, 0]
    assert scores[1, 0] < 0.2
    assert not scores[2].any()


def test_an_unknown_measure(captions):
    with pytest.raises(ParamsError, match=r"unknown measure of similarity 'cider': the known ones are bleu-1, "):
        measure("cider", captions)
