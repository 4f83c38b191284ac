"""Scenes on disk for the tests of localisation."""

from __future__ import annotations

import warnings

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

UTM = CRS.from_epsg(32633)
PLACE = from_origin(500_000.0, 4_600_000.0, 0.5, 0.5)


def write_tiff(path, values, **profile):
    """A GeoTIFF of values [h, w] or [bands, h, w]; returns the path."""
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
            file.write(values)
    return path


def noise(height, width, seed=0):
    """Pixels uint8 [height, width, 3] of which no two neighbours are alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
