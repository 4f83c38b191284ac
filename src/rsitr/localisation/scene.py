"""Scenes of any size, read piece by piece: GeoTIFF, PNG, JPEG and whatever else rasterio opens.

How pixels become RGB of 8 bits, and which are valid, is that of ``datasets.rasters`` and ``datasets.bands``. Invalid
pixels show the mean colour of the valid ones of the same piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import rasterio

from rsitr.datasets import bands as colours
from rsitr.datasets.bands import Pixels
from rsitr.datasets.rasters import GDAL_ERRORS, Piece, Raster, anywhere
from rsitr.errors import RsitrError, SceneError
from rsitr.localisation.georeference import Georeference

ROW_OF_BLOCKS = 256 * 2**20
"""Bytes of RGB and mask; a file with larger blocks (such as one strip) is read row by row, and GDAL keeps one."""


def filled(piece: Piece) -> Pixels:
    """The pixels [h, w, 3] with invalid ones in the mean colour of the valid ones; without valid ones, as they are."""
    return colours.filled(piece.pixels, piece.valid)


class Scene(Raster):
    """An open scene; use it in a ``with`` statement.

    ``bands`` (red, green, blue, or one for grey; from 1) and ``nodata`` replace what the file declares. Raises
    ``SceneError`` on opening or reading if the file is missing, not a raster, damaged, lacks a band, or holds complex
    numbers.
    """

    error: ClassVar[type[RsitrError]] = SceneError

    def __init__(self, path: Path, *, bands: Sequence[int] | None = None, nodata: float | None = None) -> None:
        if not path.is_file():
            raise SceneError(f"{path} does not exist: give the path of a GeoTIFF, PNG or JPEG file")
        self.path = path
        try:
            with anywhere():
                file = rasterio.open(path)
        except GDAL_ERRORS as error:
            if "codec" in str(error):
                what, remedy = "needs a decoder that is missing here", "convert it to another compression"
            else:
                what, remedy = "is not a raster that rasterio can open", "give a GeoTIFF, PNG or JPEG file"
            raise SceneError(f"{path} {what} ({error}): {remedy}") from None
        try:
            super().__init__(file, str(path), bands=bands, nodata=nodata)
        except SceneError:
            file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @cached_property
    def georeference(self) -> Georeference:
        """Where on Earth the scene is."""
        return Georeference.of(self._file)

    @property
    def notes(self) -> list[str]:
        """What a user should know of how the scene is read: bands, stretch and nodata; georeference."""
        return [f"{self.path}: {self.note}", f"{self.path} {self.georeference.note}"]

    @property
    def block_rows(self) -> int:
        """Rows that are decoded together: reading whole multiples downwards decodes every block once.

        1 if a row of blocks is too large to keep.
        """
        rows = max(rows for rows, _ in self._file.block_shapes)
        return rows if 4 * rows * self.width <= ROW_OF_BLOCKS else 1
