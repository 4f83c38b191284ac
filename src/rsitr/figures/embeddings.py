"""Images and texts in the common space, as PIR's Figs. 1 and 8 show them: t-SNE, coloured by scene class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rsitr.figures.canvas import arranged, canvas, grid_of, legend_below

# Okabe and Ito's palette, which colour-blind readers can tell apart; nobody can tell more colours apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a500", "#000000")
GREY = "#c8c8c8"
COLUMNS = 3
"""Panels side by side."""
SIDE = 3.3
"""Inches: of a panel."""
PERPLEXITY = 30.0


class Panel(NamedTuple):
    """The test split as one method sees it."""

    label: str
    images: npt.NDArray[np.floating]
    """[I, D] of unit length."""
    texts: npt.NDArray[np.floating]
    """[I, D]: a text of each image."""
    score: str
    """How far apart things are, in words."""


def project(points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Points [N, D] in two dimensions by t-SNE (L. van der Maaten, G. Hinton, JMLR 2008), initialised with their
    PCA."""
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(points.astype(np.float64))


def colours_of(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each of the most frequent classes, which come first; other classes stay grey."""
    counts = Counter(name for name in classes if name)
    common = sorted(counts, key=lambda name: (-counts[name], name))[: len(COLOURS)]
    return dict(zip(common, COLOURS, strict=False))


def _draw_panel(axes: Axes, panel: Panel, classes: Sequence[str], colours: dict[str, str]) -> None:
    placed = project(np.concatenate([panel.images, panel.texts]))
    shades = np.array([colours.get(name, GREY) for name in classes])
    # The grey ones are underneath.
    for order, grey in enumerate((shades == GREY, shades != GREY)):
        for points, marker, size in ((placed[: len(classes)], "o", 9), (placed[len(classes) :], "x", 11)):
            x, y = points[grey].T
            axes.scatter(x, y, s=size, c=shades[grey], marker=marker, linewidths=0.7, alpha=0.8, zorder=order + 1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(panel.label, fontsize=10)
    axes.set_xlabel(panel.score, fontsize=8)


def _legend(classes: Sequence[str], colours: dict[str, str]) -> list[Line2D]:
    others = len({name for name in classes if name} - set(colours))
    grey = f"{others} other classes" if others else "without a class"
    named = [("o", "#555555", 5, "image"), ("x", "#555555", 5, "text")]
    named += [("s", colour, 6, name) for name, colour in colours.items()]
    named += [("s", GREY, 6, grey)] if others or "" in classes else []
    return [Line2D([], [], linestyle="", marker=m, color=c, ms=size, label=name) for m, c, size, name in named]


def draw(title: str, panels: Sequence[Panel], classes: Sequence[str], path: Path) -> Path:
    """Write the picture as PNG; ``classes`` [I] are those of the images, empty if there are none.

    Without panels it says that there is nothing to show.
    Equal input gives equal bytes with the same matplotlib and scikit-learn.
    """
    if not panels:
        with canvas(path, title, 2 * SIDE, 1.2) as figure:
            figure.set_layout_engine("none")
            figure.text(0.5, 0.4, "no model is available here", ha="center", color="#555555")
        return path
    colours = colours_of(classes)
    across, down = arranged(len(panels), COLUMNS)
    with canvas(path, title, max(2, across) * SIDE, 1.2 + down * (SIDE + 0.3)) as figure:
        for axes, panel in grid_of(figure, panels, across, down):
            _draw_panel(axes, panel, classes, colours)
        legend_below(figure, _legend(classes, colours), 3 if across < 3 else 6)
    return path
