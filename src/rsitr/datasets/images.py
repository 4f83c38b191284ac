"""Decoding image files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from rsitr.errors import CorruptArchive


def load_rgb(path: Path) -> Image.Image:
    """Decode a whole image as RGB; raises ``CorruptArchive`` naming the file when it is truncated or no image."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptArchive(f"{path} cannot be decoded ({error}): delete it and fetch the dataset again") from None
