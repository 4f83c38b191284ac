"""The best places of a text as GeoJSON (RFC 7946): polygons in longitude and latitude (WGS84), for any GIS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsitr.localisation.georeference import Georeference
from rsitr.localisation.places import Place
from rsitr.localisation.write import written

SIDE = 8
"""Pieces of each side of a window, which a projection bends."""
BEND = 1e-3
"""Share of a window's extent by which its sides may bend before the polygon has more points than its corners."""
DIGITS = 8
"""Decimals of a degree: about a millimetre."""

Ring = npt.NDArray[np.float64]
"""(longitude, latitude) in degrees: [N, 2]; the last is not the first again."""


def write_geojson(path: Path, query: str, places: Sequence[Place], georeference: Georeference) -> int:
    """Write the places of a query, best first; returns how many have corners off the Earth and are left out.

    Raises ``SceneError`` if the scene is not georeferenced, or the file cannot be written.
    """
    features = []
    for place in places:
        columns, rows = outline(place)
        ring = np.stack(georeference.lonlat(columns, rows), axis=1)
        if not np.isnan(ring).any():
            properties = {"text": query, **place._asdict()}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry(ring)})
    found = {"type": "FeatureCollection", "features": features}
    with written(path) as partial:
        partial.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return len(places) - len(features)


def outline(place: Place) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Columns and rows [4 * SIDE] of points along the edges of a window, from its upper left corner downwards."""
    steps = np.arange(SIDE) / SIDE
    low, high = np.zeros(SIDE), np.ones(SIDE)
    across = np.concatenate([low, steps, high, 1 - steps])
    down = np.concatenate([steps, high, 1 - steps, low])
    return place.column + place.width * across, place.row + place.height * down


def geometry(ring: Ring) -> dict[str, Any]:
    """A polygon, or two if the ring crosses the antimeridian, as RFC 7946 asks (section 3.1.9)."""
    parts = [part for part in cut(straightened(unwrapped(ring))) if _area(part) != 0]
    polygons = [[_closed(part)] for part in parts]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def unwrapped(ring: Ring) -> Ring:
    """The ring without jumps of 360 degrees; its least longitude is -180 or more, and less than 180.

    A ring around a pole is led along its meridian to the pole and back.
    """
    longitudes = np.unwrap(np.append(ring[:, 0], ring[0, 0]), period=360)
    turned = longitudes[-1] - longitudes[0]
    flat = np.stack([longitudes[:-1], ring[:, 1]], axis=1)
    if abs(turned) > 180:
        pole = float(np.copysign(90, ring[:, 1].mean()))
        flat = np.concatenate([flat, [(longitudes[-1], ring[0, 1]), (longitudes[-1], pole), (longitudes[0], pole)]])
    flat[:, 0] -= 360 * np.floor((flat[:, 0].min() + 180) / 360)
    return flat


def straightened(ring: Ring) -> Ring:
    """The corners alone of a ring of ``outline`` whose sides are as good as straight."""
    if len(ring) != 4 * SIDE:
        return ring
    corners = ring[::SIDE]
    ends = np.roll(corners, -1, axis=0)
    steps = (np.arange(SIDE) / SIDE)[None, :, None]
    straight = (corners[:, None] + steps * (ends - corners)[:, None]).reshape(ring.shape)
    return corners if np.abs(ring - straight).max() <= BEND * np.ptp(ring, axis=0).min() else ring


def cut(ring: Ring) -> list[Ring]:
    """The parts of a ring west and east of the antimeridian; a convex ring has at most one each."""
    if ring[:, 0].max() <= 180:
        return [ring]
    west = _west_of(ring, 180.0)
    east = _west_of(ring * (-1, 1), -180.0) * (-1, 1) - (360, 0)
    return [west, east]


def _west_of(ring: Ring, border: float) -> Ring:
    """What of a ring is west of a meridian, by Sutherland and Hodgman's rule."""
    kept = []
    for start, end in pairwise([*ring, ring[0]]):
        if start[0] <= border:
            kept.append(start)
        if (start[0] - border) * (end[0] - border) < 0:
            share = (border - start[0]) / (end[0] - start[0])
            kept.append(np.array([border, start[1] + share * (end[1] - start[1])]))
    return np.array(kept)


def _area(ring: Ring) -> float:
    """In square degrees; above 0 if the ring is counterclockwise."""
    x, y = (ring - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _closed(ring: Ring) -> list[list[float]]:
    """Counterclockwise, the first position again at the end, as RFC 7946 asks (section 3.1.6)."""
    ordered = ring if _area(ring) > 0 else ring[::-1]
    return np.concatenate([ordered, ordered[:1]]).round(DIGITS).tolist()
