"""What the length of a shortlist buys: mR and time per query, compared with scoring all pairs (MTGFE, Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from rsitr.figures.canvas import COLOURS, GREY, blank, canvas, error_bars, legend_below, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKERS = {"i2t": "o", "t2i": "s"}
STYLES = {"i2t": "-", "t2i": ":"}
WHAT = {"i2t": "an image", "t2i": "a caption"}


class Curve(NamedTuple):
    """A scorer with a filter, or what a paper prints about one."""

    label: str
    lengths: tuple[int, ...]
    mr: tuple[tuple[float, ...], ...]
    """At each length, per seed, in percent."""
    milliseconds: dict[str, tuple[float, ...]]
    """By direction, at each length, a mean over seeds."""
    all_mr: float
    """Of the scorer with all pairs."""
    all_milliseconds: dict[str, float]
    published: bool = False


class Panel(NamedTuple):
    """A dataset."""

    title: str
    curves: tuple[Curve, ...]


def _draw_mr(axes: Axes, curve: Curve, colour: str) -> None:
    if curve.published:
        centre = [mean(seeds) for seeds in curve.mr]
        axes.plot(curve.lengths, centre, "x", color=colour, ms=8, mew=1.8)
        _name(axes, curve.lengths[-1], centre[-1], colour)
    else:
        error_bars(axes, curve.lengths, curve.mr, color=colour, marker="D", ms=4.5, capsize=3)
    axes.axhline(curve.all_mr, color=colour, linestyle="--", linewidth=1)


def _draw_time(axes: Axes, curve: Curve, colour: str) -> None:
    at_the_end = axes.get_yaxis_transform()
    for direction, values in curve.milliseconds.items():
        style: dict[str, Any] = {"color": colour, "marker": MARKERS[direction], "ms": 5.5, "mfc": "white", "mew": 1.4}
        axes.plot(curve.lengths, values, linestyle="" if curve.published else STYLES[direction], **style)
        whole = curve.all_milliseconds[direction]
        axes.axhline(whole, color=colour, linestyle="--", linewidth=1)
        # Both directions have such a line: the marker at its end shows which is which.
        axes.plot(1, whole, linestyle="", clip_on=False, transform=at_the_end, **style)
        if curve.published:
            _name(axes, curve.lengths[-1], values[-1], colour)


def _name(axes: Axes, length: int, value: float, colour: str) -> None:
    """Label a point as the paper's."""
    style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "color": colour}
    axes.annotate("published", (length, value), (-7, 0), textcoords="offset points", **style)


def _prepare(axes: Axes, panel: Panel, ylabel: str) -> None:
    axes.set(xlabel="shortlist length K", ylabel=ylabel)
    plot(axes, panel.title)
    if not panel.curves:
        blank(axes, "no result yet")
        return
    axes.set_xscale("log", base=2)
    lengths = sorted({k for curve in panel.curves for k in curve.lengths})
    axes.set_xticks(lengths, [str(k) for k in lengths])
    axes.xaxis.minorticks_off()


def _legend(colours: dict[str, str], published: Sequence[str]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    entries = [Line2D([], [], color=colour, marker="D", ms=4.5, label=label) for label, colour in colours.items()]
    cross: dict[str, Any] = {"color": GREY, "marker": "x", "ms": 8, "mew": 1.8, "linestyle": ""}
    entries += [Line2D([], [], label=label, **cross) for label in dict.fromkeys(published)]
    entries.append(Line2D([], [], color="black", linestyle="--", linewidth=1, label="the scorer with all pairs"))
    for direction, what in WHAT.items():
        style: dict[str, Any] = {"linestyle": STYLES[direction], "marker": MARKERS[direction], "mfc": "white"}
        entries.append(Line2D([], [], color="black", label=f"time of {what} as query", **style))
    return entries


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG, a line of two panels for each dataset; equal input gives equal bytes."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator

    ours = dict.fromkeys(curve.label for panel in panels for curve in panel.curves if not curve.published)
    colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(ours)}
    published = [curve.label for panel in panels for curve in panel.curves if curve.published]
    height = 0.9 + 2.9 * len(panels) + 0.25 * len(colours)
    with canvas(path, title, 8.6, height, dpi=150) as figure:
        grid = figure.subplots(len(panels), 2, squeeze=False)
        for (left, right), panel in zip(grid, panels, strict=True):
            _prepare(left, panel, "mR on the test split (%)")
            _prepare(right, panel, "milliseconds per query")
            if panel.curves:
                right.set_yscale("log")
                right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                right.yaxis.set_major_formatter(FormatStrFormatter("%g"))
                right.yaxis.minorticks_off()
            for curve in panel.curves:
                colour = GREY if curve.published else colours[curve.label]
                _draw_mr(left, curve, colour)
                _draw_time(right, curve, colour)
        legend_below(figure, _legend(colours, published))
    return path
