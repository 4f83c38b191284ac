"""When val has stopped improving, and what follows from it for the learning rate and for the end of training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.methods import get_method
from rsitr.methods.base import TrainingConfig
from rsitr.stages.course import learning_rate_factor, plateaus, with_epochs


def of(**settings) -> TrainingConfig:
    return TrainingConfig(schedule="plateau", **settings)


@pytest.mark.parametrize(
    ("merits", "found"),
    [
        ([], []),
        ([10, 20, 30, 40], []),
        ([10, 30, 20, 25], [4]),
        # As good as the best is no better.
        ([10, 30, 30, 30], [4]),
        ([10, 30, 20, 31, 20], []),
        ([10, 30, 20, 25, 35, 20, 30], [4, 7]),
        # After a plateau the best of all before is the mark still: 29 is no better than 30.
        ([10, 30, 20, 25, 26, 29], [4, 6]),
        ([30, 20, 20, 20, 20], [3, 5]),
    ],
)
def test_a_plateau_is_two_epochs_without_a_better_one(merits, found):
    assert plateaus(of(patience=2), merits, steps_per_epoch=10) == found


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, [3, 5, 7]),
        # 25 of 100 steps reach into the third epoch, and 20 do not.
        ({"warmup": 0.25, "epochs": 10}, [5, 7]),
        ({"warmup": 0.2, "epochs": 10}, [4, 6]),
        ({"warmup_steps": 31}, [6]),
    ],
)
def test_epochs_in_which_the_rate_still_rises_do_not_count(settings, found):
    assert plateaus(of(patience=2, **settings), [9, 8, 7, 6, 5, 4, 3], steps_per_epoch=10) == found


def test_epochs_that_train_by_all_negatives_do_not_count():
    config = get_method("vse++").Config(schedule="plateau", patience=2, all_negatives_epochs=4)
    assert plateaus(config, [9, 8, 7, 6, 5, 4, 3], steps_per_epoch=10) == [6]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4), st.integers(0, 30))
def test_what_has_been_found_stays_so_whatever_comes_after(merits, patience, cut):
    config = of(patience=patience)
    whole = plateaus(config, merits, 10)
    assert plateaus(config, merits[:cut], 10) == [epoch for epoch in whole if epoch <= cut]


def test_after_warm_up_the_rate_is_constant_and_falls_with_each_plateau():
    config = of(warmup_steps=4, step_factor=0.5, epochs=3)
    rates = [learning_rate_factor(config, 3, step, 10) for step in (0, 3, 4, 17, 29)]
    assert rates == [0.25, 1, 1, 1, 1]
    assert [learning_rate_factor(config, 3, 20, 10, lowered) for lowered in (1, 2)] == [0.5, 0.25]


@pytest.mark.parametrize(("most", "epochs"), [(1, 1), (10, 1), (11, 2), (20, 2), (None, 30)])
def test_an_epoch_that_has_begun_is_finished(most, epochs):
    assert with_epochs(TrainingConfig(max_steps=most), steps_per_epoch=10).course[0].epochs == epochs
