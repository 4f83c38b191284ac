"""Measures of semantic localisation: Rsu, Ras, Rda and Rmi of a map against the regions where a text is true.

Z. Yuan et al., "Learning to Evaluate Performance of Multimodal Semantic Localization" (SeLo v1), with the constants and
rounding of the published evaluation: centres, radii and peaks are whole pixels, rounded down. Only overlapping regions
are treated differently: here they unite, there they cancel out; those of AIR-SLT do not overlap.

A map is uint8 [H, W], its probability p = value / 255. A region is a polygon: its vertices (x, y) in pixels, as listed;
a vertex that closes the polygon is listed and counts twice. Pixels without a result have p = 0 and belong to no area.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from rsitr.errors import SceneError

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.int64]
"""(x, y) in whole pixels: [N, 2]."""
Region = Sequence[Sequence[float]] | npt.NDArray[np.floating]

RSU_SLOPE, RSU_EPSILON = 0.707, 1e-7
RADIUS_FACTOR = 1.5
BOX, SMOOTHINGS, NEIGHBOURHOOD = 50, 5, 1000
"""Pixels of the box filter and how often it is applied; pixels of the square in which a peak is the maximum."""
LEAST_PROBABILITY = 0.5
RAS_SLOPE = 3.0
RDA_DECAY = 0.5
WEIGHTS = (0.4, 0.35, 0.25)
"""Of Rsu, 1 - Ras and Rda in Rmi."""


class Metrics(NamedTuple):
    """Each from 0 to 1."""

    rsu: float
    """Significant area proportion; higher is better."""
    ras: float
    """Attention shift; lower is better."""
    rda: float
    """Discrete attention; higher is better."""
    rmi: float
    """Their weighted mean; higher is better."""


class Circle(NamedTuple):
    """What represents a region when distances are measured."""

    x: int
    y: int
    radius: int

    def inside(self, points: Points) -> Points:
        """Those of the points in the circle or on it."""
        return points[self.distances(points) <= self.radius]

    def distances(self, points: Points) -> npt.NDArray[np.float64]:
        """[N] of points [N, 2] to the centre."""
        return np.hypot(points[:, 0] - self.x, points[:, 1] - self.y)


def metrics(heat: Bytes, regions: Sequence[Region], valid: Mask | None = None) -> Metrics:
    """All four measures of a map [H, W] (``Heatmap.map``) against one or more regions.

    ``valid`` [H, W] marks the pixels with a result; default: all. Raises ``SceneError`` if there is no region, or one
    has fewer than three vertices, no extent or no valid pixel.
    """
    known = np.ones(heat.shape, dtype=bool) if valid is None else valid
    heat = np.where(known, heat, 0).astype(np.uint8)
    mask = region_mask(regions, heat.shape) & known
    if not mask.any():
        raise SceneError("no region holds a pixel with a result: look at the nodata value and the mask of the scene")
    circles, found = [circle(region) for region in regions], peaks(heat)
    values = rsu(heat, mask, int(known.sum())), ras(circles, found), rda(circles, found)
    return Metrics(*values, rmi(*values))


def region_mask(regions: Sequence[Region], shape: tuple[int, ...]) -> Mask:
    """[H, W]: the pixels of all regions, their outlines included; raises ``SceneError`` as ``metrics`` does."""
    if not regions:
        raise SceneError("no region: give at least one polygon where the text is true")
    mask = np.zeros(shape, dtype=np.uint8)
    for number, region in enumerate(regions):
        polygon = np.asarray(region, dtype=np.float64)
        if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
            raise SceneError(f"region {number}: a polygon needs three vertices (x, y) or more")
        one = np.zeros(shape, dtype=np.uint8)
        cv2.fillPoly(one, [polygon.astype(np.int32)], 1)
        if not one.any() or circle(region).radius < 1:
            size = f"{shape[1]} x {shape[0]}"
            raise SceneError(f"region {number} covers no pixel of {size}: vertices are (x, y) in pixels")
        mask |= one
    return mask.astype(bool)


def circle(region: Region) -> Circle:
    """Around the mean of the vertices, with r = 1.5 x their mean distance from it."""
    vertices = np.asarray(region, dtype=np.float64)
    x, y = vertices.mean(axis=0).astype(int).tolist()
    reach = np.hypot(vertices[:, 0] - x, vertices[:, 1] - y).mean()
    return Circle(x, y, int(reach * RADIUS_FACTOR))


def peaks(heat: Bytes) -> Points:
    """Where the map attends to, (x, y), highest p first.

    The map is smoothed by a box of 50 x 50, five times; pixels above 0 that are the maximum of the 1,000 x 1,000 around
    them form components (8 neighbours); their centroids are the peaks, if p of the map is 0.5 or more there.
    """
    soft = heat
    for _ in range(SMOOTHINGS):
        soft = np.asarray(cv2.boxFilter(soft, -1, (BOX, BOX)), dtype=np.uint8)
    highest = (soft == maximum_filter(soft, size=NEIGHBOURHOOD)) & (soft > 0)
    centroids = cv2.connectedComponentsWithStats(highest.astype(np.uint8), connectivity=8)[3][1:]
    points = centroids.astype(np.int64).reshape(-1, 2)
    height = heat[points[:, 1], points[:, 0]] / 255
    order = np.argsort(-height, kind="stable")
    return points[order][height[order] >= LEAST_PROBABILITY]


def rsu(heat: Bytes, mask: Mask, area: int) -> float:
    """Significant area proportion: 1 - exp(-0.707 [sum(p m) / (sum(p) - sum(p m) + 1e-7)] [(A - sum(m)) / sum(m)]).

    ``mask`` [H, W] is m; ``area`` is A, the number of pixels with a result. An even map has 1 - exp(-0.707) = 0.507.
    """
    inside = int(heat[mask].sum(dtype=np.int64)) / 255
    outside = int(heat.sum(dtype=np.int64)) / 255 - inside
    covered = int(mask.sum())
    return float(1 - np.exp(-RSU_SLOPE * inside / (outside + RSU_EPSILON) * (area - covered) / covered))


def ras(circles: Sequence[Circle], found: Points) -> float:
    """Attention shift: (e^(3 x) - 1) / (e^3 - 1) with x = mean over regions of offset / r.

    The offset of a region is the mean distance of the peaks in its circle from the centre, and r without one.
    """
    inside = [(region, region.inside(found)) for region in circles]
    shifts = [region.distances(points).mean() / region.radius if len(points) else 1.0 for region, points in inside]
    return float(np.expm1(RAS_SLOPE * np.mean(shifts)) / np.expm1(RAS_SLOPE))


def rda(circles: Sequence[Circle], found: Points) -> float:
    """Discrete attention: the mean over regions of a value for the n peaks in the circle.

    n = 0: 0; n = 1: 1; else 0.5 (1 - d / r) + exp(-0.5 (n + 2)), d = mean distance of these peaks from their mean.
    """
    values = []
    for region in circles:
        inside = region.inside(found)
        value = float(len(inside))
        if value > 1:
            spread = np.hypot(*(inside - inside.mean(axis=0)).T).mean()
            value = 0.5 * (1 - spread / region.radius) + np.exp(-RDA_DECAY * (len(inside) + 2))
        values.append(value)
    return float(np.mean(values))


def rmi(rsu: float, ras: float, rda: float) -> float:
    """The mean indicator: 0.4 Rsu + 0.35 (1 - Ras) + 0.25 Rda."""
    return WEIGHTS[0] * rsu + WEIGHTS[1] * (1 - ras) + WEIGHTS[2] * rda
