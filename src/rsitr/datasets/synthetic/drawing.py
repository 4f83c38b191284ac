"""Draws a scene description as a top view: textured ground, covers, bands, then objects with their shadows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rsitr.datasets.synthetic.description import Item, Part, Scene
from rsitr.datasets.synthetic.stamps import FIXED, SHADES, STAMPS

SIZE = 128
"""Side of a drawn image, px."""
_SIDE = 2 * SIZE
"""Side of the canvas, px; halving it at the end smooths all edges."""

Colour = tuple[int, int, int]

PALETTE: dict[str, Colour] = {
    "black": (52, 54, 58),
    "blue": (58, 98, 178),
    "brown": (124, 82, 52),
    "dark green": (34, 72, 40),
    "gray": (138, 140, 142),
    "green": (78, 142, 62),
    "orange": (222, 134, 56),
    "red": (186, 58, 48),
    "white": (234, 234, 230),
    "yellow": (218, 190, 84),
}
_WATER: dict[str, Colour] = {
    "": (74, 112, 124),
    "black": (34, 42, 48),
    "blue": (48, 98, 156),
    "brown": (138, 112, 76),
    "dark blue": (26, 54, 100),
    "green": (62, 118, 92),
}
_GROUNDS: dict[str, tuple[Colour, float]] = {
    "asphalt": ((98, 100, 104), 7),
    "bare land": ((158, 126, 92), 20),
    "concrete": ((172, 170, 164), 8),
    "dry grass": ((172, 160, 96), 18),
    "grass": ((102, 138, 74), 16),
    "sand": ((222, 196, 142), 10),
    "white sand": ((238, 230, 212), 8),
}
"""Colour of a ground, and the amplitude of its blotches in grey levels."""


@dataclass(frozen=True)
class Style:
    """What the sensor and the season do to the finished picture: v -> contrast * (gain * v - 128) + 128 + haze."""

    gain: tuple[float, float, float]
    contrast: float
    haze: float
    grain: float
    """Standard deviation of the pixel noise, grey levels."""


def draw_scene(scene: Scene, style: Style, rng: np.random.Generator) -> Image.Image:
    """The picture of a scene, RGB, ``SIZE`` x ``SIZE``; ``rng`` changes only textures, nothing that a caption names."""
    colour, mottle = _GROUNDS[scene.ground]
    relief = mottle * (0.5 * _noise(rng, 5) + 0.3 * _noise(rng, 20) + 0.4 * _noise(rng, 90))
    canvas = _Canvas(_textured(colour, relief), rng, natural_shore="sand" in scene.ground)
    for part in scene.parts:
        _PAINTERS.get(part.kind, _paint_stamps)(canvas, part)
    pixels = np.asarray(canvas.image.reduce(2), dtype=np.float32) * np.array(style.gain, dtype=np.float32)
    pixels = (pixels - 128) * style.contrast + 128 + style.haze
    pixels += rng.normal(0, style.grain, (SIZE, SIZE, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _noise(rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Smooth noise in about -1 .. 1 with ``cells`` bumps across the picture, ``SIZE`` x ``SIZE``."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _textured(colour: Colour, relief: NDArray[np.float32]) -> Image.Image:
    """A canvas of one colour made lighter and darker by ``relief``, ``SIZE`` x ``SIZE`` grey levels."""
    return _enlarged(np.array(colour, dtype=np.float32) + relief[..., None])


def _enlarged(pixels: NDArray[np.float32]) -> Image.Image:
    # Textures are computed at the size of the picture: finer detail would be lost when the canvas is halved.
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return picture.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)


def _shade(colour: Colour, brightness: float) -> Colour:
    red, green, blue = (max(0, min(255, round(level * brightness))) for level in colour)
    return red, green, blue


class _Canvas:
    """The picture being drawn; points are in image sides."""

    def __init__(self, image: Image.Image, rng: np.random.Generator, *, natural_shore: bool) -> None:
        self.rng, self.natural_shore = rng, natural_shore
        self.replace(image)

    def replace(self, image: Image.Image) -> None:
        self.image = image
        self.pen = ImageDraw.Draw(image, "RGBA")

    def polygon(self, points: NDArray[np.float64], colour: Sequence[int]) -> None:
        self.pen.polygon((points * _SIDE).ravel().tolist(), fill=tuple(colour))

    def line(self, points: NDArray[np.float64], colour: Sequence[int], width: int = 2) -> None:
        self.pen.line((points * _SIDE).ravel().tolist(), fill=tuple(colour), width=width)

    def disc(self, x: float, y: float, radius: float, colour: Sequence[int]) -> None:
        box = [(x - radius) * _SIDE, (y - radius) * _SIDE, (x + radius) * _SIDE, (y + radius) * _SIDE]
        self.pen.ellipse(box, fill=tuple(colour))

    def blob(self, item: Item, wobble: float, colour: Sequence[int]) -> NDArray[np.float64]:
        """A rounded irregular shape inside the circle of ``item``; returns its outline relative to the centre."""
        angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        waves = self.rng.uniform(0, 2 * np.pi, 2)
        radius = 1 - wobble * (2 + np.sin(2 * angles + waves[0]) + np.sin(3 * angles + waves[1])) / 4
        outline = item.size * radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.polygon(outline + np.array([item.x, item.y]), colour)
        return outline

    def tree(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.disc(x + 0.4 * radius, y + 0.4 * radius, radius, (0, 0, 0, 80))
        self.disc(x, y, radius, _shade(colour, 0.6))
        self.disc(x - 0.1 * radius, y - 0.1 * radius, 0.78 * radius, _shade(colour, 0.85))
        self.disc(x - 0.28 * radius, y - 0.28 * radius, 0.42 * radius, _shade(colour, 1.15))


def _placed(item: Item, points: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Points from the frame of an object, in image sides."""
    cos, sin = math.cos(item.angle), math.sin(item.angle)
    return np.array(points) * item.size @ np.array([[cos, sin], [-sin, cos]]) + (item.x, item.y)


def _along(axis: Item, start: float, stop: float, off: float, steps: int = 2) -> NDArray[np.float64]:
    """Points of a line parallel to a band, ``off`` to its right, from ``start`` to ``stop`` along it."""
    t = np.linspace(start, stop, steps)
    direction = np.array([math.cos(axis.angle), math.sin(axis.angle)])
    right = np.array([-direction[1], direction[0]])
    return np.array([axis.x, axis.y]) + t[:, None] * direction + off * right


def _strip(axis: Item, left: float, right: float, start: float = -1.0, stop: float = 1.0) -> NDArray[np.float64]:
    return np.concatenate([_along(axis, start, stop, left), _along(axis, stop, start, right)])


_SHADOWS = {"building": 0.02, "church": 0.024, "factory": 0.018, "school": 0.016, "station": 0.018, "terminal": 0.018}
_FLAT = frozenset({"baseball field", "bay", "court", "playground", "roundabout"})


def _paint_stamps(canvas: _Canvas, part: Part) -> None:
    colour = PALETTE[part.colour]
    tones = {role: _shade(colour, brightness) for role, brightness in SHADES.items()} | FIXED
    stamp = STAMPS[part.kind]
    for item in part.items:
        if part.kind not in _FLAT:
            reach = _SHADOWS.get(part.kind, 0.01)
            canvas.polygon(_placed(item, stamp[0].points) + reach, (0, 0, 0, 90))
        for shape in stamp:
            points = _placed(item, shape.points)
            if shape.is_line:
                canvas.line(points, tones[shape.role])
            else:
                canvas.polygon(points, tones[shape.role])


def _paint_trees(canvas: _Canvas, part: Part) -> None:
    for item in part.items:
        canvas.tree(item.x, item.y, item.size, PALETTE[part.colour])


def _paint_rocks(canvas: _Canvas, part: Part) -> None:
    for item in part.items:
        canvas.disc(item.x + 0.01, item.y + 0.01, 0.8 * item.size, (0, 0, 0, 90))
        outline = canvas.blob(item, 0.5, _shade(PALETTE[part.colour], 0.8))
        canvas.polygon(0.55 * outline + (item.x - 0.006, item.y - 0.006), _shade(PALETTE[part.colour], 1.2))


def _paint_bunkers(canvas: _Canvas, part: Part) -> None:
    sand = {"white": (238, 230, 208), "yellow": (222, 192, 112)}[part.colour]
    for item in part.items:
        canvas.blob(replace(item, size=item.size + 0.06), 0.3, (128, 178, 92, 150))
    for item in part.items:
        outline = canvas.blob(item, 0.5, _shade(sand, 0.72))
        canvas.polygon(0.86 * outline + (item.x + 0.004, item.y + 0.004), sand)


def _paint_ponds(canvas: _Canvas, part: Part) -> None:
    water = _WATER[part.colour]
    for item in part.items:
        outline = canvas.blob(item, 0.45, (150, 136, 100))
        canvas.polygon(0.92 * outline + (item.x, item.y), _shade(water, 0.9))
        canvas.polygon(0.6 * outline + (item.x, item.y), water)


def _paint_roads(canvas: _Canvas, part: Part) -> None:
    for axis in part.items:
        canvas.polygon(_strip(axis, -1.12 * axis.size, 1.12 * axis.size), (196, 192, 182))
        canvas.polygon(_strip(axis, -axis.size, axis.size), (104, 104, 108))
    for axis in part.items:
        for start in np.arange(-1, 1, 0.08):
            canvas.line(_along(axis, start, start + 0.045, 0), FIXED["white"], 2)


def _paint_paths(canvas: _Canvas, part: Part) -> None:
    for axis in part.items:
        canvas.polygon(_strip(axis, -0.5 * axis.size, 0.5 * axis.size), (206, 188, 150))
        for off in (-0.5, 0.5):
            canvas.line(_along(axis, -1, 1, off * axis.size), (168, 148, 112), 1)


def _paint_runways(canvas: _Canvas, part: Part) -> None:
    for axis in part.items:
        canvas.polygon(_strip(axis, -1.2 * axis.size, 1.2 * axis.size), (128, 128, 126))
        canvas.polygon(_strip(axis, -axis.size, axis.size), (74, 76, 80))
        for off in (-0.85, 0.85):
            canvas.line(_along(axis, -1, 1, off * axis.size), FIXED["white"], 2)
        for start in np.arange(-1, 1, 0.12):
            canvas.line(_along(axis, start, start + 0.08, 0), FIXED["white"], 3)


def _paint_tracks(canvas: _Canvas, part: Part) -> None:
    for axis in part.items:
        canvas.polygon(_strip(axis, -1.3 * axis.size, 1.3 * axis.size), (134, 122, 110))
        for start in np.arange(-1, 1, 0.03):
            canvas.polygon(_strip(axis, -0.8 * axis.size, 0.8 * axis.size, start, start + 0.012), (92, 78, 66))
        for off in (-0.5, 0.5):
            canvas.line(_along(axis, -1, 1, off * axis.size), (206, 206, 208), 2)


def _paint_rivers(canvas: _Canvas, part: Part) -> None:
    water = _WATER[part.colour]
    for axis in part.items:
        t = np.linspace(-1, 1, 60)
        phases = canvas.rng.uniform(0, 2 * np.pi, 3)
        right = np.array([-math.sin(axis.angle), math.cos(axis.angle)])
        for width, colour in ((1.14, (152, 138, 104)), (1.0, _shade(water, 0.88)), (0.66, water)):
            half = width * axis.size
            banks = [
                _along(axis, -1, 1, side * half, 60) + (0.008 * np.sin(14 * t + phases[side])[:, None]) * right
                for side in (-1, 1)
            ]
            canvas.polygon(np.concatenate([banks[0], banks[1][::-1]]), colour)


def _paint_sea(canvas: _Canvas, part: Part) -> None:
    water = _WATER[part.colour]
    edge = part.items[0]
    coast = Item(edge.x, edge.y, 0.0, edge.angle + math.pi / 2)
    t = np.linspace(-1, 1, 60)
    swell = 0.012 * np.sin(9 * t + canvas.rng.uniform(0, 6)) + 0.006 * np.sin(23 * t + canvas.rng.uniform(0, 6))
    inland = np.array([math.cos(edge.angle), math.sin(edge.angle)])
    wave = swell[:, None] * inland if canvas.natural_shore else np.zeros((60, 2))
    far = _along(coast, 1, -1, 2.0)
    for depth, brightness in ((0.0, 1.25), (0.05, 1.12), (0.14, 1.0), (0.3, 0.9)):
        canvas.polygon(np.concatenate([_along(coast, -1, 1, depth, 60) + wave, far]), _shade(water, brightness))
    if canvas.natural_shore:
        for depth, width in ((0.0, 4), (0.035, 2), (0.075, 2)):
            canvas.line(_along(coast, -1, 1, depth, 60) + wave * (1 + 8 * depth), (240, 244, 244, 190), width)
    else:
        canvas.line(_along(coast, -1, 1, 0), (206, 204, 198), 5)
        canvas.line(_along(coast, -1, 1, 0.012), (70, 72, 74), 2)


def _colours(part: Part) -> list[Colour]:
    return [PALETTE[name] for name in part.colour.split(" and ")]


def _paint_canopy(canvas: _Canvas, part: Part) -> None:
    colours = _colours(part)
    canvas.replace(_textured(_shade(colours[0], 0.55), 8 * _noise(canvas.rng, 30)))
    grid = (np.arange(17) + 0.5) / 17
    spots = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    spots = spots + canvas.rng.uniform(-0.022, 0.022, spots.shape)
    radii = canvas.rng.uniform(0.026, 0.044, len(spots))
    tones = canvas.rng.uniform(0.82, 1.12, len(spots))
    kinds = canvas.rng.integers(0, len(colours), len(spots))
    for (x, y), radius, tone, kind in zip(spots, radii, tones, kinds, strict=True):
        canvas.tree(float(x), float(y), float(radius), _shade(colours[kind], float(tone)))


_DUNES: dict[str, Colour] = {
    "yellow": (226, 190, 104),
    "orange": (216, 146, 84),
    "brown": (160, 112, 74),
    "white": (236, 228, 210),
}


def _paint_dunes(canvas: _Canvas, part: Part) -> None:
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = canvas.rng.uniform(0, np.pi)
    warp = 0.1 * _noise(canvas.rng, 4) + 0.02 * _noise(canvas.rng, 12)
    phase = canvas.rng.uniform(7, 12) * (x * math.cos(angle) + y * math.sin(angle) + warp)
    crest = phase - np.floor(phase)  # a long windward slope that rises, then the sudden shade of the slip face
    relief = 34 * crest**1.5 - 40 * (crest < 0.14) + 4 * _noise(canvas.rng, 90)
    canvas.replace(_textured(_DUNES[part.colour], (relief - 8).astype(np.float32)))


_ROCK: dict[str, Colour] = {
    "brown": (134, 100, 72),
    "gray": (132, 130, 128),
    "green": (84, 116, 66),
    "white": (112, 112, 118),
}


def _paint_ridges(canvas: _Canvas, part: Part) -> None:
    height = sum(abs(_noise(canvas.rng, cells)) * -3.6 / cells for cells in (4, 8, 16, 40))
    slope_y, slope_x = np.gradient(height * SIZE / 4)
    light = 40 * (-slope_x - slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    pixels = np.array(_ROCK[part.colour], dtype=np.float32) + light[..., None]
    if part.colour == "white":
        snow = height > np.quantile(height, 0.45)
        pixels[snow] = 228 + 0.7 * light[snow][:, None]
    canvas.replace(_enlarged(pixels))


def _paint_meadow(canvas: _Canvas, part: Part) -> None:
    colour = {"green": (116, 160, 74), "dark green": (60, 104, 54), "yellow": (190, 178, 96)}[part.colour]
    relief = 16 * _noise(canvas.rng, 4) + 8 * _noise(canvas.rng, 14) + 12 * _noise(canvas.rng, 110)
    canvas.replace(_textured(colour, relief))


def _paint_fields(canvas: _Canvas, part: Part) -> None:
    colours = _colours(part)
    rng = canvas.rng
    centre = Item(0.5, 0.5, 0.0, rng.uniform(0, np.pi))
    across = -0.75
    while across < 0.75:
        width, along = rng.uniform(0.14, 0.26), -0.75 - rng.uniform(0, 0.3)
        while along < 0.75:
            length = rng.uniform(0.3, 0.6)
            colour = _shade(colours[int(rng.integers(len(colours)))], rng.uniform(0.85, 1.12))
            field = _strip(centre, across, across + width, along, along + length)
            canvas.polygon(field, colour)
            for furrow in np.arange(across, across + width, 0.022):
                canvas.line(_along(centre, along, along + length, furrow), (*_shade(colour, 0.84), 150), 1)
            canvas.line(field[[0, 1, 2, 3, 0]], (150, 132, 96), 3)
            along += length
        across += width


def _paint_roofs(canvas: _Canvas, part: Part) -> None:
    rng = canvas.rng
    names = part.colour.split(" and ")
    pitch, angle = 0.125, rng.uniform(0, np.pi / 2)
    grid = (np.arange(13) - 6) * pitch
    for row, v in enumerate(grid):
        for column, u in enumerate(grid):
            x = 0.5 + u * math.cos(angle) - v * math.sin(angle)
            y = 0.5 + u * math.sin(angle) + v * math.cos(angle)
            if not (-0.1 < x < 1.1 and -0.1 < y < 1.1):
                continue
            if rng.random() < 0.08:
                canvas.tree(x, y, 0.035, PALETTE["green"])
                continue
            house = Item(x, y, pitch * rng.uniform(0.54, 0.62), angle + math.pi / 2 * ((row + column) % 2))
            _paint_stamps(canvas, Part("house", names[int(rng.integers(len(names)))], (house,)))


_PAINTERS: dict[str, Callable[[_Canvas, Part], None]] = {
    "bunker": _paint_bunkers,
    "canopy": _paint_canopy,
    "dunes": _paint_dunes,
    "fields": _paint_fields,
    "meadow": _paint_meadow,
    "path": _paint_paths,
    "pond": _paint_ponds,
    "ridges": _paint_ridges,
    "river": _paint_rivers,
    "road": _paint_roads,
    "rock": _paint_rocks,
    "roofs": _paint_roofs,
    "runway": _paint_runways,
    "sea": _paint_sea,
    "track": _paint_tracks,
    "tree": _paint_trees,
}
"""The kinds without a fixed outline; all others are stamps."""
