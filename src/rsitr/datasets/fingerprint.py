"""Facts of an image file: its size, its checksum, and the field's 64-bit perceptual hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.fft import dctn

from rsitr.datasets.images import load_rgb
from rsitr.errors import CorruptArchive


class ImageFacts(NamedTuple):
    """What the canonical table stores of an image file; ``problem`` is empty for a readable one."""

    width: int
    height: int
    sha256: str
    fingerprint: str
    problem: str


def phash(image: Image.Image) -> str:
    """64-bit perceptual hash as 16 hexadecimal digits.

    The sign of the 8x8 lowest DCT-II coefficients of the 32x32 grey image against their median: the hash with which
    RemoteCLIP removed duplicates (Hamming distance <= 2).
    """
    grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(grey, dtype=np.float64), type=2)[:8, :8]
    bits = (low > np.median(low)).ravel()
    return np.packbits(bits).tobytes().hex()


def inspect(path: Path) -> ImageFacts:
    """Facts of one image file; an absent or unreadable one is described in ``problem``."""
    if not path.is_file():
        return ImageFacts(0, 0, "", "", "missing image")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        image = load_rgb(path)
    except CorruptArchive:
        return ImageFacts(0, 0, sha256, "", "unreadable image")
    return ImageFacts(image.width, image.height, sha256, phash(image), "")
