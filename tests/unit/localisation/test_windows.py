"""The windows over a scene: by hand, against a slow enumeration, and what holds for any scene."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.errors import SceneError
from rsitr.localisation.windows import SIZES, edges, window_rows
from tests.helpers.examples import examples

scenes = st.tuples(st.integers(1, 60), st.integers(1, 60), st.lists(st.integers(2, 40), min_size=1, max_size=3))


def listed(rows):
    """(top, left, height, width) of all windows."""
    return [(row.top, left, row.height, row.width) for row in rows for left in row.lefts.tolist()]


def slow(height, width, sizes):
    """All windows as two passes a size lay them, pixel by pixel, each once."""
    found = set()
    for size in sizes:
        high, wide = min(size, height), min(size, width)
        for offset in (0, size // 2):
            top = offset
            while top == offset or top < height:
                left = offset
                while left == offset or left < width:
                    found.add((min(top, height - high), min(left, width - wide), high, wide))
                    left += wide
                top += high
    return found


def test_two_passes_of_one_size_by_hand():
    # Downwards 0, 4, 8 -> 6 and shifted 2, 6; across 0, 4, 8, 12 -> 10 and shifted 2, 6, 10: row 6 is of both.
    rows = window_rows(10, 14, (4,))
    assert [(row.top, row.height, row.width, row.lefts.tolist()) for row in rows] == [
        (0, 4, 4, [0, 4, 8, 10]),
        (2, 4, 4, [2, 6, 10]),
        (4, 4, 4, [0, 4, 8, 10]),
        (6, 4, 4, [0, 2, 4, 6, 8, 10]),
    ]


def test_the_default_sizes_are_those_of_the_paper():
    assert SIZES == (256, 128, 512)
    assert len(listed(window_rows(512, 512))) == 4 + 4 - 1 + 16 + 16 - 1 + 1


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 100, [(0, 0, 100, 100)]),
        (100, 300, [(0, 0, 100, 128), (0, 64, 100, 128), (0, 128, 100, 128), (0, 172, 100, 128)]),
        (128, 128, [(0, 0, 128, 128)]),
    ],
)
def test_a_scene_smaller_than_the_window_is_cut_to_it(height, width, expected):
    narrow = [window for window in listed(window_rows(height, width)) if window[3] <= 128]
    assert narrow == expected


def test_one_pixel_is_a_scene():
    assert listed(window_rows(1, 1, (128, 256))) == [(0, 0, 1, 1)]


@given(scenes)
def test_agrees_with_the_slow_enumeration(scene):
    found = listed(window_rows(*scene))
    assert len(found) == len(set(found))
    assert set(found) == slow(*scene)


@given(scenes)
@examples(30)
def test_every_size_covers_every_pixel(scene):
    height, width, sizes = scene
    for size in sizes:
        covered = np.zeros((height, width), dtype=int)
        for top, left, high, wide in listed(window_rows(height, width, (size,))):
            assert min(top, left) >= 0
            assert top + high <= height
            assert left + wide <= width
            covered[top : top + high, left : left + wide] += 1
        assert covered.min() >= 1


@given(scenes)
def test_rows_come_in_the_order_that_reading_downwards_completes_them(scene):
    ends = [row.top + row.height for row in window_rows(*scene)]
    assert ends == sorted(ends)


@given(scenes)
@examples(30)
def test_windows_begin_and_end_at_edges(scene):
    height, width, sizes = scene
    rows = window_rows(height, width, sizes)
    down, across = edges(rows, height, width)
    windows = listed(rows)
    assert set(down) == {0, height} | {side for top, _, high, _ in windows for side in (top, top + high)}
    assert set(across) == {0, width} | {side for _, left, _, wide in windows for side in (left, left + wide)}
    assert (np.diff(down) > 0).all()
    assert (np.diff(across) > 0).all()


@pytest.mark.parametrize("sizes", [(), (128, 1), (0,), (-4,)])
def test_sizes_that_make_no_window(sizes):
    with pytest.raises(SceneError, match="2 pixels or more"):
        window_rows(100, 100, sizes)
