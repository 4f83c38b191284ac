"""Texts located in scenes, as AMFMN's Fig. 14 shows them: the scene, the map, and the map over the scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon

from rsitr.datasets.rasters import Piece
from rsitr.figures.canvas import GREY, canvas, lines_of
from rsitr.localisation.metrics import Region
from rsitr.localisation.write import RELATIVE, blended

COLUMNS = ("scene", "map", "map over scene")
LINE = 110
"""Letters of a query that fit on a line."""
PANEL = 3.0
"""Inches: width of a picture. At 200 dots per inch, 600 dots."""
TRUTH = "#00e5ff"
"""Outline of the true region; no colour of the map is close to it."""


class Panel(NamedTuple):
    """One query in one scene."""

    query: str
    scene: Piece
    """Reduced to a viewing size (``Scene.thumbnail``)."""
    heat: npt.NDArray[np.float32]
    """[h, w] of the scene's size, 0 to 1, NaN without a result (``write.read_map``)."""
    regions: Sequence[Region] = ()
    """Where the query is true, if known: vertices (x, y) in pixels of the reduced scene."""


def _draw_row(row: Sequence[Axes], panel: Panel) -> AxesImage:
    row[0].imshow(panel.scene.pixels)
    image = row[1].imshow(panel.heat, vmin=0, vmax=1, cmap="inferno", interpolation="nearest")
    row[2].imshow(blended(panel.scene, panel.heat))
    for axes, name in zip(row, COLUMNS, strict=True):
        axes.set_xlabel(name, fontsize=8, color=GREY)
        axes.set(xticks=[], yticks=[])
        for region in panel.regions:
            axes.add_patch(Polygon(np.asarray(region, dtype=float), fill=False, edgecolor=TRUTH, linewidth=1.2))
    return image


def draw(title: str, panels: Sequence[Panel], path: Path) -> Path:
    """Write the picture as PNG, a line of three pictures for each query; equal input gives equal bytes."""
    aspects = [panel.heat.shape[0] / panel.heat.shape[1] for panel in panels]
    texts = [0.45 + 0.25 * (len(panel.query) // LINE) for panel in panels]
    heights = [text + PANEL * aspect for text, aspect in zip(texts, aspects, strict=True)]
    with canvas(path, title, 3 * PANEL + 0.8, 0.5 + sum(heights)) as figure:
        for number, (part, panel) in enumerate(zip(lines_of(figure, heights), panels, strict=True)):
            row = part.subplots(1, 3)
            image = _draw_row(row, panel)
            part.suptitle(fill(f"({chr(ord('a') + number)}) {panel.query}", LINE), x=0.01, ha="left", fontsize=10)
            bar = part.colorbar(image, ax=row, shrink=0.8, aspect=20)
            bar.ax.tick_params(labelsize=7)
            bar.set_label(RELATIVE.replace(": ", "\n"), fontsize=8)
    return path
