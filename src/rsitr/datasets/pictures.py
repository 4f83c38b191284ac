"""Pictures of any kind as RGB of 8 bits: PNG, JPEG, TIFF, JPEG 2000, WebP and the other formats of Pillow and GDAL.

- 8 bits and fewer, in grey, colour, palette or CMYK, are decoded by Pillow, as ``images.load_rgb`` does, bit for bit.
- More bits, floats, more bands than Pillow knows, and TIFF that declares colours or nodata are read as scenes are
  (``rasters``, ``bands``): declared colours, the stretch from the 2nd to the 98th percentile, nodata, masks.
- Transparent pixels and those without data show the mean colour of the others.
- A picture is turned as its EXIF orientation says. Of several frames or pages, the first is taken.

The file alone counts, never one next to it, so that equal bytes are equal pictures.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

from rsitr.datasets.bands import Mask, Pixels, ends, filled, stretch_note, stretched
from rsitr.datasets.tars import file_of, stored
from rsitr.errors import UnreadableImage

DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "GIF", "BMP", "WEBP", "PNM")
"""Of GDAL. Others, such as VRT, would open what a file names, be it on another machine."""
PNG, JPEG_2000 = b"\x89PNG\r\n\x1a\n", b"\0\0\0\x0cjP  "
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS, COMPRESSION, SAMPLES, SAMPLE_FORMAT, GDAL_METADATA, GDAL_NODATA = 258, 259, 277, 339, 42112, 42113
"""Tags of TIFF."""
UNSIGNED = 1
"""A sample format."""
STRANGERS = (
    (rb".{4}ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", "HEIF (HEIC), which Pillow does not decode here"),
    (rb".{4}ftypavi[fs]", "AVIF, damaged or not decoded by Pillow here"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL, which Pillow does not decode here"),
    (rb"version https://git-lfs", "a Git LFS pointer in the place of a picture: run `git lfs pull`"),
    (rb"\s*(<!doctype html|<html)", "a web page, as servers send in the place of a file: download it again"),
    (rb"\s*(<\?xml.*)?<svg", "an SVG drawing"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a zip archive: extract it"),
    (rb"\x1f\x8b", "a gzip archive: extract it"),
    (rb"\x89HDF", "HDF5 or netCDF: export its bands as GeoTIFF"),
)
"""How files begin that are no picture of a format read here, and what they are."""
FAILURES = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, RuntimeError,
    MemoryError, ZeroDivisionError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files."""


class Picture(NamedTuple):
    """A decoded picture."""

    rgb: Pixels
    """[h, w, 3]."""
    notes: tuple[str, ...]
    """What has been chosen or changed on the way: bands, stretch, nodata, transparency, orientation, frames."""


def read_picture(source: Path | bytes, *, bands: Sequence[int] | None = None, nodata: float | None = None) -> Picture:
    """Decode a file, or its content.

    ``bands`` are the numbers of those to show as red, green and blue, from 1, or of one as grey; ``nodata`` is the
    value of pixels without data. Both replace what the file declares. Raises ``UnreadableImage`` with the cause:
    missing, empty, cut off, damaged, not a picture, of a format without a decoder, too large, no such band, no pixel
    with data.
    """
    name, data = _content(source)
    try:
        if bands is None and nodata is None and _of_8_bits(data):
            try:
                return _by_pillow(name, data)
            except UnidentifiedImageError:
                if not data.startswith(TIFF):
                    raise
        return _by_gdal(name, data, bands, nodata)
    except FAILURES as error:
        raise UnreadableImage(f"{name} {_cause(error, data)}") from None


def unreadable_because(path: Path) -> str:
    """Why a file cannot be read, in words; empty if it can."""
    try:
        read_picture(path if file_of(path) == path else stored(path))
    except UnreadableImage as error:
        return str(error)
    return ""


def _content(source: Path | bytes) -> tuple[str, bytes]:
    """A name for messages, and the bytes."""
    if isinstance(source, bytes):
        name, data = "the picture", source
    else:
        try:
            name, data = str(source), source.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"{source} cannot be opened ({error.strerror or error})") from None
    if not data:
        raise UnreadableImage(f"{name} is empty: get a complete copy of it")
    return name, data


def _of_8_bits(data: bytes) -> bool:
    """Whether Pillow decodes all that a picture holds, as far as its header tells."""
    if data.startswith(PNG):
        return data[24:25] != b"\x10"  # bit depth 16
    if data.startswith(JPEG_2000):
        header = data.find(b"ihdr")
        return header < 0 or data[header + 14] & 0x7F < 8  # depth - 1
    if data.startswith(TIFF):
        tags = _tags(data)
        declared = GDAL_NODATA in tags or "COLORINTERP" in str(tags.get(GDAL_METADATA, ""))
        plain = set(tags.get(SAMPLE_FORMAT, (UNSIGNED,))) == {UNSIGNED} and max(tags.get(BITS, (1,))) <= 8
        known = tags.get(COMPRESSION, 1) in COMPRESSION_INFO and tags.get(SAMPLES, 1) <= 4
        return plain and known and not declared
    return True


def _tags(data: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF's first page; none if it is cut off before them."""
    big = data[2:3] == b"+" or data[3:4] == b"+"
    file = io.BytesIO(data)
    try:
        directory = ImageFileDirectory_v2(file.read(16 if big else 8))
        file.seek(directory.next)
        directory.load(file)
        return dict(directory)
    except FAILURES:
        return {}


def _by_pillow(name: str, data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        frames = getattr(image, "n_frames", 1)
        notes = [f"the first of {frames} frames"] if frames > 1 else []
        orientation = image.getexif().get(Base.Orientation, 1)
        image.load()
        if image.mode.startswith(("I", "F")):
            values = np.asarray(image)
            known = np.isfinite(values)
            found = ends(values[known])
            rgb = np.repeat(stretched(values, *found)[..., None], 3, axis=2)
            notes.append(f"band 1 as grey; {stretch_note([1], [found])}")
        else:
            rgb = np.array(image.convert("RGB"))
            known = np.asarray(image.convert("RGBA"))[..., 3] > 0 if image.has_transparency_data else _all(rgb)
        turned_already = image.format == "TIFF"
    return _finished(name, rgb, known, notes, orientation, turned_already)


def _by_gdal(name: str, data: bytes, bands: Sequence[int] | None, nodata: float | None) -> Picture:
    # Whoever reads only what Pillow decodes need not wait for rasterio, nor have it.
    import rasterio

    from rsitr.datasets.rasters import GDAL_ERRORS, Raster, anywhere

    orientation = _orientation(data)
    try:
        with (
            anywhere(),
            rasterio.MemoryFile(data, filename="picture") as memory,
            memory.open(driver=list(DRIVERS)) as file,
        ):
            raster = Raster(file, name, bands=bands, nodata=nodata)
            _check_size(raster.width, raster.height)
            piece = raster.piece(0, 0, raster.height, raster.width)
            return _finished(name, *piece, [raster.note], orientation)
    except GDAL_ERRORS as error:
        raise UnidentifiedImageError(str(error)) from None


def _orientation(data: bytes) -> int:
    """1 to 8, of a picture that GDAL reads, which leaves pixels as they are stored."""
    if data.startswith(TIFF):
        return int(_tags(data).get(Base.Orientation, 1))
    try:
        with Image.open(io.BytesIO(data)) as image:
            return int(image.getexif().get(Base.Orientation, 1))
    except FAILURES:
        return 1


def _check_size(width: int, height: int) -> None:
    """Raise Pillow's error for a picture that is larger than Pillow would decode."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels")


def _all(rgb: npt.NDArray[Any]) -> Mask:
    return np.ones(rgb.shape[:2], dtype=bool)


def _finished(
    name: str, rgb: Pixels, known: Mask, notes: list[str], orientation: int, turned_already: bool = False
) -> Picture:
    """Fill pixels without data and turn the picture."""
    if not known.any():
        raise UnreadableImage(f"{name} holds no pixel with data: all are transparent, masked, nodata or not finite")
    if not known.all():
        share = f"{known.size - int(known.sum())} of {known.size} pixels"
        notes = [*notes, f"{share} have no data or are transparent: they show the mean colour of the others"]
        rgb = filled(rgb, known)
    if orientation in range(2, 9):
        notes = [*notes, "turned as its EXIF orientation says"]
        if not turned_already:
            image = Image.fromarray(rgb)
            image.getexif()[Base.Orientation] = orientation
            rgb = np.array(ImageOps.exif_transpose(image))
    return Picture(rgb, tuple(notes))


def _cause(error: BaseException, data: bytes) -> str:
    """Why a picture cannot be decoded, in words that follow its name."""
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large for a picture ({error}): cut it into tiles, or locate texts in it as a scene"
    reason = str(error).rpartition("/vsimem/")[2].partition(": ")[2] or str(error) or type(error).__name__
    if "codec" in reason or "not available" in reason:
        return f"needs a decoder that is missing here ({reason.strip('.')}): convert it to PNG, JPEG or TIFF"
    if isinstance(error, UnidentifiedImageError):
        for pattern, what in STRANGERS:
            if re.match(pattern, data[:1024], re.DOTALL | re.IGNORECASE):
                return f"is {what}" if ":" in what else f"is {what}: convert it to PNG, JPEG or TIFF"
        if data.startswith((*TIFF, PNG, b"\xff\xd8", b"GIF8", b"BM", b"RIFF", JPEG_2000)):
            return "is cut off or damaged at its beginning: get a complete copy of it"
        return f"is not a picture of a known format (it begins with {data[:8]!r})"
    return f"is cut off or damaged ({reason}): get a complete copy of it"
