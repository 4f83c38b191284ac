"""What an export holds of an image: its bytes where all programs agree on them, or a PNG of what the pipeline sees."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from rsitr.datasets.exports.pictures import SUFFIXES, Picture, Pictures
from rsitr.datasets.images import load_rgb
from rsitr.errors import CorruptArchive

RAMP = np.arange(48, dtype=np.uint16).reshape(6, 8)
COLOURS = np.stack([RAMP * 5, 250 - RAMP * 5, RAMP * 3], axis=2).astype(np.uint8)
RGB = Image.fromarray(COLOURS)


def turned(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


def deep_colours(path: Path) -> None:
    """A PNG of 16 bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (COLOURS.astype(">u2") * 257).reshape(6, -1)
    header = struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def palette(path: Path, **options: int) -> None:
    RGB.quantize(16).save(path, **options)


CHANGED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "grey of 16 bits": ("a.png", lambda path: Image.fromarray(RAMP * 1000).save(path)),
    "colours of 16 bits": ("a.png", deep_colours),
    "grey of 16 bits in a tiff": ("a.tif", lambda path: Image.fromarray(RAMP * 1000).save(path)),
    "grey of 32 bits": ("a.tif", lambda path: Image.fromarray(RAMP.astype(np.int32) * 70000).save(path)),
    "real numbers": ("a.tif", lambda path: Image.fromarray(RAMP.astype(np.float32) / 7).save(path)),
    "one bit": ("a.png", lambda path: RGB.convert("1").save(path)),
    "a turned jpeg": ("a.jpg", lambda path: RGB.save(path, exif=turned(6))),
    "a mirrored png": ("a.png", lambda path: RGB.save(path, exif=turned(2))),
    "a turned webp": ("a.webp", lambda path: RGB.save(path, lossless=True, exif=turned(8))),
    "a turned tiff": ("a.tif", lambda path: RGB.save(path, exif=turned(3))),
    "alpha": ("a.png", lambda path: RGB.convert("RGBA").save(path)),
    "grey and alpha": ("a.png", lambda path: RGB.convert("LA").save(path)),
    "a transparent colour": ("a.png", lambda path: RGB.save(path, transparency=(0, 250, 0))),
    "a transparent colour of a palette": ("a.png", lambda path: palette(path, transparency=3)),
    "printing colours": ("a.jpg", lambda path: RGB.convert("CMYK").save(path)),
    "a bitmap": ("a.bmp", lambda path: RGB.save(path)),
    "a gif": ("a.gif", lambda path: RGB.save(path)),
}
UNCHANGED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "jpeg": ("a.jpg", lambda path: RGB.save(path)),
    "grey jpeg": ("a.jpg", lambda path: RGB.convert("L").save(path)),
    "an upright jpeg": ("a.jpg", lambda path: RGB.save(path, exif=turned(1))),
    "an orientation that means nothing": ("a.jpg", lambda path: RGB.save(path, exif=turned(0))),
    "png": ("a.png", lambda path: RGB.save(path)),
    "grey png": ("a.png", lambda path: RGB.convert("L").save(path)),
    "palette": ("a.png", palette),
    "webp": ("a.webp", lambda path: RGB.save(path)),
    "tiff": ("a.tif", lambda path: RGB.save(path)),
    "grey tiff": ("a.tif", lambda path: RGB.convert("L").save(path)),
    "tiff with a jpeg inside": ("a.tif", lambda path: RGB.save(path, compression="jpeg")),
}


def exported(folder: Path, name: str, save: Callable[[Path], None]) -> tuple[Path, Picture, Pictures]:
    save(folder / name)
    pictures = Pictures(folder, tuple(SUFFIXES))
    row = {"path": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    return folder / name, pictures.of(row), pictures


@pytest.mark.parametrize("case", CHANGED)
def test_what_programs_read_differently_becomes_a_png_that_they_read_alike(case: str, tmp_path: Path) -> None:
    path, picture, pictures = exported(tmp_path, *CHANGED[case])
    assert (picture.encoding, pictures.encoded_again) == ("PNG", 1)
    seen = np.asarray(load_rgb(path))
    (tmp_path / "out.png").write_bytes(picture.content)
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), seen)
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), seen)
    other = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_COLOR)
    assert other is not None
    assert np.array_equal(other[:, :, ::-1], seen)


def test_deep_grey_keeps_its_range(tmp_path: Path) -> None:
    """Other programs clip 16 bits to white; the pipeline stretches the image's range, 0 to 47000 here."""
    _, picture, _ = exported(tmp_path, *CHANGED["grey of 16 bits"])
    (tmp_path / "out.png").write_bytes(picture.content)
    expected = (RAMP.astype(float) * 1000 * 255 / 47000).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png"))[:, :, 0], expected)


@pytest.mark.parametrize("case", UNCHANGED)
def test_plain_images_keep_their_bytes(case: str, tmp_path: Path) -> None:
    path, picture, pictures = exported(tmp_path, *UNCHANGED[case])
    assert picture.content == path.read_bytes()
    assert path.suffix in SUFFIXES[picture.encoding]
    assert pictures.encoded_again == 0


@pytest.mark.parametrize("case", UNCHANGED)
def test_an_encoding_that_a_layout_does_not_take_becomes_a_png(case: str, tmp_path: Path) -> None:
    path, _, _ = exported(tmp_path, *UNCHANGED[case])
    row = {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    pictures = Pictures(tmp_path, ())
    (tmp_path / "out.png").write_bytes(pictures.of(row).content)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), np.asarray(load_rgb(path)))
    assert pictures.encoded_again == 1


def test_what_is_not_an_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorruptArchive, match=r"a\.jpg cannot be decoded"):
        exported(tmp_path, "a.jpg", lambda path: path.write_bytes(b"\xff\xd8 not an image") and None)


def test_another_image_than_that_of_the_table_is_an_error(tmp_path: Path) -> None:
    RGB.save(tmp_path / "a.png")
    with pytest.raises(CorruptArchive, match=r"a\.png has changed since the table was built: run `rsitr data verify`"):
        Pictures(tmp_path).of({"path": "a.png", "sha256": "0" * 64})
    with pytest.raises(CorruptArchive, match=r"b\.png has gone since the table was built: run `rsitr data verify`"):
        Pictures(tmp_path).of({"path": "b.png", "sha256": "0" * 64})


def test_names_say_the_encoding() -> None:
    pictures = Pictures(Path(), ids=["a.jpg", "a.tif", "a.png", "a.tif.png", "c/v1.0", "B.JPEG", "d/e.bmp"])
    png, jpeg = Picture(b"", "PNG"), Picture(b"", "JPEG")
    assert pictures.named("a.jpg", jpeg) == "a.jpg"
    assert pictures.named("B.JPEG", jpeg) == "B.JPEG"
    assert pictures.named("a.tif", png) == "a.tif.2.png"
    assert pictures.named("c/v1.0", jpeg) == "c/v1.0.jpg"
    assert pictures.named("d/e.bmp", png) == "d/e.png"
    assert pictures.named("d/e.bmp", png, flat=True) == "d_e.png"


PARTS = st.sampled_from(["a", "b", "a/b", "a_b"])
IDS = st.builds("".join, st.tuples(PARTS, st.sampled_from(["", ".tif", ".png", ".PNG", ".jpg", ".2.png", ".v1"])))


@given(st.lists(st.tuples(IDS, st.sampled_from(sorted(SUFFIXES))), unique_by=lambda each: each[0]), st.booleans())
def test_names_are_distinct_and_fit(images: list[tuple[str, str]], flat: bool) -> None:
    pictures = Pictures(Path(), ids=[image_id for image_id, _ in images])
    names = [pictures.named(image_id, Picture(b"", encoding), flat=flat) for image_id, encoding in images]
    assert len(set(names)) == len(names)
    assert all(Path(name).suffix.lower() in SUFFIXES[kind] for name, (_, kind) in zip(names, images, strict=True))
    assert not (flat and any("/" in name for name in names))
