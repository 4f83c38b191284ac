"""Samples scene descriptions: one function per class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rsitr.datasets.synthetic.description import Part, Scene
from rsitr.datasets.synthetic.layout import PAINTS, ROOFS, Layout

_SPARSE = 4
"""The most houses of a sparse residential area; a medium one has more."""


def _airport(layout: Layout) -> None:
    if layout.chance(0.6):
        layout.band("runway", half_width=0.06)
    layout.subject(layout.array("plane", layout.among(1, 6), 3, ("white", *PAINTS), sized=True))
    layout.scatter("terminal", layout.among(0, 1), ("white", "blue", "red", "gray"))
    layout.extras("car", "tree", "building", most=1)


def _baseball_field(layout: Layout) -> None:
    layout.road(0.6, ("road", "path"))
    layout.subject(layout.scatter("baseball field", layout.among(1, 2), ("green", "dark green", "yellow"), sized=True))
    layout.extras("tree", "car", "house", "building")


def _beach(layout: Layout) -> None:
    layout.subject(layout.sea(layout.rng.uniform(0.35, 0.6)))
    layout.scatter("umbrella", layout.among(0, 8), ("red", "blue", "white", "orange"))
    layout.extras("tree", "rock", "house", "boat")


def _bridge(layout: Layout) -> None:
    river = layout.band("river", ("green", "blue", "brown"), half_width=layout.rng.uniform(0.1, 0.17), central=True)
    layout.subject(layout.bridges(river, layout.among(1, 2)))
    layout.extras("tree", "house", "building")


def _church(layout: Layout) -> None:
    layout.road(0.6)
    layout.subject(layout.scatter("church", 1, ROOFS, sized=True))
    layout.extras("tree", "house", "car", "pond")


def _dense_residential(layout: Layout) -> None:
    roofs = layout.cover("roofs", ("red", "gray", "white", "blue", "red and gray", "white and blue", "brown and white"))
    layout.subject(roofs)
    road = layout.road(0.8)
    if road and layout.chance(0.6):
        layout.traffic(road, layout.among(1, 5))
    layout.extras("pond", "court", "building", most=1)


def _desert(layout: Layout) -> None:
    layout.subject(layout.cover("dunes", ("yellow", "orange", "brown", "white")))
    layout.road(0.4, ("road", "path"))
    layout.extras("rock", "house", "tree", most=1)


def _farmland(layout: Layout) -> None:
    greens = ("green", "dark green", "yellow", "green and brown", "green and yellow", "yellow and brown")
    layout.subject(layout.cover("fields", greens))
    layout.road(0.6, ("road", "path", "river"))
    layout.extras("house", "tree", "pond")


def _forest(layout: Layout) -> None:
    layout.subject(layout.cover("canopy", ("green", "dark green", "green and yellow", "yellow")))
    layout.road(0.6, ("road", "path", "river"))
    layout.extras("pond", "house", "rock", most=1)


def _golf_course(layout: Layout) -> None:
    layout.road(0.5, ("path",))
    layout.subject(layout.scatter("bunker", layout.among(1, 6), ("white", "yellow"), sized=True))
    layout.extras("pond", "tree", "house")


def _industrial(layout: Layout) -> None:
    layout.road(0.6)
    layout.subject(layout.array("factory", layout.among(1, 5), 3, ROOFS, sized=True))
    layout.extras("tank", "car", "tree")


def _meadow(layout: Layout) -> None:
    layout.subject(layout.cover("meadow", ("green", "dark green", "yellow")))
    layout.road(0.6, ("path", "road", "river"))
    layout.extras("tree", "pond", "house", "rock")


def _medium_residential(layout: Layout) -> None:
    road = layout.band("road", half_width=0.045, central=layout.chance(0.7))
    houses = layout.beside("house", layout.among(5, 11), road, ROOFS)
    if houses is not None and len(houses.items) > _SPARSE:
        layout.subject(houses)
    layout.extras("tree", "pond", "court")


def _mountain(layout: Layout) -> None:
    layout.subject(layout.cover("ridges", ("green", "brown", "gray", "white")))
    layout.road(0.6, ("river", "road"))
    layout.extras("pond", "house", most=1)


def _parking(layout: Layout) -> None:
    layout.road(0.4)
    columns = layout.among(4, 6)
    bays = layout.array("bay", columns * layout.among(2, 3), columns, ("white", "yellow"))
    if bays is not None:
        layout.subject(layout.park(bays, layout.among(1, 12)))
    layout.extras("tree", "building", most=1)


def _playground(layout: Layout) -> None:
    layout.road(0.4)
    layout.subject(layout.scatter("playground", 1, ("red", "blue", "gray", "orange"), sized=True))
    layout.extras("tree", "building", "court")


def _pond(layout: Layout) -> None:
    layout.road(0.5, ("path", "road"))
    layout.subject(layout.scatter("pond", layout.among(1, 2), ("green", "blue", "black"), sized=True))
    layout.extras("tree", "house", "building", "rock")


def _port(layout: Layout) -> None:
    layout.sea(layout.rng.uniform(0.55, 0.75))
    layout.subject(layout.array("ship", layout.among(1, 7), 4, ("white", "red", "blue", "gray"), sized=True))
    layout.extras("container", "building", "car", "tree")


def _railway_station(layout: Layout) -> None:
    tracks = layout.tracks(layout.among(2, 5))
    platform_side = Part("track", "", tracks.items[-1:])
    layout.subject(layout.beside("station", 1, platform_side, ROOFS, both=False))
    if layout.chance(0.7):
        layout.trains(tracks, layout.among(1, 2))
    layout.extras("tree", "building", "car", most=1)


def _roundabout(layout: Layout) -> None:
    first = layout.band("road", half_width=0.05, central=True)
    layout.subject(layout.roundabout(first, ("green", "brown", "blue", "gray")))
    layout.extras("tree", "building", "house")


def _school(layout: Layout) -> None:
    layout.road(0.4)
    layout.subject(layout.scatter("school", layout.among(1, 2), ROOFS, sized=True))
    layout.extras("court", "tree", "car", "pond")


def _sparse_residential(layout: Layout) -> None:
    layout.road(0.7, ("road", "path"))
    layout.subject(layout.scatter("house", layout.among(1, _SPARSE), ROOFS, sized=True))
    layout.extras("tree", "pond", "car")


def _storage_tanks(layout: Layout) -> None:
    layout.road(0.6)
    columns = layout.among(2, 4)
    layout.subject(layout.array("tank", layout.among(1, 9), columns, ("white", "gray", "red", "brown"), sized=True))
    layout.extras("tree", "building", "car", most=1)


def _tennis_court(layout: Layout) -> None:
    layout.road(0.5, ("road", "path"))
    layout.subject(layout.array("court", layout.among(1, 4), 2, ("green", "blue", "red"), sized=True))
    layout.extras("tree", "house", "car", "building")


_SAMPLERS: dict[str, tuple[Callable[[Layout], None], tuple[str, ...]]] = {
    "airport": (_airport, ("concrete", "asphalt", "dry grass", "grass")),
    "baseballfield": (_baseball_field, ("grass", "dry grass", "bare land")),
    "beach": (_beach, ("sand", "white sand")),
    "bridge": (_bridge, ("grass", "dry grass", "bare land")),
    "church": (_church, ("grass", "dry grass", "concrete", "bare land")),
    "denseresidential": (_dense_residential, ("concrete",)),
    "desert": (_desert, ("sand",)),
    "farmland": (_farmland, ("bare land",)),
    "forest": (_forest, ("grass",)),
    "golfcourse": (_golf_course, ("grass", "dry grass")),
    "industrial": (_industrial, ("concrete", "asphalt", "bare land")),
    "meadow": (_meadow, ("grass",)),
    "mediumresidential": (_medium_residential, ("grass", "dry grass", "bare land")),
    "mountain": (_mountain, ("bare land",)),
    "parking": (_parking, ("asphalt", "concrete")),
    "playground": (_playground, ("grass", "dry grass", "concrete")),
    "pond": (_pond, ("grass", "dry grass", "bare land")),
    "port": (_port, ("concrete", "asphalt", "bare land")),
    "railwaystation": (_railway_station, ("bare land", "concrete", "grass")),
    "roundabout": (_roundabout, ("grass", "dry grass", "bare land", "concrete")),
    "school": (_school, ("grass", "concrete", "bare land")),
    "sparseresidential": (_sparse_residential, ("grass", "dry grass", "bare land", "sand")),
    "storagetanks": (_storage_tanks, ("grass", "bare land", "concrete")),
    "tenniscourt": (_tennis_court, ("grass", "dry grass", "concrete", "bare land")),
}
"""How the scenes of a class are arranged, and the grounds they may have."""

CLASSES = tuple(_SAMPLERS)
"""The scene classes, spelled as in the file names of the field."""


def sample_scene(class_name: str, rng: np.random.Generator) -> Scene:
    """A scene of a class; starts over in the rare case that no object of the subject finds a free place."""
    arrange, grounds = _SAMPLERS[class_name]
    while True:
        layout = Layout(rng)
        layout.ground = layout.pick(grounds)
        arrange(layout)
        if layout.main is not None:
            return Scene(class_name, layout.ground, tuple(layout.parts), layout.main)
