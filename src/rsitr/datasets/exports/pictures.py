"""Images as exports hold them: every program decodes the same pixels as the pipeline.

Programs agree on 8-bit grey, colours and palettes in the encodings they all know. They disagree on the rest: more bits
become all white, an orientation tag turns the image or does not, transparency is dropped or blended.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterable
from io import BytesIO
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from rsitr.datasets.images import load_stored
from rsitr.datasets.tars import file_of, stored
from rsitr.errors import CorruptArchive

Row = dict[str, Any]

LABELS = ("image_id", "split", "class_name", "captions", "keywords")
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
"""Encodings that may stay as they are, and the names of their files; the first is the one to give."""
TURNED = range(2, 9)
"""Values of the orientation tag that ask for another orientation than that of the pixels."""
_PNG_BIT_DEPTH = 24
"""Where the header of a PNG states it."""
_BITS_PER_SAMPLE = 258


class Picture(NamedTuple):
    """An image as it is exported."""

    content: bytes
    encoding: str
    """A key of ``SUFFIXES``."""

    @property
    def suffix(self) -> str:
        """Of a file with this content."""
        return SUFFIXES[self.encoding][0]

    @property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()


class Pictures:
    """The images of a table's rows, encoded again as PNG where other programs would see another image or none."""

    def __init__(self, root: Path, kept: Collection[str] = ("JPEG", "PNG", "WEBP"), ids: Iterable[str] = ()):
        """Of the rows' files under ``root``; 8-bit images in an encoding of ``kept`` keep their bytes.

        ``ids`` are the image ids of all rows whose files ``named`` is to name.
        """
        self.root, self.kept, self.taken = root, kept, set(ids)
        self.encoded_again = 0

    def of(self, row: Row) -> Picture:
        """The image of a row; raises ``CorruptArchive`` if it is not the one the table was built from."""
        path = self.root / row["path"]
        if not file_of(path).is_file():
            raise CorruptArchive(f"{path} has gone since the table was built: run `rsitr data verify`")
        content = stored(path)
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            raise CorruptArchive(f"{path} has changed since the table was built: run `rsitr data verify`")
        encoding = _agreed_encoding(content)
        if encoding in self.kept:
            return Picture(content, encoding)
        self.encoded_again += 1
        buffer = BytesIO()
        load_stored(path).save(buffer, "PNG")
        return Picture(buffer.getvalue(), "PNG")

    def named(self, image_id: str, picture: Picture, *, flat: bool = False) -> str:
        """A file name that no other image has: the image id, its suffix replaced where it is not of the encoding.

        If ``flat``, it names no folders.
        """
        place = PurePosixPath(image_id.replace("/", "_") if flat else image_id)
        fits = place.suffix.lower() in SUFFIXES[picture.encoding]
        if fits and str(place) == image_id:
            return image_id
        suffix = place.suffix if fits else picture.suffix
        stem = place.with_suffix("") if place.suffix.lower() in Image.registered_extensions() else place
        numbered = (f"{place}.{number}{suffix}" for number in count(2))
        names = chain((f"{stem}{suffix}", f"{place}{suffix}"), numbered)
        name = next(name for name in names if name not in self.taken)
        self.taken.add(name)
        return name


def _agreed_encoding(content: bytes) -> str:
    """The encoding of an 8-bit image whose pixels all programs see alike; empty for any other."""
    try:
        with Image.open(BytesIO(content)) as image:
            bits = 8
            if image.format == "PNG":
                bits = content[_PNG_BIT_DEPTH]
            elif image.format == "TIFF":
                bits = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
            plain = image.mode in ("L", "P", "RGB") and bits <= 8 and "transparency" not in image.info
            upright = image.getexif().get(ExifTags.Base.Orientation) not in TURNED
            return image.format or "" if plain and upright else ""
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return ""  # a tag that cannot be read says nothing; whether the image can be decoded is for load_stored to say


def labels(row: Row) -> Row:
    """What the layouts with one record for each image say about it."""
    return {name: row[name] for name in LABELS}
