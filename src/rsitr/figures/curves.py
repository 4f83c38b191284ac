"""mR against a setting, as PIR's Fig. 8 shows it for the centre scale and Table IV for the filter size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rsitr.figures.png import save

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
PAPER = "#555555"
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
    blank: str = "no cells that differ in this alone"
    """What replaces the curves if there are none."""


def _draw_curve(axes: Axes, curve: Curve, place: int) -> None:
    x = [setting for setting, _ in curve.points]
    y = [mean(seeds) for _, seeds in curve.points]
    if curve.published:
        axes.plot(x, y, "--", marker="x", color=PAPER, linewidth=1, label=curve.label)
        return
    spread = [stdev(seeds) if len(seeds) > 1 else 0 for _, seeds in curve.points]
    style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
    axes.errorbar(
        x, y, yerr=spread if any(spread) else None, capsize=3, linewidth=1.4, ms=5, label=curve.label, **style
    )


def _draw_panel(axes: Axes, panel: Panel, heading: str) -> None:
    ours = [curve for curve in panel.curves if not curve.published]
    for curve in panel.curves:
        _draw_curve(axes, curve, ours.index(curve) if curve in ours else 0)
    axes.set_title(heading, loc="left", fontsize=10)
    axes.set(xlabel=panel.setting, ylabel="mR on the test split (%)")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.curves:
        settings = sorted({setting for curve in panel.curves for setting, _ in curve.points})
        axes.set_xticks(settings, [f"{setting:g}" for setting in settings], fontsize=7)
        axes.legend(fontsize=8, frameon=False)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, panel.blank, ha="center", va="center", fontsize=9, transform=axes.transAxes)


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG, a panel for each setting; equal input gives equal bytes with the same matplotlib."""
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(3.9 * len(panels), 3.4), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for number, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
            _draw_panel(axes, panel, f"({chr(ord('a') + number)}) {panel.setting}")
        figure.suptitle(title, fontsize=11)
        return save(figure, path)
