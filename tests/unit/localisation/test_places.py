"""The best places of a text: the windows that score highest, of which no two overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.errors import SceneError
from rsitr.localisation.places import Place, best_places
from rsitr.localisation.windows import WindowRow, window_rows
from tests.helpers.examples import examples

ROWS = [WindowRow(0, 8, 8, np.array([0, 4, 8, 16])), WindowRow(8, 16, 16, np.array([0, 8]))]


def scores(first, second):
    return [np.array(first, dtype=float)[:, None], np.array(second, dtype=float)[:, None]]


def test_windows_come_by_their_scores_and_none_overlaps_a_better_one():
    found = best_places(ROWS, scores([5, 6, 1, 3], [2, 4]), 0)
    # (0, 4) is best and overlaps those at 0 and 8; (8, 8) overlaps (8, 0).
    assert found == [Place(1, 6.0, 4, 0, 8, 8), Place(2, 4.0, 8, 8, 16, 16), Place(3, 3.0, 16, 0, 8, 8)]


def test_there_are_no_more_than_asked_for():
    assert [place.score for place in best_places(ROWS, scores([5, 6, 1, 3], [2, 4]), 0, 2)] == [6, 4]
    with pytest.raises(SceneError, match="0 places: ask for at least one"):
        best_places(ROWS, scores([5, 6, 1, 3], [2, 4]), 0, 0)


def test_skipped_windows_are_no_places():
    found = best_places(ROWS, scores([np.nan, np.nan, 1, np.nan], [np.nan, 2]), 0)
    assert [(place.column, place.row) for place in found] == [(8, 8), (8, 0)]


def test_equal_scores_go_downwards_and_then_to_the_right():
    found = best_places(ROWS, scores([1, 0, 1, 1], [1, 1]), 0)
    assert [(place.column, place.row) for place in found] == [(0, 0), (8, 0), (16, 0), (0, 8)]


def test_there_is_no_best_place_where_all_are_equal():
    assert best_places(ROWS, scores([3] * 4, [3, np.nan]), 0) == []


def test_each_query_has_its_own():
    both = [np.stack([part, -part], axis=1) for part in (np.array([5.0, 6, 1, 3]), np.array([2.0, 4]))]
    assert best_places(ROWS, both, 0, 1)[0][1:4] == (6.0, 4, 0)
    assert best_places(ROWS, both, 1, 1)[0][1:4] == (-1.0, 8, 0)


@given(st.integers(10, 60), st.integers(10, 60), st.integers(0, 9), st.integers(1, 12))
@examples(40)
def test_every_window_is_a_place_or_overlaps_a_better_one(height, width, seed, count):
    rows = window_rows(height, width, (8, 13))
    draw = np.random.default_rng(seed)
    given = [draw.integers(0, 20, (len(row.lefts), 1)).astype(float) for row in rows]
    found = best_places(rows, given, 0, count)
    assert [place.rank for place in found] == list(range(1, len(found) + 1))
    assert sorted((place.score for place in found), reverse=True) == [place.score for place in found]
    taken = np.zeros((height, width), dtype=int)
    for place in found:
        taken[place.row : place.row + place.height, place.column : place.column + place.width] += 1
    assert taken.max() <= 1
    if 0 < len(found) < count:
        for row in rows:
            for left in row.lefts.tolist():
                assert taken[row.top : row.top + row.height, left : left + row.width].any()
