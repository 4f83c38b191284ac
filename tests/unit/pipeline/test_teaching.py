"""Which cell teaches another, and what follows from it: code, spec, what is stale, what runs. Cells of pictures."""

from __future__ import annotations

import pytest
import yaml

from rsitr.errors import ParamsError, RsitrError
from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId
from rsitr.pipeline import inputs as needs
from rsitr.pipeline import run as module
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.specs import artefacts, open_params, spec_of
from rsitr.pipeline.status import status_of
from rsitr.stages.entries import entries
from tests.helpers.made import KILLED, Processes, put_cell, put_evaluated, put_trained

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


def test_a_teacher_has_to_be_in_the_matrix(change):
    raw = change(methods=["lw-mcr@mine", "chance"]).model_dump()
    message = (
        "tiny/scenes-b/lw-mcr@mine/0 learns from vse, which the matrix does not have there: add vse on scenes-b with "
        'seed 0 to experiments.tiny.matrix, or set `teacher: ""` in experiments.tiny.settings.methods.lw-mcr@mine'
    )
    with pytest.raises(ParamsError) as error:
        open_params(raw)
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
    spec, teacher = spec_of(params, STUDENT), spec_of(params, TEACHER)
    assert spec.teacher == teacher
    assert "rsitr.methods.vse.VSE" in entries(spec)["trained"]
    assert "rsitr.methods.vse.VSE" not in entries(spec)["scored"]  # evaluation asks no teacher
    other = spec_of(change(vse={"epochs": 9}), STUDENT)
    assert other.settings == spec.settings
    assert other.params_sha != spec.params_sha
    assert other.code == spec.code


def test_teachers_come_before_their_students(change):
    params = change()
    assert params.cells("tiny")[0] == STUDENT  # stands before its teacher in the matrix
    assert [spec.cell for spec in artefacts(params, "tiny")] == [TEACHER, STUDENT]
    assert [row.spec.cell for row in status_of(params, "tiny")] == [STUDENT, TEACHER]


def test_a_student_of_other_weights_is_stale(change):
    params = change()
    spec, teacher = spec_of(params, STUDENT), spec_of(params, TEACHER)
    put_cell(teacher, b"first")
    put_cell(spec)
    assert Present().stale(spec) == []
    put_cell(teacher, b"second")
    assert Present().stale(spec) == ["teacher"]
    teacher.trained_outputs[1].unlink()  # a clone has records and no checkpoints
    assert Present().stale(spec) == ["teacher"]
    put_trained(teacher, b"", outcome=KILLED, weights_sha="")
    put_evaluated(teacher)
    assert Present().stale(spec) == []  # it learned nothing else meanwhile


@pytest.mark.parametrize(("weights", "runs"), [(b"first", []), (b"second", [("cells/" + STUDENT.path, "train")])])
def test_a_student_is_trained_again_when_its_teachers_weights_changed(weights, runs, change, monkeypatch):
    processes = Processes()
    monkeypatch.setattr(module, "run_process", processes)
    params = change()
    put_cell(spec_of(params, TEACHER), b"first")
    put_cell(spec_of(params, STUDENT))
    put_cell(spec_of(params, TEACHER), weights)
    module.run(spec_of(params, STUDENT), ("train",))
    assert processes.ran == runs


def test_a_student_is_not_evaluated_with_weights_that_another_teacher_taught(change):
    params = change()
    put_trained(spec_of(params, TEACHER), b"first")
    put_trained(spec_of(params, STUDENT))
    put_trained(spec_of(params, TEACHER), b"second")
    with pytest.raises(RsitrError, match="lw-mcr@mine/0 has no checkpoint of the present teacher: run `rsitr train"):
        module.run(spec_of(params, STUDENT), ("evaluate",))


def test_a_student_cannot_be_trained_before_its_teacher(change, monkeypatch):
    monkeypatch.setattr(module, "run_process", lambda *rest: pytest.fail("nothing to train with"))
    spec = spec_of(change(), STUDENT)
    with pytest.raises(RsitrError, match="rests on cells/tiny/scenes-b/vse/0, which has not been computed"):
        module.run(spec, ("train",))


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
    monkeypatch.setattr(needs, "schemas", lambda: dict.fromkeys(("vse", "pir-itr-soft", "chance"), facts))
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
