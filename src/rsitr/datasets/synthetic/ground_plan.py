"""Laying out a scene: ways to arrange objects so that they stay apart and inside the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rsitr.datasets.synthetic.description import BANDS, MARGIN, Item, Part, gap

RADIUS = {
    "baseball field": 0.2,
    "bay": 0.06,
    "boat": 0.045,
    "building": 0.12,
    "bunker": 0.065,
    "car": 0.042,
    "church": 0.19,
    "container": 0.06,
    "court": 0.15,
    "factory": 0.16,
    "house": 0.068,
    "plane": 0.1,
    "playground": 0.27,
    "pond": 0.14,
    "rock": 0.035,
    "roundabout": 0.2,
    "school": 0.2,
    "ship": 0.1,
    "station": 0.19,
    "tank": 0.09,
    "terminal": 0.16,
    "train": 0.19,
    "tree": 0.038,
    "umbrella": 0.032,
}
"""Radius of the bounding circle of an object without a stated size, in image sides."""
BREADTH = {"bay": 0.62, "court": 0.62, "factory": 0.6, "ship": 0.45}
"""Width across the long axis over length, for the kinds that stand side by side; 1 for all others."""
_SCALE = {"small": 0.75, "": 1.0, "large": 1.3}
_CLASHES = {
    "asphalt": {"gray", "black"},
    "bare land": {"brown", "orange"},
    "concrete": {"gray", "white"},
    "dry grass": {"yellow", "brown"},
    "grass": {"green"},
    "sand": {"yellow", "orange", "white"},
}
"""Colours that barely stand out from the ground."""
ROOFS = ("white", "red", "gray", "blue", "brown")
_GREENS = ("green", "green", "dark green")
PAINTS = ("white", "red", "blue", "yellow")
_EXTRAS: dict[str, tuple[int, Sequence[str]]] = {
    "boat": (4, ("white", "red")),
    "building": (3, ROOFS),
    "car": (5, PAINTS),
    "container": (6, ("red", "blue", "orange", "green")),
    "court": (1, ("green", "blue", "red")),
    "house": (3, ROOFS),
    "pond": (1, ("green", "blue")),
    "rock": (6, ("gray", "black")),
    "tank": (4, ("white", "gray", "brown")),
}
"""The most objects of a secondary kind, and its colours."""


def _moved(frame: Item, size: float, along: float, right: float = 0.0, turn: float = 0.0) -> Item:
    """An object ``along`` the direction of ``frame`` from its centre and to the ``right`` of it, turned by ``turn``."""
    x = frame.x + math.cos(frame.angle) * along - math.sin(frame.angle) * right
    y = frame.y + math.sin(frame.angle) * along + math.cos(frame.angle) * right
    return Item(x, y, size, frame.angle + turn)


def _middle(angle: float) -> Item:
    return Item(0.5, 0.5, 0.0, angle)


@dataclass
class GroundPlan:
    """The parts placed so far; each method adds one part, or none if nothing fits."""

    rng: np.random.Generator
    ground: str = "grass"
    parts: list[Part] = field(default_factory=list)
    main: int | None = None

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def among(self, low: int, high: int) -> int:
        """A count from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)

    def colour(self, options: Sequence[str]) -> str:
        """One of the colours that stand out from the ground."""
        clash = _CLASHES.get(self.ground, set())
        return self.pick([option for option in options if option not in clash] or options)

    def size(self) -> str:
        """A size word, empty half of the time."""
        return self.pick(("small", "", "", "large"))

    def subject(self, part: Part | None) -> None:
        """Declare the part that defines the class."""
        if part is not None:
            self.main = self.parts.index(part)

    def band(self, kind: str, colours: Sequence[str] = ("",), *, half_width: float, central: bool = False) -> Part:
        """A band across the image, through its middle or to one side of it."""
        angle = math.radians((0, 0, 90, 90, 45, 135)[self.among(0, 5)] + self.rng.uniform(-8, 8))
        offset = self.rng.uniform(-0.05, 0.05) if central else self.rng.uniform(0.2, 0.33) * (-1) ** self.among(0, 1)
        axis = _moved(_middle(angle), half_width, 0.0, offset)
        return self._add(Part(kind, self.colour(colours), (axis,)))

    def cover(self, kind: str, colours: Sequence[str]) -> Part:
        """A part that fills the image."""
        return self._add(Part(kind, self.pick(colours)))

    def sea(self, reach: float) -> Part:
        """The sea fills about ``reach`` of the image, from a random side or corner."""
        angle = math.radians(45 * self.among(0, 7) + self.rng.uniform(-6, 6))
        edge = _moved(_middle(angle), 0.0, reach - 0.5)
        return self._add(Part("sea", self.pick(("blue", "green", "dark blue")), (edge,)))

    def scatter(self, kind: str, count: int, colours: Sequence[str] = ("",), *, sized: bool = False) -> Part | None:
        """Up to ``count`` objects anywhere, each with its own direction within a few degrees."""
        size = self.size() if sized else ""
        heading = self.rng.uniform(0, 2 * math.pi)
        items: list[Item] = []
        for _ in range(40 * count):
            x, y = self.rng.uniform(0, 1, 2)
            self._place(kind, items, Item(x, y, RADIUS[kind] * _SCALE[size], heading + self.rng.uniform(-0.2, 0.2)))
            if len(items) == count:
                break
        return self._group(kind, colours, items, size)

    def array(
        self, kind: str, count: int, columns: int, colours: Sequence[str] = ("",), *, sized: bool = False
    ) -> Part | None:
        """``count`` objects side by side in rows of ``columns``; fewer where that many do not fit."""
        size = self.size() if sized else ""
        radius = RADIUS[kind] * _SCALE[size]
        for shown in range(count, 0, -1):
            for _ in range(30):
                items = self._grid(radius, BREADTH.get(kind, 1.0), shown, columns)
                if all(self._is_free(kind, item) for item in items):
                    return self._add(Part(kind, self.colour(colours), items, size))
        return None

    def along(self, kind: str, count: int, band: Part, colours: Sequence[str], *, both: bool = True) -> Part | None:
        """Up to ``count`` objects along the edges of a band, in turn right and left unless not ``both``."""
        axis = band.items[0]
        items: list[Item] = []
        for shift in self.rng.permutation(np.linspace(-0.6, 0.6, 4 * count)):
            side = 1 if not both or len(items) % 2 else -1
            off = side * (axis.size + RADIUS[kind] + self.rng.uniform(0.02, 0.05))
            self._place(kind, items, _moved(axis, RADIUS[kind], shift, off))
            if len(items) == count:
                break
        return self._group(kind, colours, items)

    def traffic(self, band: Part, count: int) -> Part | None:
        """Up to ``count`` cars in the two lanes of a band."""
        axis = band.items[0]
        items: list[Item] = []
        for slot in self.rng.permutation(np.arange(-0.5, 0.5, 2.4 * RADIUS["car"])):
            off = 0.45 * axis.size * (-1) ** self.among(0, 1)
            item = _moved(axis, RADIUS["car"], slot, off, math.pi / 2)
            if len(items) < count and self._is_inside(item):
                items.append(item)
        return self._group("car", PAINTS, items)

    def ring(self, kind: str, count: int, target: Part, colours: Sequence[str]) -> Part | None:
        """Up to ``count`` objects evenly around the single item of ``target``."""
        centre = target.items[0]
        reach = centre.size + RADIUS[kind] + 0.03
        items: list[Item] = []
        for angle in self.rng.uniform(0, 1) + np.arange(count) * 2 * math.pi / count:
            self._place(kind, items, _moved(replace(centre, angle=angle), RADIUS[kind], reach))
        return self._group(kind, colours, items)

    def bridges(self, river: Part, count: int) -> Part:
        """``count`` bridges over a river, each carrying its own road."""
        stream = river.items[0]
        shifts = [self.rng.uniform(-0.2, 0.2)] if count == 1 else [-0.2, 0.2]
        decks = tuple(_moved(stream, stream.size + 0.05, shift, turn=math.pi / 2) for shift in shifts)
        self._add(Part("road", "", tuple(replace(deck, size=0.04) for deck in decks)))
        return self._add(Part("bridge", self.colour(("white", "gray", "red")), decks))

    def park(self, bays: Part, count: int) -> Part:
        """Cars in ``count`` of the bays."""
        taken = self.rng.permutation(len(bays.items))[:count]
        cars = tuple(replace(bays.items[index], size=RADIUS["car"]) for index in sorted(taken))
        return self._add(Part("car", self.colour(PAINTS), cars))

    def tracks(self, count: int) -> Part:
        """``count`` parallel railway tracks; the last one leaves the most room beyond it."""
        angle = math.radians(90 * self.among(0, 1) + self.rng.uniform(-8, 8))
        shifts = (np.arange(count) - (count - 1) / 2) * 0.07 - self.rng.uniform(0.1, 0.2)
        return self._add(Part("track", "", tuple(_moved(_middle(angle), 0.022, 0.0, shift) for shift in shifts)))

    def trains(self, tracks: Part, count: int) -> Part:
        """Trains on ``count`` of the tracks."""
        chosen = self.rng.permutation(len(tracks.items))[:count]
        items = tuple(
            _moved(tracks.items[index], RADIUS["train"], self.rng.uniform(-0.15, 0.15), turn=math.pi / 2)
            for index in sorted(chosen)
        )
        return self._add(Part("train", self.colour(("white", "red", "blue", "green")), items))

    def roundabout(self, road: Part, colours: Sequence[str]) -> Part:
        """A roundabout on a road, sometimes with a second road across."""
        axis = road.items[0]
        if self.chance(0.6):
            across = replace(axis, angle=axis.angle + math.pi / 2)
            self.parts[self.parts.index(road)] = replace(road, items=(axis, across))
        size = self.size()
        island = Item(axis.x, axis.y, RADIUS["roundabout"] * _SCALE[size], axis.angle)
        return self._add(Part("roundabout", self.colour(colours), (island,), size))

    def trees(self) -> None:
        """Trees in one of the ways trees stand: along a band, around a single subject, in a row or anywhere."""
        bands = [part for part in self.parts if part.kind in BANDS and len(part.items) == 1]
        main = None if self.main is None else self.parts[self.main]
        count = self.among(1, 12)
        if bands and self.chance(0.5):
            self.along("tree", max(count, 3), bands[0], _GREENS, both=self.chance(0.7))
        elif main is not None and main.is_object and len(main.items) == 1 and self.chance(0.5):
            self.ring("tree", 10, main, _GREENS)
        elif self.chance(0.4):
            self.array("tree", count, 6, _GREENS)
        else:
            self.scatter("tree", count, _GREENS)

    def extras(self, kinds: Sequence[str], most: int) -> None:
        """One to ``most`` of the named secondary kinds."""
        for index in self.rng.permutation(len(kinds))[: self.among(1, most)]:
            if kinds[index] == "tree":
                self.trees()
            else:
                upper, colours = _EXTRAS[kinds[index]]
                self.scatter(kinds[index], self.among(1, upper), colours)

    def road(self, probability: float, kinds: Sequence[str] = ("road",)) -> Part | None:
        """A band off the centre with the given probability."""
        return self.band(self.pick(kinds), half_width=0.045) if self.chance(probability) else None

    def _grid(self, radius: float, breadth: float, count: int, columns: int) -> tuple[Item, ...]:
        columns = min(columns, count)
        angle = math.radians(15 * self.among(0, 11))
        x, y = self.rng.uniform(0.2, 0.8, 2)
        centre = Item(x, y, 0.0, angle)
        items = []
        for index in range(count):
            across = (index % columns - (columns - 1) / 2) * (2 * radius * breadth + 0.015)
            down = (index // columns - (math.ceil(count / columns) - 1) / 2) * (2 * radius + 0.03)
            items.append(_moved(centre, radius, across, down))
        return tuple(items)

    def _place(self, kind: str, items: list[Item], item: Item) -> None:
        if self._is_free(kind, item) and all(gap(kind, item, kind, other) >= 0.015 for other in items):
            items.append(item)

    def _is_inside(self, item: Item) -> bool:
        reach = MARGIN + item.size
        return reach <= item.x <= 1 - reach and reach <= item.y <= 1 - reach

    def _is_free(self, kind: str, item: Item) -> bool:
        others = ((part.kind, other) for part in self.parts for other in part.items)
        return self._is_inside(item) and all(gap(kind, item, *other) >= 0.015 for other in others)

    def _group(self, kind: str, colours: Sequence[str], items: Sequence[Item], size: str = "") -> Part | None:
        return self._add(Part(kind, self.colour(colours), tuple(items), size)) if items else None

    def _add(self, part: Part) -> Part:
        self.parts.append(part)
        return part
