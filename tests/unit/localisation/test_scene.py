"""Scenes as they are read: bands, types, nodata, formats, and what is said of files that cannot be read."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from rsitr.datasets.rasters import Piece
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


def test_filling_leaves_the_piece_as_it_was():
    piece = Piece(np.zeros((1, 2, 3), dtype=np.uint8), np.array([[True, False]]))
    piece.pixels[0, 0] = 9
    assert filled(piece).tolist() == [[[9, 9, 9], [9, 9, 9]]]
    assert piece.pixels[0, 1].tolist() == [0, 0, 0]


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


def test_a_missing_decoder_is_named(tmp_path):
    path = write_tiff(tmp_path / "s.tif", noise(4, 4).transpose(2, 0, 1))
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHI", 259, 3, 1)) + 8  # how it is compressed
    content[place : place + 2] = struct.pack("<H", 9999)
    path.write_bytes(content)
    with pytest.raises(SceneError, match=r"s.tif needs a decoder that is missing here .*code 9999.*: convert it"):
        Scene(path)


def test_what_is_said_of_a_scene(tmp_path):
    path = write_tiff(tmp_path / "s.tif", np.arange(101, dtype=np.uint16)[None] * 100, crs=UTM, transform=PLACE)
    with Scene(path) as scene:
        stretch = "stretched from the 2nd to the 98th percentile: 200 to 9800 (band 1)"
        assert scene.notes == [f"{path}: band 1 as grey; {stretch}", f"{path} is georeferenced in EPSG:32633"]


def test_bands_and_nodata_on_request(tmp_path):
    path = write_tiff(tmp_path / "s.tif", np.arange(24, dtype=np.uint8).reshape(4, 2, 3), photometric="minisblack")
    with Scene(path, bands=[4, 2, 1], nodata=0) as scene:
        assert filled(scene.piece(1, 1, 1, 1)).tolist() == [[[22, 10, 4]]]
    with pytest.raises(SceneError, match="there is no band 5: name some of 1 gray, 2 undefined"):
        Scene(path, bands=[5, 2, 1])
    with pytest.raises(SceneError, match="cannot hold nodata -1"):
        Scene(path, nodata=-1)
