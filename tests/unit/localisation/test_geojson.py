"""Places as GeoJSON: polygons as RFC 7946 wants them, at the antimeridian and at the poles too."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import from_origin

from rsitr.errors import SceneError
from rsitr.localisation.geojson import SIDE, geometry, outline, write_geojson
from rsitr.localisation.georeference import Georeference
from rsitr.localisation.places import Place
from tests.helpers.examples import examples

WGS84 = CRS.from_epsg(4326)
SQUARE = Place(1, 0.75, 20, 10, 40, 30)


def written(tmp_path, transform, places=(SQUARE,), crs=WGS84):
    path = tmp_path / "new" / "p.geojson"
    lost = write_geojson(path, "a lake", places, Georeference(transform, crs))
    return lost, json.loads(path.read_text(encoding="utf-8"))


def area(ring):
    """In square degrees, above 0 if counterclockwise: the shoelace formula as its definition has it."""
    return sum(x * w - v * y for (x, y), (v, w) in pairwise(ring)) / 2


def test_a_place_is_a_polygon_with_text_rank_score_and_pixels(tmp_path):
    lost, found = written(tmp_path, from_origin(10, 50, 0.001, 0.002))
    polygon = [[10.02, 49.98], [10.02, 49.92], [10.06, 49.92], [10.06, 49.98], [10.02, 49.98]]
    pixels = {"column": 20, "row": 10, "width": 40, "height": 30}
    assert lost == 0
    assert found == {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"text": "a lake", "rank": 1, "score": 0.75, **pixels},
                "geometry": {"type": "Polygon", "coordinates": [polygon]},
            }
        ],
    }


@pytest.mark.parametrize(
    "transform",
    [Affine(0.001, 0, 10, 0, 0.002, 50), Affine(-0.0006, 0.0008, 10, 0.0008, 0.0006, 50)],
    ids=["south-up", "rotated"],
)
def test_rings_are_counterclockwise_whatever_the_scene(tmp_path, transform):
    (feature,) = written(tmp_path, transform)[1]["features"]
    (ring,) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert area(ring) == pytest.approx(30 * 40 * abs(transform.determinant))


@pytest.mark.parametrize("west", [179.97, -180.03, 539.97])
def test_a_place_across_the_antimeridian_is_cut_in_two(tmp_path, west):
    # Its columns 20 to 60 are from 179.99 to 180.03 degrees east.
    (feature,) = written(tmp_path, from_origin(west, 50, 0.001, 0.002))[1]["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    (left,), (right,) = feature["geometry"]["coordinates"]
    assert sorted(map(tuple, left[1:])) == [(179.99, 49.92), (179.99, 49.98), (180, 49.92), (180, 49.98)]
    assert sorted(map(tuple, right[1:])) == [(-180, 49.92), (-180, 49.98), (-179.97, 49.92), (-179.97, 49.98)]
    assert area(left) > 0
    assert area(right) > 0


@pytest.mark.parametrize(("west", "expected"), [(179.94, (179.96, 180)), (179.98, (-180, -179.96))])
def test_a_place_that_only_touches_the_antimeridian_is_one_polygon(tmp_path, west, expected):
    (feature,) = written(tmp_path, from_origin(west, 50, 0.001, 0.002))[1]["features"]
    assert feature["geometry"]["type"] == "Polygon"
    longitudes = [x for x, _ in feature["geometry"]["coordinates"][0]]
    assert (min(longitudes), max(longitudes)) == expected


def test_a_place_around_a_pole_covers_it(tmp_path):
    # 4,000 x 4,000 km with the South Pole in the middle: 2,000 to 2,828 km, or 18 to 25.5 degrees, to the edge.
    middle = Place(1, 1.0, 0, 0, 40, 40)
    south = CRS.from_epsg(3031)
    _, found = written(tmp_path, from_origin(-2e6, 2e6, 1e5, 1e5), [middle], south)
    (west,), (east,) = found["features"][0]["geometry"]["coordinates"]
    longitudes, latitudes = np.array(west + east).T
    assert (longitudes.min(), longitudes.max()) == (-180, 180)
    assert latitudes.min() == -90
    # Along the edge, the middle of a side is nearest to the pole.
    edge = latitudes[latitudes > -90]
    assert edge.max() == pytest.approx(-64.5, abs=0.5)
    assert edge.min() == pytest.approx(-71.9, abs=0.5)
    assert area(west) + area(east) == pytest.approx(360 * (90 - 69), rel=0.05)


def test_sides_that_a_projection_bends_have_points_between_the_corners(tmp_path):
    wide = from_origin(-2e6, 2e6, 1e5, 1e5)
    _, found = written(tmp_path, wide, [Place(1, 1.0, 0, 0, 10, 10)], CRS.from_epsg(3035))
    (ring,) = found["features"][0]["geometry"]["coordinates"]
    assert len(ring) == 4 * SIDE + 1
    small = from_origin(4e6, 3e6, 10, 10)
    _, found = written(tmp_path, small, [Place(1, 1.0, 0, 0, 512, 512)], CRS.from_epsg(3035))
    assert len(found["features"][0]["geometry"]["coordinates"][0]) == 5


def test_places_off_the_earth_are_counted_and_left_out(tmp_path):
    view = CRS.from_string("+proj=geos +h=35785831 +lon_0=0 +sweep=y")
    places = [Place(1, 2.0, 0, 0, 10, 10), Place(2, 1.0, 45, 45, 10, 10)]
    lost, found = written(tmp_path, from_origin(-5.5e6, 5.5e6, 110_000, 110_000), places, view)
    assert lost == 1
    assert [feature["properties"]["rank"] for feature in found["features"]] == [2]


def test_a_scene_that_lies_nowhere_is_refused(tmp_path):
    with pytest.raises(SceneError, match="the scene is not georeferenced: no pixel has a longitude"):
        written(tmp_path, Affine.identity(), crs=None)
    assert not list(tmp_path.iterdir())


def test_no_place_is_an_empty_collection(tmp_path):
    assert written(tmp_path, from_origin(10, 50, 1, 1), []) == (0, {"type": "FeatureCollection", "features": []})


def test_the_outline_of_a_window():
    columns, rows = outline(Place(1, 0, 100, 200, 16, 8))
    assert columns.tolist() == [100] * 8 + [100, 102, 104, 106, 108, 110, 112, 114] + [116] * 8 + [
        116, 114, 112, 110, 108, 106, 104, 102,
    ]  # fmt: skip
    assert rows[[0, 4, 8, 16, 20, 24]].tolist() == [200, 204, 208, 208, 204, 200]


@given(st.floats(-540, 540), st.floats(-80, 70), st.floats(0.001, 90), st.floats(0.001, 10), st.floats(0, 360))
@examples(100)
def test_cutting_keeps_area_and_stays_within_the_globe(west, south, width, height, turn):
    unit = np.stack(outline(Place(1, 0, 0, 0, 1, 1)), axis=1)
    ring = np.roll(unit, round(turn) % len(unit), axis=0) * (width, height) + (west, south)
    found = geometry(np.stack([(ring[:, 0] + 180) % 360 - 180, ring[:, 1]], axis=1))
    rings = [found["coordinates"][0]] if found["type"] == "Polygon" else [part[0] for part in found["coordinates"]]
    for part in rings:
        assert part[0] == part[-1]
        assert all(-180 <= x <= 180 for x, _ in part)
    assert sum(map(area, rings)) == pytest.approx(width * height, rel=1e-3, abs=1e-5)
