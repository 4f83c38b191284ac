"""What a reader finds in the pictures of localisation."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Polygon
from matplotlib.text import Text

from rsitr.datasets.rasters import Piece
from rsitr.figures import localisation as figure
from tests.helpers.drawn import saved
from tests.helpers.localisation_scenes import noise

QUERIES = ("there is a road beside a row of trees", "a long " + "and winding " * 20 + "road")


def panel(query, regions=()):
    heat = np.linspace(0, 1, 30 * 50, dtype=np.float32).reshape(30, 50)
    heat[:, :5] = np.nan
    return figure.Panel(query, Piece(noise(30, 50), ~np.isnan(heat)), heat, regions)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws panels and returns the figure."""
    figures = saved(monkeypatch)

    def draw(panels):
        figure.draw("Located", panels, tmp_path / "new" / "l.png")
        return figures[-1]

    return draw


def test_each_query_has_a_line_of_scene_map_and_overlay(drawn):
    found = drawn([panel(query) for query in QUERIES])
    texts = [text.get_text().replace("\n", " ") for text in found.findobj(Text)]
    assert f"(a) {QUERIES[0]}" in texts
    assert f"(b) {QUERIES[1]}" in texts
    assert "Located" in texts
    assert texts.count("relative score 0 lowest, 1 highest of this scene") == 2
    assert [texts.count(name) for name in figure.COLUMNS] == [2, 2, 2]
    pictures = [axes.images[0] for axes in found.axes if axes.get_xlabel() in figure.COLUMNS]
    assert (pictures[0].get_array() == panel("").scene.pixels).all()
    assert pictures[1].get_array().mask.sum() == 30 * 5
    assert (pictures[2].get_array()[:, :5] == 255).all()
    assert not found.findobj(Polygon)


def test_the_true_region_is_outlined_in_all_three(drawn):
    region = [[10, 5], [20, 5], [20, 15], [10, 15]]
    outlines = drawn([panel("a", [region])]).findobj(Polygon)
    assert [outline.get_xy()[:4].tolist() for outline in outlines] == [region] * 3
    assert not any(outline.get_fill() for outline in outlines)


def test_equal_panels_give_equal_bytes(tmp_path):
    for name in ("x", "y"):
        figure.draw("t", [panel("a")], tmp_path / f"{name}.png")
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()
