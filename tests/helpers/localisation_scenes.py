"""Scenes on disk for the tests of localisation."""

from __future__ import annotations

import warnings

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasterio.transform import from_origin

from rsitr.localisation import locate
from rsitr.localisation.scene import Scene

UTM = CRS.from_epsg(32633)
PLACE = from_origin(500_000.0, 4_600_000.0, 0.5, 0.5)
# Longitude and latitude are linear in the pixel: 10 + (column - 25) / 250 and 50 - (row - 20) / 200.
RPCS = RPC(
    height_off=250, height_scale=500, lat_off=50, lat_scale=0.1, long_off=10, long_scale=0.1, line_off=20,
    line_scale=20, samp_off=25, samp_scale=25, line_num_coeff=[0, 0, -1] + [0] * 17, line_den_coeff=[1] + [0] * 19,
    samp_num_coeff=[0, 1] + [0] * 18, samp_den_coeff=[1] + [0] * 19, err_bias=1.5, err_rand=0.5,
)  # fmt: skip


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


def nodata_scene(tmp_path):
    """64 x 96 of 200, its left half nodata, but for a column of 50 at its edge."""
    values = np.full((3, 64, 96), 200, dtype=np.uint8)
    values[:, :, :48] = 0
    values[:, :, 47] = 50
    return write_tiff(tmp_path / "s.tif", values, nodata=0, crs=UTM, transform=PLACE)


def brightness(images):
    """The mean of each window, exactly."""
    return images.reshape(len(images), -1).sum(axis=1, dtype=np.int64) / images[0].size


def run(path, *arguments, **options):
    """Locate in the scene of a file."""
    with Scene(path) as scene:
        return locate.run(scene, *arguments, **options)
