"""The comparison as a picture: mR of every method on every dataset, with its seeds and the published number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rsitr.figures.canvas import COLOURS, GREY, arranged, canvas, grid_of, legend_below, plot

SEED, PAPER, BASE, BAR, CEILING = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[5], GREY
MARKERS = "Ds^vPX"
FEW = 12
"""So many bars may be thick."""
COLUMNS = 3
"""Datasets side by side before the next line of panels starts."""


class Bar(NamedTuple):
    """One method on one dataset. mR in percent."""

    method: str
    seeds: tuple[float, ...]
    """mR of each seed; empty if there is no mean to show."""
    published: float | None = None
    paper: str = ""
    comparable: bool = True
    """Whether ``published`` belongs to exactly this configuration."""
    stale: bool = False
    """Whether the numbers were made by other code, parameters or data than the present."""
    blank: str = "NA"
    """What replaces a bar without seeds."""
    base: float | None = None
    """mR of the method without its variant, where that is another row."""


class Panel(NamedTuple):
    """One dataset. ``bars`` from the top, the same methods in every panel."""

    title: str
    bars: tuple[Bar, ...]
    ceiling: float | None
    """Largest mR that the dataset's repeated captions allow, in percent; None if unknown."""


def _label(bar: Bar) -> str:
    return f"published, {bar.paper}" + ("" if bar.comparable else " (configuration differs)")


def _limit(panel: Panel) -> float:
    """Right end of the axis: room for the column of means beyond the longest bar."""
    values = [value for bar in panel.bars for value in (*bar.seeds, bar.published or 0.0, bar.base or 0.0)]
    return 1.3 * max(values, default=0.0) or 100.0


def _ceiling_fits(panel: Panel) -> bool:
    return panel.ceiling is not None and panel.ceiling < 100 and panel.ceiling <= _limit(panel)


def _draw_bar(axes: Axes, place: int, bar: Bar, markers: dict[str, str]) -> None:
    if not bar.seeds:
        axes.text(0, place, f" {bar.blank}", va="center", color=CEILING)
    else:
        centre = mean(bar.seeds)
        spread = stdev(bar.seeds) if len(bar.seeds) > 1 else None
        axes.barh(place, centre, height=0.62, color=BAR, xerr=spread, ecolor="black", capsize=2)
        axes.plot(bar.seeds, [place] * len(bar.seeds), "o", color=SEED, markersize=3.5, alpha=0.8)
        # The means are in a column on the right, where no marker of a published number can be mistaken for theirs.
        text = axes.text(1, place, f"{centre:.2f}{'†' if bar.stale else ''}", ha="right", va="center", fontsize=8)
        text.set(transform=axes.get_yaxis_transform(), bbox={"color": "white", "pad": 1})
    if bar.base is not None:
        axes.plot([bar.base] * 2, [place - 0.4, place + 0.4], color=BASE, linewidth=1.8)
    if bar.published is not None:
        axes.plot(bar.published, place, markers[_label(bar)], ms=6, mfc="none", mec=PAPER)


def _draw_panel(axes: Axes, panel: Panel, markers: dict[str, str]) -> None:
    for place, bar in enumerate(panel.bars):
        _draw_bar(axes, place, bar, markers)
    axes.set(xlim=(0, _limit(panel)), ylim=(len(panel.bars) - 0.4, -0.6), xlabel="mR on the test split (%)")
    axes.set_yticks(range(len(panel.bars)), [bar.method for bar in panel.bars], fontsize=8)
    plot(axes, panel.title, "x")
    if panel.ceiling is not None and panel.ceiling < 100:
        # A line far to the right would squeeze the bars; the number says as much.
        inside = _ceiling_fits(panel)
        text = f"caption ceiling {panel.ceiling:.1f}{'' if inside else ' →'}"
        axes.set_title(text, loc="right", fontsize=7, color=CEILING)
        if inside:
            axes.axvline(panel.ceiling, linestyle="--", color=CEILING, linewidth=1)


def _legend(panels: Sequence[Panel], markers: dict[str, str]) -> list[Line2D]:
    bars = [bar for panel in panels for bar in panel.bars]
    entries = [Line2D([], [], marker="o", linestyle="", color=SEED, markersize=4, label="one seed")]
    if any(len(bar.seeds) > 1 for bar in bars):
        entries.append(Line2D([], [], marker="|", color="black", label="mean ± std over seeds"))
    if any(bar.base is not None for bar in bars):
        label = "the method without its variant"
        entries.append(Line2D([], [], marker="|", linestyle="", ms=9, mew=1.8, color=BASE, label=label))
    for label, marker in markers.items():
        entries.append(Line2D([], [], marker=marker, linestyle="", ms=8, mfc="none", mec=PAPER, label=label))
    if any(map(_ceiling_fits, panels)):
        entries.append(Line2D([], [], linestyle="--", color=CEILING, label="ceiling of repeated captions"))
    if any(bar.stale for bar in bars):
        entries.append(Line2D([], [], linestyle="", label="† made by other code, parameters or data"))
    return entries


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG; equal input gives equal bytes with the same matplotlib."""
    labels = dict.fromkeys(_label(bar) for panel in panels for bar in panel.bars if bar.published is not None)
    markers = {label: MARKERS[number % len(MARKERS)] for number, label in enumerate(labels)}
    across, down = arranged(len(panels), COLUMNS)
    height = 1.3 + (0.42 if len(panels[0].bars) < FEW else 0.19) * len(panels[0].bars)
    with canvas(path, title, 2 + 3.4 * across, 0.8 + height * down, dpi=150) as figure:
        for axes, panel in grid_of(figure, panels, across, down, sharey=True):
            _draw_panel(axes, panel, markers)
        entries = _legend(panels, markers)
        legend_below(figure, entries, min(len(entries), max(across, 2)))
    return path
