"""Locating in scenes: what the scorer sees, what is read how often, what is written, and what is said of bad input."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import median_filter

from rsitr.errors import TrainingDiverged
from rsitr.localisation.locate import locate
from rsitr.localisation.scene import Scene
from tests.helpers.examples import examples
from tests.helpers.localisation_scenes import brightness, nodata_scene, noise, run, write_tiff


@pytest.fixture
def picture(tmp_path):
    """Writes pixels as PNG."""

    def write(pixels, name="scene.png"):
        Image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes") / "scene.png"


def slow(pixels, sizes, median):
    """Brightness of all windows, each once, averaged in arrays of the size of the scene."""
    height, width, _ = pixels.shape
    sums, counts, seen = np.zeros((height, width)), np.zeros((height, width)), set()
    for size in sizes:
        high, wide = min(size, height), min(size, width)
        for offset in (0, size // 2):
            for top in range(offset, max(height, offset + 1), high):
                for left in range(offset, max(width, offset + 1), wide):
                    place = (min(top, height - high), min(left, width - wide), high, wide)
                    if place not in seen:
                        seen.add(place)
                        part = (slice(place[0], place[0] + high), slice(place[1], place[1] + wide))
                        sums[part] += pixels[part].mean()
                        counts[part] += 1
    means = sums / counts
    span = means.max() - means.min()
    levels = np.uint8(255 * ((means - means.min()) / span)) if span > 1e-9 else np.zeros_like(means, np.uint8)
    side = min(median, min(height, width) - 1 + min(height, width) % 2)
    return median_filter(levels, side, mode="nearest").astype(int)


@given(
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.lists(st.integers(2, 40), min_size=1, max_size=3, unique=True),
    st.sampled_from([1, 5, 11]),
    st.integers(1, 40),
)
@examples(40)
def test_agrees_with_whole_images(scratch, shape, sizes, median, batch):
    pixels = noise(*shape)
    Image.fromarray(pixels).save(scratch)
    with Scene(scratch) as scene:
        found = locate(scene, brightness, sizes=sizes, median=median, batch=batch)
    # Means are rounded in another order there, which may move a value that is about to be rounded down.
    assert np.abs(found.map(0).astype(int) - slow(pixels, sizes, median)).max() <= 1


def test_the_scorer_gets_batches_of_one_size_and_every_window_once(picture):
    pixels, seen = noise(50, 70), []

    def score(images):
        assert images.dtype == np.uint8
        assert images.ndim == 4
        seen.extend(images)
        shapes.append(images.shape)
        return brightness(images)

    shapes = []
    with Scene(picture(pixels)) as scene:
        found = locate(scene, score, sizes=(16, 32), batch=8)
    assert {shape[1:] for shape in shapes} == {(16, 16, 3), (32, 32, 3)}
    # Only the last batch of a size may be smaller.
    for side in (16, 32):
        assert {shape[0] for shape in shapes if shape[1] == side and shape[0] != 8} <= set(range(1, 8))
        assert [shape[0] for shape in shapes if shape[1] == side][:-1].count(8) == sum(s[1] == side for s in shapes) - 1
    # 16: 4 x 5 and, from 8, 3 x 4, with the corner (34, 54) in both;
    # 32: 2 x 3 and, from 16, 2 x 2, with the corner (18, 38) in both.
    assert len(seen) == found.scored == 20 + 12 - 1 + 6 + 4 - 1
    assert len({image.tobytes() for image in seen}) == len(seen)
    views = {pixels[y : y + s, x : x + s].tobytes() for s in (16, 32) for y in range(51 - s) for x in range(71 - s)}
    assert {image.tobytes() for image in seen} <= views


def test_the_batch_does_not_change_a_bit(picture):
    path = picture(noise(90, 61))
    maps = []
    for batch in (1, 7, 1000):
        with Scene(path) as scene:
            maps.append(locate(scene, brightness, sizes=(16, 24, 40), batch=batch).means)
    assert (maps[0] == maps[1]).all()
    assert (maps[0] == maps[2]).all()


def test_two_queries_in_one_pass(picture):
    with Scene(picture(noise(64, 64))) as scene:
        both = locate(
            scene, lambda images: np.stack([brightness(images), -brightness(images)], 1), sizes=(16,), median=1
        )
        alone = locate(scene, brightness, sizes=(16,), median=1)
    assert len(both.means) == 2
    assert (both.map(0) == alone.map(0)).all()
    assert (both.means[1] == -both.means[0]).all()


@pytest.mark.parametrize("profile", [{"blockysize": 16}, {"tiled": True, "blockxsize": 32, "blockysize": 32}])
def test_every_row_is_read_once_and_few_are_held(profile, tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "s.tif", noise(500, 60).transpose(2, 0, 1), **profile)
    block, parts = profile["blockysize"], []
    piece = Scene.piece
    monkeypatch.setattr(Scene, "piece", lambda self, *part: (parts.append(part), piece(self, *part))[1])
    with Scene(path) as scene:
        locate(scene, brightness, sizes=(16, 64), batch=4)
    assert {(left, width) for _, left, _, width in parts} == {(0, 60)}
    assert [top for top, *_ in parts] == np.cumsum([0] + [height for _, _, height, _ in parts])[:-1].tolist()
    assert sum(height for _, _, height, _ in parts) == 500
    assert all(top % block == 0 for top, *_ in parts)
    # The first read completes the first window of 16; none is more than one window or block ahead.
    assert max(height for _, _, height, _ in parts) <= max(64, block)


def test_the_rows_in_memory_are_a_window_and_a_block(tmp_path):
    from rsitr.localisation.heatmap import Grid
    from rsitr.localisation.locate import strips
    from rsitr.localisation.windows import edges, window_rows

    path = write_tiff(tmp_path / "s.tif", np.zeros((2000, 40), np.uint8), tiled=True, blockxsize=32, blockysize=32)
    rows = window_rows(2000, 40, (16, 64))
    grid = Grid(*edges(rows, 2000, 40))
    valid = np.zeros((len(grid.rows) - 1, len(grid.columns) - 1), dtype=bool)
    with Scene(path) as scene:
        held = [len(strip.pixels.base) for strip in strips(scene, rows, grid, valid)]
    assert max(held) <= 64 + 32
    assert valid.all()


def test_windows_without_a_valid_pixel_are_skipped_and_the_rest_is_filled(tmp_path):
    seen = []
    with Scene(nodata_scene(tmp_path)) as scene:
        found = locate(scene, lambda images: (seen.extend(images), brightness(images))[1], sizes=(32,), median=1)
    # 2 x 3 windows and 2 x 3 shifted ones have a corner in common; those at (0, 0) and (32, 0) see nothing.
    assert found.skipped == 2
    assert found.scored == len(seen) == 9
    assert all((image != 0).all() for image in seen)
    # At (0, 32): 15 columns of nodata, one of 50, 16 of 200: (50 + 3,200) / 17 = 191.18.
    partial = next(image for image in seen if (image == 191).any())
    assert [(partial == value).all(axis=(0, 2)).sum() for value in (191, 50, 200)] == [15, 1, 16]


@pytest.mark.parametrize("kind", ["grey", "16 bits", "16 bits, grey, nodata", "float", "rgb", "jpeg"])
def test_scenes_of_all_kinds_are_located_in(kind, tmp_path):
    """A bright square at rows and columns 64 to 127 of 192 x 192."""
    values = np.random.default_rng(0).integers(20, 30, (3, 192, 192))
    values[:, 64:128, 64:128] += 200
    path = tmp_path / "scene.tif"
    if kind == "jpeg":
        path = tmp_path / "scene.jpg"
        Image.fromarray(values.transpose(1, 2, 0).astype(np.uint8)).save(path)
    elif kind == "16 bits, grey, nodata":
        values[:, :, 180:] = 0
        write_tiff(path, (40 * values[0]).astype(np.uint16), nodata=0)
    else:
        chosen = {"grey": (values[0], "uint8"), "rgb": (values, "uint8"), "16 bits": (40 * values, "uint16")}
        array, dtype = chosen.get(kind, (values / 255, "float32"))
        write_tiff(path, array.astype(dtype))
    (found,) = run(path, ["a bright square"], brightness, tmp_path, sizes=(32, 64), median=9)
    with rasterio.open(found.geotiff) as file:
        heat = file.read(1)
    y, x = np.unravel_index(np.nanargmax(heat), heat.shape)
    assert 64 <= y < 128
    assert 64 <= x < 128
    assert heat[96, 96] > 0.9
    assert np.nanmax(heat[:32]) < 0.3


def test_a_scene_smaller_than_all_windows_is_one_window_and_says_that_it_tells_nothing(picture, tmp_path, capsys):
    pixels, seen = noise(30, 20), []
    (found,) = run(
        picture(pixels), ["a"], lambda images: (seen.extend(images), brightness(images))[1], tmp_path / "out"
    )
    assert len(seen) == 1
    assert (seen[0] == pixels).all()
    assert found.lowest == found.highest
    with rasterio.open(found.geotiff) as file:
        assert not file.read(1).any()
    assert "shows nothing. Try windows smaller than 128 pixels" in capsys.readouterr().err


def test_skipped_windows_are_told(tmp_path, capsys):
    with Scene(nodata_scene(tmp_path)) as scene:
        locate(scene, brightness, sizes=(32,))
    assert "2 of 11 windows hold no valid pixel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        (lambda images: np.full(len(images), np.nan), TrainingDiverged, "not finite"),
        (lambda images: np.ones(len(images) + 1), ValueError, r"return \[B\] or \[B, Q\]"),
        (lambda images: np.ones((len(images), 1, 1)), ValueError, r"return \[B\] or \[B, Q\]"),
        (lambda images: 1.0, ValueError, r"return \[B\] or \[B, Q\]"),
        (lambda images: np.ones((len(images), 2)), ValueError, "1 queries, but the scorer returned 2"),
    ],
)
def test_a_scorer_that_does_not_keep_its_word(score, error, message, picture, tmp_path):
    with pytest.raises(error, match=message):
        run(picture(noise(40, 40)), ["a"], score, tmp_path, sizes=(16,))
