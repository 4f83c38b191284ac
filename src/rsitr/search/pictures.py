"""What is searched: the pictures below a folder, or the windows of a scene."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, Self

from PIL import Image

from rsitr.datasets.pictures import read_picture
from rsitr.errors import ParamsError
from rsitr.localisation.scene import Scene, filled
from rsitr.localisation.windows import window_rows

WINDOW = 256
"""Pixels of a window's side."""


class Pictures(Protocol):
    """A collection of pictures. Its names are those of an index, and a stamp changes when a picture does."""

    place: Path
    seen: int
    """Files that were looked at."""

    def stamps(self) -> dict[str, str]:
        """Name of each picture -> stamp, in order."""

    def picture(self, name: str) -> Image.Image:
        """One of them as RGB; raises ``RsitrError`` for one that cannot be read."""

    def opened(self) -> AbstractContextManager[object]:
        """A block in which pictures are read."""


class Folder:
    """The files below a folder whose names end like those of pictures. Links to folders are not followed."""

    def __init__(self, place: Path):
        self.place, self.seen = place, 0

    def stamps(self) -> dict[str, str]:
        """Path below the folder, with slashes -> size and time of the last change."""
        found = dict(self._files())
        return {name: found[name] for name in sorted(found)}

    def _files(self) -> Iterator[tuple[str, str]]:
        endings = Image.registered_extensions()
        for folder, inner, files in os.walk(self.place):
            inner[:] = [name for name in inner if not name.startswith(".")]
            for name in files:
                self.seen += 1
                if Path(name).suffix.lower() in endings and not name.startswith("."):
                    path = Path(folder, name)
                    facts = path.stat()
                    yield path.relative_to(self.place).as_posix(), f"{facts.st_size} {facts.st_mtime_ns}"

    def picture(self, name: str) -> Image.Image:
        """A file as RGB, whatever it holds."""
        return Image.fromarray(read_picture(self.place / name).rgb)

    def opened(self) -> AbstractContextManager[object]:
        """Nothing to open."""
        return nullcontext()


class Windows:
    """Overlapping windows of one scene, each named ``ROW,COLUMN HEIGHTxWIDTH`` in pixels."""

    def __init__(self, place: Path, size: int = WINDOW):
        self.place, self.seen, self.size = place, 1, size
        self.scene: Scene | None = None

    def stamps(self) -> dict[str, str]:
        """Name of each window -> size and time of the last change of the file."""
        facts = self.place.stat()
        with Scene(self.place) as scene:
            rows = window_rows(scene.height, scene.width, [self.size])
        names = (f"{row.top},{left} {row.height}x{row.width}" for row in rows for left in row.lefts.tolist())
        return dict.fromkeys(names, f"{facts.st_size} {facts.st_mtime_ns}")

    def picture(self, name: str) -> Image.Image:
        """A window as RGB; pixels without a value have the mean colour of the others."""
        if self.scene is None:
            with self:
                return self.picture(name)
        top, left, height, width = box(name)
        return Image.fromarray(filled(self.scene.piece(top, left, height, width)))

    def opened(self) -> AbstractContextManager[object]:
        """The scene stays open."""
        return self

    def __enter__(self) -> Self:
        self.scene = Scene(self.place)
        self.scene.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        assert self.scene
        self.scene.__exit__(*error)
        self.scene = None


def box(name: str) -> tuple[int, int, int, int]:
    """Top, left, height and width of a window, from its name."""
    corner, _, shape = name.partition(" ")
    (top, left), (height, width) = corner.split(","), shape.split("x")
    return int(top), int(left), int(height), int(width)


def pictures_at(place: Path, window: int = WINDOW) -> Pictures:
    """The pictures of a folder, or the windows of a scene's file; raises ``ParamsError`` where there is neither."""
    if place.is_dir():
        return Folder(place)
    if place.is_file():
        return Windows(place, window)
    raise ParamsError(f"{place} does not exist: name a folder of pictures or the file of a scene")
