"""What a mask over an image highlights, as AMFMN's Fig. 10 shows it: image, mask, and one over the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsitr.figures.canvas import OPACITY, canvas, over, picture

PANEL = 1.7
"""Inches: width of a sample."""
LETTERS = 16
"""Of the title for each sample."""


class Sample(NamedTuple):
    """An image with its mask."""

    image: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    mask: npt.NDArray[np.floating]
    """[h, w] from 0 to 1, over the whole image, in its own resolution."""
    title: str = ""


def draw(title: str, samples: Sequence[Sample], path: Path, quantity: str = "mask") -> Path:
    """Write the picture as PNG (``canvas``), a column for each sample; ``quantity`` is what the mask shows."""
    title = fill(title, LETTERS * (1 + len(samples)))
    with canvas(path, title, 1.1 + PANEL * len(samples), 0.6 + 3 * PANEL) as figure:
        grid = figure.subplots(3, len(samples), squeeze=False)
        for sample, (image, mask, both) in zip(samples, grid.T, strict=True):
            for axes in (image, both):
                picture(axes, sample.image)
            # Unchanged in its own row, smooth over the image: blocks would hide what is under their edges.
            shown = over(mask, sample.image, sample.mask, vmin=0, vmax=1, interpolation="nearest")
            over(both, sample.image, sample.mask, vmin=0, vmax=1, interpolation="bilinear", alpha=OPACITY)
            image.set_title(sample.title, fontsize=8)
            mask.set(xticks=[], yticks=[])
        for axes, name in zip(grid[:, 0], ("image", "mask", "both"), strict=True):
            axes.set_ylabel(name, fontsize=9)
        bar = figure.colorbar(shown, ax=grid, shrink=0.6, aspect=30)
        bar.set_label(quantity, fontsize=9)
    return path
