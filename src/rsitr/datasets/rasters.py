"""Rasters of any kind and size as RGB of 8 bits, read piece by piece with rasterio (``bands`` has the rules).

- The percentiles of a stretch are those of the valid pixels of one overview of the whole raster, of at most 1,024
  pixels per side (every n-th pixel, or the file's own overview), so that a pixel is the same in every piece that
  contains it.
- A pixel is valid unless the nodata value (in every band shown), the file's mask or its alpha band says otherwise, or a
  value is not finite. A nodata value that is requested replaces the file's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from rsitr.datasets.bands import Ends, Mask, Pixels, Shown, ends, shown, stretch_note, stretched
from rsitr.errors import RsitrError, UnreadableImage

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""Rasterio lets some of GDAL's own errors through."""
GDAL_CACHE = 64 * 2**20
"""Bytes of decoded blocks that GDAL may keep; by default it takes a twentieth of the machine's memory."""
OVERVIEW = 1024
"""Longest side of the overview from which the stretch is computed."""


class Piece(NamedTuple):
    """Part of a raster as it is in the file, invalid pixels included."""

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


def thrifty() -> rasterio.Env:
    """GDAL keeps few blocks, and never a whole PNG: its reader for those also takes a truncated file as complete."""
    return rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE, GDAL_PNG_WHOLE_IMAGE_OPTIM="NO")


@contextmanager
def anywhere() -> Iterator[None]:
    """The context for opening files: without a warning that a picture has no georeference."""
    with thrifty(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


class Raster:
    """An open file of rasterio, which it does not close.

    ``bands`` and ``nodata`` replace what the file declares. Raises ``error`` on creation or reading if the file is
    damaged, has no such band, cannot hold that nodata value, or holds complex numbers.
    """

    error: ClassVar[type[RsitrError]] = UnreadableImage

    def __init__(
        self, file: Any, name: str, *, bands: Sequence[int] | None = None, nodata: float | None = None
    ) -> None:
        self._file, self._name, self._nodata = file, name, nodata
        self.height: int = file.height
        self.width: int = file.width
        if file.count == 0:
            inside = f"{len(file.subdatasets)} subdatasets"
            raise self.error(f"{name} holds no band but {inside}: export one as GeoTIFF")
        with self._readable():
            try:
                self.shown: Shown = shown([colour.name for colour in file.colorinterp], bands)
            except ValueError as error:
                raise self.error(f"{name}: {error}") from None
            self._check()

    def _check(self) -> None:
        file, bands = self._file, self.shown.bands
        types = {file.dtypes[band - 1] for band in bands}
        if any(name.startswith("complex") for name in types):
            raise self.error(f"{self._name} holds complex numbers: convert it to amplitudes first")
        for kind in sorted(types):
            if self._nodata is not None and not kind.startswith("float"):
                self._check_nodata(np.iinfo(kind), self._nodata)
        flags = [file.mask_flag_enums[band - 1] for band in bands]
        if self._nodata is not None:  # it takes the place of the file's own
            flags = [[MaskFlags.all_valid] if MaskFlags.nodata in flag else flag for flag in flags]
        self._complete = all(MaskFlags.all_valid in flag for flag in flags)
        self._floats = any(name.startswith("float") for name in types)
        bits = {file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "8") for band in bands}
        self._bytes = types == {"uint8"} and bits == {"8"}

    def _check_nodata(self, whole: Any, value: float) -> None:
        """Refuse a value that no pixel of a type (``np.iinfo``) can have."""
        if not (np.isfinite(value) and value == int(value) and whole.min <= value <= whole.max):
            have = f"its values are whole numbers from {whole.min} to {whole.max}"
            raise self.error(f"{self._name} cannot hold nodata {value:g}: {have}")

    @property
    def note(self) -> str:
        """Which bands are shown, how, and what is no data, in words; reads the overview if there is a stretch."""
        if self.shown.space == "palette":
            how = []
        elif self._bytes:
            how = ["8 bits as they are"]
        else:
            how = [stretch_note(self.shown.bands, self._ends)]
        declared = self._file.nodatavals[self.shown.bands[0] - 1]
        if self._nodata is not None:
            how.append(f"nodata {self._nodata:g}, as requested")
        elif declared is not None:
            how.append(f"nodata {declared:g}, as the file declares")
        return "; ".join([self.shown.note, *how])

    def piece(self, top: int, left: int, height: int, width: int) -> Piece:
        """A window as it is in the file; raises ``ValueError`` if it extends beyond the raster."""
        return self._rendered(self._window(top, left, height, width))

    def valid(self, top: int, left: int, height: int, width: int) -> Mask:
        """Which pixels [height, width] of a window are valid."""
        part = self._window(top, left, height, width)
        by_value = self._floats or self._nodata is not None
        return self._raw(part)[1] if by_value else self._mask(part, (height, width))

    def thumbnail(self, side: int) -> Piece:
        """The whole raster, reduced so that its longest side has at most ``side`` pixels."""
        # Neither palette indices nor a nodata value of which GDAL does not know can be averaged.
        nearest = self.shown.space == "palette" or self._nodata is not None
        return self._rendered(self._reduced(side, Resampling.nearest if nearest else Resampling.average))

    def _reduced(self, side: int, resampling: Resampling) -> dict[str, Any]:
        scale = min(1.0, side / max(self.height, self.width))
        shape = (max(1, round(scale * self.height)), max(1, round(scale * self.width)))
        return {"out_shape": (len(self.shown.bands), *shape), "resampling": resampling}

    def _window(self, top: int, left: int, height: int, width: int) -> dict[str, Any]:
        if min(top, left) < 0 or min(height, width) < 1 or top + height > self.height or left + width > self.width:
            scene = f"{self.height} x {self.width}"
            raise ValueError(f"{height} x {width} pixels at ({top}, {left}) are not inside {scene}")
        return {"window": Window(left, top, width, height)}

    def _raw(self, how: dict[str, Any]) -> tuple[npt.NDArray[Any], Mask]:
        """Values [bands, h, w] as stored and which pixels [h, w] are valid."""
        with self._readable():
            values = self._file.read(self.shown.bands, **how)
        valid = self._mask(how, values.shape[1:])
        if self._nodata is not None:
            valid = valid & (values != values.dtype.type(self._nodata)).any(axis=0)
        return values, valid & np.isfinite(values).all(axis=0) if self._floats else valid

    def _mask(self, how: dict[str, Any], shape: tuple[int, ...]) -> Mask:
        """What the file says about its pixels, [h, w]."""
        if self._complete:
            return np.ones(shape, dtype=bool)
        with self._readable():
            return self._file.read_masks(self.shown.bands, **how).any(axis=0)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with thrifty():
                yield
        except GDAL_ERRORS as error:
            # The cause says what is wrong; the error only says that there is a cause.
            reason = error.__cause__ or error
            what = f"{self._name} cannot be read to its end ({reason})"
            raise self.error(f"{what}: get a complete copy of it") from None

    def _rendered(self, how: dict[str, Any]) -> Piece:
        values, valid = self._raw(how)
        if self.shown.space == "palette":
            return Piece(self._palette[values[0]], valid)
        if not self._bytes:
            values = np.stack([stretched(band, *ends) for band, ends in zip(values, self._ends, strict=True)])
        if self.shown.space == "grey":
            values = np.repeat(values, 3, axis=0)
        return Piece(np.ascontiguousarray(values.transpose(1, 2, 0)), valid)

    @cached_property
    def _palette(self) -> Pixels:
        """Colours [256 or 65536, 3] of the values of a band."""
        (band,) = self.shown.bands
        colours = self._file.colormap(band)
        values = range(1 + int(np.iinfo(self._file.dtypes[band - 1]).max))
        return np.array([colours.get(value, (0, 0, 0))[:3] for value in values], dtype=np.uint8)

    @cached_property
    def _ends(self) -> list[Ends]:
        """For each band, the values that become 0 and 255."""
        values, valid = self._raw(self._reduced(OVERVIEW, Resampling.nearest))
        return [ends(band[valid]) for band in values]
