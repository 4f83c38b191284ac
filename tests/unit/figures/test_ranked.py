"""What a reader finds in the pictures of retrieval and of saliency."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from rsitr.figures import ranked, saliency
from tests.helpers.drawn import saved, texts_of

RED, GREEN = (200, 0, 0), (0, 160, 0)


def plain(colour, height=20, width=30):
    return np.full((height, width, 3), colour, dtype=np.uint8)


@pytest.fixture
def drawn(monkeypatch):
    return saved(monkeypatch)


def hits(*matches):
    return tuple(ranked.Image(plain(RED), match, f"class {place}") for place, match in enumerate(matches))


RANKINGS = (
    ranked.Images("keywords", "", ("- port", "white boats"), hits(False, True, False), 2),
    ranked.Images("both", "it costs $5 and $6 to " + "see " * 20 + "this", ("blue sea",), hits(False, False), 9),
)


def test_the_ground_truth_alone_is_framed(drawn, tmp_path):
    ranked.draw("Found", RANKINGS, tmp_path / "ranked.png")
    images = [axes for axes in drawn[0].findobj(ranked.Axes) if axes.images]
    assert [axes.get_title() for axes in images] == ["1", "2", "3", "1", "2"]
    assert [axes.get_xlabel() for axes in images] == [f"class {place}" for place in (0, 1, 2, 0, 1)]
    framed = [all(spine.get_visible() for spine in axes.spines.values()) for axes in images]
    assert framed == [False, True, False, False, False]
    assert not any(spine.get_visible() for axes in (images[0], images[4]) for spine in axes.spines.values())
    assert {to_hex(spine.get_edgecolor()) for spine in images[1].spines.values()} == {"#e69f00"}
    with Image.open(tmp_path / "ranked.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {RED, tuple(round(255 * part) for part in to_rgb(ranked.FRAME))} <= colours


def test_the_texts_of_a_query(drawn, tmp_path):
    ranked.draw("Found", RANKINGS, tmp_path / "ranked.png")
    texts = texts_of(drawn[0])
    assert {"Found", "keywords", "both", "- port, white boats", "ground truth"} <= set(texts)
    (long,) = [text for text in texts if "costs" in text]
    lines = long.split("\n")
    assert lines[0] == r"it costs \$5 and \$6 to see see see see"
    assert lines[-2:] == ["", "blue sea"]
    assert max(map(len, lines)) <= ranked.LETTERS + 2  # and the strokes that keep two dollars from being a formula
    assert [text for text in texts if "rank" in text] == ["ground truth at rank 9"]
    assert not any("same text" in text for text in texts)


def test_other_images_with_the_text_of_the_query_have_a_dashed_frame(drawn, tmp_path):
    found = (ranked.Image(plain(RED), False, shares=True), ranked.Image(plain(RED), True, shares=True), *hits(False))
    ranked.draw("Found", [ranked.Images("sentence", "a port", (), found, 2)], tmp_path / "ranked.png")
    images = [axes for axes in drawn[0].findobj(ranked.Axes) if axes.images]
    styles = [axes.spines["top"].get_linestyle() for axes in images if axes.spines["top"].get_visible()]
    assert styles == [(0, (2, 2)), "solid"]
    assert {"ground truth", "other image with the same text"} <= set(texts_of(drawn[0]))


def test_a_long_text_has_room(drawn, tmp_path):
    for words in (8, 80):
        ranked.draw("t", [ranked.Images("sentence", "word " * words, (), hits(True), 1)], tmp_path / "t.png")
    short, long = (figure.get_size_inches()[1] for figure in drawn)
    assert short == pytest.approx(0.6 + ranked.ROW)
    assert long == pytest.approx(0.6 + 0.16 * (10 + 4))  # eight words of five letters a line


MASK = np.array([[0.0, 0.25], [0.5, 1.0]])


def test_image_mask_and_both_stand_below_each_other(drawn, tmp_path):
    samples = [saliency.Sample(plain(RED), MASK, "(a) one"), saliency.Sample(plain(GREEN), 1 - MASK, "(b) two")]
    saliency.draw("Masks", samples, tmp_path / "saliency.png")
    panels = drawn[0].axes[:6]
    assert [len(axes.images) for axes in panels] == [1, 1, 1, 1, 2, 2]
    assert [axes.get_title() for axes in panels] == ["(a) one", "(b) two", *[""] * 4]
    assert [axes.get_ylabel() for axes in panels] == ["image", "", "mask", "", "both", ""]
    for column, sample in enumerate(samples):
        image, mask, both = panels[column::2]
        assert (image.images[0].get_array() == sample.image).all()
        assert (mask.images[0].get_array() == sample.mask).all()
        assert (both.images[0].get_array() == sample.image).all()
        assert (both.images[1].get_array() == sample.mask).all()
        assert both.images[1].get_alpha() == saliency.OPACITY
        # A mask of any resolution covers the whole image, one scale for all.
        extents = {tuple(shown.get_extent()) for axes in (image, mask, both) for shown in axes.images}
        assert extents == {(0, 30, 20, 0)}
        assert {shown.get_clim() for shown in (mask.images[0], both.images[1])} == {(0, 1)}


def test_pixels_over_each_other(drawn, tmp_path):
    saliency.draw("t", [saliency.Sample(plain(RED), np.ones((3, 3)))], tmp_path / "t.png")
    both = drawn[0].axes[2].get_window_extent()
    with Image.open(tmp_path / "t.png") as picture:
        seen = picture.convert("RGB")
    scale = seen.height / drawn[0].bbox.height
    centre = (round((both.x0 + both.x1) / 2 * scale), round(seen.height - (both.y0 + both.y1) / 2 * scale))
    over = 255 * np.array(colormaps["inferno"](1.0)[:3])
    expected = saliency.OPACITY * over + (1 - saliency.OPACITY) * np.array(RED)
    assert np.abs(np.array(seen.getpixel(centre)) - expected).max() <= 2


@pytest.mark.parametrize(
    ("figure", "content"), [(ranked, RANKINGS), (saliency, [saliency.Sample(plain(RED), MASK)])], ids=["r", "s"]
)
def test_equal_input_gives_equal_bytes(figure, content, tmp_path):
    first, second = (figure.draw("t", content, tmp_path / f"{name}" / "t.png").read_bytes() for name in "ab")
    assert first == second
    assert b"Software" not in first


def test_a_long_title_is_within_the_picture(tmp_path):
    title = "Images found among 1,093 by a method with a long name on a dataset with a long name, " * 2
    ranked.draw(title, [ranked.Images("sentence", "a port", (), hits(True), 1)], tmp_path / "t.png")
    dark = np.asarray(Image.open(tmp_path / "t.png").convert("L")) < 128
    assert not dark[:4].any()
    assert not dark[:, :4].any()
    assert not dark[:, -4:].any()
