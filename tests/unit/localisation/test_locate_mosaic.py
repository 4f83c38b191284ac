"""Mosaics of pictures whose place is known: the map of an oracle leads to the right one, and the measures say so."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from rsitr.localisation.locate import locate
from rsitr.localisation.metrics import metrics, peaks
from rsitr.localisation.scene import Scene

SIDE = 256
ACROSS, DOWN = 5, 4
COLOURS = 8
"""Shades of each channel that the oracle tells apart."""


def colours(pixels):
    """The share [512] of each colour in pixels [..., 3]."""
    shades = (pixels.reshape(-1, 3) // (256 // COLOURS)).astype(np.int64)
    counts = np.bincount(shades @ [COLOURS**2, COLOURS, 1], minlength=COLOURS**3)
    return counts / counts.sum()


def oracle(wanted):
    """Scores windows by how much of each wanted picture's colours they share."""
    profiles = [colours(picture) for picture in wanted]

    def score(images):
        return [[np.minimum(colours(image), profile).sum() ** 2 for profile in profiles] for image in images]

    return score


def drawn(count):
    """Generated pictures: ground of one colour with spots of another."""
    rng = np.random.default_rng(7)
    pictures = []
    for _ in range(count):
        ground, spots = rng.integers(0, 256, (2, 3))
        marks = np.kron(rng.random((16, 16)) < 0.3, np.ones((SIDE // 16, SIDE // 16)))[..., None]
        grain = rng.normal(0, 6, (SIDE, SIDE, 3))
        pictures.append((np.where(marks, spots, ground) + grain).clip(0, 255).astype(np.uint8))
    return pictures


def of_ucm(mirror):
    """A picture of each of 20 classes."""
    with zipfile.ZipFile(mirror / "ucm" / "UCM_images.zip") as archive:
        names = [f"UCM_captions/imgs/{100 * number + 8}.tif" for number in range(ACROSS * DOWN)]
        opened = [Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((SIDE, SIDE)) for name in names]
    return [np.asarray(image) for image in opened]


def of_rsicd(mirror):
    """Pictures from all over the set, among them several of a class."""
    with zipfile.ZipFile(sorted((mirror / "rsicd").glob("*.zip"))[0]) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        chosen = [names[number * len(names) // (ACROSS * DOWN)] for number in range(ACROSS * DOWN)]
        opened = [Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((SIDE, SIDE)) for name in chosen]
    return [np.asarray(image) for image in opened]


def outline(number):
    """The polygon of a tile."""
    top, left = (SIDE * place for place in divmod(number, ACROSS))
    return [[left + x, top + y] for x, y in ((0, 0), (SIDE - 1, 0), (SIDE - 1, SIDE - 1), (0, SIDE - 1))]


def assert_found(pictures, truths, path):
    """Locates some pictures of the mosaic in one pass over it."""
    lines = [np.concatenate(pictures[ACROSS * line : ACROSS * (line + 1)], axis=1) for line in range(DOWN)]
    Image.fromarray(np.concatenate(lines)).save(path)
    with Scene(path) as scene:
        found = locate(scene, oracle([pictures[truth] for truth in truths]))
    for query, truth in enumerate(truths):
        heat = found.map(query)
        top, left = (SIDE * place for place in divmod(truth, ACROSS))
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert (y // SIDE, x // SIDE) == divmod(truth, ACROSS)
        best = peaks(heat)[0]
        assert left <= best[0] < left + SIDE
        assert top <= best[1] < top + SIDE
        elsewhere = (truth + 2 * ACROSS + 2) % len(pictures)
        right, wrong = (metrics(heat, [outline(number)]) for number in (truth, elsewhere))
        assert right.rda == 1
        assert right.ras < 0.2
        assert right.rmi > 0.85
        assert wrong.rmi < 0.4


def test_generated_pictures(tmp_path):
    assert_found(drawn(ACROSS * DOWN), [0, 7, 12, 19], tmp_path / "mosaic.png")


@pytest.mark.mirror
def test_pictures_of_ucm(mirror, tmp_path):
    assert_found(of_ucm(mirror), [1, 7, 12, 18], tmp_path / "mosaic.png")


@pytest.mark.mirror
def test_pictures_of_rsicd(mirror, tmp_path):
    assert_found(of_rsicd(mirror), [3, 6, 12, 16], tmp_path / "mosaic.png")
