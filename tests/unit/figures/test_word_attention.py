"""What a reader finds in a picture of word attention: every word over its own map, in lines of seven."""

from __future__ import annotations

import matplotlib.text
import numpy as np
import pytest

from rsitr.figures import word_attention
from rsitr.figures.word_attention import COLUMNS, Reading
from tests.helpers.drawn import saved


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is saved from now on."""
    return saved(monkeypatch)


def reading(label, count):
    maps = np.random.default_rng(count).random((count, 3, 3))
    maps /= maps.sum((1, 2), keepdims=True)
    words = tuple(f"word{number}" for number in range(count))
    return Reading(label, np.full((6, 4, 3), 90, dtype=np.uint8), words, maps)


def test_every_word_stands_over_its_map(drawn, tmp_path):
    readings = [reading("mtgfe@itm", 2), reading("mtgfe", COLUMNS)]
    path = word_attention.draw("Words", readings, tmp_path / "words.png")
    parts = drawn[0].subfigs
    assert [len(part.axes) for part in parts] == [COLUMNS, 2 * COLUMNS]
    for part, given in zip(parts, readings, strict=True):
        assert given.label in [text.get_text() for text in part.findobj(matplotlib.text.Text)]
        shown = {axes.get_title().split("\n")[0]: axes for axes in part.axes if axes.images}
        assert list(shown) == ["image", *given.words]
        for number, word in enumerate(given.words):
            image, over = shown[word].images
            shares = 9 * given.maps[number]
            np.testing.assert_allclose(over.get_array().data, shares)
            assert over.get_clim() == pytest.approx((shares.min(), shares.max()))
            assert shown[word].get_title() == f"{word}\n{shares.min():.2f} - {shares.max():.2f}"
            # Over the whole image, whatever their resolutions.
            assert list(over.get_extent()) == list(image.get_extent()) == [0, 4, 6, 0]
    before = path.read_bytes()
    assert word_attention.draw("Words", readings, path).read_bytes() == before


def test_a_word_that_looks_everywhere_alike(drawn, tmp_path):
    even = reading("mtgfe", 1)._replace(maps=np.full((1, 3, 3), 1 / 9))
    word_attention.draw("Words", [even], tmp_path / "words.png")
    assert "word0\n1.00 - 1.00" in [axes.get_title() for axes in drawn[0].subfigs[0].axes]
