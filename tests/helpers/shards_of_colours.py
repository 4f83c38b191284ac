"""Small shards of made-up pictures."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200), "white": (235, 235, 235)}


def picture(colour: str, ground: str) -> bytes:
    """A PNG of 16 pixels: a square on a ground."""
    image = Image.new("RGB", (16, 16), COLOURS[ground])
    image.paste(COLOURS[colour], (4, 4, 12, 12))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A tar of such members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_colours(folder: Path, shards: int = 3, samples: int = 8, broken: tuple[int, ...] = ()) -> list[Path]:
    """Shards of ``samples`` pictures with captions; the images of the ``broken`` ones are cut short."""
    paths, number = [], 0
    for shard in range(shards):
        members = []
        for _ in range(samples):
            colour, ground = list(COLOURS)[number % 4], list(COLOURS)[(number // 4) % 4]
            image = picture(colour, ground)
            members.append((f"{number:03}.png", image[:60] if number in broken else image))
            members.append((f"{number:03}.txt", f"a {colour} square\non {ground} ground a {colour} square".encode()))
            number += 1
        paths.append(write_tar(folder / f"colours-{shard}.tar", members))
    return paths
