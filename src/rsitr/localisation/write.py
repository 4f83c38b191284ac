"""A map of a scene as files: a georeferenced GeoTIFF for a GIS, and a picture of it over the scene for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from rsitr.datasets.bands import Pixels
from rsitr.datasets.rasters import Piece, anywhere
from rsitr.errors import SceneError
from rsitr.localisation.scene import Scene
from rsitr.records.files import replacing

TILE = 256
"""Side of the blocks of the GeoTIFF; divides the height of the incoming bands."""
HEAT = 0.5
"""Weight of the colours of the map; the rest is the scene."""
BLANK = 255
"""Grey value of pixels without a result."""
RELATIVE = "relative score: 0 lowest, 1 highest of this scene"
"""What the values of a map are. AMFMN calls it a probability map, but no value of it is a probability."""


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A new file to write (``replacing``); raises ``SceneError`` as ``writing`` does."""
    with writing(path), replacing(path) as partial:
        yield partial


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where a file or a folder is written; raises ``SceneError`` if there is no room or no permission for it."""
    try:
        yield
    except (OSError, RasterioError) as error:
        reason = error.__cause__ or error
        raise SceneError(f"{path} cannot be written ({reason}): make room, or choose another folder") from None


def write_geotiff(
    scene: Scene, bands: Iterable[tuple[int, Pixels]], path: Path, tags: Mapping[str, object] | None = None
) -> Path:
    """Write a map as float32 from 0 to 1 (``RELATIVE``), NaN (the nodata value) where the scene is not valid.

    It has the size and the georeference of the scene. ``bands`` are those of ``Heatmap.bands``; one at a time is in
    memory. The file gets its name once it is complete. Raises ``SceneError`` if it cannot be written.
    """
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": float("nan"), "compress": "deflate"}
    # No predictor: it would hide the repetitions of a stepped map; a file above 4 GiB needs another layout.
    profile |= {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "bigtiff": "if_safer"}
    profile |= {"height": scene.height, "width": scene.width, **scene.georeference.profile}
    checksum = 0
    with written(path) as partial, anywhere():
        with rasterio.open(partial, "w", **profile) as file:
            file.set_band_description(1, RELATIVE)
            file.update_tags(**(tags or {}))
            for top, levels in bands:
                window = Window(0, top, scene.width, len(levels))
                valid = scene.valid(top, 0, len(levels), scene.width)
                values = np.where(valid, levels / np.float32(255), np.float32(np.nan))
                file.write(values, 1, window=window)
                checksum = crc32(values.data, checksum)
        _check(partial, checksum)
    return path


def _check(path: Path, checksum: int) -> None:
    """Raise ``OSError`` unless a file holds what was written: on a full disk, GDAL silently leaves out blocks."""
    found = 0
    try:
        with rasterio.open(path) as file:
            for top in range(0, file.height, TILE):
                rows = Window(0, top, file.width, min(TILE, file.height - top))
                found = crc32(file.read(1, window=rows).data, found)
    except RasterioError:
        found = -1
    if found != checksum:
        raise OSError("what arrived on the disk is not what was written: perhaps the disk is full")


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
    with written(path) as partial:
        partial.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    return path
