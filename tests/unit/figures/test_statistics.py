"""What a reader finds in the pictures of datasets: bars, maps and the curves of the margin."""

from __future__ import annotations

import numpy as np
import pytest

from rsitr.captions.similarity_map import SimilarityMap
from rsitr.figures import margin, similarity, statistics
from tests.helpers.drawn import saved, texts_of


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    return saved(monkeypatch)


def test_bars_of_ours_and_published_numbers(drawn, tmp_path):
    bars = (
        statistics.Bar("ucm", 0.97, 0.9),
        statistics.Bar("sydney train + val", None, 1.83),
        statistics.Bar("mine", 5.0),
    )
    path = statistics.draw("t", [statistics.Panel("diversity", ".2f", bars)], tmp_path / "new" / "t.png")
    (figure,) = drawn
    found = texts_of(figure)
    for expected in ("diversity", "0.97", "0.90", "NA", "1.83", "5.00", "ours", "published, AMFMN Fig. 9", "t"):
        assert expected in found
    assert "sydney train\n+ val" in found
    widths = [(patch.get_width(), patch.get_facecolor()[3]) for patch in figure.axes[0].patches]
    assert widths == [(0.97, 1), (0.9, 0), (1.83, 0), (5, 1)]  # published ones are hollow
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_published_numbers_there_is_no_legend(drawn, tmp_path):
    panel = statistics.Panel("words", ".0f", (statistics.Bar("mine", 12),))
    statistics.draw("t", [panel, panel._replace(bars=(statistics.Bar("mine", 0),))], tmp_path / "t.png")
    assert not drawn[0].legends
    assert all(axes.get_xlim()[1] > 0 for axes in drawn[0].axes)


def square(side, classes=()):
    cells = np.eye(side, dtype=np.float32)
    return SimilarityMap(side, 5 * side, 1 / side, cells, list(classes) or [("", float(side))])


def test_maps_show_every_cell_in_one_scale(drawn, tmp_path):
    maps = [square(40, [("port", 10.0), ("wood", 40.0)]), square(3)]
    similarity.draw("t", [similarity.Panel(f"set {len(each.cells)}", each) for each in maps], tmp_path / "t.png")
    (figure,) = drawn
    first, second, _ = figure.axes
    assert [axes.images[0].get_clim() for axes in (first, second)] == [(0, 1), (0, 1)]
    assert first.images[0].get_array().tolist() == np.eye(40).tolist()
    assert first.get_xticks(minor=True).tolist() == first.get_yticks(minor=True).tolist() == [10]
    assert second.get_xticks(minor=True).tolist() == []
    for expected in ("set 40", "average 0.025", "200 captions", "40 images", "set 3", "similarity"):
        assert expected in texts_of(figure)


def test_the_largest_map_has_a_dot_for_every_cell(drawn, tmp_path):
    from rsitr.captions.similarity_map import CELLS

    similarity.draw("t", [similarity.Panel("one", square(CELLS))] * 6, tmp_path / "t.png")
    (figure,) = drawn
    for axes in figure.axes[:6]:
        box = axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        assert 200 * min(box.width, box.height) >= CELLS


@pytest.mark.parametrize(("panels", "lines"), [(1, [1]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (6, [3, 3])])
def test_panels_fill_their_lines(panels, lines, drawn, tmp_path):
    similarity.draw("t", [similarity.Panel("one", square(2))] * panels, tmp_path / "t.png")
    shown = [axes for axes in drawn[0].axes if axes.images]
    rows = [axes.get_subplotspec().rowspan.start for axes in shown]
    assert [rows.count(row) for row in range(len(lines))] == lines


def test_the_margin_in_both_panels(drawn, tmp_path):
    path = margin.draw(tmp_path / "margin.png")
    left, right = drawn[0].axes
    for axes, largest in ((left, [0.5] * len(margin.BETAS)), (right, list(margin.GAMMAS))):
        curves = [line.get_ydata() for line in axes.lines]
        assert [curve[0] for curve in curves] == pytest.approx(largest)
        assert [curve[-1] for curve in curves] == [0] * len(curves)
        assert all((np.diff(curve) <= 0).all() for curve in curves)
    # Above 0 the curve bends down, below 0 up, at 0 not at all (Fig. 6).
    bends = [np.sign(np.round(line.get_ydata()[200] - 0.25, 9)) for line in left.lines]
    assert bends == [-1, -1, -1, 0, 1, 1, 1]
    for expected in ("(a) γ = 0.5", "(b) β = 5", "β = −5", "β = 0", "γ = 0.9", "margin α"):
        assert expected in texts_of(drawn[0])
    first = path.read_bytes()
    assert margin.draw(path).read_bytes() == first
    assert b"Software" not in first


def test_labels_of_the_margin_lie_on_their_curves(drawn, tmp_path):
    margin.draw(tmp_path / "margin.png")
    for axes in drawn[0].axes:
        for line, label in zip(axes.lines, axes.texts, strict=True):
            place, height = label.get_position()
            assert np.interp(place, *line.get_data()) == pytest.approx(height, abs=1e-3)
