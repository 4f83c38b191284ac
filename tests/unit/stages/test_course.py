"""The course of a training by hand: its learning rates, when val has stopped improving, and where it ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.methods import get_method
from rsitr.methods.base import Phase, TrainingConfig
from rsitr.stages.course import capped, choice_start, learning_rate_factor, plateaus, with_epochs


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


@pytest.mark.parametrize(
    ("settings", "step", "expected"),
    [
        # 4 epochs of 10 steps. A tenth of 40 steps is warm-up: 1/4, 2/4, 3/4, 4/4.
        ({"schedule": "linear", "warmup": 0.1}, 0, 0.25),
        ({"schedule": "linear", "warmup": 0.1}, 3, 1.0),
        ({"schedule": "linear", "warmup": 0.1}, 4, 1.0),
        ({"schedule": "linear", "warmup": 0.1}, 22, 0.5),
        ({"schedule": "linear", "warmup": 0.1}, 39, 1 / 36),
        ({"schedule": "cosine"}, 0, 1.0),
        ({"schedule": "cosine"}, 10, (1 + math.sqrt(0.5)) / 2),
        ({"schedule": "cosine"}, 20, 0.5),
        ({"schedule": "step", "step_epochs": 2, "step_factor": 0.1}, 19, 1.0),
        ({"schedule": "step", "step_epochs": 2, "step_factor": 0.1}, 20, 0.1),
        ({"schedule": "step", "step_epochs": 1, "step_factor": 0.5}, 39, 0.125),
    ],
)
def test_learning_rate(settings, step, expected):
    config = TrainingConfig(epochs=4, **settings)
    assert learning_rate_factor(config, config.epochs, step, steps_per_epoch=10) == pytest.approx(expected)


def test_a_warm_up_counted_in_steps():
    """1,000 steps are 6.4 % of MTGFE's 60 epochs on UCM-Captions, and all of a training that is no longer."""
    config = TrainingConfig(schedule="cosine", warmup=0.5, warmup_steps=4, epochs=1)
    rates = [learning_rate_factor(config, 1, step, steps_per_epoch=8) for step in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.8535534, 0.5, 0.1464466])
    assert learning_rate_factor(config, 1, 2, steps_per_epoch=3) == 0.75


@pytest.mark.parametrize(
    ("epochs", "first"), [(0, 0), (1, 0), (2, 0), (3, 2), (4, 2), (5, 2), (6, 5), (9, 5)], ids=lambda value: str(value)
)
def test_the_best_epoch_is_one_since_the_last_phase_that_chooses_anew(epochs, first):
    """Four phases last 2, 1, 2 and 4 epochs. The second and the last start the choice afresh."""
    phases = [Phase(epochs=2, learning_rate=1)]
    phases += [Phase(epochs=n, learning_rate=1, from_best=best) for n, best in ((1, True), (2, False), (4, True))]
    assert choice_start(TrainingConfig(phases=phases), epochs) == first


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 10 steps an epoch, 25 steps at most: three epochs, the last one whole.
        ({"epochs": 4}, {"max_steps": 25}),
        ({"epochs": 3}, {}),
        ({"max_steps": 12}, {"max_steps": 12}),
        ({"max_steps": 99}, {"max_steps": 25}),
        ({"phases": [(2, 0.1), (1, 0.2)]}, {}),
        ({"phases": [(2, 0.1), (2, 0.2), (4, 0.3)]}, {"phases": [(2, 0.1), (1, 0.2)]}),
    ],
)
def test_a_cap_of_steps(settings, expected):
    def phased(fields):
        phases = fields.get("phases", ())
        made = [Phase(epochs=epochs, learning_rate=rate).model_dump(mode="json") for epochs, rate in phases]
        return fields | ({"phases": made} if made else {})

    assert capped(TrainingConfig(**phased(settings)), 25, 10) == phased(expected)


def test_steps_as_epochs():
    assert with_epochs(TrainingConfig(max_steps=25), 10).epochs == 3
    assert with_epochs(TrainingConfig(max_steps=30), 10).epochs == 3
    assert with_epochs(TrainingConfig(epochs=7), 10).epochs == 7
