"""Computing artefacts: only what is not current, one process at a time, and a record whatever happens."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import load_file
from typer.testing import CliRunner

from rsitr.cli import app
from rsitr.errors import Damaged, RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline import run as module
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.run import Result, checkpoint_of, run, trained, write_spec
from rsitr.pipeline.specs import spec_of
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, Spec, read_report
from rsitr.records.files import read_json
from tests.helpers.made import KILLED, Processes, fill, other_data, put_cell, put_evaluated, put_trained

VSE = CellId("tiny", "scenes-b", "vse", 0)
ITEM = "cells/tiny/scenes-b/vse/0"
BOTH, TRAIN, EVALUATE = (ITEM, "train", "evaluate"), (ITEM, "train"), (ITEM, "evaluate")


@pytest.fixture
def spec(project) -> Spec:
    return spec_of(load_params(), VSE)


@pytest.fixture
def processes(monkeypatch):
    found = Processes()
    monkeypatch.setattr(module, "run_process", found)
    return found


def identified(spec, **other):
    return {"identities": spec.identities | other}


@pytest.mark.parametrize("stages", [("train", "evaluate"), ("train",), ("evaluate",)])
def test_a_current_cell_is_not_computed_again(stages, spec, processes):
    put_cell(spec)
    result = run(spec, stages)
    assert result == Result(Outcome(), False)
    assert result.say(spec) == "tiny/scenes-b/vse/0: current, not run"
    assert processes.ran == []


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_the_command_says_of_a_current_cell_that_it_was_not_run(stage, spec, processes):
    put_cell(spec)
    assert CliRunner().invoke(app, [stage, VSE.path]).stdout == "tiny/scenes-b/vse/0: current, not run\n"
    spec.record_file.unlink()
    assert CliRunner().invoke(app, ["evaluate", VSE.path]).stdout == "tiny/scenes-b/vse/0: ok\n"
    assert processes.ran == [EVALUATE]


def test_what_killed_runs_were_writing_an_hour_ago_is_swept_away(spec, processes):
    unfinished = [
        spec.record_file.with_name(".ranks.parquet.x1.part"),
        spec.trained_outputs[0].with_name(".resume.pt.x2.part"),
        Path(".rsitr/seals/cells/tiny/scenes-b/vse/.0.csv.x3.part"),
        Path(".rsitr/specs/cells/tiny/scenes-b/vse/.0.json.x4.part"),
        Path("cache/tokens/.0.npy.x5.part"),
    ]
    for path in unfinished:
        os.utime(fill(path), (1e9, 1e9))
    run(spec)
    assert not [path for path in unfinished if path.is_file()]


@pytest.mark.parametrize(
    ("stages", "left"), [(("train",), {"scores.pt"}), (("evaluate",), {"resume.pt"}), (("train", "evaluate"), set())]
)
def test_states_of_a_run_that_was_killed_after_its_last_file_go_with_the_next(stages, left, spec, processes):
    put_cell(spec)
    states = [fill(spec.trained_outputs[0].with_name(name)) for name in ("resume.pt", "scores.pt")]
    run(spec, stages)
    assert processes.ran == []
    assert {path.name for path in states if path.is_file()} == left


def test_nothing_is_known_of_a_new_cell(spec, processes):
    result = run(spec)
    assert result == Result(Outcome(), True)
    assert result.say(spec) == "tiny/scenes-b/vse/0: ok"
    assert processes.ran == [BOTH]
    run(spec)
    assert processes.ran == [BOTH]


def test_what_a_cell_did_not_learn_from_is_said_at_its_end(spec, processes):
    data = {"left_out": {"flat": 2, "missing image": 1_200}}
    said = "tiny/scenes-b/vse/0: current, not run, left out: 1,200 x missing image, 2 x flat"
    put_cell(spec, data=data)
    assert run(spec).say(spec) == said
    put_trained(spec, data=data)
    assert run(spec, ("train",)).say(spec) == said


@pytest.mark.parametrize(
    ("edited", "stages", "expected"),
    [
        ("trained", ("train", "evaluate"), [BOTH]),
        ("scored", ("train", "evaluate"), [EVALUATE]),
        ("trained", ("train",), [TRAIN]),
        ("scored", ("train",), []),
        ("scored", ("evaluate",), [EVALUATE]),
    ],
)
def test_an_edit_of_evaluation_asks_for_no_training(edited, stages, expected, spec, processes):
    put_cell(spec)
    run(spec.model_copy(update={"code": spec.code | {edited: "newer"}}), stages)
    assert processes.ran == expected


@pytest.mark.parametrize("why", ["failed", "incomplete", "of other data"])
def test_an_evaluation_that_is_not_current_is_repeated(why, spec, processes):
    put_cell(spec, **{"failed": {"outcome": KILLED}, "of other data": {"data_sha": "older"}}.get(why, {}))
    if why == "incomplete":
        spec.scored_outputs[0].unlink()
    assert run(spec) == Result(Outcome(), True)
    assert processes.ran == [EVALUATE]


def test_a_clone_without_the_first_items_of_a_cell_is_not_incomplete(spec, processes):
    put_cell(spec)
    spec.top_file.unlink()
    assert run(spec) == Result(Outcome(), False)
    assert processes.ran == []


def test_a_record_of_other_weights_than_those_here_is_made_again(spec, processes):
    """As after a clone with records but without checkpoints, and a training of its own."""
    put_cell(spec)
    put_trained(spec, b"of this machine")
    run(spec, ("train",))
    assert processes.ran == []
    run(spec, ("evaluate",))
    assert processes.ran == [EVALUATE]
    assert Present().current(spec)


@pytest.mark.parametrize("leftover", ["of other code", "failed", "none"])
def test_a_current_record_outlives_a_checkpoint_that_is_no_better(leftover, spec, processes):
    """As after a pull of newer records next to checkpoints of older code."""
    put_cell(spec)
    match leftover:
        case "of other code":
            put_trained(spec, b"older", identities={"parameters": spec.params_sha, "trained": "older"})
        case "failed":
            put_trained(spec, b"", outcome=KILLED, weights_sha="")
        case "none":
            for path in spec.trained_outputs:
                path.unlink()
    assert run(spec, ("evaluate",)) == Result(Outcome(), False)
    assert processes.ran == []


@pytest.mark.parametrize("stages", [("train", "evaluate"), ("train",)])
def test_a_damaged_checkpoint_is_set_aside_and_the_cell_trained_again(stages, spec, processes, capsys):
    put_cell(spec)
    weights = spec.trained_outputs[0]
    weights.write_bytes(b"damaged")
    run(spec, stages)
    assert processes.ran == [(ITEM, *stages)]
    assert weights.with_name("model.safetensors.damaged").read_bytes() == b"damaged"
    assert weights.read_bytes() == b"new weights"
    assert "model.safetensors.damaged is damaged: it is not the file that its record is of" in capsys.readouterr().err


def test_a_damaged_record_is_set_aside_and_the_cell_evaluated_again(spec, processes, capsys):
    put_cell(spec)
    spec.record_file.write_text('{"cut')
    assert run(spec) == Result(Outcome(), True)
    assert processes.ran == [EVALUATE]
    assert spec.record_file.with_name("cell.json.damaged").read_text() == '{"cut'
    assert "cell.json.damaged cannot be read: it is made again" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_set_aside_and_not_evaluated(spec, processes):
    put_trained(spec)
    weights = spec.trained_outputs[0]
    weights.write_bytes(b"damaged")
    with pytest.raises(RsitrError, match="vse/0 has no checkpoint: run `rsitr train tiny/scenes-b/vse/0` first"):
        run(spec, ("evaluate",))
    assert processes.ran == []
    assert weights.with_name("model.safetensors.damaged").read_bytes() == b"damaged"


def test_a_damaged_table_is_named_before_anything_is_computed(spec, processes):
    content = spec.clean.read_bytes()
    spec.clean.write_bytes(content[:100] + bytes(50) + content[150:])
    with pytest.raises(Damaged, match=r"scenes-b/clean-official-none\.parquet is damaged \(") as caught:
        run(spec)
    assert (processes.ran, caught.value.path) == ([], spec.clean)


def test_a_damaged_checkpoint_of_a_teacher_is_set_aside_and_the_teacher_named(spec, processes):
    put_trained(spec)
    weights = spec.trained_outputs[0]
    weights.write_bytes(b"damaged")
    student = spec.model_copy(update={"method": "distilled-dual", "teacher": spec})
    with pytest.raises(RsitrError, match="rests on the checkpoint of cells/tiny/scenes-b/vse/0: run `rsitr run cells/"):
        run(student)
    assert processes.ran == []
    assert weights.with_name("model.safetensors.damaged").read_bytes() == b"damaged"


@pytest.mark.parametrize("changed", ["code", "parameters", "data"])
def test_weights_of_another_training_are_not_evaluated(changed, spec, processes):
    put_trained(spec)
    match changed:
        case "data":
            other_data(spec)
        case "code":
            spec = spec.model_copy(update={"code": spec.code | {"trained": "newer"}})
        case "parameters":
            spec = spec.model_copy(update={"settings": {"margin": 0.5}})
    message = f"vse/0 has no checkpoint of the present {changed}: run `rsitr train tiny/scenes-b/vse/0` first"
    with pytest.raises(RsitrError, match=message):
        run(spec, ("evaluate",))
    with pytest.raises(RsitrError, match=f"vse/0 was trained with other {changed} than the present: run `rsitr train"):
        checkpoint_of(spec)
    assert processes.ran == []


def test_an_evaluation_needs_a_training(spec, processes):
    with pytest.raises(RsitrError, match="tiny/scenes-b/vse/0 has no checkpoint: run `rsitr train tiny/scenes-b"):
        run(spec, ("evaluate",))
    for ask in (lambda: checkpoint_of(spec), lambda: trained(load_params(), VSE)):
        with pytest.raises(RsitrError, match="vse/0 has not been trained: run `rsitr train tiny/scenes-b/vse/0` first"):
            ask()
    assert processes.ran == []


def test_a_training_that_ended_without_weights_is_recorded_and_repeated(spec, processes):
    outcome = Outcome(status="skipped", reason="no weights here")
    put_trained(spec, b"", outcome=outcome, weights_sha="")
    run(spec, ("evaluate",))
    assert processes.ran == [EVALUATE]
    assert Record.read(spec.record_file).outcome == outcome
    run(spec)
    assert processes.ran == [EVALUATE, BOTH]
    put_trained(spec, b"", outcome=outcome, weights_sha="")
    with pytest.raises(RsitrError, match=r"vse/0 has no trained model: it skipped \(no weights here\)"):
        trained(load_params(), VSE)


def test_a_training_that_is_killed_becomes_a_report_and_a_record(spec, processes):
    state = fill(spec.trained_outputs[0].with_name("resume.pt"), b"state")
    processes.killed = KILLED
    assert run(spec) == Result(KILLED, True)
    assert read_report(VSE).outcome == Record.read(spec.record_file).outcome == KILLED
    assert all(path.is_file() for path in spec.outputs)
    assert load_file(spec.trained_outputs[0]) == {}
    assert read_report(VSE).identities == {"parameters": spec.params_sha, "trained": spec.code["trained"]}
    assert state.read_bytes() == b"state"  # so that the next run continues
    processes.killed = None
    assert run(spec) == Result(Outcome(), True)
    assert processes.ran == [BOTH, BOTH]


def test_an_older_checkpoint_does_not_stand_for_a_training_that_is_killed(spec, processes):
    put_cell(spec, **identified(spec, trained="older"))
    put_trained(spec, identities={"parameters": spec.params_sha, "trained": "older"})
    processes.killed = KILLED
    assert run(spec, ("train",)) == Result(KILLED, True)
    assert read_report(VSE).outcome == KILLED


def test_an_evaluation_that_is_killed_becomes_a_record_and_the_checkpoint_stays_good(spec, processes):
    put_trained(spec, seconds={"train": 5.0})
    processes.killed = KILLED
    assert run(spec) == Result(KILLED, True)
    record = Record.read(spec.record_file)
    assert (record.outcome, record.seconds, record.metrics) == (KILLED, {"train": 5.0}, {})
    assert read_report(VSE).outcome == Outcome()
    processes.killed = None
    run(spec)
    assert processes.ran == [EVALUATE, EVALUATE]


def test_a_process_killed_after_training_leaves_the_checkpoint_good(spec, monkeypatch):
    def process(spec, path, stages):
        put_trained(spec)
        return KILLED

    monkeypatch.setattr(module, "run_process", process)
    assert run(spec) == Result(KILLED, True)
    assert read_report(VSE).outcome == Outcome()
    assert Record.read(spec.record_file).outcome == KILLED


def test_an_older_record_does_not_stand_for_an_evaluation_that_is_killed(spec, processes):
    put_cell(spec, **identified(spec, scored="older"))
    processes.killed = KILLED
    assert run(spec).outcome == KILLED
    assert Record.read(spec.record_file).identities == spec.identities


def test_a_stopped_process_leaves_no_record(spec, monkeypatch):
    def stopped(*rest):
        raise SystemExit(143)

    monkeypatch.setattr(module, "run_process", stopped)
    with pytest.raises(SystemExit):
        run(spec)
    assert read_report(VSE) is None
    assert not spec.record_file.exists()


def test_a_spec_is_kept_for_the_process(spec):
    path = write_spec(spec)
    assert path.as_posix() == ".rsitr/specs/cells/tiny/scenes-b/vse/0.json"
    assert read_json(Spec, path) == spec
    changed = spec.model_copy(update={"threads": 2})
    assert read_json(Spec, write_spec(changed)) == changed


def test_what_a_cell_rests_on_has_to_be_computed_first(spec, processes):
    student = spec.model_copy(update={"teacher": spec.model_copy(update={"method": "chance"})})
    message = "tiny/scenes-b/vse/0 rests on cells/tiny/scenes-b/chance/0, which has not been computed: run `rsitr run"
    with pytest.raises(RsitrError, match=message):
        run(student)
    assert processes.ran == []
    put_trained(student.teacher, b"", outcome=KILLED, weights_sha="")  # however it ended
    run(student)
    assert processes.ran == [BOTH]


@pytest.mark.timeout(60)
def test_a_second_process_waits_for_the_first_and_finds_its_result(spec, processes, capsys):
    lock = FileLock(fill(module.Path(".rsitr/locks/cells+tiny+scenes-b+vse+0.lock")))
    lock.acquire()
    results = []
    waiting = threading.Event()

    class Shown:
        def write(self, text):
            if "is being computed by another process: waiting for it" in text:
                waiting.set()

        def flush(self):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", Shown())
        thread = threading.Thread(target=lambda: results.append(run(spec)))
        thread.start()
        assert waiting.wait(30)
        put_cell(spec)
        lock.release()
        thread.join()
    assert results == [Result(Outcome(), False)]
    assert processes.ran == []


def test_evaluated_files_alone_are_no_checkpoint(spec, processes):
    put_trained(spec)
    put_evaluated(spec)
    for path in spec.trained_outputs:
        path.unlink()
    run(spec)
    assert processes.ran == [BOTH]
