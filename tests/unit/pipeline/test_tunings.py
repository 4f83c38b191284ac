"""What rests on a tuning: what runs, what is stale, what the graph reads, what the command line says."""

from __future__ import annotations

import pytest
import yaml

from rsitr import cli
from rsitr.errors import RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId, TuningId
from rsitr.pipeline import run as module
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.rehearsal import estimate, planned
from rsitr.pipeline.specs import find, spec_of, tuning_spec
from rsitr.pipeline.status import forget, status_of
from rsitr.pipeline.targets import Graph
from rsitr.records.artefact import Outcome
from rsitr.records.rehearsal import Course, Rehearsed
from rsitr.records.tuning import TuningRecord
from rsitr.stages.entries import entries
from tests.helpers.commands import refused, run
from tests.helpers.made import KILLED, Processes, other_data, put_cell, put_evaluated, put_trained, put_tuning

CELL, SLOWER = (CellId("tiny", "scenes-b", method, 0) for method in ("vse", "vse@slower"))
WANTED = TuningId("tiny", "scenes-b", "vse")
SPACE = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}


@pytest.fixture
def change(project):
    """``change(trials, **space)``: parameters of which both cells are tuned."""

    def make(trials=2, methods=("vse", "vse@slower"), settings=None, **space):
        raw = yaml.safe_load((project / "params.yaml").read_text())
        tiny = raw["experiments"]["tiny"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": [*methods], "seeds": [0], "settings": "tuned"}]
        tiny["tuning"] = {"trials": trials, "max_steps": 6, "space": {"all": SPACE | space}}
        tiny["settings"]["methods"] = {"vse@slower": {"learning_rate": 1e-4}} | (settings or {})
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return load_params()

    return make


@pytest.fixture
def processes(monkeypatch):
    made = Processes()
    monkeypatch.setattr(module, "run_process", made)
    return made


def test_a_cell_waits_for_its_tuning(change, processes):
    params = change()
    message = "rests on tuning/tiny/scenes-b/vse, which has not been computed: run `rsitr tune tiny/scenes-b/vse`"
    with pytest.raises(RsitrError, match=message):
        module.run(spec_of(params, CELL))
    assert processes.ran == []
    put_tuning(tuning_spec(params, WANTED))
    assert module.run(spec_of(params, CELL)).outcome.status == "ok"
    assert processes.ran == [("cells/tiny/scenes-b/vse/0", "train", "evaluate")]


def test_a_tuning_runs_once(change, processes):
    spec = tuning_spec(change(), WANTED)
    assert module.run(spec).say(spec) == "tuning/tiny/scenes-b/vse: ok"
    assert module.run(spec).say(spec) == "tuning/tiny/scenes-b/vse: current, not run"
    assert spec.record_file.is_file()  # its hash is that of settings, not of the file
    params = change(trials=3)
    assert module.run(tuning_spec(params, WANTED)).ran
    assert module.run(spec_of(params, CELL)).ran
    assert spec.record_file.is_file()


def test_a_killed_tuning_has_a_record(change, processes):
    processes.killed = KILLED
    spec = tuning_spec(change(), WANTED)
    assert module.run(spec).outcome == KILLED
    assert TuningRecord.read(spec.record_file).planned == 2
    assert [each.item for each in forget(load_params(), "tiny", {"failed"})] == ["tuning/tiny/scenes-b/vse"]


def test_cells_of_other_settings_are_stale(change):
    params = change()
    spec, cell = tuning_spec(params, WANTED), spec_of(params, CELL)
    put_tuning(spec, {"learning_rate": 0.01})
    put_cell(cell)
    assert Present().current(cell)
    assert Present().current(spec)
    put_tuning(spec, {"learning_rate": 0.02})
    assert Present().stale(cell) == ["tuning"]
    assert Present().other_checkpoint(cell) == ["tuning"]
    put_trained(cell)
    put_evaluated(cell)
    assert Present().stale(cell) == []
    # The search that found them is another one: what it found has to be found again.
    put_tuning(spec, {"learning_rate": 0.02}, identities=spec.identities | {"code": "other"})
    assert Present().stale(spec) == ["code"]
    assert Present().stale(cell) == ["tuning"]
    assert Present().other_checkpoint(cell) == []  # it was trained with these settings all the same


def test_a_tuning_of_other_data_is_stale(change):
    spec = tuning_spec(change(), WANTED)
    put_tuning(spec)
    other_data(spec.base)
    assert Present().stale(spec) == ["data"]


def test_another_space_makes_the_tuning_and_its_cells_stale(change):
    params = change()
    put_tuning(tuning_spec(params, WANTED))
    put_cell(spec_of(params, CELL))
    params = change(width={"choices": [8, 16]})
    assert {row.spec.item: row.state for row in status_of(params, "tiny")} == {
        "cells/tiny/scenes-b/vse/0": "ok stale",
        "tuning/tiny/scenes-b/vse": "ok stale",
        "cells/tiny/scenes-b/vse@slower/0": "missing",
    }
    assert Present().stale(tuning_spec(params, WANTED)) == ["parameters"]
    assert Present().stale(spec_of(params, CELL)) == ["parameters", "tuning"]


def test_the_graph_tunes_before_it_trains(change, project):
    params = change()
    graph = Graph(params.model_dump())
    assert graph.records("tuning") == ["results/tuning/tiny/scenes-b/vse/tuning.json"]
    assert "results/tuning/tiny/scenes-b/vse/tuning.json" in graph.inputs_of("cells/tiny/scenes-b/vse@slower/0")
    clean = tuning_spec(params, WANTED).base.clean.as_posix()
    assert graph.inputs_of("tuning/tiny/scenes-b/vse") == [clean]
    assert {*graph.needed} == {
        *("tuning/tiny/scenes-b/vse", "cells/tiny/scenes-b/vse/0", "cells/tiny/scenes-b/vse@slower/0"),
    }
    put_tuning(tuning_spec(params, WANTED))
    for cell in (CELL, SLOWER):
        put_cell(spec_of(params, cell))
    assert Graph(params.model_dump()).needed == {}


def test_a_tuning_reads_what_its_training_reads(change):
    params = change(settings={"vse": {"objective": "triplet", "margin_type": "dynamic"}})
    found = Graph(params.model_dump()).inputs_of("tuning/tiny/scenes-b/vse")
    assert "data/similarity/scenes-b/official-none/meteor.npy" in found
    params = change(methods=["vse", "vse@slower", "lw-mcr"], settings={"lw-mcr": {"teacher": "vse"}})
    spec = tuning_spec(params, WANTED._replace(method="lw-mcr"))
    assert spec.base.teacher == spec_of(params, CELL)  # the first seed: the tuning's own is none of the matrix
    assert "rsitr.methods.vse.VSE" in entries(spec)["code"]
    assert {"checkpoints/tiny/scenes-b/vse/0/model.safetensors", "results/tuning/tiny/scenes-b/vse/tuning.json"} <= {
        *Graph(params.model_dump()).inputs_of(spec.item)
    }


def test_the_code_of_a_tuning_is_its_own(change):
    params = change()
    names = entries(tuning_spec(params, WANTED))
    assert [*names] == ["code"]
    assert {"rsitr.stages.tune.Study", "rsitr.methods.vse.VSE"} <= {*names["code"]}
    assert spec_of(params, CELL).code == spec_of(params, SLOWER).code


def test_a_tuning_is_rehearsed_and_what_it_would_take_is_estimated(change):
    params = change()
    items = [spec.item for spec in planned(params, "tiny")]
    assert "tuning/tiny/scenes-b/vse" in items
    spec = tuning_spec(params, WANTED)
    base = spec.base.model_copy(update={"dataset": "ucm"})
    spec = spec.model_copy(update={"base": base, "trials": 12, "max_steps": 400})
    course = Course(epochs=10, batch_size=16, samples="images")
    found = Rehearsed(item=spec.item, course=course, batch=4, step_seconds=0.5)
    # 1,680 images in batches of 16: 105 steps an epoch, 1,050 in all, of which a trial has 400.
    assert estimate(spec, found) == (4800, 4800 * 0.5 * 4 / 3600)


def test_the_command_names_what_it_tunes(change, processes, monkeypatch):
    change()
    assert run("tune", "tiny/scenes-b/vse").stdout == "tuning/tiny/scenes-b/vse: ok\n"
    assert run("run", "tuning/tiny/scenes-b/vse").stdout == "tuning/tiny/scenes-b/vse: current, not run\n"
    monkeypatch.setattr(cli, "run_artefact", lambda spec: pytest.fail(f"{spec.item} ran"))
    assert "name a tuning as EXPERIMENT/DATASET/METHOD, e.g. demo/scenes-a/vse" in refused("tune", "vse")
    assert "experiments.tiny.matrix has no swan on scenes-b" in refused("tune", "tiny/scenes-b/swan")


def test_an_experiment_without_a_tuning_says_so(project):
    assert "experiments.tiny has no `tuning`: add how many trials" in refused("tune", "tiny/scenes-b/vse")


def test_what_was_skipped_is_an_answer(change, processes):
    params = change()
    put_tuning(tuning_spec(params, WANTED), outcome=Outcome(status="skipped", reason="no usable images in val"))
    rows = {row.spec.item: row for row in status_of(params, "tiny")}
    assert rows["tuning/tiny/scenes-b/vse"].state == "skipped"
    assert module.run(spec_of(params, CELL)).ran  # its own process says that it is skipped
    assert find(params, "tuning/tiny/scenes-b/vse").id == WANTED
