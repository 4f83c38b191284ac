"""What the figures share: how one becomes a file, how its panels are arranged, and how they look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from rsitr.records.files import replacing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

P = TypeVar("P")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
GREY = "#555555"
OPACITY = 0.55
"""Of a map over an image."""
LETTERS = 11
"""Of a title, on an inch."""


@contextmanager
def canvas(path: Path, title: str, width: float, height: float, dpi: int = 200) -> Iterator[Figure]:
    """A figure of a size in inches, written as PNG at the end of the block.

    Equal input gives equal bytes with the same matplotlib.
    """
    # Whoever only asks what figures there are need not wait for it.
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default"):
        figure = Figure(figsize=(width, height), layout="constrained")
        if title:
            figure.suptitle("\n".join(wrapped(title, int(LETTERS * width))), fontsize=11)
        yield figure
        with replacing(path) as partial:
            # The name and version of the writer would change the bytes without changing the picture.
            figure.savefig(partial, dpi=dpi, metadata={"Software": None}, format="png")


def arranged(panels: int, columns: int) -> tuple[int, int]:
    """How many of some panels are side by side, and how many lines they take."""
    across = min(columns, panels)
    return across, -(-panels // across)


def grid_of(figure: Figure, panels: Sequence[P], across: int, down: int, **shared: Any) -> Iterator[tuple[Axes, P]]:
    """Each panel with its axes, line by line; what the last line does not need is invisible."""
    grid = figure.subplots(down, across, squeeze=False, **shared)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return zip(grid.flat[: len(panels)], panels, strict=True)


def lines_of(figure: Figure, heights: Sequence[float]) -> list[SubFigure]:
    """A part of the figure for each line, with heights in these ratios."""
    return list(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])


def plot(axes: Axes, heading: str, grid: Any = "both", fontsize: int = 10) -> None:
    """Axes of numbers: a heading on the left, a pale grid behind the data, no frame above and on the right."""
    axes.set_title(heading, loc="left", fontsize=fontsize)
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def picture(axes: Axes, image: npt.NDArray[np.uint8]) -> None:
    """An image [H, W, 3] without ticks, in the pixels of its own size."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    axes.set(xticks=[], yticks=[])


def over(axes: Axes, image: npt.NDArray[np.uint8], values: npt.NDArray[np.floating], **style: Any) -> AxesImage:
    """A map [h, w] as wide and as high as an image [H, W, 3], whatever its own resolution."""
    height, width = image.shape[:2]
    return axes.imshow(values, cmap="inferno", extent=(0, width, height, 0), **style)


def error_bars(axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], **style: Any) -> None:
    """A curve through the means over seeds, with their standard deviations where any has several seeds."""
    spread = [stdev(seeds) if len(seeds) > 1 else 0 for seeds in values]
    axes.errorbar(x, [mean(seeds) for seeds in values], yerr=spread if any(spread) else None, **style)


def wrapped(text: str, letters: int) -> list[str]:
    """The lines of a text; a dollar sign in it is not a formula."""
    return [line.replace("$", r"\$") for line in wrap(text, letters)]


def blank(axes: Axes, text: str) -> None:
    """Text where there is nothing to plot."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, transform=axes.transAxes)


def legend_below(figure: Figure, entries: Sequence[Artist], ncols: int = 2) -> None:
    """The legend of the whole figure."""
    figure.legend(handles=entries, loc="outside lower center", ncols=ncols, fontsize=8, frameon=False)
