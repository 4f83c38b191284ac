"""Which cell teaches another, and what follows from it: files, code, spec, what is stale, which times are right."""

from __future__ import annotations

import os
import time

import pytest
import yaml
from rsitr.records.present import stale_parts

from rsitr.errors import ParamsError, RsitrError
from rsitr.params import CellId, load_params, parse_params
from rsitr.pipeline import cells as pipeline
from rsitr.pipeline import inputs as needs
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, TrainReport
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import code_sha

TEACHER, STUDENT = (CellId("tiny", "scenes-b", method, 0) for method in ("vse", "lw-mcr@mine"))


@pytest.fixture
def change(project):
    """``change(methods, **settings)``: parameters with these methods and settings of theirs."""

    def make(methods=("lw-mcr@mine", "vse"), seeds=(0,), **settings):
        raw = yaml.safe_load((project / "params.yaml").read_text())
        tiny = raw["experiments"]["tiny"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": list(methods), "seeds": list(seeds)}]
        tiny["settings"]["methods"] = {"lw-mcr@mine": {"teacher": "vse"}} | settings
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return load_params()

    return make


def test_a_teacher_is_the_cell_of_the_same_dataset_and_seed(change):
    params = change(seeds=[0, 3])
    assert needs.teacher(params, STUDENT) == TEACHER
    assert needs.teacher(params, STUDENT._replace(seed=3)) == TEACHER._replace(seed=3)
    assert needs.teacher(params, TEACHER) is None  # has no such field
    assert needs.teacher(params, STUDENT._replace(method="lw-mcr")) is None
    folder = Paths.checkpoint(TEACHER)
    assert needs.teacher_files(params, STUDENT) == [folder / "model.safetensors", folder / "train.json"]
    assert needs.teacher_files(params, TEACHER) == []


def test_a_teacher_has_to_be_in_the_matrix(change):
    raw = change(methods=["lw-mcr@mine", "chance"]).model_dump()
    message = (
        "tiny/scenes-b/lw-mcr@mine/0 learns from vse, which the matrix does not have there: add vse on scenes-b with "
        'seed 0 to experiments.tiny.matrix, or set `teacher: ""` in experiments.tiny.settings.methods.lw-mcr@mine'
    )
    with pytest.raises(ParamsError) as error:
        pipeline.open_params(raw)
    assert str(error.value) == message


def test_a_pupil_teaches_nobody(change):
    params = change(
        ["lw-mcr@mine", "lw-mcr@other"],
        **{"lw-mcr@mine": {"teacher": "lw-mcr@other"}, "lw-mcr@other": {"teacher": "lw-mcr@mine"}},
    )
    with pytest.raises(
        ParamsError, match="lw-mcr@other cannot teach lw-mcr@mine, for it learns from lw-mcr@mine itself"
    ):
        needs.teacher(params, STUDENT)


def test_a_teacher_reads_the_same_queries(change):
    params = change(["lw-mcr@mine", "vse@keywords"], **{"lw-mcr@mine": {"teacher": "vse@keywords"}})
    with pytest.raises(
        ParamsError, match="reads the queries `keywords` and cannot teach lw-mcr@mine, which reads `sent"
    ):
        needs.teacher(params, STUDENT)
    both = {"teacher": "vse@keywords", "query": "keywords"}
    assert needs.teacher(change(["lw-mcr@mine", "vse@keywords"], **{"lw-mcr@mine": both}), STUDENT)


def test_the_spec_of_a_student_holds_its_teachers_parameters_and_code(change):
    params = change()
    spec, teacher = pipeline.spec_of(params, STUDENT), pipeline.spec_of(params, TEACHER)
    assert spec.teacher == teacher
    stages = ["rsitr.stages.train", "rsitr.stages.evaluate"]
    assert spec.code_sha == code_sha([*stages, "rsitr.methods.lw_mcr", "rsitr.methods.vse"])
    assert teacher.code_sha == code_sha([*stages, "rsitr.methods.vse"])
    other = pipeline.spec_of(change(vse={"epochs": 9}), STUDENT)
    assert other.settings == spec.settings
    assert other.params_sha != spec.params_sha


def put(params, cell, **fields):
    """Files of a cell that ran well under the present code, parameters and data, unless said otherwise."""
    spec = pipeline.spec_of(params, cell)
    folder, checkpoint = Paths.cell(cell), Paths.checkpoint(cell)
    made = {"outcome": Outcome(), "params_sha": spec.params_sha, "code_sha": spec.code_sha}
    for path in (checkpoint / "model.safetensors", folder / "ranks.parquet", folder / "history.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    shas = {name: value for name, value in fields.items() if name.endswith("_sha")}
    write_json(checkpoint / "train.json", TrainReport(**shas))
    write_json(Paths.origin(cell), spec)
    write_json(folder / "cell.json", Record(**cell._asdict(), **(made | fields)))


def test_a_student_of_other_weights_is_stale(change):
    params = change()
    spec = pipeline.spec_of(params, STUDENT)
    put(params, STUDENT, teacher_sha="first")
    assert stale_parts(spec) == []  # nothing is known of the teacher
    put(params, TEACHER, weights_sha="first")
    assert stale_parts(spec) == []
    put(params, TEACHER, weights_sha="second")
    assert stale_parts(spec) == ["teacher"]
    report = Paths.checkpoint(TEACHER) / "train.json"
    report.unlink()  # a clone has records and no checkpoints
    assert stale_parts(spec) == ["teacher"]
    put(params, TEACHER, outcome=Outcome(status="failed", reason="killed"))
    assert stale_parts(spec) == []  # it learned nothing else meanwhile


@pytest.mark.parametrize(("weights", "runs"), [("first", []), ("second", ["train"])])
def test_a_student_runs_again_when_its_teachers_weights_changed(weights, runs, change, monkeypatch):
    ran = []
    monkeypatch.setattr(pipeline, "run_stage", lambda name, *rest: ran.append(name))
    params = change()
    put(params, STUDENT, teacher_sha="first")
    put(params, TEACHER, weights_sha=weights)
    pipeline.run_cell_stage("train", pipeline.spec_of(params, STUDENT))
    assert ran == runs


def test_a_student_cannot_be_trained_before_its_teacher(change, monkeypatch):
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: pytest.fail("nothing to train with"))
    spec = pipeline.spec_of(change(), STUDENT)
    with pytest.raises(
        RsitrError, match="tiny/scenes-b/vse/0 has not been trained: run `rsitr train tiny/scenes-b/vse/0"
    ):
        pipeline.run_cell_stage("train", spec)


def times(cell):
    folder, checkpoint = Paths.cell(cell), Paths.checkpoint(cell)
    paths = [
        checkpoint / "model.safetensors",
        checkpoint / "train.json",
        folder / "ranks.parquet",
        folder / "cell.json",
    ]
    return [path.stat().st_mtime for path in paths]


def test_synchronise_makes_a_current_student_newer_than_its_teacher(change):
    params = change()
    pipeline.synchronise(params, params.cells("tiny"))
    put(params, TEACHER, weights_sha="first")
    put(params, STUDENT, teacher_sha="first")
    now = time.time()
    for cell, age in ((TEACHER, 10_000), (STUDENT, 20_000)):
        for path in (*Paths.cell(cell).iterdir(), *Paths.checkpoint(cell).iterdir()):
            os.utime(path, (now - age, now - age))
    cells = params.cells("tiny")
    assert cells[0] == STUDENT  # stands before its teacher in the matrix
    pipeline.synchronise(params, cells)
    assert min(times(STUDENT)) >= max(times(TEACHER)[:2])
    put(params, TEACHER, weights_sha="second")
    pipeline.synchronise(params, cells)
    assert Paths.spec(STUDENT).stat().st_mtime > max(times(STUDENT))


def test_the_pictures_of_pir_are_of_cells_that_differ_in_the_centre_scale(monkeypatch):
    properties = {"affiliation": {"default": 1.0}, "temporal": {"default": True}}
    facts = {"schema": {"properties": properties}, "variants": {"baseline": {"affiliation": 0.0, "temporal": False}}}
    methods = ["vse", "pir-itr-soft@scale-2", "pir-itr-soft@baseline", "pir-itr-soft", "pir-itr-soft@scale-0", "chance"]
    overlays = {"pir-itr-soft@scale-2": {"affiliation": 2.0}, "pir-itr-soft@scale-0": {"affiliation": 0.0}}
    matrix = [
        {"datasets": ["ucm"], "methods": ["vse"], "seeds": [0, 1]},
        {"datasets": ["rsicd", "ucm"], "methods": methods, "seeds": [1, 2]},
    ]
    lab = {"title": "Lab", "matrix": matrix, "settings": {"methods": overlays}}
    none = {"title": "None", "matrix": matrix[:1]}
    chosen = parse_params({"experiment": "lab", "experiments": {"lab": lab, "none": none}})
    monkeypatch.setattr(needs, "schemas", lambda _: dict.fromkeys(("vse", "pir-itr-soft", "chance"), facts))
    found = needs.pir_cells(chosen, "lab")
    assert list(found) == ["vse", "pir-itr-soft, λ = 0", "pir-itr-soft, λ = 2", "pir-itr-soft"]
    assert {(cell.dataset, cell.seed) for cell in found.values()} == {("rsicd", 1)}
    assert needs.pir_cells(chosen, "none") == {}


def test_the_pictures_of_mtgfe_are_of_the_combinations_of_tasks_that_there_are():
    matrix = [
        {"datasets": ["ucm"], "methods": ["vse", "mtgfe@itm-mlm"], "seeds": [1]},
        {"datasets": ["ucm"], "methods": ["mtgfe", "mtgfe@other", "mtgfe@itm"], "seeds": [0, 1]},
    ]
    settings = {"methods": {"mtgfe@other": {"epochs": 1}}}
    lab = {"title": "Lab", "matrix": matrix, "settings": settings}
    none = {"title": "None", "matrix": [{"datasets": ["ucm"], "methods": ["vse"], "seeds": [1]}]}
    chosen = parse_params({"experiment": "lab", "experiments": {"lab": lab, "none": none}})
    found = needs.mtgfe_cells(chosen, "lab")
    assert list(found) == ["mtgfe@itm", "mtgfe@itm-mlm", "mtgfe"]
    assert {(cell.dataset, cell.seed) for cell in found.values()} == {("ucm", 1)}
    assert needs.mtgfe_cells(chosen, "none") == {}
