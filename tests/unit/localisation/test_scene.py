"""Scenes as they are read: bands, types, nodata, formats, and what is said of files that cannot be read."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.env import get_gdal_config

from rsitr.datasets import rasters
from rsitr.datasets.rasters import Piece, anywhere
from rsitr.errors import SceneError
from rsitr.localisation import scene as module
from rsitr.localisation.scene import Scene, filled
from tests.helpers.localisation_scenes import PLACE, UTM, noise, write_tiff


def whole(path):
    """(pixels as read, mask)."""
    with Scene(path) as scene:
        part = (0, 0, scene.height, scene.width)
        return filled(scene.piece(*part)), scene.valid(*part)


@pytest.mark.parametrize("name", ["scene.png", "scene.tif", "scene.bmp"])
def test_pixels_of_a_picture_come_out_as_they_are(name, tmp_path):
    pixels = noise(20, 30)
    Image.fromarray(pixels).save(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a picture lies nowhere on Earth, and the user knows
        with Scene(tmp_path / name) as scene:
            assert (scene.height, scene.width, scene.georeference.crs) == (20, 30, None)
            assert (filled(scene.piece(3, 5, 7, 11)) == pixels[3:10, 5:16]).all()
            assert filled(scene.piece(3, 5, 7, 11)).dtype == np.uint8
            assert scene.valid(3, 5, 7, 11).tolist() == [[True] * 11] * 7


def test_a_jpeg_is_decoded_as_pillow_decodes_it(tmp_path):
    smooth = np.asarray(Image.fromarray(noise(4, 5)).resize((64, 48)))
    Image.fromarray(smooth).save(tmp_path / "scene.jpg", quality=95, subsampling=0)
    with Image.open(tmp_path / "scene.jpg") as decoded:
        assert np.abs(whole(tmp_path / "scene.jpg")[0].astype(int) - np.asarray(decoded)).max() <= 2


def test_reference_system_and_transform_are_those_of_the_file(tmp_path):
    with Scene(write_tiff(tmp_path / "s.tif", noise(9, 9).transpose(2, 0, 1), crs=UTM, transform=PLACE)) as scene:
        assert (scene.georeference.crs, scene.georeference.transform) == (UTM, PLACE)


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
        with Scene(path) as scene:
            assert (
                filled(scene.piece(top, left, height, width)) == expected[top : top + height, left : left + width]
            ).all()


def test_nodata_is_not_valid_and_shows_the_mean_of_what_is(tmp_path):
    values = np.zeros((3, 2, 3), dtype=np.uint8)
    values[:, 0, 0], values[:, 0, 1], values[:, 1, 2] = (10, 20, 30), (20, 40, 61), (0, 0, 9)
    path = write_tiff(tmp_path / "s.tif", values, nodata=0)
    pixels, valid = whole(path)
    # A dark band alone does not make a pixel invalid.
    assert valid.tolist() == [[True, True, False], [False, False, True]]
    assert pixels[~valid].tolist() == [[10, 20, 33]] * 3
    with Scene(path) as scene:
        assert filled(scene.piece(0, 1, 1, 2)).tolist() == [[[20, 40, 61], [20, 40, 61]]]
        assert filled(scene.piece(1, 0, 1, 2)).tolist() == [[[0, 0, 0], [0, 0, 0]]]


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
    with Scene(path) as scene:
        assert (scene.thumbnail(2).pixels == whole(path)[0]).all()


def test_a_thumbnail_averages_and_keeps_the_proportions(tmp_path):
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 50:] = (200, 100, 50)
    Image.fromarray(pixels).save(tmp_path / "s.png")
    with Scene(tmp_path / "s.png") as scene:
        small = scene.thumbnail(5)
        assert small.pixels.shape == (2, 5, 3)
        assert small.pixels[0, :, 0].tolist() == [0, 0, 100, 200, 200]
        assert (scene.thumbnail(1000).pixels == pixels).all()


def test_filling_leaves_the_piece_as_it_was():
    piece = Piece(np.zeros((1, 2, 3), dtype=np.uint8), np.array([[True, False]]))
    piece.pixels[0, 0] = 9
    assert filled(piece).tolist() == [[[9, 9, 9], [9, 9, 9]]]
    assert piece.pixels[0, 1].tolist() == [0, 0, 0]


def test_gdal_keeps_little_while_it_reads(tmp_path, monkeypatch):
    Image.fromarray(noise(4, 4)).save(tmp_path / "s.png")
    seen = []
    with Scene(tmp_path / "s.png") as scene:
        read = scene._file.read
        fake = SimpleNamespace(close=scene._file.close, colorinterp=scene._file.colorinterp)
        fake.read = lambda *a, **k: (seen.append(get_gdal_config("GDAL_CACHEMAX")), read(*a, **k))[1]
        monkeypatch.setattr(scene, "_file", fake)
        filled(scene.piece(0, 0, 4, 4))
    assert seen == [64 * 2**20]


@pytest.mark.parametrize("block", [16, 32])
def test_rows_of_a_block_are_known(block, tmp_path):
    path = write_tiff(tmp_path / "s.tif", noise(70, 70)[..., 0], tiled=True, blockxsize=16, blockysize=block)
    with Scene(path) as scene:
        assert scene.block_rows == block


def test_a_file_in_one_large_block_is_read_row_by_row(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "s.tif", np.zeros((2000, 3), dtype=np.uint8), blockysize=2000, compress="deflate")
    for room, rows in ((24_000, 2000), (23_999, 1)):
        monkeypatch.setattr(module, "ROW_OF_BLOCKS", room)
        with Scene(path) as scene:
            assert scene.block_rows == rows


@pytest.mark.parametrize("part", [(-1, 0, 2, 2), (0, 0, 5, 2), (3, 0, 2, 1), (0, 0, 0, 1)])
def test_a_window_beyond_the_scene_is_refused(part, tmp_path):
    Image.fromarray(noise(4, 4)).save(tmp_path / "s.png")
    with Scene(tmp_path / "s.png") as scene, pytest.raises(ValueError, match="not inside 4 x 4"):
        filled(scene.piece(*part))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.tif", None, "does not exist: give the path"),
        ("empty.tif", b"", "not a raster .* give a GeoTIFF"),
        ("text.tif", b"a scene", "not a raster .* give a GeoTIFF"),
    ],
)
def test_what_is_no_scene_is_named(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SceneError, match=f"{name} {message}" if "does" in message else f"{name} is {message}"):
        Scene(tmp_path / name)


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
def test_complex_numbers_are_refused(kind, tmp_path):
    path = write_tiff(tmp_path / "s.tif", np.ones((3, 3), dtype=kind))
    with pytest.raises(SceneError, match="complex numbers: convert it to amplitudes"):
        Scene(path)


@pytest.mark.parametrize("name", ["s.tif", "s.png"])
def test_a_file_that_ends_early_is_named(name, tmp_path):
    path = tmp_path / name
    if name == "s.tif":
        write_tiff(
            path, noise(300, 300).transpose(2, 0, 1), compress="deflate", tiled=True, blockxsize=64, blockysize=64
        )
    else:
        Image.fromarray(noise(300, 300)).save(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(SceneError, match=rf"{name} (cannot be read to its end|is not a raster)"):
        whole(path)
