"""The shapes of the objects that scenes are drawn from, as seen from above.

A stamp is a stack of polygons and lines in the frame of its object: the bounding circle has radius 1, u runs along the
object's direction and v along its long axis (nose, bow and front at v = -1). A role says how a shape is coloured.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Points = tuple[tuple[float, float], ...]


class Shape(NamedTuple):
    """One polygon, or one line if ``is_line``; ``role`` is a shade of the object's colour or a name of ``FIXED``."""

    role: str
    points: Points
    is_line: bool = False


SHADES = {"edge": 0.55, "dim": 0.78, "body": 1.0, "lit": 1.2}
"""How bright a shade of the object's own colour is."""
FIXED = {
    "asphalt": (92, 92, 96),
    "glass": (38, 46, 58),
    "pitch": (84, 136, 66),
    "soil": (176, 128, 84),
    "white": (240, 240, 236),
}
"""Colours that are the same for every object of a kind."""


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _symmetric(*right: tuple[float, float]) -> Points:
    """The outline whose right half is given, from the front to the back."""
    return (*right, *((-u, v) for u, v in reversed(right)))


def _arc(radius: float, start: float, stop: float, u: float = 0.0, v: float = 0.0, steps: int = 20) -> Points:
    angles = (math.radians(start + (stop - start) * step / steps) for step in range(steps + 1))
    return tuple((u + radius * math.cos(angle), v + radius * math.sin(angle)) for angle in angles)


def _disc(radius: float, u: float = 0.0, v: float = 0.0) -> Points:
    return _arc(radius, 0, 360, u, v)


def _fan(radius: float) -> Points:
    """The quarter disc of a baseball field with its corner, the home plate, at (0, 0.75)."""
    return ((0.0, 0.75), *_arc(radius, -135, -45, 0.0, 0.75))


def _oval(half_width: float, half_length: float) -> Points:
    straight = half_length - half_width
    return (*_arc(half_width, 180, 360, 0, -straight, 12), *_arc(half_width, 0, 180, 0, straight, 12))


def _line(role: str, *points: tuple[float, float]) -> Shape:
    return Shape(role, points, is_line=True)


def _outline(role: str, points: Points) -> Shape:
    return Shape(role, (*points, points[0]), is_line=True)


def _gable(left: float, top: float, right: float, bottom: float) -> tuple[Shape, ...]:
    """A pitched roof whose ridge runs along v: one slope in the light, one in the shade."""
    ridge = (left + right) / 2
    return (
        Shape("lit", _box(left, top, ridge, bottom)),
        Shape("dim", _box(ridge, top, right, bottom)),
        _line("edge", (ridge, top), (ridge, bottom)),
    )


STAMPS: dict[str, tuple[Shape, ...]] = {
    "baseball field": (
        Shape("body", _fan(1.37)),
        Shape("soil", _fan(0.82)),
        Shape("pitch", ((0, 0.55), (0.36, 0.19), (0, -0.17), (-0.36, 0.19))),
        Shape("soil", _disc(0.09, 0, 0.19)),
        Shape("soil", _disc(0.15, 0, 0.68)),
        _line("white", (-0.96, -0.21), (0, 0.75), (0.96, -0.21)),
    ),
    "bay": (_line("body", (-0.55, -0.82), (-0.55, 0.82), (0.55, 0.82), (0.55, -0.82)),),
    "boat": (
        Shape("body", ((0, -1), (0.35, -0.3), (0.3, 0.9), (-0.3, 0.9), (-0.35, -0.3))),
        Shape("glass", _box(-0.16, -0.1, 0.16, 0.5)),
    ),
    "bridge": (
        Shape("body", _box(-0.93, -0.36, 0.93, 0.36)),
        Shape("asphalt", _box(-0.93, -0.2, 0.93, 0.2)),
        *(_line("white", (u / 5, 0), (u / 5 + 0.1, 0)) for u in range(-4, 5)),
        *(_line("edge", (-0.93, v), (0.93, v)) for v in (-0.36, 0.36)),
    ),
    "building": (
        Shape("body", _box(-0.55, -0.83, 0.55, 0.83)),
        _outline("lit", _box(-0.47, -0.75, 0.47, 0.75)),
        Shape("dim", _box(-0.25, -0.5, 0.1, -0.15)),
        Shape("dim", _box(0.0, 0.25, 0.3, 0.5)),
    ),
    "car": (
        Shape("body", _box(-0.42, -0.88, 0.42, 0.88)),
        Shape("glass", _box(-0.34, -0.45, 0.34, -0.2)),
        Shape("lit", _box(-0.32, -0.2, 0.32, 0.4)),
        Shape("glass", _box(-0.32, 0.4, 0.32, 0.58)),
    ),
    "church": (
        *_gable(-0.24, -0.62, 0.24, 0.95),
        Shape("lit", _box(-0.72, -0.28, 0.72, -0.03)),
        Shape("dim", _box(-0.72, -0.03, 0.72, 0.2)),
        _line("edge", (-0.72, -0.03), (0.72, -0.03)),
        Shape("body", _box(-0.32, -0.94, 0.32, -0.5)),
        _outline("edge", _box(-0.32, -0.94, 0.32, -0.5)),
        _line("white", (0, -0.88), (0, -0.56)),
        _line("white", (-0.14, -0.78), (0.14, -0.78)),
    ),
    "container": (
        Shape("body", _box(-0.46, -0.86, 0.46, 0.86)),
        *(_line("dim", (-0.46, v / 4), (0.46, v / 4)) for v in range(-3, 4)),
    ),
    "court": (
        Shape("dim", _box(-0.5, -0.85, 0.5, 0.85)),
        Shape("lit", _box(-0.34, -0.68, 0.34, 0.68)),
        _outline("white", _box(-0.34, -0.68, 0.34, 0.68)),
        *(_line("white", (u, -0.68), (u, 0.68)) for u in (-0.24, 0.24)),
        *(_line("white", (-0.24, v), (0.24, v)) for v in (-0.36, 0.36)),
        _line("white", (0, -0.36), (0, 0.36)),
        _line("white", (-0.42, 0), (0.42, 0)),
    ),
    "factory": (
        Shape("body", _box(-0.56, -0.82, 0.56, 0.82)),
        *(Shape("dim", _box(-0.56, v / 5 - 0.08, 0.56, v / 5 + 0.02)) for v in range(-3, 5)),
        _line("edge", (0, -0.82), (0, 0.82)),
    ),
    "house": (
        *_gable(-0.58, -0.8, 0.58, 0.8),
        _outline("edge", _box(-0.58, -0.8, 0.58, 0.8)),
        Shape("edge", _box(0.15, -0.45, 0.35, -0.25)),
    ),
    "plane": (
        Shape("body", ((0, -0.3), (0.9, 0.26), (0.9, 0.4), (0, 0.2), (-0.9, 0.4), (-0.9, 0.26))),
        Shape("body", ((0, 0.6), (0.36, 0.82), (0.36, 0.92), (0, 0.82), (-0.36, 0.92), (-0.36, 0.82))),
        Shape("lit", ((0, -1), (0.12, -0.82), (0.12, 0.6), (0.04, 0.98), (-0.04, 0.98), (-0.12, 0.6), (-0.12, -0.82))),
        Shape("glass", _box(-0.09, -0.86, 0.09, -0.76)),
        Shape("edge", _box(-0.48, -0.12, -0.36, 0.12)),
        Shape("edge", _box(0.36, -0.12, 0.48, 0.12)),
    ),
    "playground": (
        Shape("body", _oval(0.6, 0.98)),
        _outline("white", _oval(0.53, 0.91)),
        _outline("white", _oval(0.46, 0.84)),
        Shape("pitch", _oval(0.4, 0.78)),
        _outline("white", _box(-0.3, -0.52, 0.3, 0.52)),
        _line("white", (-0.3, 0), (0.3, 0)),
        _outline("white", _disc(0.12)),
    ),
    "roundabout": (
        Shape("asphalt", _disc(1)),
        _outline("white", _disc(0.94)),
        Shape("white", _disc(0.57)),
        Shape("body", _disc(0.53)),
        Shape("lit", _disc(0.25)),
    ),
    "school": (
        Shape("body", _symmetric((0.0, 0.2), (0.42, 0.2), (0.42, -0.65), (0.75, -0.65), (0.75, 0.6), (0.0, 0.6))),
        Shape("lit", _box(-0.75, -0.65, -0.6, 0.6)),
        Shape("lit", _box(0.42, -0.65, 0.58, 0.2)),
        Shape("dim", _box(-0.75, 0.42, 0.75, 0.6)),
        _outline("white", _box(-0.25, -0.45, 0.25, 0.1)),
    ),
    "ship": (
        Shape("edge", _symmetric((0, -1), (0.24, -0.7), (0.32, -0.3), (0.32, 0.85), (0.22, 0.95))),
        Shape("body", _symmetric((0, -0.88), (0.18, -0.6), (0.24, -0.3), (0.24, 0.86))),
        Shape("dim", _box(-0.16, -0.45, 0.16, -0.1)),
        Shape("dim", _box(-0.16, 0.0, 0.16, 0.3)),
        Shape("white", _box(-0.22, 0.48, 0.22, 0.74)),
        Shape("glass", _box(-0.18, 0.48, 0.18, 0.54)),
    ),
    "station": (
        Shape("body", _box(-0.92, -0.36, 0.92, 0.3)),
        Shape("lit", _box(-0.92, -0.36, 0.92, -0.05)),
        *(_line("edge", (u / 5, -0.36), (u / 5, 0.3)) for u in range(-4, 5)),
        Shape("dim", _box(-0.3, -0.16, 0.3, 0.3)),
        Shape("lit", _box(-0.3, -0.16, 0.3, 0.02)),
    ),
    "tank": (
        Shape("edge", _disc(1)),
        Shape("body", _disc(0.93)),
        Shape("lit", _disc(0.6, -0.16, -0.16)),
        _outline("dim", _disc(0.72)),
        _line("dim", (0, 0), (0, 0.93)),
        Shape("dim", _disc(0.1)),
    ),
    "terminal": (
        Shape("body", (*_arc(1.2, 218, 322, 0, 0.7, 12), *reversed(_arc(0.8, 218, 322, 0, 0.7, 12)))),
        _line("lit", *_arc(1.04, 220, 320, 0, 0.7, 12)),
        _line("edge", *_arc(0.8, 218, 322, 0, 0.7, 12)),
        Shape("dim", _box(-0.16, -0.42, 0.16, -0.14)),
    ),
    "train": (
        Shape("body", _box(-0.12, -0.98, 0.12, 0.98)),
        _line("lit", (0, -0.98), (0, 0.98)),
        *(_line("glass", (-0.12, v / 5), (0.12, v / 5)) for v in (-3, -1, 1, 3)),
    ),
    "umbrella": (
        Shape("body", _disc(1)),
        *(Shape("white", ((0, 0), *_arc(1, start, start + 45, steps=2))) for start in (0, 90, 180, 270)),
    ),
}
"""The shapes of every kind with a fixed outline, from the ground up; the first one casts the shadow."""
