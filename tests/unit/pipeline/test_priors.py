"""A prior and the cells that start from it: who needs it, what is stale, what runs, what the tables mark."""

from __future__ import annotations

import pytest
import yaml
from safetensors.torch import load_file

from rsitr.dedup.prior_images import select
from rsitr.errors import ParamsError, RsitrError
from rsitr.methods import catalog
from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId, CleanId, NamedId, prior_of
from rsitr.pipeline import inputs as needs
from rsitr.pipeline import report
from rsitr.pipeline import run as running
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.run import Result, run
from rsitr.pipeline.specs import artefacts, open_params, prior_spec, spec_of
from rsitr.pipeline.status import forget, status_of
from rsitr.records.artefact import Outcome
from rsitr.records.cell import read_report
from rsitr.records.paths import Paths
from rsitr.records.prior import SceneRecord
from rsitr.stages.train import Trainer, train
from rsitr.tables.entries import collect
from tests.helpers.commands import run as commands
from tests.helpers.made import KILLED, Processes, put_cell, put_prior, put_trained
from tests.helpers.scene_sets import put_near_duplicates, put_set

CELL, OTHER = (CellId("tiny", "scenes-b", method, 0) for method in ("vse", "chance"))
MINE = NamedId("tiny", "mine")
SETTINGS = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "epochs": 1}


@pytest.fixture
def change(project, monkeypatch):
    """``change(prior, **settings)``: parameters with the prior ``mine``, which ``vse`` starts from."""
    known = catalog.schemas()
    field = {"instruction_weights": {"type": "string", "default": ""}, "spatial": {"type": "boolean", "default": True}}
    schema = known["vse"]["schema"]
    described = known | {"vse": known["vse"] | {"schema": schema | {"properties": schema["properties"] | field}}}
    for module in (needs, catalog):
        monkeypatch.setattr(module, "schemas", lambda: described)

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
        put_near_duplicates(*(f"scenes-{name}" for name in pair), rows)


@pytest.fixture
def processes(monkeypatch):
    found = Processes()
    monkeypatch.setattr(running, "run_process", found)
    return found


def mine(params):
    return prior_spec(params, MINE)


def test_an_address_names_a_prior():
    assert prior_of("scenes://laptop/aid-clean") == NamedId("laptop", "aid-clean")
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
        (("Mine!",), {"datasets": ["aid"]}, "priors.Mine!.[key]: String should match pattern"),
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
            open_params(change(prior).model_dump())
    with pytest.raises(ParamsError, match=r"unknown prior 'tiny/yours': experiments.tiny.priors has mine"):
        open_params(change(instruction_weights="scenes://tiny/yours").model_dump())
    assert open_params(change().model_dump())


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
    assert needs.prior(change(instruction_weights="none"), CELL) is None
    assert needs.prior(change(spatial=False), CELL) is None  # nothing is instructed then
    assert needs.priors(params, "tiny") == [MINE]


def test_the_parameters_of_a_cell_hold_those_of_its_prior(change):
    shas = {
        "as it is": spec_of(change(), CELL).params_sha,
        "without": spec_of(change({"without": ["scenes-b"]}), CELL).params_sha,
        "epochs": spec_of(change({"settings": SETTINGS | {"epochs": 2}}), CELL).params_sha,
        "none": spec_of(change(instruction_weights="none"), CELL).params_sha,
    }
    assert len(set(shas.values())) == 4
    alone = spec_of(change(), OTHER)
    assert alone.prior is None
    assert alone.params_sha == spec_of(change({"seed": 1}), OTHER).params_sha


def test_a_prior_knows_the_version_of_the_package_that_its_weights_come_from(change, monkeypatch):
    monkeypatch.setattr("rsitr.pipeline.specs.locked", lambda _: {"some-weights": "0.1"})
    settings = SETTINGS | {"image_weights": "package://some_weights/model.pth"}
    assert mine(change({"settings": settings})).packages == {"some-weights": "0.1"}


def test_a_prior_is_computed_before_the_cells_that_begin_as_it(change):
    items = [spec.item for spec in artefacts(change(), "tiny")]
    assert items == ["scenes/tiny/mine", f"cells/{OTHER.path}", f"cells/{CELL.path}"]
    assert [row.spec.item for row in status_of(change(), "tiny")] == items


def test_a_cell_that_began_with_other_weights_is_stale(change):
    params = change()
    spec = spec_of(params, CELL)
    put_cell(spec, used={"prior": "first"})
    assert Present().stale(spec) == []  # nothing is known of the prior
    put_prior(mine(params))
    assert Present().stale(spec) == ["prior"]
    put_cell(spec)
    assert Present().stale(spec) == []


@pytest.mark.parametrize("changed", [{"identities": {"parameters": "older", "code": "older"}}, {"data_sha": "older"}])
def test_a_cell_of_a_stale_prior_is_stale(changed, change, sets):
    params = change()
    put_prior(mine(params))
    put_cell(spec_of(params, CELL))
    assert Present().stale(spec_of(params, CELL)) == []
    put_prior(mine(params), **changed)
    assert Present().stale(spec_of(params, CELL)) == ["prior"]


def test_a_cell_is_stale_when_its_prior_is_to_have_another_seed(change):
    params = change()
    put_prior(mine(params))
    put_cell(spec_of(params, CELL))
    assert Present().stale(spec_of(change({"seed": 1}), CELL)) == ["prior"]


def train_tiny(change):
    """Train the cell, without the setting that the fixture has given its method."""
    spec = spec_of(change(), CELL)
    plain = {name: value for name, value in spec.settings.items() if name != "instruction_weights"}
    return train(spec.model_copy(update={"settings": plain}))


def test_training_of_a_cell_notes_the_weights_that_it_began_with(change):
    sha = put_prior(mine(change()))
    report = train_tiny(change)
    assert report.outcome == Outcome()
    assert report.used == {"prior": sha}


@pytest.mark.parametrize("anew", [False, True])
def test_a_killed_cell_is_continued_with_the_weights_that_it_began_with_only(anew, change, monkeypatch, capsys):
    put_prior(mine(change()))
    step = Trainer.train_step

    def dies(self, batch, pictures):
        if self.step == 2:
            raise KeyboardInterrupt
        return step(self, batch, pictures)

    with monkeypatch.context() as patch:
        patch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)
        patch.setattr(Trainer, "train_step", dies)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(change)
    if anew:
        put_prior(mine(change()), b"other weights")
    assert train_tiny(change).outcome == Outcome()
    assert ("continuing at step 2" in capsys.readouterr().err) is not anew


def test_a_cell_is_not_evaluated_with_other_weights_than_it_was_trained_with(change):
    params = change()
    put_prior(mine(params))
    put_trained(spec_of(params, CELL))
    put_prior(mine(params), b"other weights")
    message = "tiny/scenes-b/vse/0 has no checkpoint of the present prior: run `rsitr train tiny/scenes-b/vse/0` first"
    with pytest.raises(RsitrError, match=message):
        run(spec_of(params, CELL), ("evaluate",))


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_cell_ends_as_its_prior_did(status, change):
    put_prior(mine(change()), outcome=Outcome(status=status, reason="boom"), weights_sha="")
    report = train_tiny(change)
    assert (report.outcome.status, report.outcome.reason) == (status, f"its prior tiny/mine is {status}: boom")
    assert (report.weights_sha, report.used) == ("", {})
    assert read_report(CELL) == report


def test_a_cell_waits_for_its_prior(change, processes):
    message = "tiny/scenes-b/vse/0 rests on scenes/tiny/mine, which has not been computed: run `rsitr run scenes/tiny/m"
    with pytest.raises(RsitrError, match=message):
        run(spec_of(change(), CELL), ("train",))
    assert processes.ran == []


def test_a_current_prior_is_not_trained_again(change, sets, processes):
    spec = mine(change())
    put_prior(spec, data_sha=select(spec).data_sha)
    assert run(spec) == Result(Outcome(), False)
    assert run(spec).say(spec) == "scenes/tiny/mine: current, not run"
    put_prior(spec, data_sha=select(spec).data_sha, left_out={"scenes-a: no class": 2})
    assert run(spec).say(spec) == "scenes/tiny/mine: current, not run, left out: 2 x scenes-a: no class"
    assert processes.ran == []


@pytest.mark.parametrize("why", ["data", "parameters", "code", "failed", "incomplete"])
def test_a_prior_that_is_not_current_is_trained(why, change, sets, processes):
    spec = mine(change())
    put_prior(spec, data_sha=select(spec).data_sha)
    match why:
        case "data":
            put_set("scenes-a", [(name, "train", "farm" if name < "b" else "port") for name in "abcd"])
        case "parameters":
            spec = mine(change({"seed": 1}))
        case "code":
            spec = spec.model_copy(update={"code": {"code": "newer"}})
        case "failed":
            put_prior(spec, data_sha=select(spec).data_sha, outcome=KILLED)
        case "incomplete":
            spec.outputs[1].unlink()
    assert Present().stale(spec) == ([why] if why in ("data", "parameters", "code") else [])
    assert run(spec) == Result(Outcome(), True)
    assert processes.ran == [("scenes/tiny/mine",)]


def test_the_damaged_weights_of_a_prior_are_set_aside_and_it_is_trained_again(change, sets, processes, capsys):
    spec = mine(change())
    put_prior(spec, data_sha=select(spec).data_sha)
    weights = spec.outputs[0]
    weights.write_bytes(b"damaged")
    run(spec)
    assert processes.ran == [("scenes/tiny/mine",)]
    assert weights.with_name("model.safetensors.damaged").read_bytes() == b"damaged"
    assert "is damaged: it is not the file that its record is of" in capsys.readouterr().err


def test_a_prior_whose_images_are_not_here_is_believed(change):
    spec = mine(change())
    put_prior(spec, data_sha="of another machine")
    assert Present().stale(spec) == []


def test_a_prior_that_is_killed_leaves_a_record(change, sets, processes):
    spec = mine(change())
    processes.killed = KILLED
    assert run(spec) == Result(KILLED, True)
    record = SceneRecord.read(Paths.prior(MINE) / "scenes.json")
    assert (record.outcome, record.identities) == (KILLED, spec.identities)
    assert all(path.is_file() for path in spec.outputs)
    assert load_file(spec.outputs[0]) == {}
    assert forget(change(), "tiny", {"failed"}) == [spec]
    assert not any(path.is_file() for path in spec.outputs)


def test_what_a_prior_saw_of_the_test_sets_is_counted(change, sets):
    Paths.clean(CleanId("scenes-b")).unlink()  # of another table
    expected = {("scenes-b", "tiny/mine"): (1, 2)}  # t is like b; u is like nothing; s is no test image
    share = {"settings": SETTINGS | {"held_out": 0.01}}
    assert expected.items() <= report.Material(change(share), "tiny").training_overlaps().items()
    clean = report.Material(change(share | {"without": ["scenes-b"]}), "tiny").training_overlaps()
    assert clean["scenes-b", "tiny/mine"] == (0, 2)
    Paths.near_duplicates("scenes-a", "scenes-b").unlink()
    assert report.Material(change(share), "tiny").training_overlaps()["scenes-b", "tiny/mine"] is None


def test_numbers_of_a_cell_whose_prior_saw_test_images_are_marked(change, sets):
    params = change()
    put_prior(mine(params))
    put_cell(spec_of(params, CELL), config={"instruction_weights": "scenes://tiny/mine"})
    seen = {("scenes-b", ""): (0, 9), ("scenes-b", "tiny/mine"): (1, 2)}
    entry = collect(params, "tiny", report.CELLS, {}, seen)["scenes-b", "vse"]
    text = "1 of 2 test images with a near duplicate in the images of the prior tiny/mine (rule copies)"
    assert entry.leaks == text
    clean = collect(params, "tiny", report.CELLS, {}, seen | {("scenes-b", "tiny/mine"): (0, 2)})
    assert clean["scenes-b", "vse"].leaks == ""
    assert collect(params, "tiny", report.CELLS, {}, {})["scenes-b", "vse"].prior_overlaps == {"tiny/mine": None}


def test_a_prior_that_a_record_did_not_begin_with_marks_nothing(change, sets):
    params = change(spatial=False)
    put_cell(spec_of(params, CELL), config={"instruction_weights": "scenes://tiny/mine", "spatial": False})
    seen = {("scenes-b", ""): (0, 9), ("scenes-b", "tiny/mine"): (1, 2)}
    assert collect(params, "tiny", report.CELLS, {}, seen)["scenes-b", "vse"].leaks == ""


def test_the_report_names_what_is_there(change, sets, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    params = change()
    assert "missing" in commands("scenes", "report").stdout
    put_prior(mine(params), accuracy=81.25, images={"train": 3, "held_out": 1}, left_out={"scenes-a: no class": 7})
    out = commands("scenes", "report", "tiny").stdout
    assert all(part in out for part in ("tiny/mine", "81.25", "7 scenes-a: no class"))
