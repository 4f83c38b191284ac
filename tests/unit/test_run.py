"""The matrix and its records: what is missing, stale or failed, and what file times say about it."""

from __future__ import annotations

import os
import time

import pytest
from rsitr.records.present import stale_parts

from rsitr.datasets.table import read_facts, read_table, write_table
from rsitr.errors import RecordError, RsitrError, StaleRecord
from rsitr.params import CellId, load_params
from rsitr.pipeline import cells as pipeline
from rsitr.pipeline import report
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, TrainReport, read_spec
from rsitr.records.files import read_json, write_json
from rsitr.records.paths import Paths

CHANCE0, CHANCE1, VSE0, VSE1 = (
    CellId("tiny", "scenes-b", method, seed) for method in ("chance", "vse") for seed in (0, 1)
)


@pytest.fixture
def params(project):
    return load_params()


def outputs(cell):
    """Files of a cell in the order in which they come about."""
    checkpoint, folder = Paths.checkpoint(cell), Paths.cell(cell)
    trained = [checkpoint / "model.safetensors", checkpoint / "train.json", Paths.origin(cell)]
    return [*trained, folder / "ranks.parquet", folder / "history.csv", folder / "cell.json"]


def put(params, cell, **fields):
    """All output files of a cell, with a record made by the present code, parameters and data unless said otherwise."""
    spec = pipeline.spec_of(params, cell)
    data_sha = read_facts(Paths.clean("scenes-b", "none")).data_sha
    made = {"outcome": Outcome(), "params_sha": spec.params_sha, "code_sha": spec.code_sha, "data_sha": data_sha}
    for path in outputs(cell):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    write_json(Paths.checkpoint(cell) / "train.json", TrainReport(data_sha=data_sha))
    write_json(Paths.origin(cell), spec)
    write_json(Paths.cell(cell) / "cell.json", Record(**cell._asdict(), **(made | fields)))


def other_data():
    path = Paths.clean("scenes-b", "none")
    rows, facts = read_table(path)
    write_table(rows, facts._replace(data_sha="0" * 64), path)


def test_status_lists_the_expected_matrix(params):
    put(params, CHANCE0)
    put(params, CHANCE1, outcome=Outcome(status="skipped", reason="no weights"), code_sha="older")
    put(params, VSE0, outcome=Outcome(status="failed", reason="loss nan"))
    put(params, CellId("tiny", "scenes-b", "vse", 9))  # of another matrix
    rows = pipeline.status(params, "tiny")
    assert rows == [
        (CHANCE0, "ok", ""),
        (CHANCE1, "skipped stale", "no weights; made by other code"),
        (VSE0, "failed", "loss nan"),
        (VSE1, "missing", "not run yet"),
    ]
    assert pipeline.summary(rows) == "1 failed, 1 missing, 1 ok, 1 skipped stale"


def test_strict_refuses_stale_failed_and_missing_cells_before_writing(params):
    put(params, CHANCE0)
    put(params, CHANCE1, data_sha="older")
    put(params, VSE0, outcome=Outcome(status="failed", reason="loss nan"))
    with pytest.raises(StaleRecord) as error:
        report.build(params, "tiny", only="pir", strict=True)
    assert str(error.value).splitlines() == [
        "3 of 4 results of tiny are not of the present code, parameters and data:",
        "  tiny/scenes-b/chance/1: ok stale (made by other data)",
        "  tiny/scenes-b/vse/0: failed (loss nan)",
        "  tiny/scenes-b/vse/1: missing (not run yet)",
        "Run `snakemake --cores 8 all --config experiment=tiny`, `rsitr retry --failed` for failed ones, or leave out "
        "strict",
    ]
    assert not Paths.tables("tiny").exists()


def test_strict_accepts_present_and_skipped_cells(params):
    for cell in (CHANCE0, CHANCE1, VSE0):
        put(params, cell)
    put(params, VSE1, outcome=Outcome(status="skipped", reason="no weights"))
    report.refuse(params, "tiny")


def test_stale_parts(params):
    spec = pipeline.spec_of(params, VSE0)
    assert stale_parts(spec) == []  # no record, nothing that could be stale
    put(params, VSE0)
    assert stale_parts(spec) == []
    changed = spec.model_copy(update={"settings": {"margin": 0.5}, "code_sha": "newer"})
    other_data()
    assert stale_parts(changed) == ["code", "parameters", "data"]
    Paths.clean("scenes-b", "none").unlink()
    assert stale_parts(changed) == ["code", "parameters"]


def test_the_spec_of_a_cell_says_what_params_yaml_says(params):
    spec = pipeline.spec_of(params, VSE1)
    assert spec.cell == VSE1
    assert spec.settings["epochs"] == 3
    assert (spec.dedup, spec.threads) == ("none", 1)
    assert spec.code_sha != pipeline.spec_of(params, CHANCE1).code_sha


def test_a_spec_is_written_only_when_it_changed(params):
    spec = pipeline.spec_of(params, VSE0)
    path = pipeline.write_spec(spec)
    assert read_spec(path) == spec
    os.utime(path, (1000, 1000))
    pipeline.write_spec(spec)
    assert path.stat().st_mtime == 1000
    pipeline.write_spec(spec.model_copy(update={"threads": 2}))
    assert path.stat().st_mtime > 1000


def test_forget_deletes_what_failed_and_keeps_what_it_can_continue_from(params):
    put(params, CHANCE0)
    put(params, VSE0, outcome=Outcome(status="failed", reason="killed"), code_sha="older")
    put(params, VSE1, outcome=Outcome(status="skipped", reason="no weights"))
    state = Paths.checkpoint(VSE0) / "resume.pt"
    state.write_bytes(b"state")
    assert pipeline.forget(params, "tiny", {"failed"}) == [VSE0]
    assert not any(path.exists() for path in outputs(VSE0))
    assert state.read_bytes() == b"state"
    assert all(path.exists() for cell in (CHANCE0, VSE1) for path in outputs(cell))
    assert pipeline.forget(params, "tiny", {"failed"}) == []


def test_forget_keeps_a_checkpoint_whose_evaluation_failed(params):
    put(params, VSE0, outcome=Outcome(status="failed", reason="killed"))
    timing = pipeline._outputs(VSE0)[0][-1]
    timing.parent.mkdir(parents=True)
    timing.touch()
    assert pipeline.forget(params, "tiny", {"failed"}) == [VSE0]
    assert (Paths.checkpoint(VSE0) / "model.safetensors").is_file()
    assert not any(path.exists() for path in outputs(VSE0)[3:])


def test_a_damaged_record_is_named(params):
    put(params, VSE0)
    path = Paths.cell(VSE0) / "cell.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(RecordError, match=r"vse/0/cell.json cannot be read .*: delete it, or restore it"):
        pipeline.status(params, "tiny")


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_current_stage_is_not_repeated(stage, params, monkeypatch):
    ran = []
    monkeypatch.setattr(pipeline, "run_stage", lambda name, *rest: ran.append(name))
    put(params, VSE0)
    age(VSE0, 10_000)
    spec = pipeline.spec_of(params, VSE0)
    assert pipeline.run_cell_stage(stage, spec) == Outcome()
    assert ran == []
    renewed = outputs(VSE0)[:3] if stage == "train" else outputs(VSE0)[3:]
    assert min(path.stat().st_mtime for path in renewed) > time.time() - 1000


def trained_anew(cell):
    """The checkpoint of a cell with other weights than its record names, by the same code, parameters and data."""
    path = Paths.checkpoint(cell) / "train.json"
    write_json(path, read_json(TrainReport, path).model_copy(update={"weights_sha": "of this machine"}))


def test_a_record_of_other_weights_than_those_here_is_made_anew(params, monkeypatch):
    """As after a clone with records but without checkpoints."""
    ran = []
    monkeypatch.setattr(pipeline, "run_stage", lambda name, *rest: ran.append(name))
    put(params, VSE0)
    trained_anew(VSE0)
    spec = pipeline.spec_of(params, VSE0)
    pipeline.run_cell_stage("train", spec)
    assert ran == []
    pipeline.run_cell_stage("evaluate", spec)
    assert ran == ["evaluate"]


@pytest.mark.parametrize("leftover", ["of other code", "failed"])
def test_a_current_record_outlives_a_checkpoint_that_is_no_better(leftover, params, monkeypatch):
    """As after a pull of newer records beside checkpoints of older code: nothing is trained or evaluated for it."""
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: pytest.fail("the record is current"))
    put(params, VSE0, weights_sha="of git")
    trained_anew(VSE0)
    spec = pipeline.spec_of(params, VSE0)
    if leftover == "failed":
        write_json(Paths.checkpoint(VSE0) / "train.json", TrainReport(outcome=Outcome(status="failed", reason="boom")))
    else:
        write_json(Paths.origin(VSE0), spec.model_copy(update={"code_sha": "older"}))
    age(VSE0, 5)
    pipeline.synchronise(params, [VSE0])
    assert max(times(VSE0)[:3]) <= min(times(VSE0)[3:])
    assert pipeline.run_cell_stage("train", spec) == pipeline.run_cell_stage("evaluate", spec) == Outcome()


@pytest.mark.parametrize("changed", ["code", "parameters", "data"])
def test_weights_of_another_training_are_not_evaluated(changed, params, monkeypatch):
    """Not even where no record says yet that something changed."""
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: pytest.fail("nothing to evaluate"))
    put(params, VSE0)
    (Paths.cell(VSE0) / "cell.json").unlink()
    spec = pipeline.spec_of(params, VSE0)
    if changed == "data":
        other_data()
    else:
        other = {"code": {"code_sha": "newer"}, "parameters": {"settings": {"margin": 0.5}}}[changed]
        spec = spec.model_copy(update=other)
    message = rf"vse/0 was trained with other {changed} than the present: run `rsitr train tiny/scenes-b/vse/0` first"
    with pytest.raises(RsitrError, match=message):
        pipeline.run_cell_stage("evaluate", spec)


def test_weights_of_an_interrupted_training_are_not_evaluated(params, monkeypatch):
    put(params, VSE0, code_sha="older")

    def stopped(*rest):
        raise SystemExit(143)

    monkeypatch.setattr(pipeline, "run_stage", stopped)
    spec = pipeline.spec_of(params, VSE0)
    with pytest.raises(SystemExit):
        pipeline.run_cell_stage("train", spec)
    with pytest.raises(RsitrError, match=r"spec.json is missing, which says what tiny/scenes-b/vse/0 was trained as"):
        pipeline.run_cell_stage("evaluate", spec)


def test_training_says_what_it_was_of_however_it_ended(params, monkeypatch):
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: Outcome(status="failed", reason="train was killed"))
    spec = pipeline.spec_of(params, VSE0)
    pipeline.run_cell_stage("train", spec)
    assert read_spec(Paths.origin(VSE0)) == spec


@pytest.mark.parametrize("why", ["stale", "failed", "incomplete"])
def test_a_stage_that_is_not_current_is_run(why, params, monkeypatch):
    ran = []
    monkeypatch.setattr(pipeline, "run_stage", lambda name, *rest: ran.append(name))
    fields = {"stale": {"code_sha": "older"}, "failed": {"outcome": Outcome(status="failed", reason="killed")}}
    put(params, VSE0, **fields.get(why, {}))
    if why == "incomplete":
        (Paths.cell(VSE0) / "ranks.parquet").unlink()
    pipeline.run_cell_stage("evaluate", pipeline.spec_of(params, VSE0))
    assert ran == ["evaluate"]


def test_an_evaluation_that_cannot_even_be_recorded_is_an_error_and_no_older_record_counts(params, monkeypatch):
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: Outcome(status="failed", reason="evaluate was killed"))
    put(params, VSE0, code_sha="older")
    with pytest.raises(RsitrError, match="vse/0: evaluate was killed, and so was the process that had to record it"):
        pipeline.run_cell_stage("evaluate", pipeline.spec_of(params, VSE0))


def times(cell):
    return [path.stat().st_mtime for path in outputs(cell)]


def age(cell, seconds):
    """Make the outputs of a cell so many seconds old, as after a clone in any order."""
    then = time.time() - seconds
    for path in outputs(cell):
        os.utime(path, (then, then))


def test_synchronise_makes_fresh_outputs_newer_than_their_inputs(params):
    put(params, CHANCE0)
    age(CHANCE0, 10_000)
    pipeline.synchronise(params, params.cells("tiny"))
    spec, data = Paths.spec(CHANCE0), Paths.clean("scenes-b", "none")
    assert min(times(CHANCE0)) >= max(spec.stat().st_mtime, data.stat().st_mtime)
    assert Paths.spec(VSE1).is_file()  # cells that have not run have a spec too


def test_synchronise_leaves_times_that_are_right(params):
    pipeline.synchronise(params, [VSE0])
    put(params, VSE0)
    then = [time.time() + 10 * place for place in range(1, 7)]
    for path, when in zip(outputs(VSE0), then, strict=True):
        os.utime(path, (when, when))
    pipeline.synchronise(params, [VSE0])
    assert times(VSE0) == pytest.approx(then)


def test_synchronise_orders_checkpoint_before_record(params):
    pipeline.synchronise(params, [VSE0])
    put(params, VSE0)
    now = time.time()
    os.utime(Paths.cell(VSE0) / "cell.json", (now + 10, now + 10))
    os.utime(Paths.checkpoint(VSE0) / "train.json", (now + 20, now + 20))
    pipeline.synchronise(params, [VSE0])
    trained, evaluated = times(VSE0)[:3], times(VSE0)[3:]
    assert max(trained) <= min(evaluated)


def test_synchronise_makes_a_checkpoint_newer_than_a_record_of_other_weights(params):
    pipeline.synchronise(params, [VSE0])
    put(params, VSE0)
    trained_anew(VSE0)
    age(VSE0, 5)
    pipeline.synchronise(params, [VSE0])
    trained, evaluated = times(VSE0)[:3], times(VSE0)[3:]
    assert min(trained) > max(evaluated)
    assert min(trained) >= Paths.spec(VSE0).stat().st_mtime


@pytest.mark.parametrize("part", ["code", "parameters", "data"])
def test_synchronise_makes_the_spec_of_a_stale_cell_newer_than_its_outputs(part, params):
    older = {"code": {"code_sha": "older"}, "parameters": {"params_sha": "older"}, "data": {}}[part]
    pipeline.synchronise(params, [VSE0])
    put(params, VSE0, **older)
    if part == "data":
        other_data()
    age(VSE0, 5)
    os.utime(Paths.spec(VSE0), (1000, 1000))
    pipeline.synchronise(params, [VSE0])
    assert Paths.spec(VSE0).stat().st_mtime > max(times(VSE0))


def test_evaluation_needs_a_training(params):
    with pytest.raises(
        RsitrError, match=r"tiny/scenes-b/vse/0 has not been trained: run `rsitr train tiny/scenes-b/vse/0`"
    ):
        pipeline.read_report(VSE0)
