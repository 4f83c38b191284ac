"""A scene as tiles, from which a page shows any part of it at any scale without loading the rest."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from rsitr.localisation.scene import Scene, filled
from rsitr.progress import Progress
from rsitr.site.models import Tiles

SIDE = 256
"""Pixels of a tile's side; those at the right and at the bottom may be smaller."""
QUALITY = 80


def write_tiles(path: Path, out: Path) -> Tiles:
    """Write ``LEVEL/COLUMN_ROW.jpg``: the last level is the scene, each one before it half as large, the first a tile.

    In memory is one row of tiles of the scene, or four tiles. Raises ``SceneError`` for what is not a scene.
    """
    with Scene(path) as scene:
        sizes = [(scene.height, scene.width)]
        while max(sizes[0]) > SIDE:
            sizes.insert(0, tuple(-(-side // 2) for side in sizes[0]))  # type: ignore[arg-type]
        _whole(scene, out / str(len(sizes) - 1))
    for level in reversed(range(len(sizes) - 1)):
        _halved(out / str(level + 1), out / str(level), *sizes[level + 1])
    return Tiles(height=sizes[-1][0], width=sizes[-1][1], size=SIDE, levels=len(sizes))


def _whole(scene: Scene, out: Path) -> None:
    out.mkdir(parents=True)
    tops = range(0, scene.height, SIDE)
    with Progress("rows of tiles", len(tops)) as progress:
        for row, top in enumerate(tops):
            strip = Image.fromarray(filled(scene.piece(top, 0, min(SIDE, scene.height - top), scene.width)))
            for column, left in enumerate(range(0, scene.width, SIDE)):
                tile = strip.crop((left, 0, min(left + SIDE, scene.width), strip.height))
                tile.save(out / f"{column}_{row}.jpg", quality=QUALITY)
            progress.advance()


def _halved(larger: Path, out: Path, height: int, width: int) -> None:
    """Every tile from up to four of the level ``larger``, which has ``height`` x ``width`` pixels."""
    out.mkdir()
    for row, top in enumerate(range(0, height, 2 * SIDE)):
        for column, left in enumerate(range(0, width, 2 * SIDE)):
            size = min(2 * SIDE, width - left), min(2 * SIDE, height - top)
            joined = Image.new("RGB", size)
            for down in range(-(-size[1] // SIDE)):
                for across in range(-(-size[0] // SIDE)):
                    with Image.open(larger / f"{2 * column + across}_{2 * row + down}.jpg") as part:
                        joined.paste(part, (across * SIDE, down * SIDE))
            half = joined.resize((-(-size[0] // 2), -(-size[1] // 2)), Image.Resampling.BOX)
            half.save(out / f"{column}_{row}.jpg", quality=QUALITY)
