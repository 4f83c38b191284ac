"""What locating writes: maps, pictures and places of a scene, and what is said of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from rsitr.errors import SceneError
from rsitr.localisation.locate import LONGEST, locate, slugs
from rsitr.localisation.scene import Scene
from tests.helpers.localisation_scenes import PLACE, RPCS, UTM, brightness, nodata_scene, noise, run, write_tiff


def picture(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_results_of_a_scene_with_nodata_are_blank_there(tmp_path):
    (found,) = run(nodata_scene(tmp_path), ["bright"], brightness, tmp_path / "out", sizes=(32, 16), median=5)
    with rasterio.open(found.geotiff) as file:
        heat = file.read(1)
        assert np.isnan(file.nodata)
        assert (file.crs, file.transform) == (UTM, PLACE)
    assert np.isnan(heat[:, :47]).all()
    assert not np.isnan(heat[:, 47:]).any()
    assert (np.nanmin(heat), np.nanmax(heat)) == (0, 1)
    picture = np.asarray(Image.open(found.overlay))
    assert (picture[:, :47] == 255).all()
    assert (picture[:, 48:] != 255).any()


def test_files_are_written_for_each_query_with_the_place_of_the_scene(tmp_path):
    path = write_tiff(tmp_path / "s.tif", noise(70, 90).transpose(2, 0, 1), crs=UTM, transform=PLACE)
    out = tmp_path / "new" / "folder"
    found = run(path, ["Bright!", "dark"], lambda images: np.stack([brightness(images), -brightness(images)], 1), out,
                sizes=(16, 32), median=5)  # fmt: skip
    kinds = (".geojson", ".png", ".tif")
    assert sorted(p.name for p in out.iterdir()) == [name + kind for name in ("bright", "dark") for kind in kinds]
    with Scene(path) as scene:
        expected = locate(scene, brightness, sizes=(16, 32), median=5)
    with rasterio.open(found[0].geotiff) as file:
        assert (file.crs, file.transform, file.dtypes, file.shape) == (UTM, PLACE, ("float32",), (70, 90))
        assert file.descriptions == ("relative score: 0 lowest, 1 highest of this scene",)
        assert file.profile["compress"] == "deflate"
        assert file.profile["tiled"]
        assert np.allclose(file.read(1), expected.map(0) / 255, atol=1e-7)
    assert (found[0].query, found[0].lowest, found[0].highest) == ("Bright!", expected.lowest[0], expected.highest[0])
    with Image.open(found[1].overlay) as picture:
        assert picture.size == (90, 70)


def test_the_picture_is_of_bounded_size_and_bright_where_the_map_is(tmp_path):
    pixels = np.zeros((64, 4400, 3), dtype=np.uint8)
    pixels[:, 2200:] = 100
    (found,) = run(picture(tmp_path, pixels), ["bright"], brightness, tmp_path, sizes=(64,), median=1)
    with Image.open(found.overlay) as overlay:
        assert overlay.size == (LONGEST, 30)
        seen = np.asarray(overlay).astype(int).sum(axis=2)
    assert seen[15, 1500] > seen[15, 500] + 200


def test_slugs():
    queries = [
        "There is a Road, beside it?",
        "there is a road beside it",
        "A_b",
        "...",
        "飞机 park",
        "x" * 99,
        "---",
        "𠀀" * 60,
    ]
    expected = [
        "there-is-a-road-beside-it",
        "there-is-a-road-beside-it-2",
        "a-b",
        "query",
        "飞机-park",
        "x" * 60,
        "query-2",
        "𠀀" * 50,
    ]
    assert slugs(queries) == expected


def test_a_map_says_what_it_shows_and_leads_back_to_scores(tmp_path):
    path = write_tiff(tmp_path / "s.tif", noise(64, 64).transpose(2, 0, 1), crs=UTM, transform=PLACE)
    (found,) = run(path, ['a <lake> & "more"'], brightness, tmp_path / "out", sizes=(16,), median=0)
    with Scene(path) as scene:
        means = locate(scene, brightness, sizes=(16,), median=0)
    with rasterio.open(found.geotiff) as file:
        tags, heat = file.tags(), file.read(1)
    assert tags.pop("AREA_OR_POINT") == "Area"
    scale = "LOWEST_SCORE + value * (HIGHEST_SCORE - LOWEST_SCORE) is the mean score of the windows around a pixel"
    assert {key: tags.pop(key) for key in ("TEXT", "SCALE", "MEDIAN", "PLACE")} == {
        "TEXT": 'a <lake> & "more"',
        "SCALE": scale,
        "MEDIAN": "0",
        "PLACE": "the scene is georeferenced in EPSG:32633",
    }
    assert tags.pop("SHOWN") == "bands 1, 2, 3 as red, green, blue, as the file declares; 8 bits as they are"
    low, high = float(tags.pop("LOWEST_SCORE")), float(tags.pop("HIGHEST_SCORE"))
    assert (low, high) == (found.lowest, found.highest)
    assert not tags
    # The map has 256 levels, rounded down; cells of 8 x 8.
    back, exact = low + heat[::8, ::8] * (high - low), means.means[0]
    assert back.shape == exact.shape
    assert (exact - back).min() > -1e-4
    assert (exact - back).max() < (high - low) / 255 + 1e-4


NOWHERE = "is not georeferenced: maps have pixel coordinates only, and no GeoJSON is written"
POINTS = [
    GroundControlPoint(row=row, col=column, x=10 + column / 1000, y=50 - row / 1000, z=7)
    for row in (0, 32, 64)
    for column in (0, 48, 96)
]


def test_ground_control_points_are_carried_over(tmp_path):
    pixels = np.full((64, 96, 3), 50, dtype=np.uint8)
    pixels[32:64, 48:80] = 200
    path = write_tiff(tmp_path / "s.tif", pixels.transpose(2, 0, 1), gcps=POINTS, crs="EPSG:4326")
    (found,) = run(path, ["bright"], brightness, tmp_path / "out", sizes=(32,), median=0)
    with rasterio.open(found.geotiff) as file:
        points, crs = file.gcps
        assert crs.to_string() == "EPSG:4326"
        assert [(p.row, p.col, p.x, p.y, p.z) for p in points] == [(p.row, p.col, p.x, p.y, p.z) for p in POINTS]
        assert file.tags()["PLACE"].startswith("the scene is georeferenced by 9 ground control points in EPSG:4326")
    assert found.places[0][1:] == (200.0, 48, 16, 32, 32) or found.places[0][2:] == (48, 32, 32, 32)
    first = json.loads(found.geojson.read_text())["features"][0]
    place = found.places[0]
    (ring,) = first["geometry"]["coordinates"]
    assert np.allclose(ring[0], (10 + place.column / 1000, 50 - place.row / 1000))
    assert np.allclose(ring[2], (10 + (place.column + 32) / 1000, 50 - (place.row + 32) / 1000))


def test_rpcs_are_carried_over(tmp_path):
    path = write_tiff(tmp_path / "s.tif", noise(40, 50).transpose(2, 0, 1), rpcs=RPCS)
    (found,) = run(path, ["bright"], brightness, tmp_path / "out", sizes=(16,))
    with rasterio.open(found.geotiff) as file:
        assert file.rpcs.to_dict() == RPCS.to_dict()
    (longitude, latitude), *_ = json.loads(found.geojson.read_text())["features"][0]["geometry"]["coordinates"][0]
    assert 9.89 <= longitude <= 10.11
    assert 49.89 <= latitude <= 50.11


def test_there_is_no_geojson_of_a_scene_that_lies_nowhere(tmp_path):
    path, out = picture(tmp_path, noise(40, 40)), tmp_path / "out"
    out.mkdir()
    (out / "bright.geojson").write_text("of an earlier scene")
    (found,) = run(path, ["bright"], brightness, out, sizes=(16,))
    assert found.geojson is None
    assert found.places
    assert sorted(file.name for file in out.iterdir()) == ["bright.png", "bright.tif"]
    with rasterio.open(found.geotiff) as file:
        assert file.tags()["PLACE"] == f"the scene {NOWHERE}"


def test_the_places_of_each_query_are_its_best_windows(tmp_path):
    pixels = np.full((64, 96, 3), 50, dtype=np.uint8)
    pixels[:32, :32], pixels[32:, 64:] = 200, 0
    path = write_tiff(tmp_path / "s.tif", pixels.transpose(2, 0, 1), crs=UTM, transform=PLACE)
    bright, dark = run(path, ["bright", "dark"], lambda images: np.outer(brightness(images), (1, -1)),
                       tmp_path / "out", sizes=(32,), places=2)  # fmt: skip
    assert [place[1:] for place in bright.places][:1] == [(200.0, 0, 0, 32, 32)]
    assert [place[1:] for place in dark.places][:1] == [(0.0, 64, 32, 32, 32)]
    for found in (bright, dark):
        features = json.loads(found.geojson.read_text())["features"]
        assert [feature["properties"] for feature in features] == [
            {"text": found.query, **place._asdict()} for place in found.places
        ]
        assert len(features) == 2


def test_declared_colours_decide_what_is_found(tmp_path):
    # A red field on the left, water on the right, stored as blue, green, red, near infrared.
    red, blue = (20, 30, 200, 90), (200, 60, 20, 10)
    values = np.zeros((4, 32, 64), dtype=np.uint8)
    values[:, :, :32], values[:, :, 32:] = np.reshape(red, (4, 1, 1)), np.reshape(blue, (4, 1, 1))
    path = write_tiff(tmp_path / "s.tif", values, photometric="minisblack", crs=UTM, transform=PLACE)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[name] for name in ("blue", "green", "red", "undefined")]

    def redness(images):
        means = images.reshape(len(images), -1, 3).mean(axis=1)
        return means[:, 0] - means[:, 2]

    (found,) = run(path, ["a red field"], redness, tmp_path / "out", sizes=(32,))
    assert found.places[0] == (1, 180.0, 0, 0, 32, 32)


def never(images):
    raise AssertionError("this is told before the work")


def test_bad_queries_are_named(tmp_path):
    path = picture(tmp_path, noise(40, 40))
    for queries, message in (
        ([], "at least one text"),
        (["a lake", "  "], "a query is empty: give texts of at least one word"),
        (["a lake", "b", " a lake"], "'a lake' is given twice: give each text once"),
    ):
        with pytest.raises(SceneError, match=message):
            run(path, queries, never, tmp_path / "out")
    with pytest.raises(SceneError, match="0 places: ask for at least one"):
        run(path, ["a"], never, tmp_path / "out", places=0)
    assert not (tmp_path / "out").exists()


def test_a_scene_is_never_replaced_by_its_map(tmp_path):
    path = write_tiff(tmp_path / "bright.tif", noise(40, 40).transpose(2, 0, 1))
    before = path.read_bytes()
    with pytest.raises(SceneError, match=r"bright.tif is the scene itself and would be replaced: choose another"):
        run(path, ["dark", "Bright!"], never, tmp_path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path):
    path = picture(tmp_path, noise(40, 40))
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "folder", Path("/proc/none")):
        with pytest.raises(SceneError, match=r"cannot be written .*: make room, or choose another folder"):
            run(path, ["a"], never, out)


def test_bad_input_is_named(tmp_path):
    path = picture(tmp_path, noise(40, 40))
    with pytest.raises(SceneError, match="does not exist"):
        run(tmp_path / "absent.tif", ["a"], brightness, tmp_path)
    with pytest.raises(SceneError, match="2 pixels or more"):
        run(path, ["a"], brightness, tmp_path, sizes=())

    with pytest.raises(SceneError, match="odd number"):
        run(path, ["a"], never, tmp_path, median=250)
    empty = write_tiff(tmp_path / "empty.tif", np.zeros((40, 40), dtype=np.uint8), nodata=0)
    with pytest.raises(SceneError, match="no valid pixel: look at the nodata value"):
        run(empty, ["a"], never, tmp_path)
