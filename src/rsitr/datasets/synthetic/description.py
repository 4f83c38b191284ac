"""The description of a synthetic scene, and the spatial facts that follow from its geometry.

A scene is sampled first, and the picture and captions are made from it, so that a caption states only what the picture
shows. Coordinates are fractions of the image side, x to the right, y downwards; angles are radians, clockwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BANDS = frozenset({"path", "river", "road", "runway", "track"})
"""Kinds that run through the whole image: an item is a point on the axis, its direction, and half the width."""
SIDES = frozenset({"sea"})
"""Kinds that fill one side: an item is a point on the edge, and the angle points away from the filled half-plane."""
COVERS = frozenset({"canopy", "dunes", "fields", "meadow", "ridges", "roofs"})
"""Kinds that fill the image, under everything else; they have no items."""
AFLOAT = frozenset({"boat", "ship"})
"""Kinds that belong in the sea, not on land. All kinds but bands, sides and covers are bounded objects."""
VEHICLES = frozenset({"car", "train"})
"""Kinds that may be described as on a band."""

MARGIN = 1 / 16
"""Objects stay clear of this border, so that a centre crop to 7/8 of the side cuts none and every count stays true."""


@dataclass(frozen=True)
class Item:
    """One object: its centre, the radius of its bounding circle (half the width of a band) and its direction."""

    x: float
    y: float
    size: float
    angle: float = 0.0


@dataclass(frozen=True)
class Part:
    """All objects of one kind in a scene; they share a colour and, if ``size`` is not empty, a stated size.

    ``colour`` is a colour word, two of them joined by " and " (the objects mix both), or empty if not worth mentioning.
    """

    kind: str
    colour: str
    items: tuple[Item, ...] = ()
    size: str = ""

    @property
    def is_object(self) -> bool:
        """Whether the items are bounded objects, which have a place in the image."""
        return self.kind not in BANDS | SIDES | COVERS


@dataclass(frozen=True)
class Scene:
    """A class, the ground, and the parts in drawing order; ``main`` is the index of the part that defines the class."""

    class_name: str
    ground: str
    parts: tuple[Part, ...]
    main: int

    @property
    def subject(self) -> Part:
        """The part that defines the class of the scene."""
        return self.parts[self.main]

    @property
    def others(self) -> tuple[Part, ...]:
        """All parts but the subject."""
        return self.parts[: self.main] + self.parts[self.main + 1 :]


def signed_distance(item: Item, axis: Item) -> float:
    """Distance of the centre of ``item`` from the line through ``axis``; positive to the right of its direction."""
    return (item.y - axis.y) * math.cos(axis.angle) - (item.x - axis.x) * math.sin(axis.angle)


def gap(kind: str, item: Item, other_kind: str, other: Item) -> float:
    """Free space between an object and another item, in image sides; negative where they overlap.

    The sea is the obstacle for objects on land, land for floating objects.
    """
    if other_kind in BANDS:
        return abs(signed_distance(item, other)) - other.size - item.size
    if other_kind in SIDES:
        inland = (item.x - other.x) * math.cos(other.angle) + (item.y - other.y) * math.sin(other.angle)
        return (-inland if kind in AFLOAT else inland) - item.size
    return math.hypot(item.x - other.x, item.y - other.y) - other.size - item.size


def gaps(part: Part, other: Part) -> list[float]:
    """For every object of ``part``, the free space to the nearest item of ``other``."""
    return [min(gap(part.kind, item, other.kind, target) for target in other.items) for item in part.items]


def place(part: Part) -> str:
    """Where a group of objects is as a whole: "upper left", "left", "top", "center" ... or empty if spread out."""
    if not part.is_object:
        return ""
    horizontal = _third([item.x for item in part.items], ("left", "middle", "right"))
    vertical = _third([item.y for item in part.items], ("upper", "middle", "lower"))
    if horizontal == vertical == "middle":
        return "center"
    if horizontal in ("left", "right"):
        return f"{vertical} {horizontal}" if vertical in ("upper", "lower") else horizontal
    return {"upper": "top", "lower": "bottom"}.get(vertical, "")


def _third(coordinates: list[float], words: tuple[str, str, str]) -> str:
    low, high = min(coordinates), max(coordinates)
    if high < 0.4:
        return words[0]
    if low > 0.6:
        return words[2]
    return words[1] if low >= 0.4 and high <= 0.6 else ""


def course(band: Part) -> str:
    """How a band crosses the image: "from left to right", "from top to bottom", "diagonally", or empty if mixed."""
    courses = set()
    for slope in (math.degrees(axis.angle) % 180 for axis in band.items):
        level, upright = min(slope, 180 - slope) < 20, abs(slope - 90) < 20
        courses.add("from left to right" if level else "from top to bottom" if upright else "diagonally")
    return courses.pop() if len(courses) == 1 else ""


def shore(side: Part) -> str:
    """The side of the image that a half-plane fills: "left", "upper right", "bottom" ..."""
    angle = side.items[0].angle + math.pi
    horizontal, vertical = math.cos(angle), math.sin(angle)
    across = "right" if horizontal > 0 else "left"
    if abs(vertical) < 0.4:
        return across
    if abs(horizontal) < 0.4:
        return "bottom" if vertical > 0 else "top"
    return f"{'lower' if vertical > 0 else 'upper'} {across}"


def is_on(part: Part, band: Part) -> bool:
    """Whether the centre of every object of ``part`` is inside a band: cars on a road, trains on tracks."""
    if part.kind not in VEHICLES or band.kind not in BANDS:
        return False
    return all(min(abs(signed_distance(item, axis)) - axis.size for axis in band.items) < 0 for item in part.items)


def is_beside(part: Part, other: Part) -> bool:
    """Whether the objects of ``part`` are close to, but not inside, ``other``: one within 0.1, none beyond 0.3."""
    if not part.is_object or not other.items:
        return False
    spaces = gaps(part, other)
    return 0 <= min(spaces) <= 0.1 and max(spaces) <= 0.3


def flanks(part: Part, band: Part) -> bool:
    """Whether the objects of ``part`` are near both edges of a single band, at least a third of them on each side."""
    if not part.is_object or band.kind not in BANDS or len(band.items) != 1:
        return False
    right = sum(signed_distance(item, band.items[0]) > 0 for item in part.items)
    balanced = min(right, len(part.items) - right) * 3 >= len(part.items)
    return balanced and all(0 <= space <= 0.2 for space in gaps(part, band))


def surrounds(part: Part, other: Part) -> bool:
    """Whether at least six objects of ``part`` are near a single other object, in six or more of eight directions."""
    if not part.is_object or not other.is_object or len(other.items) != 1 or len(part.items) < 6:
        return False
    centre = other.items[0]
    octants = {round(math.atan2(item.y - centre.y, item.x - centre.x) / (math.pi / 4)) % 8 for item in part.items}
    return len(octants) >= 6 and all(0 <= space <= 0.15 for space in gaps(part, other))
