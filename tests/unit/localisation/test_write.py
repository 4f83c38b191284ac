"""Maps on a disk that has no room for them."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import rasterio

from rsitr.errors import SceneError
from rsitr.localisation.scene import Scene
from rsitr.localisation.write import write_geotiff
from tests.helpers.localisation_scenes import PLACE, UTM, noise, write_tiff


@pytest.mark.parametrize(
    ("heat", "room", "reason"),
    [
        (noise(300, 300)[..., 0], 70_000, "Write error"),
        # What fits into GDAL's cache is written when the file is closed, and nobody hears that it fails.
        (np.zeros((300, 300), dtype=np.uint8), 1, "what arrived on the disk is not what was written"),
        (np.zeros((300, 300), dtype=np.uint8), 1000, "what arrived on the disk is not what was written"),
    ],
    ids=["told", "silent", "silent at the end"],
)
def test_a_full_disk_is_told_and_leaves_nothing(heat, room, reason, tmp_path):
    path = write_tiff(tmp_path / "s.tif", noise(300, 300).transpose(2, 0, 1), crs=UTM, transform=PLACE)
    target = tmp_path / "out" / "map.tif"
    bands = [(0, heat[:256]), (256, heat[256:])]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Scene(path) as scene:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            with pytest.raises(SceneError, match=rf"map.tif cannot be written \(.*{reason}.*\): make room"):
                write_geotiff(scene, bands, target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not list(target.parent.iterdir())
        write_geotiff(scene, bands, target)
    with rasterio.open(target) as file:
        assert (np.rint(file.read(1) * 255) == heat).all()
