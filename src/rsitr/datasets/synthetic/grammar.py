"""Captions and keywords of a scene: a grammar over the facts of its description.

Every sentence is true of the picture, but none says everything: the objects, counts, colours, sizes and relations that
are mentioned are drawn per sentence, as are synonyms and sentence patterns, so that images of one class differ in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from rsitr.datasets.synthetic import description as facts
from rsitr.datasets.synthetic.description import AFLOAT, BANDS, COVERS, SIDES, Part, Scene

T = TypeVar("T")

CAPTIONS = 5
"""Sentences per image, as in UCM-Captions, RSICD and RSITMD."""

_NOUNS: dict[str, tuple[str, ...]] = {
    "baseball field": ("baseball field", "baseball diamond"),
    "bay": ("parking space",),
    "bunker": ("bunker", "sand bunker"),
    "canopy": ("tree",),
    "court": ("tennis court",),
    "dunes": ("desert", "sandy desert"),
    "factory": ("factory building", "workshop"),
    "fields": ("farmland", "cropland"),
    "meadow": ("meadow", "grassland"),
    "path": ("path", "trail"),
    "plane": ("plane", "airplane", "aircraft"),
    "playground": ("running track", "athletic track"),
    "ridges": ("mountain",),
    "rock": ("rock", "stone"),
    "roofs": ("house", "roof"),
    "roundabout": ("roundabout", "traffic circle"),
    "school": ("school building", "teaching building"),
    "sea": ("sea", "ocean"),
    "ship": ("ship", "vessel"),
    "station": ("station building",),
    "tank": ("storage tank", "round tank"),
    "terminal": ("terminal", "terminal building"),
    "track": ("railway track", "rail track"),
    "umbrella": ("parasol", "beach umbrella"),
}
"""Synonyms of the kinds that are not called by their own names alone.

No two kinds that may share a scene share a noun, or counts would become ambiguous.
"""
_CROWDS = frozenset({"canopy", "ridges", "roofs"})
"""Covers described as many things; the other covers are one stretch of land."""
_VERBS: dict[str, tuple[str, ...]] = {
    "boat": ("floating",),
    "car": ("parked", "stopped"),
    "container": ("stacked", "placed"),
    "house": ("built", "located"),
    "plane": ("parked", "stopped"),
    "ship": ("docked", "moored"),
    "tank": ("built", "located"),
    "tree": ("planted", "growing"),
}
_GROUNDS: dict[str, tuple[str, ...]] = {
    "asphalt": ("dark asphalt", "asphalt ground", "dark gray ground"),
    "bare land": ("bare land", "brown ground", "bare soil"),
    "concrete": ("gray concrete", "cement ground", "concrete ground"),
    "dry grass": ("yellow grass", "dry grass", "withered grass"),
    "grass": ("green grass", "lawn", "green lawn"),
    "sand": ("yellow sand", "sand"),
    "white sand": ("white sand", "white beach"),
}
_LANDS = {
    "canopy": "in the forest",
    "dunes": "in the desert",
    "fields": "in the farmland",
    "meadow": "on the meadow",
    "ridges": "in the mountains",
    "roofs": "in the residential area",
}
_VENUES: dict[str, tuple[str, ...]] = {
    "airport": ("airport",),
    "beach": ("beach",),
    "denseresidential": ("dense residential area",),
    "golfcourse": ("golf course",),
    "industrial": ("industrial area", "factory area"),
    "mediumresidential": ("medium residential area",),
    "parking": ("parking lot", "parking area"),
    "playground": ("playground",),
    "port": ("port", "harbor"),
    "railwaystation": ("railway station",),
    "school": ("school",),
    "sparseresidential": ("sparse residential area",),
    "storagetanks": ("tank farm",),
}
"""Classes whose name is a place that things are in; the other classes are named after their subject."""
_PLAIN = {
    "baseballfield": "baseball field",
    "bridge": "bridge over a river",
    "desert": "piece of desert",
    "farmland": "piece of farmland",
    "forest": "dense forest",
    "meadow": "piece of meadow",
    "mountain": "piece of mountain land",
    "tenniscourt": "tennis court",
}
"""What a picture of another class shows, where that is not spelled like the class."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SIZES = {"small": ("small", "little"), "large": ("large", "big")}
_IMAGES = ("picture", "image", "scene")
_COLOURS = {("pond", "black"): "dark", ("ridges", "white"): "snow-covered"}
"""Colour words that the kind changes."""


def captions(scene: Scene, rng: np.random.Generator, *, positions: bool = True) -> list[str]:
    """``CAPTIONS`` distinct sentences that are true of the picture of ``scene``.

    Without ``positions`` no sentence names a place in the image or a direction, so all of them stay true of a flipped,
    rotated or cropped picture.
    """
    speaker = _Speaker(scene, rng, positions)
    said: list[str] = []
    while len(said) < CAPTIONS:
        sentence = speaker.pick(speaker.patterns)()
        if sentence and sentence not in said:
            said.append(sentence)
    return said


def keywords(scene: Scene, rng: np.random.Generator) -> list[str]:
    """One to five distinct keywords, "adjective noun" or a noun alone; the first one names the subject."""
    speaker = _Speaker(scene, rng, positions=False)
    chosen = [speaker.keyword(scene.subject)]
    if scene.class_name in _VENUES and rng.random() < 0.5:
        chosen.append(_VENUES[scene.class_name][0])
    chosen += [speaker.keyword(part) for part in scene.others if rng.random() < 0.7]
    if scene.subject.kind not in COVERS and rng.random() < 0.5:
        chosen.append(speaker.pick(_GROUNDS[scene.ground]))
    return list(dict.fromkeys(chosen))[:5]


def _nouns(part: Part) -> tuple[str, ...]:
    return _NOUNS.get(part.kind, (part.kind,))


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _plural(noun: str) -> str:
    if noun == "aircraft":
        return noun
    return f"{noun}es" if noun.endswith(("ch", "sh", "s", "x")) else f"{noun}s"


def _is_plural(part: Part) -> bool:
    return part.kind in _CROWDS or len(part.items) > 1


def _be(part: Part) -> str:
    return "are" if _is_plural(part) else "is"


class _Speaker:
    """Makes sentences about one scene; a pattern that does not fit the scene yields an empty one."""

    def __init__(self, scene: Scene, rng: np.random.Generator, positions: bool) -> None:
        self.scene = scene
        self.rng = rng
        self.patterns: list[Callable[[], str]] = [
            *[self._exists] * 4,
            *[self._stands] * 4,
            *[self._with] * 5,
            *[self._together] * 4,
            *[self._related] * 6,
            self._plain,
        ]
        if positions:
            self.patterns += [self._lies] * 4

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def keyword(self, part: Part) -> str:
        noun = self._noun(part)
        return f"{self._colour(part, 0.7)} {noun}".strip()

    def _noun(self, part: Part) -> str:
        noun = self.pick(_nouns(part))
        return _plural(noun) if _is_plural(part) else noun

    def _chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def _part(self) -> Part:
        """A part to speak about: the subject half of the time."""
        others = self.scene.others
        return self.scene.subject if not others or self._chance(0.5) else self.pick(others)

    def _colour(self, part: Part, probability: float) -> str:
        return _COLOURS.get((part.kind, part.colour), part.colour) if self._chance(probability) else ""

    def _name(self, part: Part) -> str:
        """A noun phrase with or without colour and size, and with a count: "four large white planes"."""
        adjectives = [
            self.pick(_SIZES[part.size]) if part.size and self._chance(0.8) else "",
            self._colour(part, 0.85 if part is self.scene.subject else 0.7),
        ]
        phrase = " ".join(filter(None, [*adjectives, self._noun(part)]))
        if part.kind in SIDES:
            return f"the {phrase}"
        if part.kind in COVERS:
            if part.kind in _CROWDS:
                return f"{self.pick(('many', 'lots of', 'a lot of'))} {phrase}"
            return f"{self.pick(('a piece of', 'a stretch of', 'a large piece of'))} {phrase}"
        return self._counted(phrase, len(part.items))

    def _counted(self, phrase: str, count: int) -> str:
        if count == 1:
            return f"one {phrase}" if self._chance(0.15) else _article(phrase)
        if count < len(_NUMBERS) and (count == 2 or self._chance(0.75)):
            return f"{_NUMBERS[count]} {phrase}"
        if count > 5:
            return f"{self.pick(('many', 'lots of', 'a number of'))} {phrase}"
        return f"{self.pick(('several', 'some', 'a few'))} {phrase}"

    def _where(self, part: Part) -> str:
        """The ground under a part, or what it belongs to."""
        if part.kind == "bridge":
            river = next(other for other in self.scene.parts if other.kind == "river")
            return f"{self.pick(('over', 'across'))} {self._name(river)}"
        if part.kind in AFLOAT:
            return f"on {self._name(next(other for other in self.scene.parts if other.kind == 'sea'))}"
        if self.scene.subject.kind in COVERS:
            return _LANDS[self.scene.subject.kind]
        return f"on the {self.pick(_GROUNDS[self.scene.ground])}"

    def _venue(self) -> str:
        return self.pick(_VENUES.get(self.scene.class_name, ("",)))

    def _inside(self, *parts: Part) -> str:
        """The venue as a place; the image if the class has none, or if the sea, which is next to it, is meant."""
        venue = self._venue()
        if not venue or any(part.kind in SIDES for part in parts):
            return f"in the {self.pick(_IMAGES)}"
        return f"{'on' if venue == 'beach' else 'in'} the {venue}"

    def _exists(self) -> str:
        part = self._part()
        if not part.is_object or (self._venue() and self._chance(0.5)):
            return f"there {_be(part)} {self._name(part)} {self._inside(part)} ."
        return f"there {_be(part)} {self._name(part)} {self._where(part)} ."

    def _stands(self) -> str:
        part = self._part()
        if not part.is_object:
            return ""
        verb = self.pick(_VERBS.get(part.kind, ("located",)))
        return f"{self._name(part)} {_be(part)} {verb} {self._where(part)} ."

    def _with(self) -> str:
        venue, subject = self._venue(), self.scene.subject
        others = self.scene.others
        if venue:
            head, rest = _article(venue), (subject, *others)
        else:
            head, rest = self._name(subject), others
        if not rest:
            return ""
        chosen = rest[: 1 if self._chance(0.4) else 2] if venue else rest
        return f"{head} with {' and '.join(self._name(part) for part in chosen[:2])} ."

    def _together(self) -> str:
        if not self.scene.others:
            return ""
        parts = [self.scene.subject, *self.scene.others][:3]
        *first, last = [self._name(part) for part in parts]
        return f"{' , '.join(first)} and {last} are {self._inside(*parts)} ."

    def _related(self) -> str:
        """A sentence about a random pair of parts, if there is anything to say about their relation."""
        if len(order := self.rng.permutation(len(self.scene.parts))[:2]) < 2:
            return ""
        part, other = (self.scene.parts[index] for index in order)
        if facts.is_on(part, other):
            return f"{self._name(part)} {_be(part)} on {self._name(other)} ."
        if facts.flanks(part, other):
            return (
                f"{self._name(part)} {_be(part)} on {self.pick(('both sides', 'two sides'))} of {self._name(other)} ."
            )
        if facts.surrounds(part, other):
            return f"{self._name(other)} is surrounded by {self._name(part)} ."
        if facts.is_beside(part, other) and part.kind not in AFLOAT:
            nearby = self.pick(("next to", "near", "beside", "close to"))
            return f"{self._name(part)} {_be(part)} {nearby} {self._name(other)} ."
        return ""

    def _lies(self) -> str:
        part = self._part()
        image = self.pick(_IMAGES)
        if part.kind in BANDS and facts.course(part):
            verb = self.pick(("run", "go")) if _is_plural(part) else self.pick(("runs", "goes"))
            return f"{self._name(part)} {verb} {facts.course(part)} through the {image} ."
        where = facts.shore(part) if part.kind in SIDES else facts.place(part)
        if not where:
            return ""
        preposition = {"left": "on", "right": "on", "top": "at", "bottom": "at"}.get(where, "in")
        area = f"{where} side" if where in ("left", "right") else f"{where} part" if " " in where else where
        return f"{self._name(part)} {_be(part)} {preposition} the {area} of the {image} ."

    def _plain(self) -> str:
        """A sentence that fits every image of the class; all real sets have them."""
        venue, class_name = self._venue(), self.scene.class_name
        if not venue and self.scene.subject.is_object and _is_plural(self.scene.subject):
            return ""
        noun = venue or _PLAIN.get(class_name, class_name)
        return f"{self.pick(('this is', 'it is', 'here is'))} {_article(noun)} ."
