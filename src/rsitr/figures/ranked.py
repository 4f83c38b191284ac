"""What queries find: images, as AMFMN's Fig. 11 shows it, and captions, as on the left of PIR's Fig. 7.

The ground truth has an orange frame. Dashed frames: other images that have the query among their own texts, and
captions of other images that say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from rsitr.figures.canvas import GREY, canvas, legend_below, lines_of, picture, wrapped

# Okabe and Ito's orange, which colour-blind readers can tell from satellite imagery.
FRAME = "#e69f00"
TRUTH: dict[str, Any] = {"facecolor": "none", "edgecolor": FRAME}
SAME = TRUTH | {"linestyle": (0, (2, 2))}
ROW, TEXT, IMAGE, LINE = 1.75, 2.7, 1.4, 0.16
"""Inches: minimum height of a query, width of its text and of an image, height of a line of text."""
LETTERS = 40
"""In a line of a query's text."""
QUERY_IMAGE, CAPTIONS, CAPTION_LINE = 1.6, 5.6, 0.17
"""Inches: side of an image that is the query, width of its captions, height of a line of text."""
CAPTION_LETTERS = 88
"""In a line of a caption."""
OWN_CAPTION, SAME_CAPTION = TRUTH | {"linewidth": 1.5}, SAME | {"linewidth": 1}


class Image(NamedTuple):
    """An image that was found."""

    image: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    matches: bool
    """Whether it is the ground truth."""
    class_name: str = ""
    shares: bool = False
    """Whether the query is a text of this image as well as of the ground truth."""


class Images(NamedTuple):
    """A query with the images that it found."""

    mode: str
    """What the query is: sentence, keywords, both."""
    sentence: str
    """Empty for a query of keywords."""
    keywords: tuple[str, ...]
    """Empty for a query of a sentence."""
    hits: tuple[Image, ...]
    """The best first."""
    rank: int
    """Of the ground truth, from 1."""


class Caption(NamedTuple):
    """A caption that was found."""

    caption: str
    matches: bool
    """Whether it is one of the image's own."""
    shares: bool = False
    """Whether it says the same as one of them."""


class Captions(NamedTuple):
    """An image with the captions that it found."""

    image: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    class_name: str
    hits: tuple[Caption, ...]
    """The best first."""


def _lines(ranking: Images) -> list[str]:
    """The text of a query, with an empty line between sentence and keywords."""
    texts = filter(None, (ranking.sentence, ", ".join(ranking.keywords)))
    return [line for text in texts for line in [*wrapped(text, LETTERS), ""]][:-1]


def _text(axes: Axes, ranking: Images) -> None:
    axes.set_axis_off()
    axes.annotate(ranking.mode, (0, 1), xycoords="axes fraction", va="top", fontsize=9, fontweight="bold")
    below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8}
    axes.annotate("\n".join(_lines(ranking)), (0, 1), (0, -17), va="top", **below)
    if not any(hit.matches for hit in ranking.hits):
        note = f"ground truth at rank {ranking.rank}"
        axes.annotate(note, (0, 0), (0, 0), va="bottom", color=GREY, **below)


def _image(axes: Axes, rank: int, hit: Image) -> None:
    picture(axes, hit.image)
    axes.set_anchor("N")
    style: dict[str, Any] = {"linewidth": 4} if hit.matches else {"linewidth": 2, "linestyle": (0, (2, 2))}
    axes.spines[:].set(visible=hit.matches or hit.shares, color=FRAME, **style)
    axes.set_title(str(rank), fontsize=8, pad=4)
    axes.set_xlabel(hit.class_name, fontsize=7, color=GREY, labelpad=4)


def _row(part: SubFigure, ranking: Images, most: int) -> None:
    axes = part.subplots(1, 1 + most, width_ratios=[TEXT, *[IMAGE] * most])
    _text(axes[0], ranking)
    for place, image_axes in enumerate(axes[1:]):
        if place < len(ranking.hits):
            _image(image_axes, place + 1, ranking.hits[place])
        else:
            image_axes.set_axis_off()


def draw(title: str, rankings: Sequence[Images], path: Path) -> Path:
    """Write the picture as PNG, a line for each query; equal input gives equal bytes with the same matplotlib."""
    most = max(len(ranking.hits) for ranking in rankings)
    # Room for the mode, the text, and a note below it.
    heights = [max(ROW, LINE * (len(_lines(ranking)) + 4)) for ranking in rankings]
    with canvas(path, title, TEXT + IMAGE * most, 0.6 + sum(heights)) as figure:
        for part, ranking in zip(lines_of(figure, heights), rankings, strict=True):
            _row(part, ranking, most)
        truth = Patch(**TRUTH, linewidth=2, label="ground truth")
        same = Patch(**SAME, linewidth=1.5, label="other image with the same text")
        _legend(figure, rankings, truth, same)
    return path


def _legend(figure: Figure, rankings: Sequence[Images | Captions], truth: Patch, same: Patch) -> None:
    hits = (hit for ranking in rankings for hit in ranking.hits)
    legend_below(figure, [truth, same] if any(hit.shares and not hit.matches for hit in hits) else [truth])


def _height(ranking: Captions) -> float:
    """Inches: room for the image with its class, and for all lines with a gap between captions."""
    lines = sum(len(wrapped(hit.caption, CAPTION_LETTERS)) + 0.8 for hit in ranking.hits)
    return max(QUERY_IMAGE + 0.35, CAPTION_LINE * lines + 0.2)


def _caption_row(part: SubFigure, ranking: Captions) -> None:
    left, right = part.subplots(1, 2, width_ratios=[QUERY_IMAGE, CAPTIONS])
    picture(left, ranking.image)
    left.set_anchor("N")
    left.set_xlabel(ranking.class_name, fontsize=7, color=GREY)
    right.set_axis_off()
    down = 0.0
    for place, hit in enumerate(ranking.hits, start=1):
        lines = wrapped(hit.caption, CAPTION_LETTERS)
        at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top", "fontsize": 8}
        frame = OWN_CAPTION if hit.matches else SAME_CAPTION if hit.shares else None
        mark = {"bbox": {"pad": 1.5, **frame}} if frame else {}
        right.annotate(str(place), (0, 1), (8, -72 * down), ha="right", color=GREY, **at)  # type: ignore[arg-type]
        right.annotate("\n".join(lines), (0, 1), (14, -72 * down), linespacing=1.1, **at, **mark)  # type: ignore[arg-type]
        down += CAPTION_LINE * (len(lines) + 0.8)


def draw_captions(title: str, rankings: Sequence[Captions], path: Path) -> Path:
    """Write the picture as PNG, a row for each image; equal input gives equal bytes with the same matplotlib."""
    heights = [_height(ranking) for ranking in rankings]
    with canvas(path, title, QUERY_IMAGE + CAPTIONS, 0.7 + sum(heights)) as figure:
        for part, ranking in zip(lines_of(figure, heights), rankings, strict=True):
            _caption_row(part, ranking)
        truth = Patch(**OWN_CAPTION, label="a caption of the image itself")
        _legend(figure, rankings, truth, Patch(**SAME_CAPTION, label="the same words, of another image"))
    return path
