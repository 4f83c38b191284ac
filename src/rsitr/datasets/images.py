"""Decoding image files, and their facts: size, checksum, and the field's 64-bit perceptual hash."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rsitr.datasets.pictures import read_picture
from rsitr.datasets.tars import file_of, stored
from rsitr.errors import CorruptArchive, UnreadableImage
from rsitr.records.files import replacing


def as_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB; grey values of more than 8 bits, which Pillow would clip, are scaled to the image's range."""
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    values = np.asarray(image, dtype=np.float64)
    low, high = values.min(), values.max()
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)).convert("RGB")


def load_rgb(path: Path) -> Image.Image:
    """Decode a whole image as RGB (``as_rgb``).

    Raises ``CorruptArchive`` naming the file if it is truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            return as_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptArchive(
            f"{path} cannot be decoded ({error}): `rsitr data verify` tells whether the file is damaged"
        ) from None


def load_stored(path: Path) -> Image.Image:
    """``load_rgb`` of an image with a file of its own, and the same of one that stays in its shard."""
    if file_of(path) == path:
        return load_rgb(path)
    try:
        with Image.open(io.BytesIO(stored(path))) as image:
            return as_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptArchive(
            f"{path} cannot be decoded ({error}): `rsitr data verify` tells whether its shard is damaged"
        ) from None


def as_shown(picture: Path | str | Image.Image) -> Image.Image:
    """A user's picture as RGB of 8 bits (``rsitr.datasets.pictures``); raises ``UnreadableImage`` with the cause."""
    if isinstance(picture, Image.Image):
        return as_rgb(picture)
    return Image.fromarray(read_picture(Path(picture)).rgb)


class ImageFacts(NamedTuple):
    """What the canonical table stores of an image file; ``problem`` is empty for a readable one."""

    width: int
    height: int
    sha256: str
    fingerprint: str
    problem: str
    shown: bool = False
    """Whether they are those of a PNG that shows the picture."""


def phash(image: Image.Image) -> str:
    """64-bit perceptual hash as 16 hexadecimal digits.

    The sign of the 8x8 lowest DCT-II coefficients of the 32x32 grey image against their median: the hash with which
    RemoteCLIP removed duplicates (Hamming distance <= 2).
    """
    from scipy.fft import dctn  # which those who only read images need not wait for

    grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(grey, dtype=np.float64), type=2)[:8, :8]
    return np.packbits((low > np.median(low)).ravel()).tobytes().hex()


def inspect(path: Path, png: Path | None = None, **reading: Any) -> ImageFacts:
    """Facts of one image, in a file of its own or in a shard; an absent or unreadable one is described in ``problem``.

    A picture that has to be stretched, turned or filled to be seen (``rsitr.datasets.pictures``) is written to ``png``,
    if that is given, and the facts are those of the PNG: whatever reads it sees the same pixels of 8 bits. ``reading``
    is for ``read_picture``.
    """
    if not file_of(path).is_file():
        return ImageFacts(0, 0, "", "", "missing image")
    content = stored(path)
    try:
        picture = read_picture(content, **reading)
    except UnreadableImage:
        return ImageFacts(0, 0, hashlib.sha256(content).hexdigest(), "", "unreadable image")
    image, shown = Image.fromarray(picture.rgb), bool(picture.notes and png)
    if png and shown:
        content = _as_png(image, png)
    return ImageFacts(image.width, image.height, hashlib.sha256(content).hexdigest(), phash(image), "", shown)


def _as_png(image: Image.Image, path: Path) -> bytes:
    """Write an image, and return what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        image.save(partial, "PNG")
        return partial.read_bytes()
