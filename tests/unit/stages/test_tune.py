"""Tuning of a tiny method: what is tried, that a killed one ends the same, what is given up, that test is not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

from rsitr.datasets.table import read_table
from rsitr.errors import ParamsError, RecordError, TrainingDiverged, Unsupported
from rsitr.params.tuning import Choices, Range
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TuningSpec
from rsitr.records.files import write_json
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_json
from rsitr.records.tuning import TuningRecord
from rsitr.stages import setup, train, tune
from rsitr.stages.setup import configuration
from rsitr.stages.small import Killed

SPACE = {"learning_rate": Range(low=1e-3, high=1e-1, log=True), "width": Choices(choices=[8, 16, 32])}


@pytest.fixture
def make(project, make_spec):
    """``make(trials, space, **settings)``: the spec of a tuning of the tiny project."""

    def tuning(trials=6, space=SPACE, method="vse", max_steps=6, **settings):
        base = make_spec(method, 1000, **{"samples": "images", "batch_size": 4} | settings)
        return TuningSpec(
            base=base.model_copy(update={"code": {}}),
            space=space,
            trials=trials,
            max_steps=max_steps,
            threads=1,
            code={"code": "0" * 64},
        )

    return tuning


def timeless(trials):
    return [trial.model_dump(exclude={"seconds"}) for trial in trials]


def test_trials_of_one_length_of_which_the_first_is_as_given(make):
    spec = make()
    record = tune.tune(spec)
    assert record.outcome.status == "ok", record.outcome
    assert record == TuningRecord.read(spec.record_file)
    assert [trial.number for trial in record.trials] == [0, 1, 2, 3, 4, 5]
    # 12 images in batches of 4: an epoch has 3 steps, and 6 steps are 2 epochs.
    assert {trial.steps for trial in record.trials if trial.status == "complete"} == {6}
    assert {len(trial.merits) for trial in record.trials if trial.status == "complete"} == {2}
    assert record.trials[0].settings == {"learning_rate": 0.01, "width": 16}
    for trial in record.trials[1:]:
        assert 1e-3 <= trial.settings["learning_rate"] <= 1e-1
        assert trial.settings["learning_rate"] == float(f"{trial.settings['learning_rate']:.3g}")
        assert trial.settings["width"] in (8, 16, 32)
    assert len({json.dumps(trial.settings) for trial in record.trials}) == 6
    complete = [trial for trial in record.trials if trial.status == "complete"]
    best = max(complete, key=lambda trial: (trial.merit, -trial.number))
    assert record.best == best.settings
    assert best.merit == max(best.merits)
    assert record.weights_sha == sha256_json(best.settings)
    assert record.config["learning_rate"] == 0.01
    assert not Paths.trials(spec.id).exists()


def test_a_trial_is_the_training_of_a_cell(make, make_spec):
    """As it is trained by itself, at the same settings."""
    record = tune.tune(make(trials=1))
    spec = make_spec("vse", 1000, samples="images", batch_size=4, max_steps=6)
    report = train.train(spec)
    assert record.trials[0].merits == [epoch.val_dup_mr for epoch in report.history]
    assert record.trials[0].val_mr == report.selection["mr"]


def test_no_trial_is_longer_than_the_cell_itself(make):
    assert [trial.steps for trial in tune.tune(make(trials=1, max_steps=100, epochs=1)).trials] == [3]


def test_the_last_epoch_is_whole(make):
    assert tune.tune(make(trials=1, max_steps=4)).trials[0].steps == 6


@pytest.mark.slow
def test_trials_are_a_function_of_the_seed(make, once):
    spec = make(trials=7)
    first = once("seven trials", lambda: tune.tune(spec))
    assert timeless(tune.tune(spec).trials) == timeless(first.trials)
    other = spec.model_copy(update={"base": spec.base.model_copy(update={"seed": 1001})})
    assert tune.tune(other).trials[1].settings != first.trials[1].settings


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 7, 20, 31])
def test_a_killed_tuning_ends_with_the_same_trials(step, make, once, monkeypatch):
    spec, count = make(trials=7), 0
    whole = once("seven trials", lambda: tune.tune(spec))
    taken = train.Trainer.train_step
    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)

    def killed(self, *arguments):
        nonlocal count
        count += 1
        if count == step:
            raise Killed
        return taken(self, *arguments)

    monkeypatch.setattr(train.Trainer, "train_step", killed)
    with pytest.raises(Killed):
        tune.tune(spec)
    before = count
    assert timeless(tune.tune(spec).trials) == timeless(whole.trials)
    # Whatever was done before is not done again: the killed step, and no more than what was not saved.
    assert count - before == sum(trial.steps for trial in whole.trials) - (step - 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 3, 6])
def test_a_tuning_killed_between_two_trials_ends_with_the_same(number, make, once, monkeypatch):
    spec = make(trials=7)
    whole, one = once("seven trials", lambda: tune.tune(spec)), tune.Study.trial

    def killed(self, count, settings):
        if count == number:
            raise Killed
        return one(self, count, settings)

    with monkeypatch.context() as patch:
        patch.setattr(tune.Study, "trial", killed)
        with pytest.raises(Killed):
            tune.tune(spec)
    ran = []
    monkeypatch.setattr(tune.Study, "trial", lambda self, *rest: ran.append(rest[0]) or one(self, *rest))
    assert timeless(tune.tune(spec).trials) == timeless(whole.trials)
    assert ran == [*range(number, 7)]


def test_trials_of_other_settings_are_not_taken(make, monkeypatch, capsys):
    spec, one = make(trials=3), tune.Study.trial

    def killed(self, count, settings):
        if count == 2:
            raise Killed
        return one(self, count, settings)

    with monkeypatch.context() as patch:
        patch.setattr(tune.Study, "trial", killed)
        with pytest.raises(Killed):
            tune.tune(spec)
    assert len(tune.tune(make(trials=3, width=24)).trials) == 3
    assert "is of other code, parameters, data or device: the tuning begins again" in capsys.readouterr().err


def test_damaged_trials_are_made_again(make, capsys):
    spec = make(trials=1)
    Paths.trials(spec.id).mkdir(parents=True)
    (Paths.trials(spec.id) / "trials.json").write_text("{")
    assert tune.tune(spec).outcome.status == "ok"
    assert "trials.json.damaged is damaged: the tuning begins again" in capsys.readouterr().err


def test_a_trial_that_diverges_is_recorded_and_never_the_best(make, monkeypatch):
    taken = train.Trainer.end_epoch

    def diverged(self, epoch, progress):
        taken(self, epoch, progress)
        if self.config.width != 16:
            raise TrainingDiverged("the loss became nan at step 3: lower learning_rate")

    monkeypatch.setattr(train.Trainer, "end_epoch", diverged)
    record = tune.tune(make(trials=5))
    lost = [trial for trial in record.trials if trial.settings["width"] != 16]
    assert lost
    assert {trial.status for trial in lost} == {"diverged"}
    assert {trial.reason for trial in lost} == {"the loss became nan at step 3: lower learning_rate"}
    assert {trial.merit for trial in lost} == {None}
    assert record.best["width"] == 16


def test_settings_that_do_not_go_together_are_a_failed_trial(make):
    space = {
        "learning_rate": SPACE["learning_rate"],
        "phases": Choices(choices=[[{"epochs": 1, "learning_rate": 0.1}]]),
    }
    record = tune.tune(make(trials=2, space=space))
    assert [trial.status for trial in record.trials] == ["complete", "failed"]
    assert "its phases have their own" in record.trials[1].reason


def test_given_phases_are_one_of_the_choices(make):
    given = [{"epochs": 1, "learning_rate": 0.01}]
    phases = Choices(choices=[[{"epochs": 1, "learning_rate": 0.1}], given])
    spec = make(trials=2, space={"phases": phases}, phases=given)
    record = tune.tune(spec)
    assert [trial.settings["phases"] for trial in record.trials] == [given, phases.choices[0]]
    assert [trial.status for trial in record.trials] == ["complete", "complete"]


def test_without_a_complete_trial_a_tuning_fails(make, monkeypatch):
    def diverged(self, *arguments):
        raise TrainingDiverged("the loss became nan at step 0: lower learning_rate")

    monkeypatch.setattr(train.Trainer, "train_step", diverged)
    spec = make(trials=2)
    record = tune.tune(spec)
    assert record.outcome.status == "failed"
    assert record.outcome.reason == "none of 2 trials is complete: the loss became nan at step 0: lower learning_rate"
    assert (record.best, record.weights_sha) == ({}, "")
    assert len(record.trials) == 2


def test_a_hopeless_trial_is_given_up_after_its_second_epoch(make, monkeypatch):
    def worse(self, epoch, progress):
        plain(self, epoch, progress)
        merit = 50.0 if number[0] < 4 else 1.0
        self.history[-1] = self.history[-1].model_copy(update={"val_mr": merit, "val_dup_mr": merit})

    plain, one, number = train.Trainer.end_epoch, tune.Study.trial, [0]

    def counted(self, count, settings):
        number[0] = count
        return one(self, count, settings)

    monkeypatch.setattr(train.Trainer, "end_epoch", worse)
    monkeypatch.setattr(tune.Study, "trial", counted)
    record = tune.tune(make(trials=5, max_steps=9))
    assert [trial.status for trial in record.trials] == ["complete"] * 4 + ["pruned"]
    assert record.trials[4].reason == "below the median of the others after epoch 2"
    assert (record.trials[4].merits, record.trials[4].steps, record.trials[4].merit) == ([1.0, 1.0], 6, None)
    assert record.best == record.trials[0].settings  # the first of equals


def test_no_trial_has_the_test_split(make, monkeypatch):
    given = []

    class Watched(train.Trainer):
        def __init__(self, method, data, *arguments):
            given.append({*data.splits})
            super().__init__(method, data, *arguments)

    monkeypatch.setattr(train, "Trainer", Watched)
    tune.tune(make(trials=2))
    assert given == [{"train", "val"}] * 2


def test_the_images_of_the_test_split_are_not_read(make):
    spec = make(trials=2)
    record = tune.tune(spec)
    for path in setup.load_data(spec.base).splits["test"].paths:
        path.unlink()
    assert timeless(tune.tune(spec).trials) == timeless(record.trials)
    # With a frozen backbone, all images are read before the first step.
    frozen = tune.tune(make(trials=1, freeze_backbone=True))
    assert frozen.outcome.status == "ok", frozen.outcome


def test_the_epoch_cannot_be_chosen_on_test(make):
    record = tune.tune(make(trials=1, selection="test"))
    assert record.outcome.status == "failed"
    assert record.outcome.reason == "vse has `selection: test`: a tuning goes by val alone"
    assert record.trials == []


def test_without_images_of_val_a_tuning_is_skipped(make, project):
    spec = make(trials=1)
    rows, facts = read_table(spec.base.clean)
    frame = rows.to_pandas()
    frame.loc[frame["split"] == "val", ["keep", "reason"]] = [False, "image is missing"]
    write_table(type(rows).from_pandas(frame, rows.schema, preserve_index=False), facts, spec.base.clean)
    record = tune.tune(spec)
    assert record.outcome.status == "skipped"
    assert record.outcome.reason == "no usable images in val: 6 x image is missing"


def test_a_method_without_training_is_not_tuned(make, make_spec):
    spec = make()
    base = make_spec("chance", 1000)
    record = tune.tune(spec.model_copy(update={"base": base}))
    assert (record.outcome.status, record.outcome.reason) == ("skipped", "chance is not trained")


def test_two_processes_are_not_at_the_same_tuning(make):
    spec = make()
    with tune.alone(spec), pytest.raises(RecordError, match="tiny/scenes-b/vse is running in another process"):
        tune.tune(spec)
    assert not spec.record_file.exists()
    assert FileLock(Path(".rsitr/locks/trials+tiny+scenes-b+vse.lock")).acquire(timeout=0)


def tuned(make_spec, spec, method="vse", own=(), **settings):
    base = make_spec(method, 0, **{"samples": "images", "batch_size": 4} | settings)
    return base.model_copy(update={"tuning": spec, "own": tuple(own)})


def test_a_cell_takes_the_best_settings_of_its_tuning(make, make_spec):
    spec = make(trials=3)
    cell = tuned(make_spec, spec)
    with pytest.raises(
        RecordError, match="its tuning tiny/scenes-b/vse is not there: run `rsitr tune tiny/scenes-b/vse`"
    ):
        configuration(cell)
    report = train.train(cell)
    assert report.outcome.status == "failed"
    record = tune.tune(spec)
    report = train.train(cell)
    assert report.outcome.status == "ok", report.outcome
    assert {name: report.config[name] for name in record.best} == record.best
    assert report.used["tuning"] == sha256_json(record.best)
    assert report.selection["epochs"] == 3  # of its own, not of a trial


def test_what_a_tuning_could_not_do_its_cells_cannot(make, make_spec):
    spec = make(trials=1, selection="test")
    tune.tune(spec)
    with pytest.raises(RecordError, match="its tuning tiny/scenes-b/vse is failed: vse has `selection: test`"):
        configuration(tuned(make_spec, spec))
    record = TuningRecord.read(spec.record_file)
    write_json(spec.record_file, record.model_copy(update={"outcome": Outcome(status="skipped", reason="no val")}))
    with pytest.raises(Unsupported, match="its tuning tiny/scenes-b/vse is skipped: no val"):
        configuration(tuned(make_spec, spec))


def test_what_a_variant_states_itself_wins_over_what_was_tuned(make, make_spec):
    """Defaults, settings of params.yaml, tuned settings, the variant's own."""
    spec = make(trials=1)
    record = tune.tune(spec)
    record.best = {"learning_rate": 0.05, "width": 32, "margin_type": "dynamic", "word_size": 4}
    spec.record_file.write_text(record.model_dump_json())
    plain = configuration(tuned(make_spec, spec))
    assert (plain.learning_rate, plain.width, plain.word_size, plain.epochs) == (0.05, 32, 4, 3)
    slower = configuration(tuned(make_spec, spec, "vse@slower", ["learning_rate"], learning_rate=1e-4))
    assert (slower.learning_rate, slower.width) == (1e-4, 32)
    # A variant of the method's file, too.
    record.best = {"query": "sentence", "width": 32}
    spec.record_file.write_text(record.model_dump_json())
    keywords = configuration(tuned(make_spec, spec, "vse@keywords"))
    assert (keywords.query, keywords.width) == ("keywords", 32)


def test_phases_of_a_variant_have_rates_of_their_own(make, make_spec):
    spec = make(trials=1)
    record = tune.tune(spec)
    record.best = {"learning_rate": 0.05, "width": 32}
    spec.record_file.write_text(record.model_dump_json())
    phases = [{"epochs": 1, "learning_rate": 0.1}]
    found = configuration(tuned(make_spec, spec, "vse@phased", ["phases"], phases=phases))
    assert (found.course[0].learning_rate, found.width) == (0.1, 32)


def test_tuned_settings_are_checked_again(make, make_spec):
    spec = make(trials=1)
    record = tune.tune(spec)
    record.best = {"width": -1}
    spec.record_file.write_text(record.model_dump_json())
    with pytest.raises(ParamsError, match="width"):
        configuration(tuned(make_spec, spec))
