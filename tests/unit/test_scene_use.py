"""A prior and the cells that start from it: who needs it, what is stale, what runs, what the tables mark."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import typer
import yaml
from rsitr.pipeline.priors import run_prior, spec_of_prior
from rsitr.records.present import stale_parts

from rsitr.cli.scenes import scenes_report, scenes_train
from rsitr.dedup.prior_images import select
from rsitr.errors import ParamsError, RsitrError
from rsitr.methods import catalog
from rsitr.params import CellId, PriorId, load_params, parse_params, prior_of
from rsitr.pipeline import cells as pipeline
from rsitr.pipeline import inputs as needs
from rsitr.pipeline import overlap, report
from rsitr.pipeline import priors as run
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, TrainReport
from rsitr.records.files import read_json, write_json
from rsitr.records.paths import Paths
from rsitr.records.prior import SceneRecord, read_prior
from rsitr.records.provenance import sha256_file
from rsitr.tables.entries import collect
from tests.unit.scene_sets import put_copies, put_set

CELL, OTHER = (CellId("tiny", "scenes-b", method, 0) for method in ("vse", "chance"))
MINE = PriorId("tiny", "mine")
SETTINGS = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "epochs": 1}


@pytest.fixture
def change(project, monkeypatch):
    """``change(prior, **settings)``: parameters with the prior ``mine``, which ``vse`` starts from."""
    known = catalog.schemas(needs.STATE)
    field = {"instruction_weights": {"type": "string", "default": ""}, "spatial": {"type": "boolean", "default": True}}
    schema = known["vse"]["schema"]
    described = known | {"vse": known["vse"] | {"schema": schema | {"properties": schema["properties"] | field}}}
    for module in (needs, catalog):
        monkeypatch.setattr(module, "schemas", lambda folder: described)

    def make(prior=None, **settings):
        raw = yaml.safe_load((project / "params.yaml").read_text())
        tiny = raw["experiments"]["tiny"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": ["chance", "vse"], "seeds": [0]}]
        tiny["priors"] = {"mine": {"datasets": ["scenes-a"], "settings": SETTINGS} | (prior or {})}
        tiny["settings"]["methods"] = {"vse": {"instruction_weights": "scenes://tiny/mine"} | settings}
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return load_params()

    return make


@pytest.fixture
def sets(project):
    """Canonical tables: what the prior learns from, and the set of the cell."""
    put_set("scenes-a", [(name, "train", "farm" if name < "c" else "port") for name in "abcd"])
    put_set("scenes-b", [("s", "train", "farm"), ("t", "test", "farm"), ("u", "test", "port")])
    for pair, rows in {("a", "a"): (), ("a", "b"): (("b", "t"), ("d", "s")), ("b", "b"): ()}.items():
        put_copies(*(f"scenes-{name}" for name in pair), rows)


def put_prior(params, content=b"weights", status="ok", **fields):
    """A prior that was trained, or was to be."""
    spec = spec_of_prior(params, MINE)
    path = Paths.prior_weights(MINE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    Paths.prior(MINE).mkdir(parents=True, exist_ok=True)
    (Paths.prior(MINE) / "left_out.csv").touch()
    sha = sha256_file(path) if status == "ok" else ""
    made = {"weights_sha": sha, "outcome": Outcome(status=status, reason="" if status == "ok" else "boom")}
    write_json(Paths.prior(MINE) / "scenes.json", SceneRecord.begun(spec).model_copy(update=made | fields))
    return sha


def put_cell(params, **fields):
    """A cell that was trained and evaluated by the present code, unless said otherwise."""
    spec = pipeline.spec_of(params, CELL)
    folder, checkpoint = Paths.cell(CELL), Paths.checkpoint(CELL)
    for path in (checkpoint / "model.safetensors", folder / "ranks.parquet", folder / "history.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    made = {"outcome": Outcome(), "params_sha": spec.params_sha, "code_sha": spec.code_sha}
    write_json(checkpoint / "train.json", TrainReport(**fields))
    write_json(Paths.origin(CELL), spec)
    write_json(folder / "cell.json", Record(**CELL._asdict(), **(made | fields)))


def test_an_address_names_a_prior():
    assert prior_of("scenes://laptop/aid-clean") == PriorId("laptop", "aid-clean")
    assert [prior_of(other) for other in ("timm", "none", "", "mirror://weights/a.safetensors")] == [None] * 4
    for wrong in ("scenes://", "scenes://laptop", "scenes://a/b/c", "scenes://a/../b", "scenes://A/b"):
        with pytest.raises(ParamsError, match="names no prior: write scenes://EXPERIMENT/NAME"):
            prior_of(wrong)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("mine", "datasets"), [], "priors.mine.datasets: List should have at least 1 item"),
        (("mine", "dataset"), ["aid"], "priors.mine.dataset: Extra inputs are not permitted"),
        (("mine", "dedup"), "none", "priors.mine.dedup: Input should be 'remoteclip' or 'copies'"),
        (("mine", "settings"), {"epoch": 3}, "priors.mine.settings.epoch: Extra inputs are not permitted"),
        (("mine", "settings"), {"held_out": 1.0}, "priors.mine.settings.held_out: Input should be less than 1"),
        (("Mine!",), {"datasets": ["aid"]}, "'Mine!' is not a name for a prior"),
    ],
)
def test_what_params_yaml_may_not_say_of_a_prior(path, value, message):
    priors = {"mine": {"datasets": ["aid"]}}
    place = priors
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    matrix = [{"datasets": ["ucm"], "methods": ["vse"], "seeds": [0]}]
    lab = {"title": "Lab", "matrix": matrix, "priors": priors}
    with pytest.raises(ParamsError) as error:
        parse_params({"experiment": "lab", "experiments": {"lab": lab}})
    assert message in str(error.value)


def test_no_experiment_has_the_name_of_the_folder_of_priors(change):
    raw = change().model_dump()
    raw["experiments"]["scenes"] = raw["experiments"]["tiny"]
    with pytest.raises(ParamsError, match="no experiment can be called 'scenes'"):
        parse_params(raw)


def test_unknown_names_are_refused_before_anything_runs(change):
    wrong = {"datasets": ["atlantis"]}, {"without": ["atlantis"]}
    for prior in wrong:
        with pytest.raises(ParamsError, match="unknown dataset 'atlantis'"):
            pipeline.open_params(change(prior).model_dump())
    with pytest.raises(ParamsError, match=r"unknown prior 'tiny/yours': experiments.tiny.priors has mine"):
        pipeline.open_params(change(instruction_weights="scenes://tiny/yours").model_dump())
    assert pipeline.open_params(change().model_dump())


def test_what_a_prior_is_trained_on_is_compared_with_the_test_sets(change):
    assert change().experiments["tiny"].compared == [
        ("scenes-a", "scenes-a"),
        ("scenes-a", "scenes-b"),
        ("scenes-b", "scenes-b"),
    ]
    apart = change({"datasets": ["aid"], "without": ["ucm"]}).experiments["tiny"]
    assert apart.sources == ["aid", "ucm"]
    assert ("aid", "ucm") in apart.compared  # neither is part of the matrix


def test_a_cell_needs_the_prior_that_its_settings_name(change):
    params = change()
    assert needs.prior(params, CELL) == MINE
    assert needs.prior(params, OTHER) is None
    files = [Path("checkpoints/scenes/tiny/mine/model.safetensors"), Path("results/scenes/tiny/mine/scenes.json")]
    assert needs.prior_files(params, CELL) == files
    assert needs.prior_files(params, OTHER) == []
    assert needs.prior_files(change(instruction_weights="none"), CELL) == []
    assert needs.prior(change(spatial=False), CELL) is None  # nothing is instructed then
    assert needs.priors(params, "tiny") == [MINE]


def test_the_parameters_of_a_cell_hold_those_of_its_prior_and_its_code(change, monkeypatch):
    shas = {
        "as it is": pipeline.spec_of(change(), CELL).params_sha,
        "other seed": pipeline.spec_of(change({"seed": 1}), CELL).params_sha,
        "without": pipeline.spec_of(change({"without": ["scenes-b"]}), CELL).params_sha,
        "epochs": pipeline.spec_of(change({"settings": SETTINGS | {"epochs": 2}}), CELL).params_sha,
        "none": pipeline.spec_of(change(instruction_weights="none"), CELL).params_sha,
    }
    monkeypatch.setattr(run, "code_sha", lambda modules: "f" * 64)
    shas["code"] = pipeline.spec_of(change(), CELL).params_sha
    assert len(set(shas.values())) == 6
    alone = pipeline.spec_of(change(), OTHER)
    assert alone.prior is None
    assert alone.params_sha == pipeline.spec_of(change({"seed": 1}), OTHER).params_sha


def test_a_cell_that_began_with_other_weights_is_stale(change):
    params = change()
    spec = pipeline.spec_of(params, CELL)
    put_cell(params, prior_sha="first")
    assert stale_parts(spec) == []  # nothing is known of the prior
    put_prior(params)
    assert stale_parts(spec) == ["prior"]
    put_cell(params, prior_sha=put_prior(params))
    assert stale_parts(spec) == []


def test_training_of_a_cell_notes_the_weights_that_it_began_with(change, monkeypatch):
    params = change()
    spec, folder = pipeline.spec_of(params, CELL), Paths.checkpoint(CELL)
    sha = put_prior(params)

    def trained(stage, *rest):
        assert not (folder / "resume.pt").exists()
        write_json(folder / "train.json", TrainReport(weights_sha="cell"))

    folder.mkdir(parents=True)
    (folder / "resume.pt").write_bytes(b"of a run that began with other weights")
    monkeypatch.setattr(pipeline, "run_stage", trained)
    pipeline.run_cell_stage("train", spec)
    assert read_json(TrainReport, folder / "train.json").prior_sha == sha
    assert sorted(path.name for path in folder.iterdir()) == ["spec.json", "train.json"]


def test_a_killed_cell_is_continued_with_the_weights_that_it_began_with_only(change, monkeypatch):
    params = change()
    spec, folder = pipeline.spec_of(params, CELL), Paths.checkpoint(CELL)
    put_prior(params)

    def killed(*rest):
        (folder / "resume.pt").touch(exist_ok=True)
        return Outcome(status="failed", reason="killed")

    found = []
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: found.append((folder / "resume.pt").exists()) or killed())
    pipeline.run_cell_stage("train", spec)
    pipeline.run_cell_stage("train", spec)
    put_prior(params, b"other weights")
    pipeline.run_cell_stage("train", spec)
    assert found == [False, True, False]


def test_a_cell_is_not_evaluated_with_other_weights_than_it_was_trained_with(change, monkeypatch):
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: pytest.fail("nothing to evaluate"))
    params = change()
    put_prior(params)
    put_cell(params, prior_sha="first")
    with pytest.raises(RsitrError, match="tiny/scenes-b/vse/0 was trained with other weights of the prior tiny/mine"):
        pipeline.run_cell_stage("evaluate", pipeline.spec_of(params, CELL))


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_cell_ends_as_its_prior_did(status, change, monkeypatch):
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: pytest.fail("nothing to train with"))
    params = change()
    put_prior(params, status=status)
    outcome = pipeline.run_cell_stage("train", pipeline.spec_of(params, CELL))
    assert outcome == Outcome(status=status, reason=f"its prior tiny/mine is {status}: boom")
    assert read_json(TrainReport, Paths.checkpoint(CELL) / "train.json").outcome == outcome


def test_a_cell_waits_for_its_prior_and_takes_no_other_file(change, monkeypatch):
    monkeypatch.setattr(pipeline, "run_stage", lambda *rest: pytest.fail("nothing to train with"))
    params = change()
    spec = pipeline.spec_of(params, CELL)
    with pytest.raises(RsitrError, match="tiny/mine has not been trained: run `rsitr scenes train tiny/mine` first"):
        pipeline.run_cell_stage("train", spec)
    put_prior(params)
    Paths.prior_weights(MINE).write_bytes(b"damaged")
    with pytest.raises(RsitrError, match=r"is not the file that results/scenes/tiny/mine/scenes.json is of"):
        pipeline.run_cell_stage("train", spec)


def test_a_current_prior_is_not_trained_again(change, sets, monkeypatch):
    ran = []
    monkeypatch.setattr(run, "run_stage", lambda stage, *rest: ran.append(stage))
    params = change()
    put_prior(params, data_sha=select(spec_of_prior(params, MINE)).data_sha)
    for path in run.prior_outputs(MINE):
        os.utime(path, (1000, 1000))
    assert run_prior(spec_of_prior(params, MINE)).status == "ok"
    assert ran == []
    assert min(path.stat().st_mtime for path in run.prior_outputs(MINE)) > 1000
    put_set("scenes-a", [(name, "train", "farm" if name < "b" else "port") for name in "abcd"])
    run_prior(spec_of_prior(params, MINE))
    Paths.prior_weights(MINE).write_bytes(b"damaged")
    run_prior(spec_of_prior(params, MINE))
    assert ran == ["scenes.train", "scenes.train"]
    assert run.stale_prior(spec_of_prior(change({"seed": 1}), MINE)) == ["parameters", "data"]


def test_a_prior_that_is_killed_leaves_a_record(change, sets, monkeypatch):
    killed = Outcome(status="failed", reason="scenes.train was killed by SIGKILL")
    monkeypatch.setattr(run, "run_stage", lambda *rest: killed)
    assert run_prior(spec_of_prior(change(), MINE)) == killed
    record = read_prior(MINE)
    assert record.outcome == killed
    assert all(path.is_file() for path in run.prior_outputs(MINE))
    assert run.forget_priors(change(), "tiny", {"failed"}) == [MINE]
    assert not any(path.is_file() for path in run.prior_outputs(MINE))


def test_synchronise_makes_current_files_newer_than_what_they_came_from(change, sets):
    params = change()
    pipeline.synchronise(params, params.cells("tiny"))
    put_cell(params, prior_sha=put_prior(params))
    now = time.time()
    for path, age in (
        *((path, 30_000) for path in run.prior_outputs(MINE)),
        *((path, 40_000) for path in (*Paths.cell(CELL).iterdir(), *Paths.checkpoint(CELL).iterdir())),
    ):
        os.utime(path, (now - age, now - age))
    pipeline.synchronise(params, params.cells("tiny"))

    def moments(paths):
        return [path.stat().st_mtime for path in paths]

    made = moments(run.prior_outputs(MINE))
    assert min(made) >= max(moments([Paths.prior_spec(MINE), *run.prior_inputs(spec_of_prior(params, MINE))]))
    assert min(moments(Paths.cell(CELL).iterdir())) >= max(made)
    other = change({"seed": 1})
    pipeline.synchronise(other, other.cells("tiny"))
    assert moments([Paths.prior_spec(MINE)])[0] >= max(made)


def test_what_a_prior_saw_of_the_test_sets_is_counted(change, sets):
    Paths.clean("scenes-b", "none").unlink()  # of another table
    expected = {("scenes-b", "tiny/mine"): (1, 2)}  # t is like b; u is like nothing; s is no test image
    share = {"settings": SETTINGS | {"held_out": 0.01}}
    assert expected.items() <= overlap.training_overlaps(change(share), "tiny").items()
    clean = overlap.training_overlaps(change(share | {"without": ["scenes-b"]}), "tiny")
    assert clean["scenes-b", "tiny/mine"] == (0, 2)
    Paths.copies("scenes-a", "scenes-b").unlink()
    assert overlap.training_overlaps(change(share), "tiny")["scenes-b", "tiny/mine"] is None


def test_numbers_of_a_cell_whose_prior_saw_test_images_are_marked(change, sets):
    params = change()
    sha = put_prior(params)
    put_cell(params, prior_sha=sha, config={"instruction_weights": "scenes://tiny/mine"})
    seen = {"scenes-b": (0, 9), ("scenes-b", "tiny/mine"): (1, 2)}
    entry = collect(params, "tiny", report.CELLS, {}, seen)["scenes-b", "vse"]
    text = "1 of 2 test images with a near duplicate in the images of the prior tiny/mine (rule copies)"
    assert entry.leaks == text
    clean = collect(params, "tiny", report.CELLS, {}, seen | {("scenes-b", "tiny/mine"): (0, 2)})
    assert clean["scenes-b", "vse"].leaks == ""
    assert collect(params, "tiny", report.CELLS, {}, {})["scenes-b", "vse"].prior_overlaps == {"tiny/mine": None}


def test_a_prior_that_a_record_did_not_begin_with_marks_nothing(change, sets):
    params = change(spatial=False)
    put_cell(params, config={"instruction_weights": "scenes://tiny/mine", "spatial": False})
    seen = {"scenes-b": (0, 9), ("scenes-b", "tiny/mine"): (1, 2)}
    assert collect(params, "tiny", report.CELLS, {}, seen)["scenes-b", "vse"].leaks == ""


def test_the_report_names_what_is_there(change, sets, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    params = change()
    scenes_report(None)
    assert "missing" in capsys.readouterr().out
    put_prior(params, accuracy=81.25, images={"train": 3, "held_out": 1}, left_out={"scenes-a: no class": 7})
    scenes_report("tiny")
    out = capsys.readouterr().out
    assert all(part in out for part in ("tiny/mine", "81.25", "7 scenes-a: no class"))
    with pytest.raises(typer.Exit):
        scenes_train("tiny", None)
    assert "name a prior as EXPERIMENT/NAME, e.g. demo/all" in capsys.readouterr().err
