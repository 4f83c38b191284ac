"""Rsu, Ras, Rda and Rmi: worked out by hand, and peaks against whole numbers in numpy."""

from __future__ import annotations

from math import e, exp

import numpy as np
import pytest
from scipy.ndimage import label

from rsitr.errors import SceneError
from rsitr.localisation import metrics as module
from rsitr.localisation.metrics import Circle, circle, metrics, peaks, ras, rda, region_mask, rmi, rsu

SQUARE = [[700, 400], [900, 400], [900, 600], [700, 600]]
"""Around (800, 500) with corners 141.42 away: r = 212."""
EVEN = 1 - exp(-0.707)
"""Rsu of a map that is the same everywhere."""
NOBODY = np.zeros((0, 2), dtype=np.int64)


def blank(height=1000, width=1400):
    return np.zeros((height, width), dtype=np.uint8)


def square(x, y, half=100):
    """Polygon around a point."""
    return [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half]]


def test_a_perfect_map():
    heat = blank()
    heat[400:601, 700:901] = 255
    found = metrics(heat, [SQUARE])
    assert found.rsu == pytest.approx(1, abs=1e-12)
    # A box of even side moves the peak by half a pixel; five of them by 2.5 each way, of a radius of 212.
    assert found.ras <= (e ** (3 * 2.83 / 212) - 1) / (e**3 - 1)
    assert found.rda == 1
    assert found.rmi == pytest.approx(0.4 * found.rsu + 0.35 * (1 - found.ras) + 0.25)
    assert found.rmi > 0.999


def test_an_even_map():
    # All of it is one component; its centre, (699.5, 499.5), lies in the circle of a region at the centre.
    heat = np.full((1000, 1400), 200, dtype=np.uint8)
    assert peaks(heat).tolist() == [[699, 499]]
    there, away = metrics(heat, [square(699, 499)]), metrics(heat, [square(200, 200)])
    assert there == pytest.approx((EVEN, 0, 1, 0.4 * EVEN + 0.35 + 0.25), abs=1e-6)
    assert away == pytest.approx((EVEN, 1, 0, 0.4 * EVEN), abs=1e-6)
    # Below a probability of one half there is no peak at all.
    assert metrics(np.full((1000, 1400), 127, np.uint8), [square(699, 499)]) == pytest.approx((EVEN, 1, 0, 0.4 * EVEN))


def test_an_empty_map():
    assert metrics(blank(), [SQUARE]) == (0, pytest.approx(1), 0, pytest.approx(0))


def test_a_map_with_its_peak_in_the_wrong_place():
    heat = blank()
    heat[100:301, 100:301] = 255
    assert metrics(heat, [SQUARE]) == pytest.approx((0, 1, 0, 0), abs=1e-12)


def test_a_faint_region_beside_a_strong_wrong_one():
    heat = blank()
    heat[100:301, 100:301] = 255
    heat[400:601, 700:901] = 51
    found = metrics(heat, [SQUARE])
    # A fifth of the wrong one's sum, over the share of the area.
    area = 201 * 201
    assert found.rsu == pytest.approx(1 - exp(-0.707 * 0.2 * (1_400_000 - area) / area))
    assert found[1:3] == pytest.approx((1, 0))


def test_several_regions_are_found_when_their_peaks_are_far_enough_apart():
    near, far = blank(700, 2400), blank(700, 2400)
    regions = {}
    for heat, x in ((near, 800), (far, 1700)):
        heat[250:451, 400:601] = 255
        heat[250:451, x - 100 : x + 101] = 240
        regions[x] = [square(500, 350), square(x, 350)]
    both = metrics(far, regions[1700])
    assert both.rda == 1
    assert both.ras < 0.003
    # 300 pixels apart, the higher one hides the other: half of the regions have a peak.
    one = metrics(near, regions[800])
    assert one.rda == 0.5
    shift = (0.0 + 1.0) / 2
    assert one.ras == pytest.approx((e ** (3 * shift) - 1) / (e**3 - 1), rel=0.05)


def test_rsu_by_hand():
    heat = np.array([[255, 51, 0, 0], [0, 0, 102, 51]], dtype=np.uint8)
    mask = np.array([[True, True, False, False], [False, False, False, False]])
    # 1.2 inside, 0.6 outside; 6 pixels outside, 2 inside.
    assert rsu(heat, mask, 8) == pytest.approx(1 - exp(-0.707 * 2 * 3), abs=1e-6)
    assert rsu(heat, mask, 5) == pytest.approx(1 - exp(-0.707 * 2 * 1.5), abs=1e-6)


def test_ras_by_hand():
    # Distances 10 and 50 of a radius of 50: 0.6; the second region has nothing in its circle: 1.
    found = np.array([[100, 110], [130, 140], [100, 151]])
    assert ras([Circle(100, 100, 50)], found) == pytest.approx((e**1.8 - 1) / (e**3 - 1))
    assert ras([Circle(100, 100, 50), Circle(500, 500, 50)], found) == pytest.approx((e**2.4 - 1) / (e**3 - 1))
    assert ras([Circle(100, 100, 50)], NOBODY) == pytest.approx(1)
    assert ras([Circle(100, 110, 5)], found) == 0


def test_rda_by_hand():
    found = np.array([[100, 110], [130, 140], [100, 151]])
    # The two in the circle lie 21.21 from their mean, (115, 125).
    two = 0.5 * (1 - 450**0.5 / 50) + exp(-2)
    assert rda([Circle(100, 100, 50)], found) == pytest.approx(two)
    assert rda([Circle(100, 100, 50), Circle(500, 500, 50), Circle(100, 110, 5)], found) == pytest.approx(
        (two + 0 + 1) / 3
    )
    # (110, 133 2/3) is the mean of all three.
    distances = [np.hypot(x - 110, y - 401 / 3) for x, y in found.tolist()]
    three = 0.5 * (1 - np.mean(distances) / 60) + exp(-2.5)
    assert rda([Circle(100, 100, 60)], found) == pytest.approx(three)
    assert rda([Circle(100, 100, 60)], NOBODY) == 0


def test_rmi_by_hand():
    assert rmi(0.6920, 0.3323, 0.6667) == pytest.approx(0.2768 + 0.233695 + 0.166675)
    # The published row of AMFMN is the mean over 59 queries, which weights commute with.
    assert round(rmi(0.6920, 0.3323, 0.6667), 4) == pytest.approx(0.6772, abs=1e-4)
    assert rmi(1, 0, 1) == pytest.approx(1)


def test_a_circle_is_in_whole_pixels_and_a_vertex_given_twice_counts_twice():
    assert circle(SQUARE) == Circle(800, 500, 212)
    # The first of five vertices is there twice: the centre moves towards it, from (800, 500) to (780, 480).
    distances = [np.hypot(x - 780, y - 480) for x, y in [*SQUARE, SQUARE[0]]]
    assert circle([*SQUARE, SQUARE[0]]) == Circle(780, 480, int(1.5 * np.mean(distances)))
    assert circle([[0.5, 0.5], [3.9, 0.5], [3.9, 0.5], [3.9, 7.9]])[:2] == (3, 2)


def test_a_mask_holds_its_outline_and_overlapping_regions_unite():
    mask = region_mask([[[1, 1], [3, 1], [3, 2], [1, 2]], [[2.9, 1.9], [5, 1], [5, 2]]], (4, 7))
    assert mask.astype(int).tolist() == [[0] * 7, [0, 1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1, 0], [0] * 7]


def slow_peaks(heat, box, neighbourhood):
    """The same in whole numbers: five box sums, the highest of each neighbourhood, components by scipy."""
    soft, half = heat.astype(np.int64), box // 2
    height, width = heat.shape
    for _ in range(5):
        padded = np.pad(soft, ((half, half - 1), (half, half - 1)), mode="reflect")
        boxes = [[padded[y : y + box, x : x + box].sum() for x in range(width)] for y in range(height)]
        soft = (2 * np.array(boxes) + box**2) // (2 * box**2)  # a half is rounded up
    highest, half = np.zeros(soft.shape, dtype=bool), neighbourhood // 2
    for y in range(height):
        for x in range(width):
            around = soft[max(0, y - half) : y + half, max(0, x - half) : x + half]
            highest[y, x] = soft[y, x] == around.max() > 0
    parts, count = label(highest, np.ones((3, 3)))
    places = [np.nonzero(parts == number) for number in range(1, count + 1)]
    found = [(int(xs.mean()), int(ys.mean())) for ys, xs in places]
    return [[x, y] for x, y in sorted(found, key=lambda point: -int(heat[point[1], point[0]])) if heat[y, x] >= 128]


@pytest.mark.parametrize("seed", range(3))
def test_peaks_agree_with_whole_numbers(seed, monkeypatch):
    monkeypatch.setattr(module, "BOX", 6)
    monkeypatch.setattr(module, "NEIGHBOURHOOD", 40)
    rng = np.random.default_rng(seed)
    heat = np.repeat(np.repeat(rng.integers(0, 256, (4, 9), dtype=np.uint8), 15, axis=0), 15, axis=1)
    expected = slow_peaks(heat, 6, 40)
    assert len(expected) >= 2
    assert peaks(heat).tolist() == expected


def test_pixels_without_a_result_count_nowhere():
    heat = blank()
    heat[400:601, 700:901] = 255
    heat[:, :500] = 250
    valid = np.ones(heat.shape, dtype=bool)
    valid[:, :500] = False
    before = heat.copy()
    found = metrics(heat, [SQUARE], valid)
    assert found.rsu == pytest.approx(1)
    assert found.rda == 1
    assert metrics(heat, [SQUARE]).rsu < 0.9
    assert (heat == before).all()
    # An even map stays even in what is left of it.
    even = metrics(np.full(heat.shape, 200, np.uint8), [SQUARE], valid)
    assert even.rsu == pytest.approx(EVEN, abs=1e-6)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([], "at least one polygon"),
        ([SQUARE, [[1, 1], [2, 2]]], "region 1: a polygon needs three vertices"),
        ([[1, 2, 3]], "region 0: a polygon needs three vertices"),
        ([square(5000, 100)], "region 0 covers no pixel of 1400 x 1000"),
        ([[[5, 5], [5, 5], [5, 5]]], "region 0 covers no pixel"),
    ],
)
def test_regions_that_are_none(regions, message):
    with pytest.raises(SceneError, match=message):
        metrics(blank(), regions)


def test_a_region_without_a_result():
    valid = np.zeros((1000, 1400), dtype=bool)
    valid[:50] = True
    with pytest.raises(SceneError, match="no region holds a pixel with a result"):
        metrics(blank(), [SQUARE], valid)
