"""mR against a setting, as PIR's Fig. 8 shows it for the centre scale and Table IV for the filter size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, NamedTuple

from rsitr.figures.canvas import COLOURS, GREY, blank, canvas, grid_of, plot

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
    x = [setting for setting, _ in curve.points]
    y = [mean(seeds) for _, seeds in curve.points]
    if curve.published:
        axes.plot(x, y, "--", marker="x", color=GREY, linewidth=1, label=curve.label)
        return
    spread = [stdev(seeds) if len(seeds) > 1 else 0 for _, seeds in curve.points]
    style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
    style |= {"capsize": 3, "linewidth": 1.4, "ms": 5}
    axes.errorbar(x, y, yerr=spread if any(spread) else None, label=curve.label, **style)


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
        for letter, axes, panel in zip(
            ascii_lowercase, grid_of(figure, len(panels), len(panels), 1), panels, strict=False
        ):
            _draw_panel(axes, panel, f"({letter}) {panel.setting}")
    return path
