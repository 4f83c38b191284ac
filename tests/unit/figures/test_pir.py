"""What a reader finds in the pictures of PIR: the common space, curves of mR, captions that images find."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from rsitr.figures import curves, embeddings, ranked
from rsitr.figures.ranked import FRAME
from tests.helpers.drawn import saved, texts_of

CLASSES = ["a"] * 3 + ["b"] * 2 + [""]


@pytest.fixture
def drawn(monkeypatch):
    return saved(monkeypatch)


def test_the_most_frequent_classes_have_colours_and_the_others_are_grey():
    names = [f"c{number}" for number in range(10) for _ in range(10 - number)]
    assert list(embeddings.colours_of(names)) == [f"c{number}" for number in range(8)]
    assert embeddings.colours_of(["b", "a", ""]) == {"a": embeddings.COLOURS[0], "b": embeddings.COLOURS[1]}


def test_images_and_texts_stand_where_the_projection_puts_them(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "project", lambda points: points[:, :2])
    random = np.random.default_rng(0)
    images, texts = random.normal(size=(2, 6, 4))
    panels = [embeddings.Panel(label, images, texts, "silhouette 0.1") for label in ("one", "two")]
    embeddings.draw("Space", panels, CLASSES, tmp_path / "space.png")
    axes = drawn[0].axes[0]
    # Grey images, grey texts, coloured images, coloured texts.
    found = [collection.get_offsets().data for collection in axes.collections]
    for points, expected in zip(found, (images[5:], texts[5:], images[:5], texts[:5]), strict=True):
        assert np.allclose(points, expected[:, :2])
    shades = [to_hex(colour) for colour in axes.collections[2].get_facecolors()]
    assert shades == [embeddings.COLOURS[0]] * 3 + [embeddings.COLOURS[1]] * 2
    assert {"Space", "one", "two", "image", "text", "a", "b", "without a class"} <= set(texts_of(drawn[0]))


def test_curves_have_their_points_and_the_published_one_is_dashed(drawn, tmp_path):
    ours = curves.Curve("pir-itr-hard, ucm", ((10.0, (30.0, 32.0)), (20.0, (40.0, 40.0))))
    theirs = curves.Curve("published", ((10.0, (37.98,)), (50.0, (37.48,))), published=True)
    curves.draw("mR", [curves.Panel("scale", ()), curves.Panel("size", (ours, theirs))], tmp_path / "curves.png")
    empty, panel = drawn[0].axes
    assert "no cells that differ in this alone" in texts_of(drawn[0])
    assert not empty.lines
    lines = {line.get_linestyle(): line.get_xydata().tolist() for line in panel.lines if len(line.get_xydata()) == 2}
    assert lines["-"] == [[10, 31], [20, 40]]
    assert lines["--"] == [[10, 37.98], [50, 37.48]]
    assert panel.get_xticks().tolist() == [10, 20, 50]


def test_an_images_own_captions_are_framed(drawn, tmp_path):
    hits = (ranked.Caption("a port of $5 and $6", True), ranked.Caption("a farm " * 30, False))
    ranking = ranked.Captions(np.zeros((9, 9, 3), np.uint8), "port", hits)
    ranked.draw_captions("Found", [ranking], tmp_path / "captions.png")
    boxed = [
        text.get_text()
        for text in drawn[0].findobj(Text)
        if (box := text.get_bbox_patch()) is not None and to_hex(box.get_edgecolor()) == FRAME
    ]
    assert boxed == [r"a port of \$5 and \$6"]
    (long,) = [text for text in texts_of(drawn[0]) if text.startswith("a farm")]
    assert max(map(len, long.split("\n"))) <= ranked.CAPTION_LETTERS
    assert {"1", "2", "port", "a caption of the image itself"} <= set(texts_of(drawn[0]))
