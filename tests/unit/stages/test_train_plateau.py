"""Training that ends when val stops improving: rates, weights, its end, and a run that is killed around a plateau."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from rsitr.records.cell import Epoch
from rsitr.records.paths import Paths
from rsitr.retrieval.recall import ProtocolRanks
from rsitr.stages import train as training
from rsitr.stages.train import Trainer, train

PLATEAU = {"schedule": "plateau", "patience": 2, "step_factor": 0.1, "epochs": 20, "warmup": 0.0}
MARKS = [10.0, 30.0, 20.0, 25.0, 35.0, 20.0, 30.0]
"""The second epoch is the best until the fourth ends a plateau, the fifth until the seventh ends another."""


@pytest.fixture
def run(make_spec, monkeypatch):
    """``run(marks, kill, **settings)``: the report of a training whose epochs have these marks on val.

    ``run.states``: its weights before each step, by the step.
    """
    step = Trainer.train_step

    def ran(marks, kill=None, **settings):
        def watched(self, batch, pictures):
            if self.step == kill:
                raise KeyboardInterrupt
            ran.states[self.step] = {name: value.clone() for name, value in self.method.state_dict().items()}
            ran.gathered[self.step] = len(self.optimizer.state)
            return step(self, batch, pictures)

        mark(monkeypatch, iter(marks))
        monkeypatch.setattr(Trainer, "train_step", watched)
        return train(make_spec(**PLATEAU | settings))

    ran.states, ran.gathered = {}, {}
    return ran


def mark(monkeypatch, left):
    """Give epochs these recalls with duplicates counted; plain ones, which decide nothing, fall where they rise."""

    def ranks(*arguments):
        merit = next(left)
        return ProtocolRanks(100 - merit, merit)

    monkeypatch.setattr(training, "ranks_to_choose_by", ranks)
    monkeypatch.setattr(training, "recall", lambda value: SimpleNamespace(mr=value))


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_val_stops_improving_twice(project, run, make_spec):
    """Three steps an epoch: the fifth begins at step 12 from the weights of the second, which ended before step 6."""
    report = run(MARKS)
    assert report.outcome.status == "ok", report.outcome
    assert [round(entry.learning_rate, 9) for entry in report.history] == [0.01] * 4 + [0.001] * 3
    found = {name: report.selection[name] for name in ("epoch", "mr", "dup_mr", "epochs", "steps", "ended")}
    assert found == {"epoch": 5, "mr": 65.0, "dup_mr": 35.0, "epochs": 7, "steps": 21, "ended": "converged"}
    assert equal(run.states[12], run.states[6])
    assert not equal(run.states[12], run.states[9])
    # The optimiser has gathered nothing at step 0, and starts afresh at step 12.
    assert [step for step, gathered in run.gathered.items() if not gathered] == [0, 12]
    kept = load_file(Paths.checkpoint(make_spec().cell) / "model.safetensors")
    assert all(torch.equal(value, run.states[15][name]) for name, value in kept.items())


@pytest.mark.parametrize(("drops", "epochs"), [(0, 4), (1, 7), (2, 9)])
def test_the_rate_is_lowered_so_often(drops, epochs, project, run):
    report = run([*MARKS, 1.0, 2.0], drops=drops)
    assert (report.selection["epochs"], report.selection["ended"]) == (epochs, "converged")
    assert round(report.history[-1].learning_rate, 9) == round(0.01 * 0.1**drops, 9)


@pytest.mark.parametrize(
    ("settings", "marks", "steps", "ended"),
    [
        ({"max_steps": 4}, [10.0, 20.0], 6, "cap"),
        ({"epochs": 3}, [10.0, 20.0, 15.0], 9, "cap"),
        # At the last epoch there may be, val has stopped improving.
        ({"epochs": 7}, MARKS, 21, "converged"),
        ({"max_steps": 7, "schedule": "cosine"}, [10.0, 20.0, 15.0], 9, "course"),
    ],
)
def test_the_most_there_may_be(settings, marks, steps, ended, project, make_spec, monkeypatch):
    mark(monkeypatch, iter(marks))
    base = {"schedule": "plateau", "patience": 2} if "schedule" not in settings else {}
    report = train(make_spec(**base | settings))
    assert (report.selection["steps"], report.selection["ended"]) == (steps, ended)
    assert report.selection["epochs"] == len(report.history) == steps // 3
    assert report.config["max_steps"] == settings.get("max_steps")


@pytest.mark.parametrize("at", [8, 11, 12, 13, 16, 20])
def test_a_run_killed_around_a_plateau_ends_with_the_same_checkpoint(at, project, run, make_spec, once, monkeypatch):
    path = Paths.checkpoint(make_spec().cell) / "model.safetensors"
    whole, expected = once("whole", lambda: (run(MARKS), path.read_bytes()))
    shutil.rmtree("checkpoints", ignore_errors=True)
    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)
    with pytest.raises(KeyboardInterrupt):
        run(MARKS, kill=at)
    run.states.clear()
    continued = run(MARKS[at // 3 :])
    assert min(run.states) == at
    assert path.read_bytes() == expected
    assert continued.history == whole.history
    assert continued.selection == whole.selection


def test_epochs_are_compared_by_their_merit(project, run, monkeypatch):
    """If the mean recall of epochs says one thing and their merit another."""
    monkeypatch.setattr(Epoch, "merit", property(lambda self: self.val_mr))
    report = run([30.0, 20.0, 25.0, 24.0, 26.0, 27.0])
    assert (report.selection["epoch"], report.selection["epochs"]) == (2, 6)
