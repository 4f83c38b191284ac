"""Datasets side by side, as AMFMN's Fig. 9 compares them: a panel of bars for each number, ours above the published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from rsitr.figures.canvas import COLOURS, GREY, arranged, canvas, grid_of, legend_below, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PUBLISHED, OURS = COLOURS[1], COLOURS[5]
COLUMNS = 3
"""Panels side by side before the next line starts."""
BAR = 0.36
"""Height of a bar, where two datasets are 1 apart."""
NAME = 12
"""Letters of a dataset's name that fit on a line."""


class Bar(NamedTuple):
    """One dataset; an unknown number is None."""

    dataset: str
    ours: float | None
    published: float | None = None


class Panel(NamedTuple):
    """One number of the same datasets in every panel, with how it is written: a format specification."""

    title: str
    form: str
    bars: tuple[Bar, ...]


def _label(axes: Axes, value: float, place: float, text: str, colour: str) -> None:
    note = axes.annotate(text, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    note.set(color=colour, bbox={"color": "white", "pad": 0.5})


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for place, bar in enumerate(panel.bars):
        ours = place if bar.published is None else place - BAR / 2
        if bar.ours is None:
            _label(axes, 0, ours, "NA", GREY)
        else:
            axes.barh(ours, bar.ours, BAR, color=OURS)
            _label(axes, bar.ours, ours, format(bar.ours, panel.form), "black")
        if bar.published is not None:
            axes.barh(place + BAR / 2, bar.published, BAR * 0.9, color="none", edgecolor=PUBLISHED)
            _label(axes, bar.published, place + BAR / 2, format(bar.published, panel.form), PUBLISHED)
    known = [value for bar in panel.bars for value in bar[1:] if value is not None]
    # Room for the number next to the longest bar.
    axes.set(xlim=(0, 1.3 * max(known, default=0) or 1), ylim=(len(panel.bars) - 0.4, -0.6))
    axes.set_yticks(range(len(panel.bars)), [fill(bar.dataset, NAME) for bar in panel.bars], fontsize=8)
    plot(axes, panel.title, "x", fontsize=9)
    axes.tick_params(axis="x", labelsize=7)
    axes.locator_params(axis="x", nbins=4)


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG; equal input gives equal bytes with the same matplotlib."""
    across, down = arranged(len(panels), COLUMNS)
    height = 0.6 + 0.4 * max(2, len(panels[0].bars))
    with canvas(path, title, 0.9 + 2.1 * across, 0.7 + height * down) as figure:
        for axes, panel in grid_of(figure, panels, across, down, sharey=True):
            _draw_panel(axes, panel)
        if any(bar.published is not None for panel in panels for bar in panel.bars):
            from matplotlib.patches import Patch

            entries = [Patch(color=OURS, label="ours"), Patch(fc="none", ec=PUBLISHED, label="published, AMFMN Fig. 9")]
            legend_below(figure, entries)
    return path
