"""The rehearsal of one artefact in this process: its steps, what it states, and that it finds planted faults."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from rsitr.params import parse_params
from rsitr.params.ids import CellId, NamedId
from rsitr.pipeline.rehearsal import estimate
from rsitr.pipeline.specs import pretraining_spec, spec_of
from rsitr.pretraining import loop
from rsitr.records.paths import Paths
from rsitr.records.tuning import TuningRecord
from rsitr.stages import evaluate, train
from rsitr.stages.rehearse import Rehearsal, digest
from tests.helpers.project_copy import TINY


@pytest.fixture
def rehearsed(tmp_path, monkeypatch):
    """``rehearsed(method)``: the report on a cell of the tiny project."""
    monkeypatch.chdir(tmp_path)
    params = parse_params(TINY)
    return lambda method: Rehearsal().of(spec_of(params, CellId("tiny", "scenes-b", method, 0)))


def test_a_trained_method_takes_two_steps_and_continues(rehearsed, monkeypatch):
    steps, step = [], train.Trainer.train_step

    def counted(self, batch, pictures):
        steps.append((self.step, len(batch), tuple(pictures.shape)))
        return step(self, batch, pictures)

    monkeypatch.setattr(train.Trainer, "train_step", counted)
    found = rehearsed("vse")
    assert found.outcome.status == "ok", found.outcome
    assert steps == [(0, 4, (4, 3, 32, 32)), (1, 4, (4, 3, 32, 32))]
    assert found.course is not None
    assert (found.course.epochs, found.course.batch_size, found.course.samples, found.batch) == (1, 32, "images", 4)
    assert found.parameters
    assert found.step_seconds
    assert found.peak_memory_mib


def test_a_method_without_training_is_evaluated(rehearsed):
    found = rehearsed("chance")
    assert found.outcome.status == "ok", found.outcome
    assert (found.course, found.step_seconds, found.batch) == (None, None, None)


def test_a_state_that_is_not_restored_is_found(rehearsed, monkeypatch):
    restore = train.Trainer.restore

    def forgetful(self):
        found = restore(self)
        self.optimizer.state.clear()
        return found

    monkeypatch.setattr(train.Trainer, "restore", forgetful)
    outcome = rehearsed("vse").outcome
    assert (outcome.status, outcome.reason) == (
        "failed",
        "training did not continue from the state that it saved: it is another one",
    )


def test_a_state_that_is_not_read_is_found(rehearsed, monkeypatch):
    monkeypatch.setattr(train, "read_state", lambda *arguments: None)
    assert rehearsed("vse").outcome.reason.endswith("it was not read")


def test_an_error_is_told_with_its_place(rehearsed, monkeypatch):
    monkeypatch.setattr(evaluate, "rank_test", lambda *arguments: {}["no such"])
    found = rehearsed("vse")
    assert (found.outcome.status, found.outcome.reason) == ("failed", "KeyError: 'no such'")
    assert found.place.startswith('"rsitr/stages/evaluate.py", line ')


def test_a_digest_is_of_every_bit():
    state = {"model": {"a": torch.tensor([1.0, 2.0])}, "steps": [1, None, "x"]}
    same = {"model": {"a": torch.tensor([1.0, 2.0])}, "steps": [1, None, "x"]}
    others = [
        {"model": {"a": torch.tensor([1.0, 2.0 + 2.4e-7])}, "steps": [1, None, "x"]},
        {"model": {"a": torch.tensor([1.0, 2.0]).double()}, "steps": [1, None, "x"]},
        {"model": {"a": torch.tensor([[1.0, 2.0]])}, "steps": [1, None, "x"]},
        {"model": {"b": torch.tensor([1.0, 2.0])}, "steps": [1, None, "x"]},
        {"model": {"a": torch.tensor([1.0, 2.0])}, "steps": [1, None], "x": ""},
    ]
    assert digest(state) == digest(same)
    assert len({digest(each) for each in [state, *others]}) == 1 + len(others)


def test_a_pretraining_takes_two_steps_of_drawn_shards_and_continues(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"model": "tiny-64", "instruction": {"layers": [1, 1, 1, 1], "width": 2}, "samples_per_epoch": 1000}
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["pretrained"] = {"first": {"dataset": "rs5m", "settings": settings}}
    spec = pretraining_spec(parse_params(params), NamedId("tiny", "first"))
    assert spec.shards == ("data/raw/rs5m/*-train-*.tar",)
    found = Rehearsal().of(spec)
    assert found.outcome.status == "ok", found.outcome
    assert found.course is not None
    assert (found.course.epochs, found.course.batch_size, found.batch) == (20, 256, 4)
    # 20 epochs of 3 batches of 256.
    assert estimate(spec, found).steps == 60
    assert [path.name for path in Path("data/raw/rs5m").iterdir()] == ["0000-train-0000.tar"]
    monkeypatch.setattr(loop, "read_state", lambda *arguments: None)
    Paths.pretrained_weights(spec.id).unlink()
    assert Rehearsal().of(spec).outcome.reason.endswith("it was not read")


def test_a_tuning_has_two_trials_and_its_cell_takes_the_better(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = copy.deepcopy(TINY)
    tiny = raw["experiments"]["tiny"]
    tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": ["vse"], "seeds": [0], "settings": "tuned"}]
    tiny["tuning"] = {"space": {"all": {"learning_rate": {"choices": [1e-3, 1e-2]}, "batch_size": {"choices": [64]}}}}
    rehearsal = Rehearsal()
    spec = spec_of(parse_params(raw), CellId("tiny", "scenes-b", "vse", 0))
    found = rehearsal.of(spec)
    assert found.outcome.status == "ok", found.outcome
    report = rehearsal.done["tuning/tiny/scenes-b/vse"]
    assert report.outcome.status == "ok"
    assert (report.course, report.batch) == (found.course, 4)
    assert report.step_seconds
    record = TuningRecord.read(spec.tuning.record_file)
    assert [trial.steps for trial in record.trials] == [2, 2]
    assert [*record.best] == ["learning_rate"]
