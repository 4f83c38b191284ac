"""Samples scene descriptions: one function per class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rsitr.datasets.synthetic.description import Part, Scene
from rsitr.datasets.synthetic.ground_plan import PAINTS, ROOFS, GroundPlan

_SPARSE = 4
"""The most houses of a sparse residential area; a medium one has more."""


def _airport(plan: GroundPlan) -> None:
    if plan.chance(0.6):
        plan.band("runway", half_width=0.06)
    plan.subject(plan.array("plane", plan.among(1, 6), 3, ("white", *PAINTS), sized=True))
    plan.scatter("terminal", plan.among(0, 1), ("white", "blue", "red", "gray"))


def _baseball_field(plan: GroundPlan) -> None:
    plan.road(0.6, ("road", "path"))
    plan.subject(plan.scatter("baseball field", plan.among(1, 2), ("green", "dark green", "yellow"), sized=True))


def _beach(plan: GroundPlan) -> None:
    plan.subject(plan.sea(plan.rng.uniform(0.35, 0.6)))
    plan.scatter("umbrella", plan.among(0, 8), ("red", "blue", "white", "orange"))


def _bridge(plan: GroundPlan) -> None:
    river = plan.band("river", ("green", "blue", "brown"), half_width=plan.rng.uniform(0.1, 0.17), central=True)
    plan.subject(plan.bridges(river, plan.among(1, 2)))


def _church(plan: GroundPlan) -> None:
    plan.road(0.6)
    plan.subject(plan.scatter("church", 1, ROOFS, sized=True))


def _dense_residential(plan: GroundPlan) -> None:
    roofs = plan.cover("roofs", ("red", "gray", "white", "blue", "red and gray", "white and blue", "brown and white"))
    plan.subject(roofs)
    road = plan.road(0.8)
    if road and plan.chance(0.6):
        plan.traffic(road, plan.among(1, 5))


def _desert(plan: GroundPlan) -> None:
    plan.subject(plan.cover("dunes", ("yellow", "orange", "brown", "white")))
    plan.road(0.4, ("road", "path"))


def _farmland(plan: GroundPlan) -> None:
    greens = ("green", "dark green", "yellow", "green and brown", "green and yellow", "yellow and brown")
    plan.subject(plan.cover("fields", greens))
    plan.road(0.6, ("road", "path", "river"))


def _forest(plan: GroundPlan) -> None:
    plan.subject(plan.cover("canopy", ("green", "dark green", "green and yellow", "yellow")))
    plan.road(0.6, ("road", "path", "river"))


def _golf_course(plan: GroundPlan) -> None:
    plan.road(0.5, ("path",))
    plan.subject(plan.scatter("bunker", plan.among(1, 6), ("white", "yellow"), sized=True))


def _industrial(plan: GroundPlan) -> None:
    plan.road(0.6)
    plan.subject(plan.array("factory", plan.among(1, 5), 3, ROOFS, sized=True))


def _meadow(plan: GroundPlan) -> None:
    plan.subject(plan.cover("meadow", ("green", "dark green", "yellow")))
    plan.road(0.6, ("path", "road", "river"))


def _medium_residential(plan: GroundPlan) -> None:
    road = plan.band("road", half_width=0.045, central=plan.chance(0.7))
    houses = plan.along("house", plan.among(5, 11), road, ROOFS)
    if houses is not None and len(houses.items) > _SPARSE:
        plan.subject(houses)


def _mountain(plan: GroundPlan) -> None:
    plan.subject(plan.cover("ridges", ("green", "brown", "gray", "white")))
    plan.road(0.6, ("river", "road"))


def _parking(plan: GroundPlan) -> None:
    plan.road(0.4)
    columns = plan.among(4, 6)
    bays = plan.array("bay", columns * plan.among(2, 3), columns, ("white", "yellow"))
    if bays is not None:
        plan.subject(plan.park(bays, plan.among(1, 12)))


def _playground(plan: GroundPlan) -> None:
    plan.road(0.4)
    plan.subject(plan.scatter("playground", 1, ("red", "blue", "gray", "orange"), sized=True))


def _pond(plan: GroundPlan) -> None:
    plan.road(0.5, ("path", "road"))
    plan.subject(plan.scatter("pond", plan.among(1, 2), ("green", "blue", "black"), sized=True))


def _port(plan: GroundPlan) -> None:
    plan.sea(plan.rng.uniform(0.55, 0.75))
    plan.subject(plan.array("ship", plan.among(1, 7), 4, ("white", "red", "blue", "gray"), sized=True))


def _railway_station(plan: GroundPlan) -> None:
    tracks = plan.tracks(plan.among(2, 5))
    platform_side = Part("track", "", tracks.items[-1:])
    plan.subject(plan.along("station", 1, platform_side, ROOFS, both=False))
    if plan.chance(0.7):
        plan.trains(tracks, plan.among(1, 2))


def _roundabout(plan: GroundPlan) -> None:
    first = plan.band("road", half_width=0.05, central=True)
    plan.subject(plan.roundabout(first, ("green", "brown", "blue", "gray")))


def _school(plan: GroundPlan) -> None:
    plan.road(0.4)
    plan.subject(plan.scatter("school", plan.among(1, 2), ROOFS, sized=True))


def _sparse_residential(plan: GroundPlan) -> None:
    plan.road(0.7, ("road", "path"))
    plan.subject(plan.scatter("house", plan.among(1, _SPARSE), ROOFS, sized=True))


def _storage_tanks(plan: GroundPlan) -> None:
    plan.road(0.6)
    columns = plan.among(2, 4)
    plan.subject(plan.array("tank", plan.among(1, 9), columns, ("white", "gray", "red", "brown"), sized=True))


def _tennis_court(plan: GroundPlan) -> None:
    plan.road(0.5, ("road", "path"))
    plan.subject(plan.array("court", plan.among(1, 4), 2, ("green", "blue", "red"), sized=True))


_SAMPLERS: dict[str, tuple[Callable[[GroundPlan], None], tuple[str, ...], tuple[str, ...], int]] = {
    "airport": (_airport, ("concrete", "asphalt", "dry grass", "grass"), ("car", "tree", "building"), 1),
    "baseballfield": (_baseball_field, ("grass", "dry grass", "bare land"), ("tree", "car", "house", "building"), 2),
    "beach": (_beach, ("sand", "white sand"), ("tree", "rock", "house", "boat"), 2),
    "bridge": (_bridge, ("grass", "dry grass", "bare land"), ("tree", "house", "building"), 2),
    "church": (_church, ("grass", "dry grass", "concrete", "bare land"), ("tree", "house", "car", "pond"), 2),
    "denseresidential": (_dense_residential, ("concrete",), ("pond", "court", "building"), 1),
    "desert": (_desert, ("sand",), ("rock", "house", "tree"), 1),
    "farmland": (_farmland, ("bare land",), ("house", "tree", "pond"), 2),
    "forest": (_forest, ("grass",), ("pond", "house", "rock"), 1),
    "golfcourse": (_golf_course, ("grass", "dry grass"), ("pond", "tree", "house"), 2),
    "industrial": (_industrial, ("concrete", "asphalt", "bare land"), ("tank", "car", "tree"), 2),
    "meadow": (_meadow, ("grass",), ("tree", "pond", "house", "rock"), 2),
    "mediumresidential": (_medium_residential, ("grass", "dry grass", "bare land"), ("tree", "pond", "court"), 2),
    "mountain": (_mountain, ("bare land",), ("pond", "house"), 1),
    "parking": (_parking, ("asphalt", "concrete"), ("tree", "building"), 1),
    "playground": (_playground, ("grass", "dry grass", "concrete"), ("tree", "building", "court"), 2),
    "pond": (_pond, ("grass", "dry grass", "bare land"), ("tree", "house", "building", "rock"), 2),
    "port": (_port, ("concrete", "asphalt", "bare land"), ("container", "building", "car", "tree"), 2),
    "railwaystation": (_railway_station, ("bare land", "concrete", "grass"), ("tree", "building", "car"), 1),
    "roundabout": (_roundabout, ("grass", "dry grass", "bare land", "concrete"), ("tree", "building", "house"), 2),
    "school": (_school, ("grass", "concrete", "bare land"), ("court", "tree", "car", "pond"), 2),
    "sparseresidential": (_sparse_residential, ("grass", "dry grass", "bare land", "sand"), ("tree", "pond", "car"), 2),
    "storagetanks": (_storage_tanks, ("grass", "bare land", "concrete"), ("tree", "building", "car"), 1),
    "tenniscourt": (
        _tennis_court,
        ("grass", "dry grass", "concrete", "bare land"),
        ("tree", "house", "car", "building"),
        2,
    ),
}
"""Of a class: how its scenes are arranged, the grounds they may have, the secondary kinds and the most of them."""

CLASSES = tuple(_SAMPLERS)
"""The scene classes, spelled as in the file names of the field."""


def sample_scene(class_name: str, rng: np.random.Generator) -> Scene:
    """A scene of a class; starts over in the rare case that no object of the subject finds a free place."""
    arrange, grounds, extras, most = _SAMPLERS[class_name]
    while True:
        plan = GroundPlan(rng)
        plan.ground = plan.pick(grounds)
        arrange(plan)
        plan.extras(extras, most)
        if plan.main is not None:
            return Scene(class_name, plan.ground, tuple(plan.parts), plan.main)
