"""Bands of a raster as RGB of 8 bits: which are shown, and what their values become.

Which bands
-----------
Those that are requested; else those that the file declares red, green and blue (``colorinterp``), in whatever order it
stores them; else the first three that are not alpha, and the note says so. With fewer, the first is grey, or has the
colours of its palette.

What their values become
------------------------
8 bits are used as they are. Any other type is stretched band by band: the 2nd percentile of the band becomes 0, the
98th 255, what is beyond is clipped. If both percentiles are equal, the lowest and the highest value replace them; a
band of one value becomes 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Ends = tuple[float, float]
"""The values that become 0 and 255."""

PERCENTILES = (2, 98)
RGB = ("red", "green", "blue")


class Shown(NamedTuple):
    """Which bands of a raster are shown."""

    bands: tuple[int, ...]
    """From 1: those of red, green and blue, or one."""
    space: Literal["grey", "palette", "rgb"]
    note: str
    """The choice in words."""


def shown(colours: Sequence[str], wanted: Sequence[int] | None = None) -> Shown:
    """The bands to show of a raster whose bands declare ``colours`` (``red``, ``undefined`` and so on).

    ``wanted`` are the numbers of red, green and blue, from 1, or of one band for grey. Raises ``ValueError``, which
    lists the bands, for any other count and for a number that the raster does not have.
    """
    if wanted is not None:
        return _requested(colours, tuple(wanted))
    if colours[0] == "palette":
        return Shown((1,), "palette", "band 1 in the colours of its palette")
    if set(RGB) <= set(colours):
        bands = tuple(colours.index(name) + 1 for name in RGB)
        return Shown(bands, "rgb", f"{_as_rgb(bands)}, as the file declares")
    usable = [number for number, colour in enumerate(colours, 1) if colour != "alpha"] or [1]
    if len(usable) < 3:
        return Shown((usable[0],), "grey", f"band {usable[0]} as grey")
    first = (usable[0], usable[1], usable[2])
    why = f"the file does not declare which of its {len(colours)} are; `--bands R,G,B` chooses others"
    return Shown(first, "rgb", f"{_as_rgb(first)}: {why}")


def _requested(colours: Sequence[str], wanted: tuple[int, ...]) -> Shown:
    absent = [str(number) for number in wanted if not 1 <= number <= len(colours)]
    has = ", ".join(f"{number} {colour}" for number, colour in enumerate(colours, 1))
    if absent:
        raise ValueError(f"there is no band {', '.join(absent)}: name some of {has}")
    if len(wanted) not in (1, 3):
        raise ValueError(f"{len(wanted)} bands: name three for red, green and blue, or one for grey, of {has}")
    if len(wanted) == 3:
        return Shown(wanted, "rgb", f"{_as_rgb(wanted)}, as requested")
    if colours[wanted[0] - 1] == "palette":
        return Shown(wanted, "palette", f"band {wanted[0]} in the colours of its palette, as requested")
    return Shown(wanted, "grey", f"band {wanted[0]} as grey, as requested")


def _as_rgb(bands: Sequence[int]) -> str:
    return f"bands {', '.join(map(str, bands))} as {', '.join(RGB)}"


def ends(values: npt.NDArray[Any]) -> Ends:
    """The values of a band [N], valid ones only, that become 0 and 255; both 0 without values."""
    if values.size == 0:
        return 0.0, 0.0
    values = values.astype(np.float64)
    low, high = np.percentile(values, PERCENTILES)
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def stretched(band: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """A band [...] with ``low`` at 0 and ``high`` at 255; NaN becomes 0."""
    if low == high:
        return np.zeros(band.shape, dtype=np.uint8)
    known = np.nan_to_num(band.astype(np.float64), nan=low)
    return np.rint((known.clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)


def stretch_note(bands: Sequence[int], found: Sequence[Ends]) -> str:
    """A stretch in words."""
    parts = (f"{low:g} to {high:g} (band {band})" for band, (low, high) in zip(bands, found, strict=True))
    return f"stretched from the {PERCENTILES[0]}nd to the {PERCENTILES[1]}th percentile: {', '.join(parts)}"


def filled(pixels: Pixels, valid: Mask) -> Pixels:
    """Pixels [h, w, 3] with invalid ones in the mean colour of the valid ones; without valid ones, as they are."""
    if valid.all() or not valid.any():
        return pixels
    whole = pixels.copy()
    whole[~valid] = np.rint(pixels[valid].mean(axis=0)).astype(np.uint8)
    return whole
