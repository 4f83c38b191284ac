"""Scenes of any size, read piece by piece: GeoTIFF, PNG, JPEG and whatever else rasterio opens.

How pixels become RGB of 8 bits
-------------------------------
- Three bands or more: the first three are red, green and blue. One or two: the first is repeated. A palette is applied.
- 8 bits are used as they are. Any other type is stretched band by band: the 2nd percentile of the band becomes 0, the
  98th 255, what is beyond is clipped. The percentiles are those of the valid pixels of one overview of the whole scene,
  of at most 1,024 pixels per side (every n-th pixel, or the file's own overview), so that a pixel is the same in every
  piece that contains it. If both percentiles are equal, the lowest and the highest value replace them; a band of one
  value becomes 0.
- A pixel is valid unless the file's nodata value (in every band shown), its mask or its alpha band says otherwise, or a
  value is not finite. Invalid pixels show the mean colour of the valid ones of the same piece.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from rsitr.errors import SceneError

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

GDAL_CACHE = 64 * 2**20
"""Bytes of decoded blocks that GDAL may keep; by default it takes a twentieth of the machine's memory."""
OVERVIEW = 1024
"""Longest side of the overview from which the stretch is computed."""
PERCENTILES = (2, 98)
ROW_OF_BLOCKS = 256 * 2**20
"""Bytes of RGB and mask; a file with larger blocks (such as one strip) is read row by row, and GDAL keeps one."""


class Piece(NamedTuple):
    """Part of a scene as it is in the file, invalid pixels included."""

    pixels: Pixels
    """[h, w, 3]."""
    valid: Mask
    """[h, w]."""

    def part(self, rows: slice, columns: slice) -> Piece:
        """A view of some rows and columns."""
        return Piece(self.pixels[rows, columns], self.valid[rows, columns])

    def above(self, below: Piece) -> Piece:
        """This piece and, joined to it, one of the same width."""
        return Piece(np.concatenate([self.pixels, below.pixels]), np.concatenate([self.valid, below.valid]))


def filled(piece: Piece) -> Pixels:
    """The pixels [h, w, 3] with invalid ones in the mean colour of the valid ones; without valid ones, as they are."""
    if piece.valid.all() or not piece.valid.any():
        return piece.pixels
    shown = piece.pixels.copy()
    shown[~piece.valid] = np.rint(piece.pixels[piece.valid].mean(axis=0)).astype(np.uint8)
    return shown


def thrifty() -> rasterio.Env:
    """GDAL keeps few blocks, and never a whole PNG: its reader for those also takes a truncated file as complete."""
    return rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO")


@contextmanager
def anywhere() -> Iterator[None]:
    """The context for opening files: without a warning that a picture has no georeference."""
    with thrifty(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


class Scene:
    """An open scene; use it in a ``with`` statement.

    Raises ``SceneError`` on opening or reading if the file is missing, not a raster, damaged, or holds complex numbers.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SceneError(f"{path} does not exist: give the path of a GeoTIFF, PNG or JPEG file")
        self.path = path
        try:
            with anywhere():
                self._file = rasterio.open(path)
        except RasterioError as error:
            wanted = "give a GeoTIFF, PNG or JPEG file"
            raise SceneError(f"{path} is not a raster that rasterio can open ({error}): {wanted}") from None
        try:
            self._check()
        except SceneError:
            self._file.close()
            raise
        self.height: int = self._file.height
        self.width: int = self._file.width
        self.crs: Any = self._file.crs
        """``rasterio.crs.CRS``, or None for a scene without georeference."""
        self.transform: Any = self._file.transform
        """``affine.Affine`` from (column, row) to coordinates of ``crs``."""

    def _check(self) -> None:
        file = self._file
        if file.count == 0:
            inside = f"{len(file.subdatasets)} subdatasets"
            raise SceneError(f"{self.path} holds no band but {inside}: export one as GeoTIFF")
        self._bands = [1, 2, 3] if file.count > 2 else [1]
        types = {file.dtypes[band - 1] for band in self._bands}
        if any(name.startswith("complex") for name in types):
            raise SceneError(f"{self.path} holds complex numbers: convert it to amplitudes first")
        self._complete = all(MaskFlags.all_valid in file.mask_flag_enums[band - 1] for band in self._bands)
        self._bytes = types == {"uint8"}
        self._floats = any(name.startswith("float") for name in types)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def block_rows(self) -> int:
        """Rows that are decoded together: reading whole multiples downwards decodes every block once.

        1 if a row of blocks is too large to keep.
        """
        rows = max(rows for rows, _ in self._file.block_shapes)
        return rows if 4 * rows * self.width <= ROW_OF_BLOCKS else 1

    def piece(self, top: int, left: int, height: int, width: int) -> Piece:
        """A window as it is in the file; raises ``ValueError`` if it extends beyond the scene."""
        return self._rendered(self._window(top, left, height, width))

    def valid(self, top: int, left: int, height: int, width: int) -> Mask:
        """Which pixels [height, width] of a window are valid."""
        part = self._window(top, left, height, width)
        return self._raw(part)[1] if self._floats else self._mask(part, (height, width))

    def thumbnail(self, side: int) -> Piece:
        """The whole scene, reduced so that its longest side has at most ``side`` pixels."""
        # Palette indices cannot be averaged.
        how = Resampling.average if self._palette is None else Resampling.nearest
        return self._rendered(self._reduced(side, how))

    def _reduced(self, side: int, resampling: Resampling) -> dict[str, Any]:
        scale = min(1.0, side / max(self.height, self.width))
        shape = (max(1, round(scale * self.height)), max(1, round(scale * self.width)))
        return {"out_shape": (len(self._bands), *shape), "resampling": resampling}

    def _window(self, top: int, left: int, height: int, width: int) -> dict[str, Any]:
        if min(top, left) < 0 or min(height, width) < 1 or top + height > self.height or left + width > self.width:
            scene = f"{self.height} x {self.width}"
            raise ValueError(f"{height} x {width} pixels at ({top}, {left}) are not inside {scene}")
        return {"window": Window(left, top, width, height)}

    def _raw(self, how: dict[str, Any]) -> tuple[npt.NDArray[Any], Mask]:
        """Values [bands, h, w] as stored and which pixels [h, w] are valid."""
        with self._readable():
            values = self._file.read(self._bands, **how)
        valid = self._mask(how, values.shape[1:])
        return values, valid & np.isfinite(values).all(axis=0) if self._floats else valid

    def _mask(self, how: dict[str, Any], shape: tuple[int, ...]) -> Mask:
        """What the file says about its pixels, [h, w]."""
        if self._complete:
            return np.ones(shape, dtype=bool)
        with self._readable():
            return self._file.read_masks(self._bands, **how).any(axis=0)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with thrifty():
                yield
        except RasterioError as error:
            # The cause says what is wrong; the error only says that there is a cause.
            reason = error.__cause__ or error
            raise SceneError(f"{self.path} cannot be read to its end ({reason}): get a complete copy of it") from None

    def _rendered(self, how: dict[str, Any]) -> Piece:
        values, valid = self._raw(how)
        if self._palette is not None:
            return Piece(self._palette[values[0]], valid)
        if not self._bytes:
            values = np.stack([_stretched(band, *ends) for band, ends in zip(values, self._ends, strict=True)])
        if len(values) == 1:
            values = np.repeat(values, 3, axis=0)
        return Piece(np.ascontiguousarray(values.transpose(1, 2, 0)), valid)

    @cached_property
    def _palette(self) -> Pixels | None:
        """Colours [256, 3] of the values of an 8-bit band."""
        if self._file.colorinterp[0] != ColorInterp.palette or not self._bytes:
            return None
        colours = self._file.colormap(1)
        return np.array([colours.get(value, (0, 0, 0))[:3] for value in range(256)], dtype=np.uint8)

    @cached_property
    def _ends(self) -> list[tuple[float, float]]:
        """For each band, the values that become 0 and 255."""
        values, valid = self._raw(self._reduced(OVERVIEW, Resampling.nearest))
        return [_ends(band[valid].astype(np.float64)) for band in values]


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(values, PERCENTILES)
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def _stretched(band: npt.NDArray[Any], low: float, high: float) -> Pixels:
    if low == high:
        return np.zeros(band.shape, dtype=np.uint8)
    known = np.nan_to_num(band.astype(np.float64), nan=low)
    return np.rint((known.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
