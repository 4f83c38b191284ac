"""What queries find, as AMFMN's Fig. 11 shows it: the first images of each, the ground truth in an orange frame.

Other images that have the query among their own texts have a dashed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Patch

from rsitr.figures.canvas import GREY, canvas, legend_below, lines_of, picture, wrapped

# Okabe and Ito's orange, which colour-blind readers can tell from satellite imagery.
FRAME = "#e69f00"
ROW, TEXT, IMAGE, LINE = 1.75, 2.7, 1.4, 0.16
"""Inches: minimum height of a query, width of its text and of an image, height of a line of text."""
LETTERS = 40
"""In a line of a query's text."""


class Hit(NamedTuple):
    """An image that was found."""

    image: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    matches: bool
    """Whether it is the ground truth."""
    class_name: str = ""
    shares: bool = False
    """Whether the query is a text of this image as well as of the ground truth."""


class Ranking(NamedTuple):
    """A query with what it found."""

    mode: str
    """What the query is: sentence, keywords, both."""
    sentence: str
    """Empty for a query of keywords."""
    keywords: tuple[str, ...]
    """Empty for a query of a sentence."""
    hits: tuple[Hit, ...]
    """The best first."""
    rank: int
    """Of the ground truth, from 1."""


def _lines(ranking: Ranking) -> list[str]:
    """The text of a query, with an empty line between sentence and keywords."""
    texts = filter(None, (ranking.sentence, ", ".join(ranking.keywords)))
    return [line for text in texts for line in [*wrapped(text, LETTERS), ""]][:-1]


def _text(axes: Axes, ranking: Ranking) -> None:
    axes.set_axis_off()
    axes.annotate(ranking.mode, (0, 1), xycoords="axes fraction", va="top", fontsize=9, fontweight="bold")
    below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8}
    axes.annotate("\n".join(_lines(ranking)), (0, 1), (0, -17), va="top", **below)
    if not any(hit.matches for hit in ranking.hits):
        note = f"ground truth at rank {ranking.rank}"
        axes.annotate(note, (0, 0), (0, 0), va="bottom", color=GREY, **below)


def _image(axes: Axes, rank: int, hit: Hit) -> None:
    picture(axes, hit.image)
    axes.set_anchor("N")
    style: dict[str, Any] = {"linewidth": 4} if hit.matches else {"linewidth": 2, "linestyle": (0, (2, 2))}
    axes.spines[:].set(visible=hit.matches or hit.shares, color=FRAME, **style)
    axes.set_title(str(rank), fontsize=8, pad=4)
    axes.set_xlabel(hit.class_name, fontsize=7, color=GREY, labelpad=4)


def _row(part: SubFigure, ranking: Ranking, most: int) -> None:
    axes = part.subplots(1, 1 + most, width_ratios=[TEXT, *[IMAGE] * most])
    _text(axes[0], ranking)
    for place, image_axes in enumerate(axes[1:]):
        if place < len(ranking.hits):
            _image(image_axes, place + 1, ranking.hits[place])
        else:
            image_axes.set_axis_off()


def draw(title: str, rankings: Sequence[Ranking], path: Path) -> Path:
    """Write the picture as PNG, a line for each query; equal input gives equal bytes with the same matplotlib."""
    most = max(len(ranking.hits) for ranking in rankings)
    # Room for the mode, the text, and a note below it.
    heights = [max(ROW, LINE * (len(_lines(ranking)) + 4)) for ranking in rankings]
    with canvas(path, title, TEXT + IMAGE * most, 0.6 + sum(heights)) as figure:
        for part, ranking in zip(lines_of(figure, heights), rankings, strict=True):
            _row(part, ranking, most)
        key = [Patch(facecolor="none", edgecolor=FRAME, linewidth=2, label="ground truth")]
        if any(hit.shares and not hit.matches for ranking in rankings for hit in ranking.hits):
            label = "other image with the same text"
            key.append(Patch(facecolor="none", edgecolor=FRAME, linewidth=1.5, linestyle=(0, (2, 2)), label=label))
        legend_below(figure, key)
    return path
