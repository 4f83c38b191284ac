"""The dynamic margin against the similarity, as AMFMN's Fig. 6 shows it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rsitr.captions.margin import margin
from rsitr.figures.canvas import canvas, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAMMA, BETA = 0.5, 5.0
"""The value kept in the panel of the other setting; both from the paper."""
BETAS = (-20.0, -5.0, -2.0, 0.0, 2.0, 5.0, 20.0)
GAMMAS = (0.1, 0.3, 0.5, 0.7, 0.9)
POINTS = 401
LABELS_AT = 0.3
"""Similarity at which the curves of panel (b) have their labels."""

Curve = tuple[float, float, str, float]
"""The margin for one pair of settings: gamma, beta, its label and the similarity at which it has it."""


def _crossing(beta: float) -> float:
    """Where a curve meets the rising diagonal, which each curve crosses at a different place."""
    similarity = np.linspace(0, 1, POINTS)
    return float(similarity[np.argmin(np.abs(margin(similarity, 1, beta) - similarity))])


def _draw_panel(axes: Axes, curves: Iterable[Curve], heading: str) -> None:
    from matplotlib import colormaps

    curves, similarity = list(curves), np.linspace(0, 1, POINTS)
    # The end of the map is a yellow that is hard to see on paper.
    colours = colormaps["viridis"](np.linspace(0, 0.85, len(curves)))
    for (gamma, beta, label, place), colour in zip(curves, colours, strict=True):
        axes.plot(similarity, margin(similarity, gamma, beta), color=colour, linewidth=1.6)
        text = axes.text(place, float(margin(place, gamma, beta)), label, ha="center", va="center", fontsize=8)
        text.set_bbox({"color": "white", "pad": 1})
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="similarity S of caption and image", ylabel="margin α")
    plot(axes, heading)


def draw(path: Path) -> Path:
    """Write the picture as PNG: (a) several beta at one gamma, (b) several gamma at one beta (Eq. 29)."""
    betas = ((GAMMA, beta, f"β = {beta:g}".replace("-", "−"), _crossing(beta)) for beta in BETAS)
    gammas = ((gamma, BETA, f"γ = {gamma:g}", LABELS_AT) for gamma in GAMMAS)
    with canvas(path, "", 7.2, 3.1) as figure:
        left, right = figure.subplots(1, 2)
        _draw_panel(left, betas, f"(a) γ = {GAMMA:g}")
        _draw_panel(right, gammas, f"(b) β = {BETA:g}")
    return path
