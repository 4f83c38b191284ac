"""Similarity maps of datasets, as AMFMN's Fig. 7 shows them: the captions of every image against every image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from rsitr.captions.similarity_map import SimilarityMap
from rsitr.figures.canvas import GREY, canvas, grid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

COLUMNS = 3
"""At most this many datasets side by side; lines of panels have equal length if possible."""
EXPLANATION = (
    "Images and captions are in the same order, by class and number; ticks are borders of classes. "
    "A cell that covers several pairs of images shows the highest value."
)
LINE = 48
"""Letters that fit on a line of text, per panel across."""
PANEL = 3.1
"""Inches: width of a panel. At 200 dots per inch, every cell has its own dot."""


class Panel(NamedTuple):
    """One dataset."""

    title: str
    map: SimilarityMap


def _draw_panel(axes: Axes, panel: Panel) -> AxesImage:
    cells = panel.map.cells
    edge = len(cells)
    # Without interpolation, which would wash out a diagonal of single cells.
    image = axes.imshow(cells, vmin=0, vmax=1, cmap="viridis", interpolation="nearest", extent=(0, edge, edge, 0))
    borders = [end for _, end in panel.map.classes[:-1]]
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.tick_params(which="minor", length=3, width=0.6)
    axes.set(xticks=[], yticks=[])
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_title(f"average {panel.map.average:.3f}", loc="right", fontsize=9, color=GREY)
    axes.set_xlabel(f"{panel.map.captions:,} captions", fontsize=9)
    axes.set_ylabel(f"{panel.map.images:,} images", fontsize=9)
    return image


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG, all panels with the colours of one scale from 0 to 1."""
    down = -(-len(panels) // COLUMNS)
    across = -(-len(panels) // down)
    title = fill(title, LINE * across)
    with canvas(path, title, 0.9 + PANEL * across, 0.8 + (PANEL + 0.3) * down) as figure:
        for axes, panel in grid_of(figure, panels, across, down):
            image = _draw_panel(axes, panel)
        figure.supxlabel(fill(EXPLANATION, LINE * across), fontsize=8, color=GREY)
        bar = figure.colorbar(image, ax=figure.axes, shrink=0.8, aspect=30)
        bar.set_label("similarity", fontsize=9)
    return path
