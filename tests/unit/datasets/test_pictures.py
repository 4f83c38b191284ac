"""The image reader: every kind of file becomes RGB of 8 bits, and what cannot says why."""

from __future__ import annotations

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.enums import ColorInterp

from rsitr.datasets.images import load_rgb
from rsitr.datasets.pictures import read_picture
from rsitr.datasets.rasters import anywhere
from rsitr.errors import CorruptArchive, UnreadableImage
from tests.helpers.examples import examples
from tests.helpers.localisation_scenes import noise, write_tiff

BANDS = noise(64, 48).transpose(2, 0, 1)
RAMP = np.arange(101, dtype=np.uint16)[None] * 39
"""12 bits: percentiles 78 and 3,822."""
STRETCHED = np.rint((RAMP.clip(78, 3822) - 78.0) * (255 / (3822 - 78))).astype(np.uint8)
NOTE = "stretched from the 2nd to the 98th percentile: 78 to 3822 (band 1)"
UNDECLARED = "bands 1, 2, 3 as red, green, blue: the file does not declare which of its {} are; `--bands R,G,B`"


def stored(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_16_bits(values):
    """A PNG of values [h, w, 1 to 4]: grey, grey and alpha, colours, colours and alpha."""
    height, width, samples = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def same_as_load_rgb(path):
    picture = read_picture(path)
    assert (picture.rgb == np.asarray(load_rgb(path))).all()
    assert picture.rgb.dtype == np.uint8
    assert (read_picture(path.read_bytes()).rgb == picture.rgb).all()
    return picture.notes


MODES = {
    "PNG": ["1", "L", "P", "RGB"],
    "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
    "TIFF": ["1", "L", "P", "RGB", "CMYK", "YCbCr"],
    "WEBP": ["RGB"],
    "GIF": ["1", "L", "P"],
    "BMP": ["1", "L", "P", "RGB"],
    "JPEG2000": ["L", "RGB", "YCbCr"],
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
def test_8_bits_are_those_of_load_rgb(kind, mode, tmp_path):
    Image.fromarray(noise(40, 30)).convert(mode).save(tmp_path / "picture", kind)
    assert same_as_load_rgb(tmp_path / "picture") == ()


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"compress": "lzw", "tiled": True, "blockxsize": 64, "blockysize": 64},
        {"interleave": "band"},
        {"compress": "deflate", "predictor": 2},
        {"compress": "jpeg", "photometric": "ycbcr"},
        {"bigtiff": "yes"},
        {"endianness": "big"},
    ],
    ids=str,
)
def test_tiffs_of_8_bits_are_those_of_load_rgb(profile, tmp_path):
    assert same_as_load_rgb(write_tiff(tmp_path / "s.tif", BANDS, **profile)) == ()
    assert same_as_load_rgb(write_tiff(tmp_path / "g.tif", BANDS[0], **profile | {"photometric": "minisblack"})) == ()


@pytest.mark.slow
def test_real_pictures_are_those_of_load_rgb(tmp_path):
    from rsitr.datasets.archives import extract

    mirror = Path(os.environ.get("RSITR_MIRROR", ""), "ucm")
    archives = sorted(mirror.glob("*.zip"))
    if "RSITR_MIRROR" not in os.environ or not archives:
        pytest.skip("needs RSITR_MIRROR with UCM-Captions")
    extract(archives[0], tmp_path)
    for path in sorted(tmp_path.rglob("*.tif"))[::70]:
        same_as_load_rgb(path)


@pytest.mark.parametrize("kind", ["uint16", "int16", "int32", "float32", "float64"])
def test_tiffs_of_more_than_8_bits_are_stretched(kind, tmp_path):
    values = np.stack([RAMP, RAMP + 1000, RAMP[:, ::-1]]).astype(kind)
    rgb, notes = read_picture(write_tiff(tmp_path / "s.tif", values))
    assert (rgb[..., 0] == STRETCHED).all()
    assert (rgb[..., 1] == STRETCHED).all()
    assert (rgb[..., 2] == STRETCHED[:, ::-1]).all()
    (note,) = notes
    assert note.startswith(UNDECLARED.format(3))
    assert note.endswith("78 to 3822 (band 1), 1078 to 4822 (band 2), 78 to 3822 (band 3)")


def test_12_bits_declared_rgb_are_not_dark(tmp_path):
    path = write_tiff(tmp_path / "s.tif", np.stack([RAMP] * 3), photometric="rgb")
    assert (read_picture(path).rgb[..., 1] == STRETCHED).all()
    # Pillow takes the upper 8 of 16 bits.
    assert np.asarray(load_rgb(path)).max() == 15


def test_a_tiff_of_many_bands(tmp_path):
    path = write_tiff(tmp_path / "s.tif", np.stack([RAMP + 100 * n for n in range(13)]), photometric="minisblack")
    assert read_picture(path).notes[0].startswith(UNDECLARED.format(13))
    assert (read_picture(path).rgb == STRETCHED[..., None]).all()
    bands = read_picture(path, bands=[4, 3, 2])
    assert bands.notes[0].startswith("bands 4, 3, 2 as red, green, blue, as requested; stretched")
    with pytest.raises(UnreadableImage, match=r"s\.tif: there is no band 14"):
        read_picture(path, bands=[14, 1, 1])


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_declared_colours_are_honoured(photometric, tmp_path):
    values = np.stack([np.full((4, 5), value, dtype=np.uint8) for value in (10, 20, 30, 40)])
    path = write_tiff(tmp_path / "s.tif", values, photometric=photometric, alpha="no")
    with anywhere(), rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[name] for name in ("blue", "green", "red", "undefined")]
    assert read_picture(path).rgb[0, 0].tolist() == [30, 20, 10]
    note = "bands 3, 2, 1 as red, green, blue, as the file declares; 8 bits as they are"
    assert read_picture(path.read_bytes()).notes == (note,)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_pngs_of_16_bits_are_stretched(samples):
    values = np.repeat(RAMP[..., None], samples, axis=2).copy()
    if samples in (2, 4):
        values[..., -1] = 65535
    rgb, notes = read_picture(png_of_16_bits(values))
    assert (rgb == STRETCHED[..., None]).all()
    assert NOTE in notes[0]


def test_grey_values_of_other_formats_are_stretched():
    pgm = b"P5 101 1 65535\n" + RAMP.astype(">u2").tobytes()
    assert read_picture(pgm)[1] == (f"band 1 as grey; {NOTE}",)
    assert (read_picture(pgm).rgb == STRETCHED[..., None]).all()
    pfm = b"Pf\n101 1\n-1.0\n" + RAMP.astype("<f4").tobytes()
    assert (read_picture(pfm).rgb == STRETCHED[..., None]).all()


def test_a_jpeg_2000_of_16_bits_is_stretched(tmp_path):
    with anywhere(), rasterio.open(tmp_path / "s.jp2", "w", driver="JP2OpenJPEG", count=3, height=1, width=101,
                                   dtype="uint16", quality=100, reversible="yes") as file:  # fmt: skip
        file.write(np.stack([RAMP] * 3))
    assert (read_picture(tmp_path / "s.jp2").rgb == STRETCHED[..., None]).all()


def test_transparent_pixels_show_the_mean_of_the_others():
    pixels = np.zeros((1, 4, 4), dtype=np.uint8)
    pixels[0] = [(10, 20, 30, 255), (20, 40, 61, 255), (99, 99, 99, 0), (0, 0, 0, 1)]
    rgb, notes = read_picture(stored(Image.fromarray(pixels)))
    assert rgb[0].tolist() == [[10, 20, 30], [20, 40, 61], [10, 20, 30], [0, 0, 0]]
    assert notes == ("1 of 4 pixels have no data or are transparent: they show the mean colour of the others",)
    opaque = np.dstack([noise(4, 4), np.full((4, 4), 255, dtype=np.uint8)])
    assert (read_picture(stored(Image.fromarray(opaque))).rgb == opaque[..., :3]).all()


@pytest.mark.parametrize("mode", ["P", "RGB", "L", "LA"])
def test_transparency_of_every_mode(mode):
    image = Image.fromarray(np.array([[[255, 255, 255], [0, 0, 0]]], dtype=np.uint8)).convert(mode)
    options = {}
    if mode == "LA":
        image.putpixel((1, 0), (0, 0))
    else:
        options = {"transparency": {"P": image.convert("P").getpixel((1, 0)), "RGB": (0, 0, 0), "L": 0}[mode]}
    assert read_picture(stored(image, **options)).rgb.tolist() == [[[255] * 3] * 2]


def test_nodata_as_declared_and_as_requested(tmp_path):
    values = np.array([[[0, 9, 5]]] * 3, dtype=np.uint8)
    path = write_tiff(tmp_path / "s.tif", values, nodata=0)
    assert read_picture(path).rgb[0, :, 0].tolist() == [7, 9, 5]
    assert read_picture(path, nodata=9).rgb[0, :, 0].tolist() == [0, 2, 5]
    assert read_picture(stored(Image.fromarray(values.transpose(1, 2, 0))), nodata=0).rgb[0, :, 0].tolist() == [7, 9, 5]
    lost = write_tiff(tmp_path / "f.tif", np.array([[np.nan, 1, 2]], dtype=np.float32))
    assert read_picture(lost).rgb[0, :, 0].tolist() == [128, 0, 255]
    assert "1 of 3 pixels have no data" in read_picture(lost).notes[-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "16 bits", "bands"])
def test_pictures_are_turned_as_their_orientation_says(kind, orientation):
    # Without chroma subsampling, and smooth, so that what JPEG loses is not much.
    pixels = np.repeat(np.add.outer(np.arange(24) * 8, np.arange(16) * 4)[..., None], 3, axis=2).astype(np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = orientation
    if kind == "16 bits":
        data = stored(Image.fromarray(pixels[..., 0].astype(np.uint16)), "TIFF", tiffinfo={274: orientation})
    else:
        data = stored(
            image, "PNG" if kind == "bands" else kind, exif=exif, **{"quality": 100} if kind == "JPEG" else {}
        )
    rgb, notes = read_picture(data, bands=[1, 2, 3] if kind == "bands" else None)
    turned = [
        pixels, pixels[:, ::-1], pixels[::-1, ::-1], pixels[::-1], pixels.transpose(1, 0, 2),
        np.rot90(pixels, -1), np.rot90(pixels, 2).transpose(1, 0, 2), np.rot90(pixels),
    ][orientation - 1]  # fmt: skip
    assert rgb.shape == turned.shape
    if kind == "16 bits":
        assert np.corrcoef(rgb[..., 0].ravel(), turned[..., 0].ravel())[0, 1] > 0.99
    else:
        assert np.abs(rgb.astype(int) - turned).max() <= 3
    assert ("turned as its EXIF orientation says" in notes) == (orientation != 1)


def test_the_first_of_several_frames():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    rgb, notes = read_picture(stored(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    assert rgb[0, 0].tolist() == [255, 0, 0]
    assert notes == ("the first of 2 frames",)


WHOLE = {
    kind: stored(Image.fromarray(noise(64, 64)), kind)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000")
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_is_cut_off_says_so(kind, share, tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(WHOLE[kind][: int(share * len(WHOLE[kind]))])
    with pytest.raises(UnreadableImage, match=r"cut is cut off or damaged .*: get a complete copy of it"):
        read_picture(path)


def test_a_raster_that_is_cut_off_says_so(tmp_path):
    path = write_tiff(tmp_path / "cut.tif", noise(64, 64).astype(np.uint16).transpose(2, 0, 1))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UnreadableImage, match=r"cut.tif cannot be read to its end .*get a complete copy of it"):
        read_picture(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the picture is empty: get a complete copy"),
        (b"<!DOCTYPE html><p>404", "is a web page, as servers send in the place of a file: download it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer .* run `git lfs pull`"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"is HEIF \(HEIC\), which Pillow does not decode here: convert it to"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is JPEG XL, which Pillow does not decode here: convert it to PNG"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "is an SVG drawing: convert it to PNG"),
        (b"%PDF-1.7", "is a PDF document: convert it"),
        (b"PK\x03\x04....", "is a zip archive: extract it"),
        (b"\x89HDF\r\n", "is HDF5 or netCDF: export its bands as GeoTIFF"),
        (b"some text", "is not a picture of a known format .it begins with b'some tex'"),
        (b"<VRTDataset rasterXSize='1' rasterYSize='1'/>", "is not a picture of a known format"),
        (b"II*\0\x08\0", "is cut off or damaged at its beginning"),
    ],
)
def test_what_is_no_picture_says_what_it_is(data, message):
    with pytest.raises(UnreadableImage, match=message):
        read_picture(data)
    assert issubclass(UnreadableImage, CorruptArchive)  # which those who read with ``load_rgb`` expect


def test_what_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(UnreadableImage, match=r"absent.png cannot be opened \(No such file or directory\)"):
        read_picture(tmp_path / "absent.png")
    with pytest.raises(UnreadableImage, match=r"cannot be opened \(Is a directory\)"):
        read_picture(tmp_path)


def test_a_picture_without_data_is_refused(tmp_path):
    empty = write_tiff(tmp_path / "s.tif", np.zeros((3, 4), dtype=np.uint16), nodata=0)
    for source in (empty, stored(Image.new("RGBA", (3, 3)))):
        with pytest.raises(UnreadableImage, match="holds no pixel with data"):
            read_picture(source)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_decompression_bomb_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    path = write_tiff(tmp_path / "s.tif", np.zeros((40, 40), dtype=kind))
    message = "s.tif is too large for a picture .* exceeds limit of 1000 pixels.*: cut it into tiles, or locate texts"
    with pytest.raises(UnreadableImage, match=message):
        read_picture(path)


def test_a_missing_decoder_is_named(monkeypatch):
    monkeypatch.delattr(Image.core, "jpeg_decoder")
    with pytest.raises(UnreadableImage, match=r"needs a decoder that is missing here \(decoder jpeg not available\)"):
        read_picture(WHOLE["JPEG"])
    stranger = bytearray(WHOLE["TIFF"])
    place = stranger.index(struct.pack("<HHI", 259, 3, 1)) + 8  # how it is compressed
    stranger[place : place + 2] = struct.pack("<H", 9999)
    with pytest.raises(
        UnreadableImage, match=r"missing here \(Cannot open TIFF .* missing codec of code 9999\): convert"
    ):
        read_picture(bytes(stranger))


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 2**31), st.integers(1, 20))
@examples(150)
def test_damaged_bytes_are_a_picture_or_an_error(kind, seed, count):
    draw = np.random.default_rng(seed)
    data = bytearray(WHOLE[kind])
    for place in draw.integers(0, min(len(data), 2000), count):
        data[place] = draw.integers(256)
    with suppress(UnreadableImage):
        assert read_picture(bytes(data)).rgb.ndim == 3
