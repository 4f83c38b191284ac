"""Spread, paired bootstrap and Holm correction against results worked out by hand, and against chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rsitr.errors import DatasetError
from rsitr.retrieval import statistics as module
from rsitr.retrieval.recall import Ranks, recall
from rsitr.retrieval.statistics import Resampled, holm, paired_bootstrap
from tests.helpers.examples import examples

FIVE_EACH = np.repeat(np.arange(120), 5)


def random_ranks(generator: np.random.Generator, image_of: np.ndarray = FIVE_EACH) -> Ranks:
    return Ranks(generator.integers(1, 15, size=image_of.max() + 1), generator.integers(1, 15, size=len(image_of)))


def test_holm_by_hand() -> None:
    # Sorted: .005 * 4, .01 * 3, .03 * 2, .04 * 1; the last is raised to the one before it.
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_and_the_bonferroni_values(p_values: list[float]) -> None:
    p, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, len(p) * p) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_a_method_does_not_differ_from_itself() -> None:
    ranks = random_ranks(np.random.default_rng(0))
    assert paired_bootstrap([ranks], [ranks], FIVE_EACH, seed=1) == (0.0, 0.0, 0.0, 1.0)


def test_a_method_that_finds_all_beats_one_that_finds_nothing() -> None:
    best = Ranks(np.full(120, 1), np.full(600, 1))
    worst = Ranks(np.full(120, 99), np.full(600, 99))
    assert paired_bootstrap([best], [worst], FIVE_EACH, samples=999, seed=1) == (100.0, 100.0, 100.0, 0.002)


def test_seeds_are_averaged() -> None:
    best, worst = Ranks(np.full(120, 1), np.full(600, 1)), Ranks(np.full(120, 99), np.full(600, 99))
    # Three seeds, of which one finds nothing, against one that finds nothing.
    found = paired_bootstrap([best, worst, best], [worst], FIVE_EACH, samples=999, seed=1)
    assert found[:3] == pytest.approx((200 / 3,) * 3)


@pytest.mark.parametrize("metric", ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "mr"])
def test_the_difference_is_that_of_the_reports(metric: module.Metric) -> None:
    generator = np.random.default_rng(2)
    image_of = np.concatenate([np.arange(30), generator.integers(30, size=50)])
    a, b = random_ranks(generator, image_of), random_ranks(generator, image_of)
    result = paired_bootstrap([a], [b], image_of, metric=metric, seed=1)
    assert result.difference == pytest.approx(getattr(recall(a), metric) - getattr(recall(b), metric), abs=1e-8)
    assert result.low < result.difference < result.high


def test_two_images_by_hand() -> None:
    """Draws (0, 0), (0, 1) twice and (1, 1): +100 with chance 1/4, (1 - 3) / 4 with 1/2, -100 with 1/4."""
    image_of = np.array([0, 1, 1, 1])
    a, b = Ranks(np.array([1, 1]), np.array([1, 9, 9, 9])), Ranks(np.array([1, 1]), np.array([9, 1, 1, 1]))
    result = paired_bootstrap([a], [b], image_of, metric="t2i_r1", samples=10_000, seed=1)
    assert result[:3] == (-50.0, -100.0, 100.0)
    assert result.p == pytest.approx(2 * 0.25, abs=0.02)


def test_the_interval_is_that_of_the_central_limit() -> None:
    generator = np.random.default_rng(3)
    image_of = np.arange(2000)
    a, b = random_ranks(generator, image_of), random_ranks(generator, image_of)
    gain = 100.0 * ((a.i2t <= 5) * 1.0 - (b.i2t <= 5))
    half = 1.96 * gain.std() / 2000**0.5
    result = paired_bootstrap([a], [b], image_of, metric="i2t_r5", samples=4000, seed=1)
    assert (result.low, result.high) == pytest.approx((gain.mean() - half, gain.mean() + half), abs=0.08 * half)


def test_captions_of_one_image_count_as_one_draw() -> None:
    """Five captions that all fare like their image carry no more evidence than the image alone."""
    generator = np.random.default_rng(4)
    a, b = generator.integers(1, 15, size=(2, 120))
    a_ranks, b_ranks = (Ranks(side, np.repeat(side, 5)) for side in (a, b))
    of_images = paired_bootstrap([a_ranks], [b_ranks], FIVE_EACH, metric="i2t_r5", seed=1)
    of_captions = paired_bootstrap([a_ranks], [b_ranks], FIVE_EACH, metric="t2i_r5", seed=1)
    assert of_captions == pytest.approx(of_images)


@examples(40)
@given(st.integers(0, 2**32), st.integers(2, 40))
def test_exchanging_the_methods_turns_the_result_around(seed: int, n_images: int) -> None:
    generator = np.random.default_rng(seed)
    image_of = np.repeat(np.arange(n_images), 2)
    a, b = random_ranks(generator, image_of), random_ranks(generator, image_of)
    there = paired_bootstrap([a], [b], image_of, samples=200, seed=seed)
    back = paired_bootstrap([b], [a], image_of, samples=200, seed=seed)
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))
    assert back.p == there.p
    assert there.p >= 0.05 or there.low > 0 or there.high < 0


def test_the_share_of_false_alarms_is_the_nominal_one() -> None:
    """Under no difference, 400 comparisons should fall below 0.05 about 20 times; 7 to 36 covers 99.9 %."""
    generator = np.random.default_rng(5)
    image_of = np.repeat(np.arange(150), 3)
    below = 0
    for seed in range(400):
        hard = generator.integers(0, 8, size=150)  # difficulty that the captions of an image share
        a, b = (
            Ranks(hard + generator.integers(1, 8, size=150), hard[image_of] + generator.integers(1, 8, size=450))
            for _ in range(2)
        )
        below += paired_bootstrap([a], [b], image_of, samples=400, seed=seed).p < 0.05
    assert 7 <= below <= 36


def test_a_seed_fixes_the_result_whatever_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(6)
    a, b = random_ranks(generator), random_ranks(generator)
    expected = paired_bootstrap([a], [b], FIVE_EACH, seed=7)
    assert paired_bootstrap([a], [b], FIVE_EACH, seed=8) != expected
    monkeypatch.setattr(module, "CHUNK_BYTES", 8 * 120 * 7)
    assert paired_bootstrap([a], [b], FIVE_EACH, seed=7) == expected


def test_ranks_of_different_test_sets_cannot_be_compared() -> None:
    generator = np.random.default_rng(8)
    a, b = random_ranks(generator), random_ranks(generator, np.arange(120))
    with pytest.raises(DatasetError, match="same split"):
        paired_bootstrap([a], [b], FIVE_EACH, seed=1)
    with pytest.raises(DatasetError, match="same split"):
        paired_bootstrap([a], [a], FIVE_EACH[:-1], seed=1)


@pytest.mark.parametrize("metric", ["mr", "i2t_r5", "t2i_r1"])
def test_methods_on_the_same_draws_compare_as_two_alone_do(metric: module.Metric) -> None:
    generator = np.random.default_rng(5)
    methods = {name: [random_ranks(generator) for _ in range(seeds)] for name, seeds in (("a", 1), ("b", 3), ("c", 2))}
    drawn = Resampled(methods, FIVE_EACH, metric=metric, seed=0)
    for first, second in (("a", "b"), ("c", "b"), ("a", "c")):
        alone = paired_bootstrap(methods[first], methods[second], FIVE_EACH, metric=metric, seed=0)
        assert_allclose(drawn.compare(first, second), alone, atol=1e-9)
        assert_allclose(drawn.compare(second, first).difference, -alone.difference, atol=1e-9)
    nothing = [Ranks(np.full(120, 99), np.full(600, 99))]
    alone = paired_bootstrap(methods["b"], nothing, FIVE_EACH, metric=metric, seed=0)
    assert_allclose((drawn.value("b"), *drawn.interval("b")), alone[:3], atol=1e-9)


def test_more_draws_leave_the_interval_and_make_p_finer() -> None:
    generator = np.random.default_rng(6)
    methods = {"bad": [random_ranks(generator)], "good": [Ranks(np.ones(120, int), np.ones(600, int))]}
    few, many = (
        Resampled(methods, FIVE_EACH, samples=samples, seed=0).compare("good", "bad") for samples in (2000, 9000)
    )
    assert_allclose(few[:3], many[:3], atol=1e-9)
    assert (few.p, many.p) == (2 / 2001, 2 / 9001)


def test_draws_in_which_both_find_the_same_count_for_both_sides() -> None:
    """Thirds are not exact in binary, and a difference of zero has to be zero however many seeds there are."""
    ranks = np.full(30, 99)
    found = [np.where(np.arange(30) == image, 1, ranks) for image in range(6)]
    three, other = ([Ranks(each, each) for each in part] for part in (found[:3], found[3:]))
    compared = paired_bootstrap(three, other, np.arange(30), metric="i2t_r1", seed=0)
    weights = next(module._weights(30, 2000, 0))
    sides = np.sign(weights[:, :3].sum(axis=1) - weights[:, 3:6].sum(axis=1))
    assert compared.p == min(1.0, 2 * (min((sides <= 0).sum(), (sides >= 0).sum()) + 1) / 2001)


def test_a_method_on_the_same_draws_does_not_differ_from_its_copy() -> None:
    seeds = [random_ranks(np.random.default_rng(seed)) for seed in range(3)]
    drawn = Resampled({"a": seeds, "b": [*reversed(seeds)]}, FIVE_EACH, seed=1)
    assert drawn.compare("a", "b") == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(DatasetError, match="cannot be paired"):
        Resampled({"a": seeds}, FIVE_EACH[:-5], seed=1)
