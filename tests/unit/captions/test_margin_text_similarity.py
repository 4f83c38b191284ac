"""The prior similarity of training captions and images, from matrices and without."""

from __future__ import annotations

import numpy as np
import pytest

from rsitr.captions import margin, similarity
from rsitr.captions.margin import TextSimilarity, weights_of
from rsitr.captions.similarity import CaptionSet, write_matrix

CAPTIONS = CaptionSet.of(["a", "b", "a", "c"], np.array([0, 0, 1, 1]))
VALUES = {"bleu-4": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), "meteor": np.full((3, 2), 0.8)}


@pytest.fixture(autouse=True)
def measures(monkeypatch):
    def fake(name, captions, threads=1):
        return lambda texts, images: VALUES[name][texts[:, None], images[None, :]]

    monkeypatch.setattr(similarity, "measure", fake)
    monkeypatch.setattr(margin, "measure", fake)


@pytest.mark.parametrize(
    ("name", "bleu", "expected"),
    [
        ("paper", 0.5, {"bleu-4": 0.5, "meteor": 0.5}),
        ("paper", 1.0, {"bleu-4": 1.0}),
        ("paper", 0.0, {"meteor": 1.0}),
        ("released", 0.5, {"released": 1.0}),
    ],
)
def test_weights_of_the_measures(name, bleu, expected):
    assert weights_of(name, bleu) == expected


def test_a_weighted_mean_of_measures_in_half_precision():
    found = TextSimilarity({"bleu-4": 0.25, "meteor": 0.75}, CAPTIONS)(np.array([0, 1, 2, 3]), np.array([1, 0]))
    assert found.dtype == np.float32
    # Captions 0 and 2 are both "a".
    expected = np.array([[0.2, 0.1], [0.4, 0.3], [0.2, 0.1], [0.6, 0.5]]) * 0.25 + 0.6
    np.testing.assert_allclose(found, expected, atol=5e-4)
    bleu, meteor = np.float32(np.float16(0.2)), np.float32(np.float16(0.8))
    assert found[0, 0] == np.float32(0.25) * bleu + np.float32(0.75) * meteor


def test_a_stored_matrix_changes_nothing(tmp_path, monkeypatch):
    asked = np.array([3, 0, 0, 2]), np.array([1, 1, 0])
    computed = TextSimilarity(weights_of("paper"), CAPTIONS)(*asked)
    for name in VALUES:
        write_matrix(name, CAPTIONS, tmp_path / f"{name}.npy")
    monkeypatch.setattr(margin, "measure", lambda *_, **__: pytest.fail("computed although it is stored"))
    np.testing.assert_array_equal(TextSimilarity(weights_of("paper"), CAPTIONS, tmp_path)(*asked), computed)


def test_a_matrix_of_other_captions_is_not_read(tmp_path):
    other = CaptionSet.of(["a", "b", "a", "d"], np.array([0, 0, 1, 1]))
    write_matrix("meteor", other, tmp_path / "meteor.npy")
    np.load(tmp_path / "meteor.npy", mmap_mode="r+")[:] = 0
    assert TextSimilarity({"meteor": 1.0}, CAPTIONS, tmp_path)(np.array([0]), np.array([0])) == np.float16(0.8)
