"""Decoding image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rsitr.errors import CorruptArchive


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
