"""What is drawn for a trial, and which trials are given up."""

from __future__ import annotations

import pytest

from rsitr.params.tuning import Choices, Range
from rsitr.records.tuning import Trial
from rsitr.stages.sampling import draw, hopeless

SPACE = {
    "learning_rate": Range(low=1e-4, high=1e-2, log=True),
    "negatives": Choices(choices=["hardest", "all"]),
    "phases": Choices(choices=[[{"epochs": 1}], [{"epochs": 2}]]),
    "width": Range(low=8, high=64),
}


def trial(number, rate=1e-3, merit=50.0, status="complete", **settings):
    chosen = {"learning_rate": rate, "negatives": "all", "phases": [{"epochs": 2}], "width": 16} | settings
    ended = merit if status == "complete" else None
    return Trial(number=number, settings=chosen, status=status, merit=ended, merits=[merit])


def history(count=8):
    """Trials whose merit grows with the learning rate."""
    return [trial(number, 1e-4 * 1.8**number, 10.0 * number) for number in range(count)]


@pytest.mark.parametrize("trials", [[], history()])
def test_what_is_drawn_is_in_the_space_and_a_function_of_the_seed(trials):
    drawn = [draw(SPACE, trials, seed) for seed in range(12)]
    assert drawn == [draw(SPACE, trials, seed) for seed in range(12)]
    assert draw(SPACE, trials, 2**62) == draw(SPACE, trials, 2**62)
    assert len({settings["learning_rate"] for settings in drawn}) == 12
    for settings in drawn:
        assert [*settings] == [*SPACE]
        assert 1e-4 <= settings["learning_rate"] <= 1e-2
        assert settings["learning_rate"] == float(f"{settings['learning_rate']:.3g}")
        assert settings["negatives"] in ("hardest", "all")
        assert settings["phases"] in ([{"epochs": 1}], [{"epochs": 2}])
        assert isinstance(settings["width"], int)
        assert 8 <= settings["width"] <= 64


def test_what_was_good_is_drawn_more_often():
    rates = [draw(SPACE, history(), seed)["learning_rate"] for seed in range(40)]
    at_random = [draw(SPACE, [], seed)["learning_rate"] for seed in range(40)]
    # By logarithm, half of what is drawn at random is above 1e-3; the best of eight trials have 3.4e-3 and 6.1e-3.
    assert sum(rate > 1e-3 for rate in rates) > sum(rate > 1e-3 for rate in at_random) + 5


def test_a_trial_that_was_lost_counts_as_the_worst():
    lost = [trial(number, 9e-3, 99.0, "diverged") for number in range(4)]
    fine = [trial(number, 2e-4 + number * 1e-5, 10.0) for number in range(4, 8)]
    rates = [draw(SPACE, [*lost, *fine], seed)["learning_rate"] for seed in range(40)]
    assert sum(rate < 1e-3 for rate in rates) > 25


def test_settings_as_given_may_be_outside_the_space():
    outside = [trial(0, 0.5), trial(0, negatives="some"), trial(0, width=None)]
    assert draw(SPACE, [*outside, *history()], 3) == draw(SPACE, history(), 3)


def test_a_number_is_not_rounded_out_of_its_range():
    space = {"margin": Range(low=0.12345, high=0.12349)}
    assert all(0.12345 <= draw(space, [], seed)["margin"] <= 0.12349 for seed in range(20))


@pytest.mark.parametrize(
    ("merits", "given_up"),
    [
        ([0.0], False),  # before half of twelve steps nothing is given up
        # After two epochs of three steps, the others had at best 20, 30, 40 and 50: the median is 35.
        ([0.0, 34.0], True),
        ([0.0, 36.0], False),
        ([36.0, 0.0], False),  # its best counts
        ([0.0, 36.0, 39.0], False),  # after three, as before: none of them became better
        ([0.0, 34.0, 34.0], True),
    ],
)
def test_a_trial_below_the_median_is_given_up(merits, given_up):
    complete = [
        Trial(number=number, settings={}, merit=best, merits=[1.0, best, best, best], steps=12)
        for number, best in enumerate((20.0, 30.0, 40.0, 50.0))
    ]
    assert hopeless(complete, merits, 3, 12) is given_up
    assert hopeless(complete[1:], merits, 3, 12) is False  # not before four are complete
    pruned = Trial(number=4, settings={}, status="pruned", merits=[1.0, 99.0], steps=6)
    assert hopeless([*complete[1:], pruned], merits, 3, 12) is False


@pytest.mark.parametrize(("merits", "given_up"), [([1.0] * 3, False), ([1.0] * 4, True), ([1.0] * 3 + [11.0], False)])
def test_a_trial_of_another_batch_is_compared_after_as_many_steps(merits, given_up):
    """Its fourth epoch of 65 steps ends where the others end their second of 131, the first after half of 400 steps."""
    complete = [Trial(number=n, settings={}, merit=90.0, merits=[5.0, 10.0, 80.0, 90.0], steps=524) for n in range(4)]
    assert hopeless(complete, merits, 65, 400) is given_up
