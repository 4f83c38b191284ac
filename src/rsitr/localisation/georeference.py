"""Where on Earth the pixels of a scene are: by a transform, by ground control points, by RPCs, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rasterio.errors import CRSError
from rasterio.transform import AffineTransformer, GCPTransformer, RPCTransformer
from rasterio.warp import transform as convert

from rsitr.datasets import rasters
from rsitr.errors import SceneError

WGS84 = "EPSG:4326"
GDAL_ERRORS = (*rasters.GDAL_ERRORS, CRSError)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Georeference:
    """What a file says about its place, in full."""

    transform: Any
    """``affine.Affine`` from (column, row) to coordinates of ``crs``; the identity if the file has none."""
    crs: Any
    """``rasterio.crs.CRS``, or None."""
    gcps: Sequence[Any] = ()
    """``rasterio.control.GroundControlPoint``; taken if there is no transform."""
    gcps_crs: Any = None
    rpcs: Any = None
    """``rasterio.rpc.RPC``, or None; taken if there is neither a transform nor a point."""

    @classmethod
    def of(cls, file: Any) -> Self:
        """That of an open file of rasterio."""
        gcps, crs = file.gcps
        return cls(file.transform, file.crs, gcps, crs, file.rpcs)

    @property
    def profile(self) -> dict[str, Any]:
        """What ``rasterio.open`` needs to write a file of the same place."""
        if self.transform.is_identity and self.gcps:
            place = {"gcps": list(self.gcps), "crs": self.gcps_crs}
        else:
            place = {"transform": self.transform, "crs": self.crs}
        return place | ({"rpcs": self.rpcs} if self.rpcs is not None else {})

    @cached_property
    def _way(self) -> str:
        """What gives pixels a longitude and a latitude."""
        if not self.transform.is_identity and self.crs and (self.crs.is_projected or self.crs.is_geographic):
            return "transform"
        if self.gcps and self.gcps_crs:
            return "ground control points"
        return "RPCs" if self.rpcs is not None else ""

    @cached_property
    def missing(self) -> str:
        """Why no pixel has a longitude and a latitude, in words that follow the scene's name; empty if they have."""
        if self._way:
            try:
                self._coordinates(np.zeros(1), np.zeros(1))
            except GDAL_ERRORS as error:
                return f"has {self._way} from which no position follows ({error})"
            return ""
        if self.transform.is_identity and not self.gcps:
            return "is not georeferenced"
        if self.crs:
            return f"has coordinates of {_name(self.crs)}, which is not tied to longitudes and latitudes"
        return "names no reference system of its coordinates"

    @property
    def note(self) -> str:
        """How the scene is placed, in words that follow its name."""
        if self.missing:
            kept = "pixel coordinates only" if self.missing == "is not georeferenced" else "the same coordinates"
            return f"{self.missing}: maps have {kept}, and no GeoJSON is written"
        if self._way == "transform":
            return f"is georeferenced in {_name(self.crs)}"
        if self._way == "ground control points":
            points = f"{len(self.gcps)} ground control points in {_name(self.gcps_crs)}"
            return f"is georeferenced by {points}: maps keep them, and places follow a polynomial through them"
        return f"is georeferenced by RPCs: maps keep them, and places are those at a height of {self._height:g} m"

    @property
    def _height(self) -> float:
        return float(self.rpcs.height_off)

    def lonlat(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Longitudes and latitudes [N] in degrees (WGS84) of the upper left corners of pixels.

        NaN if the projection has no place on Earth for one of them. Raises ``SceneError`` if ``missing`` says why.
        """
        if self.missing:
            raise SceneError(f"the scene {self.missing}: no pixel has a longitude and a latitude")
        try:
            x, y = self._coordinates(columns, rows)
            if self._way != "RPCs":
                x, y = convert(self.crs if self._way == "transform" else self.gcps_crs, WGS84, x, y)
        except GDAL_ERRORS:
            x = y = np.full(len(columns), np.nan)
        found = np.array([x, y], dtype=np.float64)
        found[:, ~np.isfinite(found).all(axis=0)] = np.nan
        return found[0], found[1]

    def _coordinates(self, columns: Floats, rows: Floats) -> tuple[Any, Any]:
        """[N] each, in ``crs``, in that of the points, or, by RPCs, in degrees."""
        chosen: Any
        if self._way == "transform":
            chosen = AffineTransformer(self.transform)
        elif self._way == "ground control points":
            chosen = GCPTransformer(list(self.gcps))
        else:
            chosen = RPCTransformer(self.rpcs, rpc_height=self._height)
        with chosen as transformer:
            return transformer.xy(rows, columns, offset="ul")


def _name(crs: Any) -> str:
    """Of a reference system: its code, or what it calls itself."""
    code, itself = crs.to_authority(), crs.to_wkt().split('"')[1]
    return ":".join(code) if code else "an unnamed reference system" if itself in ("", "unknown") else repr(itself)
