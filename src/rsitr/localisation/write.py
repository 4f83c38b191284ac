"""A map of a scene as files: a georeferenced GeoTIFF for a GIS, and a picture of it over the scene for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from rsitr.localisation.scene import Piece, Pixels, Scene, anywhere
from rsitr.records.files import replacing

TILE = 256
"""Side of the blocks of the GeoTIFF; divides the height of the incoming bands."""
HEAT = 0.5
"""Weight of the colours of the map; the rest is the scene."""
BLANK = 255
"""Grey value of pixels without a result."""


def write_geotiff(scene: Scene, bands: Iterable[tuple[int, Pixels]], path: Path) -> Path:
    """Write a map as float32 from 0 to 1, NaN (the nodata value) where the scene is not valid.

    It has the size, the reference system and the transform of the scene. ``bands`` are those of ``Heatmap.bands``; one
    at a time is in memory. The file gets its name once it is complete.
    """
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": float("nan"), "compress": "deflate"}
    # No predictor: it would hide the repetitions of a stepped map; a file above 4 GiB needs another layout.
    profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "bigtiff": "if_safer"}
    profile |= {"height": scene.height, "width": scene.width, "crs": scene.crs, "transform": scene.transform}
    with replacing(path) as partial, anywhere(), rasterio.open(partial, "w", **profile) as file:
        for top, levels in bands:
            window = Window(0, top, scene.width, len(levels))
            valid = scene.valid(top, 0, len(levels), scene.width)
            file.write(np.where(valid, levels / np.float32(255), np.float32(np.nan)), 1, window=window)
    return path


def read_map(path: Path, height: int, width: int) -> npt.NDArray[np.float32]:
    """Every n-th pixel of a map that ``write_geotiff`` wrote: [height, width], NaN where there is no result."""
    with anywhere(), rasterio.open(path) as file:
        return file.read(1, out_shape=(height, width), resampling=Resampling.nearest)


def blended(thumbnail: Piece, heat: npt.NDArray[np.float32]) -> Pixels:
    """The colours of a map [h, w] over a scene of the same size: dark for 0, yellow for 1, blank without a result."""
    levels = np.rint(255 * np.nan_to_num(heat)).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    mixed = np.asarray(cv2.addWeighted(thumbnail.pixels, 1 - HEAT, colours, HEAT, 0))
    mixed[np.isnan(heat) | ~thumbnail.valid] = BLANK
    return mixed.astype(np.uint8)


def write_overlay(thumbnail: Piece, geotiff: Path, path: Path) -> Path:
    """Write the map of a GeoTIFF over the thumbnail of its scene as PNG."""
    picture = blended(thumbnail, read_map(geotiff, *thumbnail.valid.shape))
    with replacing(path) as partial:
        partial.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    return path
