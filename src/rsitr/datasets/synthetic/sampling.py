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
    plan.extras("car", "tree", "building", most=1)


def _baseball_field(plan: GroundPlan) -> None:
    plan.road(0.6, ("road", "path"))
    plan.subject(plan.scatter("baseball field", plan.among(1, 2), ("green", "dark green", "yellow"), sized=True))
    plan.extras("tree", "car", "house", "building")


def _beach(plan: GroundPlan) -> None:
    plan.subject(plan.sea(plan.rng.uniform(0.35, 0.6)))
    plan.scatter("umbrella", plan.among(0, 8), ("red", "blue", "white", "orange"))
    plan.extras("tree", "rock", "house", "boat")


def _bridge(plan: GroundPlan) -> None:
    river = plan.band("river", ("green", "blue", "brown"), half_width=plan.rng.uniform(0.1, 0.17), central=True)
    plan.subject(plan.bridges(river, plan.among(1, 2)))
    plan.extras("tree", "house", "building")


def _church(plan: GroundPlan) -> None:
    plan.road(0.6)
    plan.subject(plan.scatter("church", 1, ROOFS, sized=True))
    plan.extras("tree", "house", "car", "pond")


def _dense_residential(plan: GroundPlan) -> None:
    roofs = plan.cover("roofs", ("red", "gray", "white", "blue", "red and gray", "white and blue", "brown and white"))
    plan.subject(roofs)
    road = plan.road(0.8)
    if road and plan.chance(0.6):
        plan.traffic(road, plan.among(1, 5))
    plan.extras("pond", "court", "building", most=1)


def _desert(plan: GroundPlan) -> None:
    plan.subject(plan.cover("dunes", ("yellow", "orange", "brown", "white")))
    plan.road(0.4, ("road", "path"))
    plan.extras("rock", "house", "tree", most=1)


def _farmland(plan: GroundPlan) -> None:
    greens = ("green", "dark green", "yellow", "green and brown", "green and yellow", "yellow and brown")
    plan.subject(plan.cover("fields", greens))
    plan.road(0.6, ("road", "path", "river"))
    plan.extras("house", "tree", "pond")


def _forest(plan: GroundPlan) -> None:
    plan.subject(plan.cover("canopy", ("green", "dark green", "green and yellow", "yellow")))
    plan.road(0.6, ("road", "path", "river"))
    plan.extras("pond", "house", "rock", most=1)


def _golf_course(plan: GroundPlan) -> None:
    plan.road(0.5, ("path",))
    plan.subject(plan.scatter("bunker", plan.among(1, 6), ("white", "yellow"), sized=True))
    plan.extras("pond", "tree", "house")


def _industrial(plan: GroundPlan) -> None:
    plan.road(0.6)
    plan.subject(plan.array("factory", plan.among(1, 5), 3, ROOFS, sized=True))
    plan.extras("tank", "car", "tree")


def _meadow(plan: GroundPlan) -> None:
    plan.subject(plan.cover("meadow", ("green", "dark green", "yellow")))
    plan.road(0.6, ("path", "road", "river"))
    plan.extras("tree", "pond", "house", "rock")


def _medium_residential(plan: GroundPlan) -> None:
    road = plan.band("road", half_width=0.045, central=plan.chance(0.7))
    houses = plan.along("house", plan.among(5, 11), road, ROOFS)
    if houses is not None and len(houses.items) > _SPARSE:
        plan.subject(houses)
    plan.extras("tree", "pond", "court")


def _mountain(plan: GroundPlan) -> None:
    plan.subject(plan.cover("ridges", ("green", "brown", "gray", "white")))
    plan.road(0.6, ("river", "road"))
    plan.extras("pond", "house", most=1)


def _parking(plan: GroundPlan) -> None:
    plan.road(0.4)
    columns = plan.among(4, 6)
    bays = plan.array("bay", columns * plan.among(2, 3), columns, ("white", "yellow"))
    if bays is not None:
        plan.subject(plan.park(bays, plan.among(1, 12)))
    plan.extras("tree", "building", most=1)


def _playground(plan: GroundPlan) -> None:
    plan.road(0.4)
    plan.subject(plan.scatter("playground", 1, ("red", "blue", "gray", "orange"), sized=True))
    plan.extras("tree", "building", "court")


def _pond(plan: GroundPlan) -> None:
    plan.road(0.5, ("path", "road"))
    plan.subject(plan.scatter("pond", plan.among(1, 2), ("green", "blue", "black"), sized=True))
    plan.extras("tree", "house", "building", "rock")


def _port(plan: GroundPlan) -> None:
    plan.sea(plan.rng.uniform(0.55, 0.75))
    plan.subject(plan.array("ship", plan.among(1, 7), 4, ("white", "red", "blue", "gray"), sized=True))
    plan.extras("container", "building", "car", "tree")


def _railway_station(plan: GroundPlan) -> None:
    tracks = plan.tracks(plan.among(2, 5))
    platform_side = Part("track", "", tracks.items[-1:])
    plan.subject(plan.along("station", 1, platform_side, ROOFS, both=False))
    if plan.chance(0.7):
        plan.trains(tracks, plan.among(1, 2))
    plan.extras("tree", "building", "car", most=1)


def _roundabout(plan: GroundPlan) -> None:
    first = plan.band("road", half_width=0.05, central=True)
    plan.subject(plan.roundabout(first, ("green", "brown", "blue", "gray")))
    plan.extras("tree", "building", "house")


def _school(plan: GroundPlan) -> None:
    plan.road(0.4)
    plan.subject(plan.scatter("school", plan.among(1, 2), ROOFS, sized=True))
    plan.extras("court", "tree", "car", "pond")


def _sparse_residential(plan: GroundPlan) -> None:
    plan.road(0.7, ("road", "path"))
    plan.subject(plan.scatter("house", plan.among(1, _SPARSE), ROOFS, sized=True))
    plan.extras("tree", "pond", "car")


def _storage_tanks(plan: GroundPlan) -> None:
    plan.road(0.6)
    columns = plan.among(2, 4)
    plan.subject(plan.array("tank", plan.among(1, 9), columns, ("white", "gray", "red", "brown"), sized=True))
    plan.extras("tree", "building", "car", most=1)


def _tennis_court(plan: GroundPlan) -> None:
    plan.road(0.5, ("road", "path"))
    plan.subject(plan.array("court", plan.among(1, 4), 2, ("green", "blue", "red"), sized=True))
    plan.extras("tree", "house", "car", "building")


_SAMPLERS: dict[str, tuple[Callable[[GroundPlan], None], tuple[str, ...]]] = {
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
        plan = GroundPlan(rng)
        plan.ground = plan.pick(grounds)
        arrange(plan)
        if plan.main is not None:
            return Scene(class_name, plan.ground, tuple(plan.parts), plan.main)
