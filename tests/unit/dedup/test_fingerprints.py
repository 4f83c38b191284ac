"""Fingerprints against the cosine transform of scipy, and what they may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from rsitr.dedup.fingerprints import (
    CHROMA,
    DIMENSIONS,
    ORIENTATIONS,
    WINDOWS,
    Window,
    canonical,
    fingerprints,
    oriented,
    plausible,
    turn,
    undone,
)
from rsitr.dedup.thumbnails import SIZE
from tests.helpers.pictures import picture

PICTURES = np.stack([picture(seed) for seed in range(40)])


def test_the_whole_image_gives_the_lowest_cosine_coefficients():
    grey = np.repeat(picture(1).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    low = dctn(grey[..., 0].astype(float), norm="ortho")[:5, :5]
    kept = [(u, v) for u in range(5) for v in range(5) if 0 < u + v <= 5]
    # A pixel's share of a cosine is its integral over the pixel, scipy takes the middle: they differ by a sinc.
    weight = np.sinc(np.arange(5) / (2 * SIZE))
    expected = np.array([low[u, v] * weight[u] * weight[v] for u, v in kept])
    found = fingerprints(grey[None])[0, 0]
    assert len(found) == DIMENSIONS == 3 * len(kept)
    np.testing.assert_allclose(found[: len(kept)], expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(found[len(kept) :], 0, atol=1e-6)


def test_colours_count_less_than_lightness():
    bright, red = np.zeros((2, 1, SIZE, SIZE, 3), dtype=np.uint8)
    bright[:, :, 32:] = 90
    red[:, :, 32:, 0] = 90
    lightness, colours = np.split(fingerprints(red)[0, 0], [18])
    assert np.linalg.norm(fingerprints(bright)[0, 0, :18]) == pytest.approx(1)
    # Of a step of 90 in red, lightness sees 30, and the opponent colours 30 and 15, weighted.
    expected = CHROMA * np.hypot(30, 15) / 30
    assert np.linalg.norm(colours) / np.linalg.norm(lightness) == pytest.approx(expected, rel=1e-4)


def test_brightness_contrast_and_tint_drop_out():
    other = PICTURES.astype(float) * 0.6 + [30, 40, 10]
    cosine = (fingerprints(PICTURES)[:, 0] * fingerprints(other.astype(np.uint8))[:, 0]).sum(axis=1)
    assert cosine.min() > 0.999


def test_a_window_is_the_whole_of_the_picture_cut_out():
    window = Window(top=0.25, left=0.125, side=0.75)
    large = np.stack([picture(seed, 256) for seed in range(10)])
    small = large.reshape(10, SIZE, 4, SIZE, 4, 3).mean(axis=(2, 4)).astype(np.uint8)
    cut = large[:, 64:256, 32:224].reshape(10, SIZE, 3, SIZE, 3, 3).mean(axis=(2, 4)).astype(np.uint8)
    cosine = (fingerprints(small, (window,))[:, 0] * fingerprints(cut)[:, 0]).sum(axis=1)
    assert cosine.min() > 0.999


def test_every_crop_to_three_quarters_is_near_a_window():
    assert len(WINDOWS) == len(set(WINDOWS)) == 23
    assert WINDOWS[0] == Window(0, 0, 1)
    crops = np.random.default_rng(0).uniform(size=(2000, 3))
    for size, top, left in crops:
        side = 0.75 + 0.25 * size
        box = np.array([top * (1 - side), left * (1 - side), side])
        # Where the sides of the crop lie, against those of the nearest window.
        edges = [np.abs([box[:2] - w[:2], box[:2] + side - w[:2] - w[2]]).max() for w in np.array(WINDOWS)]
        assert min(edges) < 0.09


@pytest.mark.parametrize("orientation", range(8))
def test_turning_the_picture_turns_its_fingerprint(orientation):
    turned = np.ascontiguousarray(turn(PICTURES, orientation))
    expected = oriented(fingerprints(PICTURES)[:, 0], np.full(len(PICTURES), orientation))
    np.testing.assert_allclose(fingerprints(turned)[:, 0], expected, atol=1e-4)


def test_all_orientations_of_a_picture_have_one_canonical_fingerprint():
    upright = fingerprints(PICTURES)[:, 0]
    expected = oriented(upright, canonical(upright))
    for orientation in range(8):
        vectors = oriented(upright, np.full(len(upright), orientation))
        np.testing.assert_allclose(oriented(vectors, canonical(vectors)), expected, atol=1e-5)


def test_an_undecided_orientation_is_taken_both_ways():
    clear, doubtful = np.zeros((2, DIMENSIONS), dtype=np.float32)
    # Order of the coefficients: (0, 1) is the first, (1, 0) the fifth.
    clear[[0, 4]], doubtful[[0, 4]] = [0.9, 0.4], [0.99, 0.1]
    found = plausible(np.stack([clear, doubtful]))
    assert [ORIENTATIONS[place] for place in np.flatnonzero(found[0])] == [(0, 0, 0)]
    assert [ORIENTATIONS[place] for place in np.flatnonzero(found[1])] == [(0, 0, 0), (0, 1, 0)]


def test_taking_an_orientation_back():
    board = np.arange(6).reshape(2, 3, 1)
    for first in range(8):
        for then in range(8):
            back = undone(np.array([first]), np.array([then]))[0]
            np.testing.assert_array_equal(turn(turn(board, back), first), turn(board, then))


def test_a_plain_picture_has_no_fingerprint():
    assert not fingerprints(np.full((1, SIZE, SIZE, 3), 90, dtype=np.uint8), WINDOWS).any()
