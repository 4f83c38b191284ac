"""Rasters as they are read: bands, types, nodata, masks, palettes, and what is said of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config

from rsitr.datasets import rasters
from rsitr.datasets.bands import filled
from rsitr.datasets.rasters import Raster, anywhere
from rsitr.errors import UnreadableImage
from tests.helpers.localisation_scenes import PLACE, UTM, noise, write_tiff


def opened(path, **options):
    with anywhere():
        return Raster(rasterio.open(path), path.name, **options)


def whole(path, **options):
    """(pixels with invalid ones filled, mask)."""
    raster = opened(path, **options)
    part = (0, 0, raster.height, raster.width)
    piece, valid = raster.piece(*part), raster.valid(*part)
    assert (piece.valid == valid).all()
    return filled(*piece), valid


@pytest.mark.parametrize(("bands", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_which_bands_are_shown(bands, shown, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (bands, 6, 7), dtype=np.uint8)
    path = write_tiff(tmp_path / "s.tif", values, photometric="minisblack", alpha="no")
    assert (whole(path)[0] == values[shown].transpose(1, 2, 0)).all()


def test_sixteen_bits_are_stretched_between_the_2nd_and_the_98th_percentile(tmp_path):
    # 0 to 100 above 1,000: percentiles 1,002 and 1,098, so that 1,050 becomes 48 / 96 of 255 and 1,034 a third.
    values = np.arange(1000, 1101, dtype=np.uint16)[None, :]
    pixels, _ = whole(write_tiff(tmp_path / "s.tif", values))
    chosen = {1000: 0, 1002: 0, 1003: 3, 1034: 85, 1050: 128, 1066: 170, 1098: 255, 1100: 255}
    assert {value: pixels[0, value - 1000].tolist() for value in chosen} == {k: [v] * 3 for k, v in chosen.items()}


@pytest.mark.parametrize("kind", ["uint16", "int16", "int32", "float32", "float64"])
def test_bands_of_other_types_are_stretched_one_by_one(kind, tmp_path):
    ramp = np.arange(101).reshape(1, 101)
    values = np.stack([ramp, 50 * ramp + 7, 5000 + 0 * ramp]).astype(kind)
    pixels, _ = whole(write_tiff(tmp_path / "s.tif", values))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert pixels[0, 2, 0] == 0
    assert pixels[0, 98, 0] == 255
    assert not pixels[..., 2].any()


def test_a_band_with_few_other_values_is_stretched_between_its_extremes(tmp_path):
    values = np.full((1, 1000), 300, dtype=np.uint16)
    values[0, :3] = [200, 600, 1200]
    pixels, _ = whole(write_tiff(tmp_path / "s.tif", values))
    assert pixels[0, :4, 0].tolist() == [0, 102, 255, 26]


def test_a_pixel_comes_out_the_same_whatever_piece_it_is_read_with(tmp_path, monkeypatch):
    # The overview is far smaller than the scene, and the corners differ much in brightness.
    monkeypatch.setattr(rasters, "OVERVIEW", 16)
    ramp = np.add.outer(np.arange(90) ** 2, 40 * np.arange(70)).astype(np.uint16)
    path = write_tiff(
        tmp_path / "s.tif", np.stack([ramp, ramp[::-1], ramp[:, ::-1]]), tiled=True, blockxsize=16, blockysize=16
    )
    expected, _ = whole(path)
    for top, left, height, width in ((0, 0, 1, 1), (10, 20, 30, 40), (89, 69, 1, 1), (50, 0, 40, 70)):
        part = expected[top : top + height, left : left + width]
        assert (opened(path).piece(top, left, height, width).pixels == part).all()


def test_nodata_is_not_valid_and_shows_the_mean_of_what_is(tmp_path):
    values = np.zeros((3, 2, 3), dtype=np.uint8)
    values[:, 0, 0], values[:, 0, 1], values[:, 1, 2] = (10, 20, 30), (20, 40, 61), (0, 0, 9)
    path = write_tiff(tmp_path / "s.tif", values, nodata=0)
    pixels, valid = whole(path)
    # A dark band alone does not make a pixel invalid.
    assert valid.tolist() == [[True, True, False], [False, False, True]]
    assert pixels[~valid].tolist() == [[10, 20, 33]] * 3
    raster = opened(path)
    assert filled(*raster.piece(0, 1, 1, 2)).tolist() == [[[20, 40, 61], [20, 40, 61]]]
    assert filled(*raster.piece(1, 0, 1, 2)).tolist() == [[[0, 0, 0], [0, 0, 0]]]


def test_nodata_takes_no_part_in_the_stretch(tmp_path):
    values = np.full((2, 101), 65535, dtype=np.uint16)
    values[0] = np.arange(1000, 1101)
    pixels, valid = whole(write_tiff(tmp_path / "s.tif", values, nodata=65535))
    assert valid.tolist() == [[True] * 101, [False] * 101]
    assert pixels[0, [0, 50, 100], 0].tolist() == [0, 128, 255]


def test_alpha_and_masks_are_heard(tmp_path):
    picture = np.dstack([noise(4, 4), np.full((4, 4), 255, dtype=np.uint8)])
    picture[1, 2, 3] = 0
    Image.fromarray(picture).save(tmp_path / "s.png")
    expected = np.ones((4, 4), dtype=bool)
    expected[1, 2] = False
    assert (whole(tmp_path / "s.png")[1] == expected).all()

    path = write_tiff(tmp_path / "s.tif", noise(4, 4).transpose(2, 0, 1))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), anywhere(), rasterio.open(path, "r+") as file:
        file.write_mask(expected)
    assert (whole(path)[1] == expected).all()


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_what_is_not_finite_is_not_valid(lost, tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    values[1, 2] = lost
    pixels, valid = whole(write_tiff(tmp_path / "s.tif", values))
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    assert pixels[1, 2, 0] == round(pixels[valid][:, 0].mean())


def test_a_palette_is_applied(tmp_path):
    path = tmp_path / "s.tif"
    indices = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    with rasterio.open(path, "w", driver="GTiff", count=1, height=2, width=2, dtype="uint8", photometric="palette",
                       crs=UTM, transform=PLACE) as file:  # fmt: skip
        file.write(indices, 1)
        file.write_colormap(1, {0: (255, 0, 0), 1: (0, 128, 0), 2: (1, 2, 3)})
    assert whole(path)[0].tolist() == [[[255, 0, 0], [0, 128, 0]], [[1, 2, 3], [0, 128, 0]]]
    assert (opened(path).thumbnail(2).pixels == whole(path)[0]).all()


def test_a_thumbnail_averages_and_keeps_the_proportions(tmp_path):
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 50:] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "s.png")
    raster = opened(tmp_path / "s.png")
    small = raster.thumbnail(5)
    assert small.pixels.shape == (2, 5, 3)
    assert small.pixels[0, :, 0].tolist() == [0, 0, 100, 200, 200]
    assert (raster.thumbnail(1000).pixels == pixels).all()


def test_gdal_keeps_little_while_it_reads(tmp_path, monkeypatch):
    Image.fromarray(noise(4, 4)).save(tmp_path / "s.png")
    seen = []
    raster = opened(tmp_path / "s.png")
    read = raster._file.read
    fake = SimpleNamespace(read=lambda *a, **k: (seen.append(get_gdal_config("GDAL_CACHEMAX")), read(*a, **k))[1])
    monkeypatch.setattr(raster, "_file", fake)
    raster.piece(0, 0, 4, 4)


@pytest.mark.parametrize("part", [(-1, 0, 2, 2), (0, 0, 5, 2), (3, 0, 2, 1), (0, 0, 0, 1)])
def test_a_window_beyond_the_scene_is_refused(part, tmp_path):
    Image.fromarray(noise(4, 4)).save(tmp_path / "s.png")
    with pytest.raises(ValueError, match="not inside 4 x 4"):
        opened(tmp_path / "s.png").piece(*part)


def declared(path, colours, values=None, **profile):
    """A GeoTIFF whose bands declare colours, of values or of 10, 20, 30 and so on."""
    values = (
        np.stack([np.full((2, 3), 10 * n, np.uint8) for n in range(1, len(colours) + 1)]) if values is None else values
    )
    write_tiff(path, values, photometric="minisblack", **profile)
    with anywhere(), rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[colour] for colour in colours]
    return path


@pytest.mark.parametrize(
    ("colours", "shown", "note"),
    [
        (["blue", "green", "red", "nir"], [30, 20, 10], "bands 3, 2, 1 as red, green, blue, as the file declares"),
        (["gray", "blue", "green", "red"], [40, 30, 20], "bands 4, 3, 2 as red, green, blue, as the file declares"),
        (["alpha", "red", "green", "blue"], [20, 30, 40], "bands 2, 3, 4 as red, green, blue, as the file declares"),
        (
            ["gray", "undefined", "undefined", "undefined"],
            [10, 20, 30],
            "bands 1, 2, 3 as red, green, blue: the file does not declare which of its 4 are; `--bands R,G,B` chooses "
            "others",
        ),
        (
            ["gray", "alpha", "nir", "red"],
            [10, 30, 40],
            "bands 1, 3, 4 as red, green, blue: the file does not declare which of its 4 are",
        ),
        (["gray", "alpha"], [10, 10, 10], "band 1 as grey"),
        (["alpha", "gray"], [20, 20, 20], "band 2 as grey"),
        (["gray"], [10, 10, 10], "band 1 as grey"),
    ],
)
def test_declared_colours_are_shown(colours, shown, note, tmp_path):
    path = declared(tmp_path / "s.tif", colours)
    assert opened(path).piece(0, 0, 2, 3).pixels[0, 0].tolist() == shown
    assert opened(path).note.startswith(note)
    assert opened(path).note.endswith("; 8 bits as they are")


def test_bands_on_request(tmp_path):
    path = declared(tmp_path / "s.tif", ["blue", "green", "red", "nir"])
    for bands, shown, note in (
        ((4, 3, 2), [40, 30, 20], "bands 4, 3, 2 as red, green, blue, as requested"),
        ((2, 2, 1), [20, 20, 10], "bands 2, 2, 1 as red, green, blue, as requested"),
        ((4,), [40, 40, 40], "band 4 as grey, as requested"),
    ):
        raster = opened(path, bands=bands)
        assert raster.piece(0, 0, 2, 3).pixels[1, 2].tolist() == shown
        assert raster.note == f"{note}; 8 bits as they are"


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ((1, 5, 2), "s.tif: there is no band 5: name some of 1 blue, 2 green, 3 red, 4 nir"),
        ((0, 1, 2), "there is no band 0"),
        ((-1,), "there is no band -1"),
        ((1, 2), "2 bands: name three for red, green and blue, or one for grey"),
        ((), "0 bands: name three"),
        ((1, 2, 3, 4), "4 bands: name three"),
    ],
)
def test_bands_that_make_no_sense(bands, message, tmp_path):
    path = declared(tmp_path / "s.tif", ["blue", "green", "red", "nir"])
    with pytest.raises(UnreadableImage, match=message):
        opened(path, bands=bands)


def test_a_nodata_value_on_request_replaces_that_of_the_file(tmp_path):
    values = np.array([[[0, 9, 5]], [[0, 9, 9]], [[0, 9, 9]]], dtype=np.uint8)
    path = write_tiff(tmp_path / "s.tif", values, nodata=0)
    assert whole(path)[1].tolist() == [[False, True, True]]
    pixels, valid = whole(path, nodata=9)
    # A band alone does not make a pixel invalid; invalid ones show the mean of the others.
    assert valid.tolist() == [[True, False, True]]
    assert pixels.tolist() == [[[0, 0, 0], [2, 4, 4], [5, 9, 9]]]
    assert opened(path).note.endswith("; nodata 0, as the file declares")
    assert opened(path, nodata=9).note.endswith("; nodata 9, as requested")
    assert opened(path, nodata=9).thumbnail(2).pixels.shape == (1, 2, 3)


def test_a_nodata_value_on_request_adds_to_a_mask_and_leaves_the_stretch(tmp_path):
    values = np.full((3, 101), 65000, dtype=np.uint16)
    values[0] = np.arange(1000, 1101)
    values[1] = 7
    path = write_tiff(tmp_path / "s.tif", values)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), anywhere(), rasterio.open(path, "r+") as file:
        file.write_mask(values != 7)
    pixels, valid = whole(path, nodata=65000)
    assert valid.tolist() == [[True] * 101, [False] * 101, [False] * 101]
    assert pixels[0, [0, 50, 100], 0].tolist() == [0, 128, 255]
    note = "stretched from the 2nd to the 98th percentile: 1002 to 1098 (band 1); nodata 65000, as requested"
    assert opened(path, nodata=65000).note == f"band 1 as grey; {note}"


@pytest.mark.parametrize(("kind", "value"), [("uint16", -1), ("uint8", 256), ("int16", 0.5), ("uint8", np.nan)])
def test_a_nodata_value_that_cannot_occur_is_refused(kind, value, tmp_path):
    path = write_tiff(tmp_path / "s.tif", np.ones((3, 3), dtype=kind))
    with pytest.raises(
        UnreadableImage, match=rf"cannot hold nodata {value:g}: its values are whole numbers from -?\d+ to \d+"
    ):
        opened(path, nodata=value)


def test_a_nodata_value_of_floats_is_that_of_their_precision(tmp_path):
    values = np.array([[0.1, 0.2, np.nan]], dtype=np.float32)
    assert whole(write_tiff(tmp_path / "s.tif", values), nodata=0.1)[1].tolist() == [[False, True, False]]


def test_fewer_than_8_bits_are_stretched(tmp_path):
    values = np.arange(16, dtype=np.uint8)[None]
    path = write_tiff(tmp_path / "s.tif", values, nbits=4)
    # 0.3 becomes 0 and 14.7 becomes 255.
    assert whole(path)[0][0, [0, 5, 15], 0].tolist() == [0, round(4.7 / 14.4 * 255), 255]


def test_a_palette_of_16_bits_is_applied(tmp_path):
    path = tmp_path / "s.tif"
    with anywhere(), rasterio.open(path, "w", driver="GTiff", count=1, height=1, width=2, dtype="uint16",
                                   photometric="palette") as file:  # fmt: skip
        file.write(np.array([[[1, 300]]], dtype=np.uint16))
        file.write_colormap(1, {1: (255, 0, 0), 300: (1, 2, 3)})
    assert whole(path)[0].tolist() == [[[255, 0, 0], [1, 2, 3]]]
    assert opened(path).note == "band 1 in the colours of its palette"
