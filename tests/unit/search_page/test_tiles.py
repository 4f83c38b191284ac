"""A scene in tiles: every level shows all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsitr.search_page.tiles import SIDE, write_tiles


@pytest.mark.parametrize(("height", "width", "levels"), [(40, 30, 1), (256, 257, 2), (301, 1025, 4)])
def test_levels_halve_until_one_tile_and_show_all(tmp_path: Path, height: int, width: int, levels: int) -> None:
    down, across = np.mgrid[:height, :width]
    pixels = np.stack([255 * down / height, 255 * across / width, np.full((height, width), 60)], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "scene.png")
    found = write_tiles(tmp_path / "scene.png", tmp_path / "tiles")
    assert found.model_dump() == {"height": height, "width": width, "size": SIDE, "levels": levels}
    for level in range(levels):
        scale = 2 ** (levels - 1 - level)
        high, wide = -(-height // scale), -(-width // scale)
        joined = Image.new("RGB", (wide, high))
        for path in (tmp_path / "tiles" / str(level)).iterdir():
            column, row = map(int, path.stem.split("_"))
            with Image.open(path) as tile:
                assert tile.size == (min(SIDE, wide - column * SIDE), min(SIDE, high - row * SIDE))
                joined.paste(tile, (column * SIDE, row * SIDE))
        expected = pixels[::scale, ::scale]
        assert np.abs(np.asarray(joined, dtype=float) - expected).max() < 12
