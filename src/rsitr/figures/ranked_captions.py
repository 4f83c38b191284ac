"""What images find among captions, as on the left of PIR's Fig. 7: the first ones, with the image's own framed.

Captions of other images that say the same have a dashed frame.
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
from rsitr.figures.ranked import FRAME

IMAGE, TEXT, LINE = 1.6, 5.6, 0.17
"""Inches: side of an image, width of its captions, height of a line of text."""
LETTERS = 88
"""In a line of a caption."""
OWN: dict[str, Any] = {"facecolor": "none", "edgecolor": FRAME, "linewidth": 1.5}
SAME = OWN | {"linewidth": 1, "linestyle": (0, (2, 2))}


class Hit(NamedTuple):
    """A caption that was found."""

    caption: str
    matches: bool
    """Whether it is one of the image's own."""
    shares: bool = False
    """Whether it says the same as one of them."""


class Ranking(NamedTuple):
    """An image with what it found."""

    image: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    class_name: str
    hits: tuple[Hit, ...]
    """The best first."""


def _height(ranking: Ranking) -> float:
    """Inches: room for the image with its class, and for all lines with a gap between captions."""
    return max(IMAGE + 0.35, LINE * sum(len(wrapped(hit.caption, LETTERS)) + 0.8 for hit in ranking.hits) + 0.2)


def _write(axes: Axes, ranking: Ranking) -> None:
    axes.set_axis_off()
    down = 0.0
    for place, hit in enumerate(ranking.hits, start=1):
        lines = wrapped(hit.caption, LETTERS)
        at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top", "fontsize": 8}
        mark = {"bbox": {"pad": 1.5, **(OWN if hit.matches else SAME)}} if hit.matches or hit.shares else {}
        axes.annotate(str(place), (0, 1), (8, -72 * down), ha="right", color=GREY, **at)  # type: ignore[arg-type]
        axes.annotate("\n".join(lines), (0, 1), (14, -72 * down), linespacing=1.1, **at, **mark)  # type: ignore[arg-type]
        down += LINE * (len(lines) + 0.8)


def _row(part: SubFigure, ranking: Ranking) -> None:
    left, right = part.subplots(1, 2, width_ratios=[IMAGE, TEXT])
    picture(left, ranking.image)
    left.set_anchor("N")
    left.set_xlabel(ranking.class_name, fontsize=7, color=GREY)
    _write(right, ranking)


def draw(title: str, rankings: Sequence[Ranking], path: Path) -> Path:
    """Write the picture as PNG, a row for each image; equal input gives equal bytes with the same matplotlib."""
    heights = [_height(ranking) for ranking in rankings]
    with canvas(path, title, IMAGE + TEXT, 0.7 + sum(heights)) as figure:
        for part, ranking in zip(lines_of(figure, heights), rankings, strict=True):
            _row(part, ranking)
        key = [Patch(**OWN, label="a caption of the image itself")]
        if any(hit.shares and not hit.matches for ranking in rankings for hit in ranking.hits):
            key.append(Patch(**SAME, label="the same words, of another image"))
        legend_below(figure, key)
    return path
