"""Localisation in a large scene: time and memory of rsitr next to a straightforward implementation (``locate_peer``).

Both read the same GeoTIFF, a mosaic of coloured tiles with grain, and score the same windows of 128, 256 and 512 pixels
by the same function, the nearness of their mean colour to one colour, which costs next to nothing. Each runs in a
process of its own, without torch. The other implementation's median filter of 251 pixels is measured on 400 x 500
pixels and scaled by the number of pixels; its memory is that before the filter. On the small scene, both maps have to
agree. Who filters with OpenCV, as the code of SeLo does, compares with the row before the filter.

    python benchmarks/locate.py                  10,000 x 10,000 pixels: case locate-10k
    python benchmarks/locate.py --side 2000      a smaller scene; printed and not written
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.transform import from_origin

import locate_peer
from rsitr.datasets.bands import Pixels
from rsitr.localisation.heatmap import MEDIAN
from rsitr.localisation.locate import locate, run
from rsitr.localisation.scene import Scene
from rsitr.localisation.windows import SIZES

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "scoring.csv"
SIDE, TILE, SMALL = 10_000, 256, (400, 500)
WANTED = np.array([200.0, 120.0, 60.0])
"""The colour that is looked for."""


class Measured(NamedTuple):
    """What one implementation took."""

    seconds: float
    """Before the median filter, and without it."""
    median: float
    """Seconds of the median filter."""
    mib: float
    """Peak resident memory of the process."""


def score(images: Pixels) -> np.ndarray:
    """Nearness of the mean colour: [B]."""
    means = images.reshape(len(images), -1, 3).sum(axis=1, dtype=np.uint32) / (images.shape[1] * images.shape[2])
    return -np.abs(means - WANTED).sum(axis=1)


def write_mosaic(path: Path, height: int, width: int) -> Path:
    """Tiles of random colours with grain, as tiled GeoTIFF."""
    draw = np.random.default_rng(0)
    grain = draw.integers(-12, 13, (3, TILE, width), dtype=np.int16)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "compress": "deflate", "tiled": True}
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 4_600_000, 0.5, 0.5)}
    with rasterio.open(path, "w", height=height, width=width, **profile, **place) as file:
        for top in range(0, height, TILE):
            colours = draw.integers(12, 243, (3, 1, -(-width // TILE)), dtype=np.int16)
            rows = min(TILE, height - top)
            pixels = np.repeat(colours, TILE, axis=2)[..., :width] + grain[:, :rows]
            file.write(pixels.astype(np.uint8), window=rasterio.windows.Window(0, top, width, rows))
    return path


def peak_mib() -> float:
    """The highest resident memory of this process so far."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def ours(path: Path) -> Measured:
    """Time of the means, and of the map made of them band by band."""
    started = time.perf_counter()
    with Scene(path) as scene:
        found = locate(scene, score)
    middle = time.perf_counter()
    for _ in found.bands(0):
        pass
    return Measured(middle - started, time.perf_counter() - middle, peak_mib())


def ours_to_files(path: Path) -> Measured:
    """Everything that the command line does: two queries, with their GeoTIFFs and pictures."""
    started = time.perf_counter()
    with Scene(path) as scene:
        run(scene, ["one", "two"], lambda images: np.outer(score(images), (1, -1)), path.parent)
    return Measured(time.perf_counter() - started, 0.0, peak_mib())


def theirs(path: Path) -> Measured:
    """Time of the map before the filter."""
    started = time.perf_counter()
    locate_peer.levels(path, score, SIZES)
    return Measured(time.perf_counter() - started, 0.0, peak_mib())


def their_median(path: Path) -> float:
    """Seconds a pixel of the median filter on the small scene; raises ``AssertionError`` when the maps differ."""
    with Scene(path) as scene:
        expected = locate(scene, score).map(0)
    levels = locate_peer.levels(path, score, SIZES)
    started = time.perf_counter()
    smooth = locate_peer.median(levels, MEDIAN)
    elapsed = time.perf_counter() - started
    # Sums are rounded in another order, which may move a value that is about to be rounded down.
    assert np.abs(smooth.astype(int) - expected).max() <= 1
    return elapsed / smooth.size


def in_a_fresh_process(measure: Callable[[Path], Measured], path: Path) -> Measured:
    """In a process that nothing else has run in."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, path).result()


def main() -> None:
    """Measure, print, and write the case ``locate-10k`` of ``results/benchmarks/scoring.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=SIDE)
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as folder:
        path = write_mosaic(Path(folder, "scene.tif"), side, side)
        us, files, them = (in_a_fresh_process(measure, path) for measure in (ours, ours_to_files, theirs))
        median = their_median(write_mosaic(Path(folder, "small.tif"), *SMALL)) * side**2

    # Not above: the processes that are measured import this file, and torch would be in their memory.
    from table import Row, machine, print_rows, write_rows

    case, here, peer = f"locate-{side // 1000}k", machine(), f"numpy {version('numpy')}, scipy {version('scipy')}"
    scaled = f"{peer}; median scaled from {SMALL[0]} x {SMALL[1]}"
    rows = [
        Row(case, "time", "s", us.seconds + us.median, scaled, them.seconds + median, here),
        Row(case, "time before the median filter", "s", us.seconds, peer, them.seconds, here),
        Row(case, "time of the median filter", "s", us.median, scaled, median, here),
        Row(case, "peak memory of the process", "MiB", us.mib, f"{peer}; without the median", them.mib, here),
        Row(case, "time of two queries with their files", "s", files.seconds, "", None, here),
        Row(case, "peak memory of two queries with their files", "MiB", files.mib, "", None, here),
    ]
    print_rows(f"Localisation in {side:,} x {side:,} pixels, model not included", rows)
    if side == SIDE:
        write_rows(RESULT, rows)


if __name__ == "__main__":
    main()
