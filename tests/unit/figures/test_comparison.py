"""What a reader finds in the pictures."""

from __future__ import annotations

from rsitr.figures import comparison as figure
from tests.helpers.drawn import saved
from tests.helpers.drawn import texts_of as texts_in


def texts_of(panels, tmp_path, monkeypatch):
    """All texts of the drawn figure."""
    drawn = saved(monkeypatch)
    figure.draw("t", panels, tmp_path / "t.png")
    return texts_in(drawn[0]), drawn[0]


def test_the_picture_tells_published_stale_missing_and_ceiling(tmp_path, monkeypatch):
    bars = (
        figure.Bar("vse", (50.0, 54.0), 40.0, "amfmn2022"),
        figure.Bar("clip", (30.0,), 20.0, "pir2024", comparable=False, stale=True),
        figure.Bar("none", ()),
        figure.Bar("absent", (), blank="–"),
    )
    panels = [figure.Panel("near", bars, 60.0), figure.Panel("far", bars, 99.0), figure.Panel("full", bars, 100.0)]
    texts, drawn = texts_of(panels, tmp_path, monkeypatch)
    for expected in (
        *("52.00", "30.00†", " NA", " –", "near", "caption ceiling 60.0", "caption ceiling 99.0 →"),
        *("published, amfmn2022", "published, pir2024 (configuration differs)", "mean ± std over seeds"),
        *("ceiling of repeated captions", "† made by other code, parameters or data"),
    ):
        assert expected in texts
    assert "caption ceiling 100.0" not in texts
    near, far, full = drawn.axes
    assert [[line.get_linestyle() for line in axes.lines].count("--") for axes in (near, far, full)] == [1, 0, 0]
    assert "the method without its variant" not in texts
    hollow = [line for line in near.lines if line.get_markerfacecolor() == "none"]
    assert [line.get_xdata()[0] for line in hollow] == [40.0, 20.0]


def test_a_variant_is_next_to_the_method_without_it(tmp_path, monkeypatch):
    bars = figure.Bar("vse@tel", (30.0, 32.0), base=45.0), figure.Bar("vse@big", (30.0,))
    texts, drawn = texts_of([figure.Panel("ucm", bars, None)], tmp_path, monkeypatch)
    assert "the method without its variant" in texts
    (axes,) = drawn.axes
    upright = [[*line.get_xdata()] for line in axes.lines if [*line.get_ydata()] == [-0.4, 0.4]]
    assert upright == [[45.0, 45.0]]
    assert axes.get_xlim()[1] >= 1.3 * 45
