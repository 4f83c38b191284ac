"""mR against a setting, as PIR's Fig. 8 shows it for the centre scale and Table IV for the filter size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from string import ascii_lowercase
from typing import TYPE_CHECKING, NamedTuple

from rsitr.figures.canvas import COLOURS, GREY, blank, canvas, error_bars, grid_of, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vP"


class Curve(NamedTuple):
    """A method on a dataset."""

    label: str
    points: tuple[tuple[float, tuple[float, ...]], ...]
    """Setting -> mR of each seed in percent, in ascending order of the setting."""
    published: bool = False


class Panel(NamedTuple):
    """A setting."""

    setting: str
    curves: tuple[Curve, ...]


def _draw_curve(axes: Axes, curve: Curve, place: int) -> None:
    x, values = [setting for setting, _ in curve.points], [seeds for _, seeds in curve.points]
    if curve.published:
        axes.plot(x, list(map(mean, values)), "--", marker="x", color=GREY, linewidth=1, label=curve.label)
        return
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    error_bars(axes, x, values, label=curve.label, color=colour, marker=marker, capsize=3, linewidth=1.4, ms=5)


def _draw_panel(axes: Axes, panel: Panel, heading: str) -> None:
    ours = [curve for curve in panel.curves if not curve.published]
    for curve in panel.curves:
        _draw_curve(axes, curve, ours.index(curve) if curve in ours else 0)
    plot(axes, heading)
    axes.set(xlabel=panel.setting, ylabel="mR on the test split (%)")
    if panel.curves:
        settings = sorted({setting for curve in panel.curves for setting, _ in curve.points})
        axes.set_xticks(settings, [f"{setting:g}" for setting in settings], fontsize=7)
        axes.legend(fontsize=8, frameon=False)
    else:
        blank(axes, "no cells that differ in this alone")


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG, a panel for each setting; equal input gives equal bytes with the same matplotlib."""
    with canvas(path, title, 3.9 * len(panels), 3.4) as figure:
        for letter, (axes, panel) in zip(ascii_lowercase, grid_of(figure, panels, len(panels), 1), strict=False):
            _draw_panel(axes, panel, f"({letter}) {panel.setting}")
    return path
