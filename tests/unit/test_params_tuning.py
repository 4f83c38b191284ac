"""The block ``tuning`` of params.yaml: what it may say, what reaches a method, and what is at the edge of a space."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.errors import ParamsError
from rsitr.params import parse_params
from rsitr.params.ids import CellId, TuningId
from rsitr.params.tuning import Choices, Range, edges
from rsitr.pipeline.specs import artefacts, open_params, spec_of, tuning_spec
from rsitr.pipeline.tunings import space, subject, tuning, tunings

RATE = {"low": 1e-4, "high": 1e-2, "log": True}
PHASES = [{"epochs": 1, "learning_rate": 0.1}]
GOOD = {
    "experiment": "lab",
    "experiments": {
        "lab": {
            "title": "The lab",
            "matrix": [
                {
                    "datasets": ["scenes-a"],
                    "methods": ["vse", "vse@slower", "chance"],
                    "seeds": [0, 1],
                    "settings": "tuned",
                },
                {"datasets": ["scenes-b"], "methods": ["vse", "vse++@mine"], "seeds": [0]},
            ],
            "tuning": {
                "trials": 3,
                "max_steps": 40,
                "seed": 1000,
                "space": {
                    "all": {"learning_rate": RATE, "temperature": {"low": 0.01, "high": 1}},
                    "methods": {"vse": {"width": {"choices": [8, 16]}}},
                },
            },
            "settings": {"methods": {"vse@slower": {"learning_rate": 1e-5}, "vse++@mine": {"width": 4}}},
        }
    },
}


def edited(**changes):
    """``GOOD`` with other values of the experiment; one of ``tuning`` or ``space`` is merged with it."""
    raw = deepcopy(GOOD)
    lab = raw["experiments"]["lab"]
    lab["tuning"]["space"] |= changes.pop("space", {})
    lab["tuning"] |= changes.pop("tuning", {})
    lab.update(changes)
    return raw


def of(experiment="scenes-a", method="vse"):
    return TuningId("lab", experiment, method)


def cell(method, seed=0, dataset="scenes-a"):
    return CellId("lab", dataset, method, seed)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({"low": 1, "high": 1}, "1 to 1 is empty: `low` has to be less than `high`"),
        ({"low": 0.5, "high": 0.1}, "0.5 to 0.1 is empty"),
        ({"low": 0.0, "high": 0.1, "log": True}, "`log` needs a `low` above 0, not 0.0"),
        ({"low": -1, "high": 0.1, "log": True}, "`log` needs a `low` above 0, not -1"),
        ({"low": 0.1, "high": float("inf")}, "0.1 to inf is not a range: state two finite numbers"),
        (8, "valid dictionary"),
        ({"choices": []}, "at least 1 item"),
        ({"choices": [1, 2, 1]}, "names a value twice"),
        ({"choices": [1, 2], "log": True}, "Extra inputs are not permitted"),
        ({"low": 0.1}, "Field required"),
        ({"low": "a", "high": 1}, "Input should be a valid"),
        ({}, "Field required"),
    ],
)
def test_domains_that_cannot_be(domain, message):
    with pytest.raises(ParamsError) as error:
        parse_params(edited(space={"all": {"dropout": domain}}))
    assert message in str(error.value)
    assert "experiments.lab.tuning.space.all.dropout" in str(error.value)


def test_a_choice_may_be_anything_and_a_truth_value_is_no_number():
    assert Choices(choices=[True, 1, 1.0, None, "a", [1]]).choices[3] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": {"seed": 1}}, "tuning: seed 1 is one of the table's: give the tuning another"),
        ({"tuning": None}, "a block says `settings: tuned`, and there is no `tuning`: add it"),
        ({"tuning": {"trials": 0}}, "experiments.lab.tuning.trials"),
        ({"tuning": {"max_steps": 0}}, "experiments.lab.tuning.max_steps"),
        ({"tuning": {"sampler": "grid"}}, "experiments.lab.tuning.sampler"),
    ],
)
def test_tunings_that_cannot_be(changes, message):
    raw = edited(**changes) if changes["tuning"] else edited() | {}
    if not changes["tuning"]:
        del raw["experiments"]["lab"]["tuning"]
    with pytest.raises(ParamsError) as error:
        parse_params(raw)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"methods": {"vse": {"depth": {"low": 1, "high": 2}}}},
            "experiments.lab.tuning.space.methods.vse: vse has no setting 'depth'",
        ),
        (
            {"methods": {"vse": {"width": {"low": 0, "high": 8}}}},
            "experiments.lab.tuning.space.methods.vse.width: vse does not take 0: 0 is less than the minimum of 1",
        ),
        ({"methods": {"vse": {"width": {"low": 0.5, "high": 8}}}}, "vse does not take 0.5"),
        ({"methods": {"vse": {"width": {"choices": [8, "wide"]}}}}, "vse does not take 'wide'"),
        ({"methods": {"vse": {"optimizer": {"choices": ["adam", "adagrad"]}}}}, "vse does not take 'adagrad'"),
        (
            {"all": {"warmup": {"low": 0.1, "high": 1.0}}},
            "experiments.lab.tuning.space.all.warmup: vse does not take 1.0",
        ),
        (
            {"methods": {"vse": {"optimizer": {"low": 1, "high": 2}}}},
            "vse does not take 1",
        ),
        (
            {"methods": {"vse": {"freeze_backbone": {"choices": [True, 3]}}}},
            "vse does not take 3",
        ),
        (
            {"methods": {"vse": {"selection": {"choices": ["val", "test"]}}}},
            "experiments.lab.tuning.space.methods.vse.selection: 'selection' is not tuned: it decides what a cell "
            "reads, or how trials are judged",
        ),
        ({"all": {"query": {"choices": ["sentence", "keywords"]}}}, "'query' is not tuned"),
        ({"methods": {"swan": {"width": {"choices": [8]}}}}, "names swan, which the matrix does not have"),
        ({"methods": {"vse@slower": {"width": {"choices": [8]}}}}, "names vse@slower, which the matrix does not have"),
        ({"methods": {"chance": {"query": {"choices": ["sentence"]}}}}, "names chance, which is not trained"),
        ({"all": {}, "methods": {}}, "lab/scenes-a/vse has nothing to tune: name settings of vse in experiments.lab."),
    ],
)
def test_spaces_that_a_method_cannot_have(space, message):
    with pytest.raises(ParamsError) as error:
        open_params(edited(space=space))
    assert message in str(error.value)


def test_a_method_that_is_not_tuned_needs_no_space():
    raw = edited(space={"all": {}, "methods": {"vse": {"width": {"choices": [8]}}}})
    assert tunings(open_params(raw), "lab") == [of()]


def test_the_space_of_a_method_is_that_of_all_where_it_has_the_setting_and_its_own():
    params = open_params(edited())
    found = space(params, of())
    assert found == {
        "learning_rate": Range(**RATE),
        "temperature": Range(low=0.01, high=1),
        "width": Choices(choices=[8, 16]),
    }
    assert isinstance(found["temperature"].high, float)  # a real number, whatever its ends look like
    assert space(params, of("scenes-b", "vse++@mine")) == {"learning_rate": Range(**RATE)}  # it has no temperature
    own = {"vse": {"learning_rate": {"low": 0.5, "high": 1}}}
    assert space(open_params(edited(space={"methods": own})), of())["learning_rate"] == Range(low=0.5, high=1.0)


def test_whole_numbers_stay_whole():
    params = open_params(edited(space={"methods": {"vse": {"batch_size": {"low": 8, "high": 64, "log": True}}}}))
    assert space(params, of())["batch_size"] == Range(low=8, high=64, log=True)
    assert isinstance(space(params, of())["batch_size"].low, int)


def test_rates_are_not_tuned_where_phases_have_their_own():
    settings = {"methods": {"vse": {"phases": PHASES}, "vse@slower": {}, "vse++@mine": {}}}
    params = open_params(edited(settings=settings))
    assert {*space(params, of())} == {"temperature", "width"}
    assert {*space(params, of("scenes-b", "vse++@mine"))} == {"learning_rate"}
    own = {"vse": {"learning_rate": RATE}}
    with pytest.raises(ParamsError, match="rate: on scenes-a its phases have their own: tune `phases` instead"):
        open_params(edited(settings=settings, space={"methods": own}))
    phases = {"vse": {"phases": {"choices": [PHASES, [PHASES[0] | {"learning_rate": 0.2}]]}}}
    found = space(open_params(edited(settings=settings, space={"methods": phases})), of())
    assert {*found} == {"temperature", "phases"}


def test_cells_take_the_settings_of_the_tuning_of_their_method():
    params = open_params(edited())
    assert tuning(params, cell("vse")) == tuning(params, cell("vse@slower", 1)) == of()
    assert tuning(params, cell("vse", dataset="scenes-b")) is None
    assert tuning(params, cell("chance")) is None  # is not trained: as given
    assert tunings(params, "lab") == [of()]
    spec = spec_of(params, cell("vse@slower"))
    assert spec.tuning == tuning_spec(params, of())
    assert spec.own == ("learning_rate",)
    assert spec_of(params, cell("vse")).own == ()
    assert spec.rests_on == {"tuning": spec.tuning}
    assert spec.tuning.command == "rsitr tune lab/scenes-a/vse"
    assert spec.tuning.item == "tuning/lab/scenes-a/vse"


def test_a_method_that_is_there_in_variants_alone_is_tuned_as_the_first():
    blocks = [{"datasets": ["scenes-a"], "methods": ["vse@slower", "vse@tel"], "seeds": [0], "settings": "tuned"}]
    params = open_params(edited(matrix=blocks, settings={"methods": {"vse@slower": {"width": 4}}}))
    assert tunings(params, "lab") == [of(method="vse@slower")]
    assert spec_of(params, cell("vse@tel")).tuning.base.settings == {"width": 4}


def test_what_is_tuned_is_the_method_as_given_with_another_seed():
    raw = edited()
    raw["experiments"]["lab"]["settings"]["methods"]["vse"] = {"width": 12}
    spec = tuning_spec(open_params(raw), of())
    assert (spec.base.seed, spec.base.method, spec.base.settings) == (1000, "vse", {"width": 12})
    assert (spec.trials, spec.max_steps, spec.base.tuning, spec.base.code) == (3, 40, None, {})


def test_the_identity_of_a_tuning_is_its_settings_and_how_it_searches():
    spec = tuning_spec(open_params(edited()), of())
    raw = edited(tuning={"trials": 4})
    assert tuning_spec(open_params(raw), of()).params_sha != spec.params_sha
    assert tuning_spec(open_params(edited(tuning={"max_steps": 4})), of()).params_sha != spec.params_sha
    wider = edited(space={"methods": {"vse": {"width": {"choices": [8, 16, 32]}}}})
    assert tuning_spec(open_params(wider), of()).params_sha != spec.params_sha
    other = edited(settings={"methods": {"vse": {"epochs": 9}, "vse@slower": {}, "vse++@mine": {}}})
    assert tuning_spec(open_params(other), of()).params_sha != spec.params_sha
    # The seed is not part of what is certified, and neither is another method's space.
    seeded = tuning_spec(open_params(edited(tuning={"seed": 7})), of())
    assert (seeded.params_sha != spec.params_sha, seeded.configuration) == (True, spec.configuration)
    assert [*spec.code] == ["code"]


def test_the_identity_of_a_cell_without_a_tuning_is_what_it_was():
    tuned, given = (spec_of(open_params(edited()), cell("vse", dataset=name)) for name in ("scenes-a", "scenes-b"))
    assert len(tuned.facts) == len(given.facts) + 2


def test_tunings_come_before_the_cells_that_take_their_settings():
    items = [spec.item for spec in artefacts(open_params(edited()), "lab")]
    assert items[0] == "tuning/lab/scenes-a/vse"
    assert items[1:3] == ["cells/lab/scenes-a/vse/0", "cells/lab/scenes-a/vse/1"]


def test_a_cell_is_not_both_given_and_tuned():
    block = {"datasets": ["scenes-a"], "methods": ["vse"], "seeds": [1, 2]}
    with pytest.raises(
        ParamsError, match="lab/scenes-a/vse/1 has its settings both given and tuned: name a variant for one of them"
    ):
        open_params(edited(matrix=[*GOOD["experiments"]["lab"]["matrix"], block]))


def test_one_tuning_has_one_training_set():
    block = {"datasets": ["scenes-a"], "methods": ["vse@tel"], "seeds": [0], "settings": "tuned", "dedup": "copies"}
    with pytest.raises(ParamsError) as error:
        open_params(edited(matrix=[*GOOD["experiments"]["lab"]["matrix"], block]))
    assert str(error.value) == (
        "lab/scenes-a/vse@tel/0 learns from official-copies, and the tuning lab/scenes-a/vse from official-none: give "
        "its block `settings: given`, or both the same training set"
    )


def test_the_epoch_is_not_chosen_on_test():
    settings = {"methods": {"vse": {"selection": "test"}, "vse@slower": {}, "vse++@mine": {}}}
    with pytest.raises(ParamsError, match="lab/scenes-a/vse has `selection: test`, and a tuning goes by val alone"):
        open_params(edited(settings=settings))


def test_a_tuning_does_not_wait_for_itself():
    block = {"datasets": ["scenes-a"], "methods": ["lw-mcr", "lw-mcr@large"], "seeds": [0], "settings": "tuned"}
    settings = {"methods": {"lw-mcr": {"teacher": "lw-mcr@large"}, "lw-mcr@large": {"teacher": ""}}}
    with pytest.raises(ParamsError, match="lab/scenes-a/lw-mcr learns from lw-mcr@large, which waits for its settings"):
        open_params(edited(matrix=[block], settings=settings, space={"methods": {}}))


def test_what_is_not_in_the_matrix_is_not_tuned():
    with pytest.raises(ParamsError, match=r"experiments.lab.matrix has no vse@tel on scenes-a: name a method of"):
        subject(open_params(edited()), of(method="vse@tel"))


@pytest.mark.parametrize(
    ("domain", "value", "at_edge"),
    [
        # Five per cent of 0 to 10 is half of one.
        (Range(low=0, high=10), 0.5, True),
        (Range(low=0, high=10), 0.51, False),
        (Range(low=0, high=10), 9.49, False),
        (Range(low=0, high=10), 9.5, True),
        # By logarithm, of 1e-4 to 1: four decades, a twentieth of which is a factor of 10 ** 0.2 = 1.585.
        (Range(low=1e-4, high=1, log=True), 1.58e-4, True),
        (Range(low=1e-4, high=1, log=True), 1.59e-4, False),
        (Range(low=1e-4, high=1, log=True), 0.63, False),
        (Range(low=1e-4, high=1, log=True), 0.632, True),
        # Outside, as settings that are given may be.
        (Range(low=1e-4, high=1, log=True), 0.0, True),
        (Range(low=0, high=10), 11, True),
        (Range(low=0, high=10), None, False),
        (Choices(choices=[0.2, 0.0, 0.4]), 0.0, True),
        (Choices(choices=[0.2, 0.0, 0.4]), 0.2, False),
        (Choices(choices=[0.2, 0.0, 0.4]), 0.4, True),
        (Choices(choices=[0.2, 0.0, 0.4]), 0.3, False),
        (Choices(choices=["hardest", "all"]), "all", False),
        (Choices(choices=[True, False]), True, False),
        (Choices(choices=[1, None]), 1, False),
        (Choices(choices=[1, 2]), None, False),
    ],
)
def test_the_edge_of_a_space(domain, value, at_edge):
    assert domain.at_edge(value) is at_edge
    assert edges({"width": domain}, {"width": value, "depth": 3}) == (["width"] if at_edge else [])


@given(st.floats(1e-6, 1e3), st.floats(1.1, 1e3), st.floats(0, 1))
def test_the_edge_is_by_the_share_of_the_range(low, factor, share):
    place = low * factor**share
    if abs(share - 0.05) > 1e-6 and abs(share - 0.95) > 1e-6:
        assert Range(low=low, high=low * factor, log=True).at_edge(place) is not (0.05 < share < 0.95)
