"""What replays and rehearsals run: settings that take the place of a cell's own."""

from __future__ import annotations

import pytest

from rsitr.params import load_params
from rsitr.params.ids import CellId, NamedId
from rsitr.params.tuning import Choices, Range
from rsitr.pipeline.specs import prior_spec, spec_of
from rsitr.records.cell import TuningSpec
from rsitr.records.files import write_json
from rsitr.records.tuning import TuningRecord
from rsitr.stages.setup import configuration
from rsitr.stages.small import REPLAYED, Size, short_cell, short_prior, short_tuning, shortened

PARAMS = load_params()
REHEARSED = Size(batch=4, selecting=8, decay=False)


def of(method: str, dataset: str = "rsicd", experiment: str = "paper"):
    return spec_of(PARAMS, CellId(experiment, dataset, method, 0))


def untuned():
    """VSE++ of laptop with its settings as given: nobody has tuned it here."""
    return of("vse++", "ucm", "laptop").model_copy(update={"tuning": None})


def test_a_phase_lasts_an_epoch():
    spec = of("camp-triplet")
    before, after = configuration(spec), configuration(short_cell(spec, REHEARSED))
    assert len(before.phases) > 1
    assert [phase.epochs for phase in after.phases] == [1] * len(before.phases)
    same = {"exclude": {"epochs"}}
    assert [each.model_dump(**same) for each in after.phases] == [each.model_dump(**same) for each in before.phases]
    assert after.batch_size == 4


@pytest.mark.parametrize(("size", "epochs"), [(REPLAYED, 2), (REHEARSED, 1)])
def test_a_replay_meets_the_second_rate_and_a_rehearsal_does_not(size: Size, epochs: int):
    assert configuration(of("amfmn-sim")).schedule == "step"
    changed = shortened(of("amfmn-sim"), size)
    assert (changed["epochs"], changed["step_epochs"]) == (epochs, 1)


@pytest.mark.parametrize(("size", "epochs"), [(REPLAYED, 2), (REHEARSED, 1)])
def test_a_training_that_ends_by_itself_is_as_short(size: Size, epochs: int):
    spec = of("vse")
    spec = spec.model_copy(update={"settings": spec.settings | {"schedule": "plateau", "max_steps": 20_000}})
    config = configuration(short_cell(spec, size))
    assert (config.schedule, config.max_steps, config.epochs) == ("plateau", None, epochs)


def test_a_loss_that_changes_late_gets_both_its_epochs():
    changed = shortened(untuned(), REHEARSED)
    assert (changed["epochs"], changed["all_negatives_epochs"]) == (2, 1)


def test_what_a_cell_rests_on_is_shortened_too():
    spec = short_cell(of("retrieval-filter"), REHEARSED)
    assert spec.teacher is not None
    assert configuration(spec.teacher).batch_size == 4
    prior = short_cell(of("pir-itr-hard"), REHEARSED).prior
    assert prior is not None
    assert (prior.prior.settings.epochs, prior.prior.settings.batch_size) == (1, 4)
    assert prior == short_prior(prior_spec(PARAMS, NamedId("paper", "resnet50-aid")), REHEARSED)


def test_a_tuning_is_two_trials_without_what_makes_them_short():
    space = {"batch_size": Choices(choices=[64, 128]), "margin": Range(low=0.1, high=0.5)}
    base = untuned()
    whole = TuningSpec(base=base, space=space, trials=12, max_steps=400, threads=1, code={})
    short = short_tuning(whole, REHEARSED)
    assert (short.trials, {*short.space}) == (2, {"margin"})
    assert configuration(short.base).batch_size == 4


def test_tuned_settings_do_not_make_a_short_training_long(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = untuned()
    tuning = TuningSpec(base=base, space={}, trials=1, max_steps=9, threads=1, code={})
    best = {"batch_size": 256, "margin": 0.5}
    write_json(tuning.record_file, TuningRecord.begun(tuning).model_copy(update={"best": best}))
    whole = base.model_copy(update={"tuning": tuning})
    assert (configuration(whole).batch_size, configuration(whole).margin) == (256, 0.5)
    short = configuration(short_cell(whole, REHEARSED))
    assert (short.batch_size, short.margin) == (4, 0.5)


def test_what_does_not_train_has_nothing_to_shorten():
    assert shortened(of("clip"), REHEARSED) == {}
