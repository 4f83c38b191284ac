"""Localisation as one writes it first: the whole scene and one sum and count for each pixel in memory.

The median filter is scipy's: ``scipy.ndimage.median_filter`` asks for tens of GiB at 251 x 251 pixels, whatever the
scene, so that it is ``scipy.signal.medfilt2d``, which takes an hour or more for a large scene.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from scipy.signal import medfilt2d

from rsitr.localisation.locate import Score
from rsitr.localisation.windows import window_rows


def levels(path: Path, score: Score, sizes: tuple[int, ...]) -> np.ndarray:
    """The map before the median filter: uint8 [H, W]."""
    with rasterio.open(path) as file:
        scene = np.ascontiguousarray(file.read().transpose(1, 2, 0))
    height, width = scene.shape[:2]
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    for row in window_rows(height, width, sizes):
        for left in row.lefts:
            part = slice(row.top, row.top + row.height), slice(left, left + row.width)
            sums[part] += np.asarray(score(scene[part][None]))[0]
            counts[part] += 1
    means = sums / counts
    return (255 * ((means - means.min()) / (means.max() - means.min()))).astype(np.uint8)


def median(levels: np.ndarray, side: int) -> np.ndarray:
    """The filtered map; the border is repeated outwards."""
    half = side // 2
    return medfilt2d(np.pad(levels, half, mode="edge"), side)[half:-half, half:-half]
