"""Where scenes are: what maps keep, which longitudes and latitudes follow, and what is said where none do."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import from_origin

from rsitr.errors import SceneError
from rsitr.localisation.georeference import Georeference
from rsitr.localisation.scene import Scene
from tests.helpers.localisation_scenes import PLACE, RPCS, UTM, noise, write_tiff

WGS84 = CRS.from_epsg(4326)
POINTS = [
    GroundControlPoint(row=row, col=column, x=10 + column / 1000, y=50 - row / 1000)
    for row in (0, 20, 40)
    for column in (0, 25, 50)
]
NOWHERE = "is not georeferenced: maps have pixel coordinates only, and no GeoJSON is written"
KEPT = "maps have the same coordinates, and no GeoJSON is written"


@pytest.fixture
def place(tmp_path):
    """The georeference of a scene of 40 x 50 pixels with a profile."""

    def read(**profile):
        with Scene(write_tiff(tmp_path / "s.tif", noise(40, 50).transpose(2, 0, 1), **profile)) as scene:
            return scene.georeference

    return read


@pytest.mark.parametrize(
    ("profile", "note"),
    [
        ({"crs": UTM, "transform": PLACE}, "is georeferenced in EPSG:32633"),
        (
            {"crs": WGS84, "gcps": POINTS},
            "is georeferenced by 9 ground control points in EPSG:4326: maps keep them, and places follow a polynomial "
            "through them",
        ),
        (
            {"rpcs": RPCS},
            "is georeferenced by RPCs: maps keep them, and places are those at a height of 250 m",
        ),
        ({}, NOWHERE),
        ({"crs": UTM}, NOWHERE),
        ({"transform": PLACE}, f"names no reference system of its coordinates: {KEPT}"),
        (
            {"crs": CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]'), "transform": PLACE},
            f"has coordinates of 'site grid', which is not tied to longitudes and latitudes: {KEPT}",
        ),
        (
            {"crs": CRS.from_string("+proj=laea +lat_0=50 +lon_0=10"), "transform": PLACE},
            "is georeferenced in an unnamed reference system",
        ),
    ],
)
def test_what_is_said_of_a_georeference(place, profile, note):
    assert place(**profile).note == note


def test_points_from_which_nothing_follows_are_told(place):
    same = [GroundControlPoint(row=1, col=1, x=10, y=50)] * 4
    found = place(crs=WGS84, gcps=same)
    assert found.note.startswith("has ground control points from which no position follows (")
    with pytest.raises(SceneError, match="no position follows"):
        found.lonlat(np.zeros(1), np.zeros(1))


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"crs": WGS84, "transform": from_origin(10, 50, 0.001, 0.002)}, [(10, 50), (10.05, 49.92)]),
        ({"crs": WGS84, "transform": Affine(0.001, 0, 10, 0, 0.002, 50)}, [(10, 50), (10.05, 50.08)]),  # south-up
        # A quarter turn: columns run north, rows run east.
        ({"crs": WGS84, "transform": Affine(0, 0.001, 10, 0.001, 0, 50)}, [(10, 50), (10.04, 50.05)]),
        ({"crs": WGS84, "gcps": POINTS}, [(10, 50), (10.05, 49.96)]),
        # On the central meridian, at the equator: 1 km to the north is 1 / 110.618 degrees.
        ({"crs": UTM, "transform": from_origin(500_000, 0, 1, 25)}, [(15, 0), (15.00044926, -0.00904730)]),
    ],
)
def test_longitudes_and_latitudes(place, profile, expected):
    columns, rows = np.array([0.0, 50.0]), np.array([0.0, 40.0])
    found = place(**profile).lonlat(columns, rows)
    assert np.allclose(np.stack(found, axis=1), expected, atol=2e-7)


def test_rpcs_count_from_the_centre_of_the_first_pixel(place):
    found = place(rpcs=RPCS).lonlat(np.array([25.5, 50.5]), np.array([20.5, 0.5]))
    assert np.allclose(found, [[10, 10.1], [50, 50.1]], atol=1e-9)


def test_what_a_projection_does_not_reach_is_nan(place):
    # The view of a geostationary satellite: its corner looks past the Earth, its middle at 0, 0.
    view = CRS.from_string("+proj=geos +h=35785831 +lon_0=0 +sweep=y")
    found = place(crs=view, transform=from_origin(-5_500_000, 5_500_000, 220_000, 275_000))
    assert np.isnan(found.lonlat(np.array([0.0]), np.array([0.0]))).all()
    assert np.allclose(found.lonlat(np.array([25.0]), np.array([20.0])), 0, atol=1e-9)


def test_a_file_has_a_transform_or_points_and_the_transform_counts(place):
    both = Georeference(PLACE, UTM, POINTS, WGS84, RPCS)
    assert both.note == "is georeferenced in EPSG:32633"
    assert both.profile == {"transform": PLACE, "crs": UTM, "rpcs": RPCS}
    points = Georeference(Affine.identity(), None, POINTS, WGS84)
    assert points.profile == {"gcps": POINTS, "crs": WGS84}
