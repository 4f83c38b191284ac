"""What a person sees in the pictures of near duplicates: pixels where they are expected, captions, grey tiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image, ImageColor, ImageDraw

from rsitr.datasets.table import DATASET_SCHEMA, DatasetFacts
from rsitr.dedup.pairs import ORIENTATIONS, SCHEMA
from rsitr.errors import DatasetError
from rsitr.figures import near_duplicates as figure
from rsitr.records.parquet import write_table

RED, GREEN, BLUE, GREY = (200, 0, 0), (0, 160, 0), (0, 0, 200), (90, 90, 90)
QUARTERS = (RED, GREEN, BLUE, GREY)
# What undoes each orientation, by Pillow; its ROTATE_90 turns left.
UNDONE = {
    "same": None,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped": Image.Transpose.FLIP_TOP_BOTTOM,
    "turned 180": Image.Transpose.ROTATE_180,
    "transposed": Image.Transpose.TRANSPOSE,
    "turned right": Image.Transpose.ROTATE_90,
    "turned left": Image.Transpose.ROTATE_270,
    "transposed and turned 180": Image.Transpose.TRANSVERSE,
}


def quarters(side):
    """Red and green above blue and grey."""
    image = Image.new("RGB", (side, side), GREY)
    for colour, corner in ((RED, (0, 0)), (GREEN, (side // 2, 0)), (BLUE, (0, side // 2))):
        image.paste(colour, (*corner, corner[0] + side // 2, corner[1] + side // 2))
    return image


def original():
    """The quarters in a box from 20 to 70 % downwards and from 30 to 70 % to the right, on sand."""
    image = Image.new("RGB", (100, 100), (220, 200, 160))
    image.paste(quarters(50).resize((40, 50), Image.Resampling.NEAREST), (30, 20))
    return image


@pytest.fixture
def table(tmp_path):
    """Writes a table: images by id, None for one that is not there and bytes for a file with just these."""

    def write(name, images):
        folder = tmp_path / name
        folder.mkdir()
        for image_id, image in images.items():
            if isinstance(image, bytes):
                (folder / image_id).write_bytes(image)
            elif image is not None:
                image.save(folder / image_id, format="PNG")
        rows = [dict.fromkeys(DATASET_SCHEMA.names) | {"image_id": i, "path": i, "split": "val"} for i in images]
        facts = DatasetFacts(name, name, "generated", "", True, folder.as_posix(), "da7a")
        write_table(pa.Table.from_pylist(rows, DATASET_SCHEMA), facts, tmp_path / f"{name}.parquet")
        return tmp_path / f"{name}.parquet"

    return write


@pytest.fixture
def texts(monkeypatch):
    """All lines that are written on pictures from now on."""
    written = []
    text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, place, line, *a: (written.append(line), text(self, place, line, *a))
    )
    return written


def pairs(*rows):
    """Pairs given as (first, second, changes); the box is that of ``original``."""
    usual = {"first_split": "val", "second_split": "val", "part": "second", "orientation": "same"}
    usual |= {"top": 0.2, "left": 0.3, "height": 0.5, "width": 0.4, "similarity": 1.0, "detail": 0.9, "agreement": 1.0}
    return pd.DataFrame(
        [{"first": first, "second": second} | usual | changes for first, second, changes in rows], columns=SCHEMA.names
    )


def pixel(image, tile, right, down):
    """Colour at a place of one of the three images of the first panel, in pixels of the image."""
    return image.getpixel((20 + tile * (180 + 6) + right, 20 + down))


@pytest.mark.parametrize("part", ["first", "second"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_box_and_turned_part_show_the_same(orientation, part, table, tmp_path):
    seen = quarters(64) if UNDONE[orientation] is None else quarters(64).transpose(UNDONE[orientation])
    images = {"first": original(), "second": seen} if part == "second" else {"first": seen, "second": original()}
    first, second = table("one", {"a": images["first"]}), table("two", {"b": images["second"]})
    out = tmp_path / "new" / "pairs.png"
    changes = {"part": part, "orientation": orientation}
    assert figure.draw_pairs([figure.Pairs(pairs(("a", "b", changes)), first, second)], out) == 1
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
        for tile in (1, 2):
            centres = [pixel(drawn, tile, right, down) for down in (45, 135) for right in (45, 135)]
            assert centres == list(QUARTERS)


def test_the_box_lies_where_the_part_was_found(table, tmp_path):
    one = table("one", {"a": original(), "b": quarters(64)})
    figure.draw_pairs([figure.Pairs(pairs(("a", "b", {})), one, one)], tmp_path / "pairs.png")
    yellow = ImageColor.getrgb(figure.BOX)
    with Image.open(tmp_path / "pairs.png") as drawn:
        # 5 of 110 pixels are added on each side: 35, 75 to the right are 57, 123 of 180; 25, 75 downwards 41, 123.
        across = [pixel(drawn, 0, right, 90) for right in (57, 58, 59, 60, 120, 121, 122, 123)]
        down = [pixel(drawn, 0, 80, down) for down in (41, 42, 43, 44, 120, 121, 122, 123)]
        black = (0, 0, 0)
        assert across == down == [black, yellow, yellow, black, black, yellow, yellow, black]
        assert pixel(drawn, 0, 50, 35) == (220, 200, 160)
        assert pixel(drawn, 0, 70, 55) == RED


def test_beyond_the_original_there_is_nothing_to_see(table, tmp_path):
    one = table("one", {"a": quarters(100), "b": quarters(64)})
    changes = {"top": 0.0, "left": 0.04 - 1e-7, "height": 1.0, "width": 1.0}
    figure.draw_pairs([figure.Pairs(pairs(("a", "b", changes)), one, one)], tmp_path / "pairs.png")
    with Image.open(tmp_path / "pairs.png") as drawn:
        # The last 4 % of 180 pixels are beyond.
        assert [pixel(drawn, 1, right, 45) for right in (165, 178)] == [GREEN, (255, 255, 255)]


def test_captions_say_which_images_how_turned_and_how_alike(table, tmp_path, texts):
    first, second = table("one", {"a": original(), "b": quarters(64)}), table("two", {"a": original()})
    rows = pairs(
        ("a", "a", {"part": "first", "orientation": "turned left", "detail": 0.6249, "agreement": 0.875}),
        ("b", "a", {}),
    )
    assert (
        figure.draw_pairs([figure.Pairs(rows, first, second)], tmp_path / "pairs.png", limit=1, title="Pairs of one")
        == 1
    )
    assert texts == [
        *("original: two/a (val)", "part: one/a (val)", "turned left, detail 0.62, agreement 0.88"),
        *("Pairs of one", "... and 1 more"),
    ]


def test_four_pairs_take_two_lines(table, tmp_path, texts):
    one = table("one", {"a": original(), "b": quarters(64)})
    assert figure.draw_pairs([figure.Pairs(pairs(*[("a", "b", {})] * 4), one, one)], tmp_path / "pairs.png") == 4
    assert not any("more" in line for line in texts)
    with Image.open(tmp_path / "pairs.png") as drawn:
        # A panel is 3 * 180 + 2 * 6 wide and 180 + 6 + 3 * 18 high; 20 around each.
        assert drawn.size == (20 + 3 * (552 + 20), 20 + 2 * (240 + 20))
        assert drawn.getpixel((20 + 572 + 186 + 45, 20 + 45)) == drawn.getpixel((20 + 186 + 45, 280 + 45)) == RED
        assert drawn.getpixel((20 + 572 + 186 + 45, 280 + 45)) == (255, 255, 255)


def test_images_that_cannot_be_read_are_grey_and_say_so(table, tmp_path, texts):
    one = table("one", {"absent": None, "broken": b"no image", "b": quarters(64)})
    rows = pairs(("absent", "b", {}), ("b", "broken", {}))
    assert figure.draw_pairs([figure.Pairs(rows, one, one)], tmp_path / "pairs.png") == 2
    grey = ImageColor.getrgb(figure.ABSENT)
    with Image.open(tmp_path / "pairs.png") as drawn:
        # No box on a tile that shows nothing; the part next to it is there.
        assert [pixel(drawn, 0, *place) for place in ((5, 5), (58, 60), (122, 60))] == [grey] * 3
        assert [pixel(drawn, tile, 45, 45) for tile in (1, 2)] == [grey, RED]
        assert pixel(drawn, 2, 572 + 45, 45) == grey
    assert texts.count("missing image") == texts.count("absent") == 2
    assert texts.count("unreadable image") == texts.count("broken") == 1


def test_the_middle_of_a_long_name_is_left_out(table, tmp_path, texts):
    name = "scene_" + "0123456789" * 20 + "_end"
    one = table("one", {name: quarters(64)})
    figure.draw_group([("one", name)], {"one": one}, set(), tmp_path / "group.png")
    (short,) = [line for line in texts if "…" in line]
    assert 10 < len(short) < 40
    assert short.startswith("scene_0")
    assert short.endswith("9_end")


def test_what_cannot_be_drawn_is_named(table, tmp_path):
    one, two = table("one", {"a": original()}), table("two", {"b": quarters(64)})
    out = tmp_path / "pairs.png"
    with pytest.raises(DatasetError, match="no pairs to draw"):
        figure.draw_pairs([figure.Pairs(pairs(), one, two)], out)
    with pytest.raises(DatasetError, match="two has no image x: "):
        figure.draw_pairs([figure.Pairs(pairs(("a", "b", {}), ("a", "x", {})), one, two)], out)
    with pytest.raises(DatasetError, match=r"one has no image b0, b1, b2, b3, b4, \.\.\.: "):
        figure.draw_group([("one", f"b{number}") for number in range(6)], {"one": one}, set(), out)
    with pytest.raises(DatasetError, match="no table of three: known are one, two"):
        figure.draw_group([("one", "a"), ("three", "a")], {"one": one, "two": two}, set(), out)
    with pytest.raises(DatasetError, match="no images to draw"):
        figure.draw_group([], {"one": one}, set(), out)
    assert not out.exists()


def test_kept_members_are_framed_and_named(table, tmp_path, texts):
    one, two = table("one", {"a": quarters(64), "b": quarters(64)}), table("two", {"a": quarters(64)})
    members, out = [("one", "a"), ("two", "a"), ("one", "b")], tmp_path / "group.png"
    assert figure.draw_group(members, {"one": one, "two": two}, {("two", "a")}, out) == 3
    assert [line for line in texts if line] == ["one (val)", "a", "two (val)", "a", "kept", "one (val)", "b"]
    with Image.open(out) as drawn:
        # Frames of 5 around 180, and 20 between them.
        frames = [drawn.getpixel((20 + 2 + number * 210, 100)) for number in range(3)]
        assert frames == [(255, 255, 255), ImageColor.getrgb(figure.KEPT), (255, 255, 255)]
        assert [drawn.getpixel((20 + 5 + 45 + number * 210, 20 + 5 + 45)) for number in range(3)] == [RED] * 3
    assert figure.draw_group(members, {"one": one, "two": two}, set(), out, limit=2) == 2
    assert texts[-1] == "... and 1 more"
    assert texts.count("kept") == 1


def test_equal_pairs_give_equal_bytes(table, tmp_path):
    one = table("one", {"a": original(), "b": quarters(64)})
    for name in ("x", "y"):
        figure.draw_pairs([figure.Pairs(pairs(("a", "b", {})), one, one)], tmp_path / name)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_a_pair_is_found_in_either_order():
    frame = pairs(("a", "b", {"detail": 0.7}), ("b", "a", {"detail": 0.8}), ("c", "a", {"detail": 0.9}))
    found = [figure.find_pair(frame, *names) for names in (("a", "b"), ("b", "a"), ("c", "a"), ("a", "c"))]
    assert [one["detail"].tolist() for one in found] == [[0.7], [0.8], [0.9], [0.9]]
    with pytest.raises(DatasetError, match="b and c are not a pair"):
        figure.find_pair(frame, "b", "c")


def test_pixels_of_any_mode_are_drawn(table, tmp_path):
    grey = Image.fromarray(np.full((30, 40), 120, dtype=np.uint8))
    one = table("one", {"a": grey, "b": grey.convert("P")})
    figure.draw_pairs(
        [figure.Pairs(pairs(("a", "b", {"orientation": "transposed"})), one, one)], tmp_path / "pairs.png"
    )
    with Image.open(tmp_path / "pairs.png") as drawn:
        assert [pixel(drawn, tile, 45, 45) for tile in (1, 2)] == [(120, 120, 120)] * 2
