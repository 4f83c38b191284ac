"""The map of window scores: by hand, and against whole images in float64 with loops and scipy's median filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from rsitr.errors import SceneError
from rsitr.localisation import heatmap as module
from rsitr.localisation.heatmap import BAND, Grid, Heatmap, filter_side, heatmap
from rsitr.localisation.windows import WindowRow, edges, window_rows
from tests.helpers.examples import examples

scenes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(2, 24), min_size=1, max_size=3))


def of_scores(height, width, sizes, score, median=1, valid=None):
    """The map of a scene where the window (top, left, height, width) has ``score(window)``."""
    rows = window_rows(height, width, sizes)
    scores = [
        np.array([np.atleast_1d(score((row.top, left, row.height, row.width))) for left in row.lefts.tolist()], float)
        for row in rows
    ]
    grid = Grid(*edges(rows, height, width))
    known = np.ones((len(grid.rows) - 1, len(grid.columns) - 1), dtype=bool) if valid is None else valid(grid)
    return heatmap(rows, scores, grid, known, filter_side(median, height, width))


def slow(height, width, sizes, score, median):
    """The map with one sum and one count for each pixel."""
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    for row in window_rows(height, width, sizes):
        for left in row.lefts.tolist():
            for y in range(row.top, row.top + row.height):
                for x in range(left, left + row.width):
                    sums[y, x] += score((row.top, left, row.height, row.width))
                    counts[y, x] += 1
    means = sums / counts
    if means.min() == means.max():
        return np.zeros((height, width), dtype=np.uint8)
    levels = np.uint8(255 * ((means - means.min()) / (means.max() - means.min())))
    return median_filter(levels, median, mode="nearest")


def whole_number(window):
    """A score of its own for every window; sums of a few are exact, so that no rounding hides a mistake."""
    return float(hash(window) % 1024)


def test_means_by_hand():
    # Windows of 4 in 4 x 6: at 0 and, pushed back from 4, at 2, which is where the shifted pass begins, too.
    found = of_scores(4, 6, (4,), lambda window: {0: 1.0, 2: 3.0}[window[1]])
    assert [side.tolist() for side in found.grid] == [[0, 4], [0, 2, 4, 6]]
    assert found.means.tolist() == [[[1, 2, 3]]]
    assert (found.lowest.tolist(), found.highest.tolist()) == ([1], [3])
    # Half of 255 is rounded down.
    assert found.map(0).tolist() == [[0, 0, 127, 127, 255, 255]] * 4
    assert (found.scored, found.skipped) == (2, 0)


def test_every_size_and_pass_counts_alike():
    # Of 2 x 2 windows in 2 x 4, at 0 and 2 and shifted at 1, then 3 -> 2; of 4, cut to the height, at 0 alone.
    scores = {(0, 2): 6.0, (2, 2): 0.0, (1, 2): 3.0, (0, 4): 12.0}
    found = of_scores(2, 4, (2, 4), lambda window: scores[window[1], window[3]])
    assert found.means.tolist() == [[[(6 + 12) / 2, (6 + 3 + 12) / 3, (3 + 0 + 12) / 3, (0 + 12) / 2]]]


@given(scenes, st.sampled_from([1, 3, 9, 15]))
@examples(30)
def test_agrees_with_whole_images_in_loops(scene, median):
    height, width, sizes = scene
    side = filter_side(median, height, width)
    found = of_scores(height, width, sizes, whole_number, median)
    assert (found.map(0) == slow(height, width, sizes, whole_number, side)).all()


@given(scenes, st.integers(1, 50))
@examples(30)
def test_bands_of_any_height_make_the_same_map(scene, rows):
    height, width, sizes = scene
    found = of_scores(height, width, sizes, whole_number, median=9)
    bands = list(found.bands(0, rows))
    assert [top for top, _ in bands] == list(range(0, height, rows))
    assert (np.concatenate([pixels for _, pixels in bands]) == found.map(0)).all()


def test_several_queries_are_maps_of_their_own():
    both = of_scores(40, 30, (8, 16), lambda window: [whole_number(window), -window[0]])
    for number, score in enumerate([whole_number, lambda window: -window[0]]):
        alone = of_scores(40, 30, (8, 16), score)
        assert (both.map(number) == alone.map(0)).all()
        assert (both.lowest[number], both.highest[number]) == (alone.lowest[0], alone.highest[0])


def test_scores_may_be_negative_and_their_scale_does_not_matter():
    plain = of_scores(40, 30, (8, 16), whole_number)
    other = of_scores(40, 30, (8, 16), lambda window: whole_number(window) / 4 - 512)
    assert (plain.map(0) == other.map(0)).all()


def test_one_score_everywhere_is_no_place():
    found = of_scores(10, 10, (4,), lambda window: 0.3)
    assert found.lowest == found.highest
    assert not found.map(0).any()


def test_a_window_that_was_skipped_neither_counts_nor_pulls_at_its_surroundings():
    # The left half has no score. Its cells take over the nearest mean, so that the filter sees what it saw at a border.
    def score(window):
        return np.nan if window[1] < 8 else float(window[1])

    rows = [WindowRow(0, 8, 8, np.array([0, 8, 16]))]
    scores = [np.array([[score((0, left, 8, 8))] for left in (0, 8, 16)])]
    grid = Grid(*edges(rows, 8, 24))
    found = heatmap(rows, scores, grid, np.array([[False, True, True]]), 7)
    assert np.isnan(found.means[0, 0, 0])
    assert found.levels(0).tolist() == [[0, 0, 255]]
    assert found.map(0)[4].tolist() == [0] * 16 + [255] * 8
    assert (found.scored, found.skipped) == (2, 1)


def test_the_nearest_cell_is_the_one_with_the_nearest_centre():
    grid = Grid(np.array([0, 10, 40]), np.array([0, 10, 20]))
    means = np.array([[[1.0, 2.0], [np.nan, np.nan]]])
    found = Heatmap(grid, means, np.array([1.0]), np.array([2.0]), 1, 2, 2, [], [])
    assert found.levels(0).tolist() == [[0, 255], [0, 255]]
    # From (25, 5), the centre below at (45, 5) is nearer than the one next to it at (25, 60).
    wide = Grid(np.array([0, 40, 50]), np.array([0, 10, 110]))
    means = np.array([[[np.nan, 1.0], [2.0, 1.0]]])
    found = Heatmap(wide, means, np.array([1.0]), np.array([2.0]), 1, 3, 1, [], [])
    assert found.levels(0).tolist() == [[255, 0], [255, 0]]


def test_cells_without_a_valid_pixel_stay_out_of_the_range():
    # The last window reaches far beyond all others but lies, for the most part, where the scene is not valid.
    rows = [WindowRow(0, 4, 4, np.array([0, 4, 8]))]
    scores = [np.array([[1.0], [2.0], [-9.0]])]
    grid = Grid(*edges(rows, 4, 12))
    found = heatmap(rows, scores, grid, np.array([[True, True, False]]), 1)
    assert (found.lowest[0], found.highest[0]) == (1, 2)
    assert found.levels(0).tolist() == [[0, 255, 0]]


@pytest.mark.parametrize(
    ("median", "shape", "side"),
    [
        (251, (1000, 251), 251),
        (251, (250, 900), 249),
        (251, (1, 900), 1),
        (251, (2, 2), 1),
        (5, (9, 9), 5),
        (1, (9, 9), 1),
    ],
)
def test_the_filter_fits_the_scene(median, shape, side):
    assert filter_side(median, *shape) == side


@pytest.mark.parametrize("median", [2, 250, -3, -1])
def test_a_filter_needs_a_middle(median):
    with pytest.raises(SceneError, match="give an odd number, or 0 for no filter"):
        filter_side(median, 100, 100)


def test_a_scene_without_a_valid_pixel():
    with pytest.raises(SceneError, match="no valid pixel: look at the nodata value"):
        of_scores(8, 8, (4,), lambda window: np.nan)


def test_memory_of_10_000_x_10_000_is_cells_and_bands(monkeypatch):
    found = of_scores(10_000, 10_000, (256, 128, 512), lambda window: [whole_number(window)] * 2, median=251)
    # Edges: multiples of 64 to 9,984 (157), the last window of each size (9,488, 9,744 and 9,872), and the border.
    assert found.means.shape == (2, 160, 160)
    seen = []
    monkeypatch.setattr(module.cv2, "medianBlur", lambda pixels, side: (seen.append((pixels.shape, side)), pixels)[1])
    heights = [len(pixels) for _, pixels in found.bands(0)]
    assert heights == [BAND] * 9 + [10_000 - 9 * BAND]
    assert max(height for (height, _), _ in seen) == BAND + 2 * 125
    assert {(width, side) for (_, width), side in seen} == {(10_000, 251)}
