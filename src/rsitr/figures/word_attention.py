"""What each word of a caption looks at in an image, as MTGFE's Figs. 6 and 7 show it: the image, then word by word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from rsitr.figures.canvas import OPACITY, canvas, lines_of, over, picture

COLUMNS = 8
"""Pictures in a line: the image and up to seven words; further words start another line."""
PANEL = 1.25
"""Inches: width of a picture."""
LETTERS = 110
"""Of a caption or a title in a line."""
NOTE = "dark: least, bright: most of the word's attention, both in multiples of an even share"


class Reading(NamedTuple):
    """An image and what the words of its caption look at."""

    label: str
    """Whose reading it is: a method, possibly with its variant."""
    image: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    words: tuple[str, ...]
    maps: npt.NDArray[np.floating]
    """[words, h, w]: shares of a word's attention over the whole image."""


def _draw_word(axes: Axes, reading: Reading, number: int) -> None:
    picture(axes, reading.image)
    # Each word from its own minimum to its own maximum; the title says how far these are from an even share.
    shares = reading.maps[number] * reading.maps[number].size
    over(axes, reading.image, shares, alpha=OPACITY, interpolation="bilinear")
    axes.set_title(f"{reading.words[number]}\n{shares.min():.2f} - {shares.max():.2f}", fontsize=7)


def _lines(reading: Reading) -> int:
    return -(-len(reading.words) // (COLUMNS - 1))


def draw(title: str, readings: Sequence[Reading], path: Path) -> Path:
    """Write the picture as PNG, a block of lines for each reading; equal input gives equal bytes.

    Above each map are its word and the smallest and largest share of its attention at any place of the image, in
    multiples of an even share: 1.00 - 1.00 is a word that looks everywhere equally.
    """
    heights = [0.35 + (PANEL + 0.35) * _lines(reading) for reading in readings]
    with canvas(path, "", PANEL * COLUMNS + 0.3, 0.8 + sum(heights)) as figure:
        for part, reading in zip(lines_of(figure, heights), readings, strict=True):
            part.suptitle(fill(reading.label, LETTERS), x=0.01, ha="left", fontsize=9)
            grid = part.subplots(_lines(reading), COLUMNS, squeeze=False)
            for axes in grid.flat:
                axes.set_axis_off()
            grid[0, 0].imshow(reading.image)
            grid[0, 0].set_title("image\n", fontsize=7)
            for number in range(len(reading.words)):
                line, column = divmod(number, COLUMNS - 1)
                _draw_word(grid[line, 1 + column], reading, number)
        figure.suptitle(f"{fill(title, LETTERS)}\n({NOTE})", fontsize=9)
    return path
