"""PIR-CLIP from a scene classifier through stage 1 to a cell, and what is refused, stale or missing on the way."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rsitr.errors import ParamsError, RsitrError
from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId, NamedId, pretraining_of
from rsitr.pipeline import inputs as needs
from rsitr.pipeline import run as running
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.run import Result, run
from rsitr.pipeline.specs import artefacts, open_params, pretraining_spec, prior_spec, spec_of
from rsitr.pretraining import loop
from rsitr.pretraining.loop import Pretrainer
from rsitr.pretraining.run import run as pretrain
from rsitr.pretraining.spec import load_spec
from rsitr.records.artefact import Outcome
from rsitr.records.pretraining import PretrainingRecord, PretrainSettings
from rsitr.stages.evaluate import evaluate
from rsitr.stages.prior import train as train_prior
from rsitr.stages.train import train
from tests.helpers.commands import refused
from tests.helpers.commands import run as command
from tests.helpers.made import KILLED, Processes, other_data, put_cell, put_pretraining, put_prior
from tests.helpers.scene_sets import draw_set

CELL, OTHER = (CellId("tiny", "scenes-b", method, 0) for method in ("pir-clip", "vse"))
FIRST = NamedId("tiny", "first")
SMALL = {"layers": [1, 1, 1, 1], "width": 4}
START = {"model": "tiny-64", "instruction": SMALL, "instruction_weights": "scenes://tiny/scenes"}
PRIOR = {
    **{"image_backbone": "modified_resnet", "image_weights": "none", "image_size": 64, "epochs": 1, "batch_size": 8},
    "image_options": {**SMALL, "output_dim": 64},
}
TWO_STEPS = {"epochs": 1, "batch_size": 6, "workers": 0}


@pytest.fixture
def change(project):
    """``change(pretraining, **settings)``: parameters with the pretraining ``first`` and a cell that starts from it."""

    def make(pretraining=None, **settings):
        raw = yaml.safe_load((project / "params.yaml").read_text())
        tiny = raw["experiments"]["tiny"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": ["vse", "pir-clip"], "seeds": [0]}]
        tiny["priors"] = {"scenes": {"datasets": ["scenes-a"], "settings": PRIOR}}
        tiny["pretrained"] = {"first": {"dataset": "scenes-b", "settings": START | TWO_STEPS | (pretraining or {})}}
        tiny["settings"]["methods"] = {"pir-clip": START | {"weights": "pretraining://tiny/first"} | settings}
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return load_params()

    return make


@pytest.fixture
def processes(monkeypatch):
    found = Processes()
    monkeypatch.setattr(running, "run_process", found)
    return found


def first(params):
    return pretraining_spec(params, FIRST)


def test_stage_one_and_stage_two(change):
    """What is fixed in both stages is the scene classifier's at the end, bit for bit; all else has gone on."""
    draw_set("scenes-a", size=64)
    params = change()
    scenes = train_prior(prior_spec(params, NamedId("tiny", "scenes")))
    assert scenes.outcome.status == "ok", scenes.outcome
    stage_one = pretrain(first(params))
    assert stage_one.outcome.status == "ok", stage_one.outcome
    assert PretrainingRecord.read(first(params).record_file) == stage_one
    assert (stage_one.samples, stage_one.steps, len(stage_one.loss)) == (12, 2, 1)
    assert stage_one.used == {"prior": scenes.weights_sha}
    spec = spec_of(params, CELL)
    assert train(spec).outcome.status == "ok"
    cell = evaluate(spec)
    assert cell.outcome.status == "ok", cell.outcome
    assert cell.used == {"prior": scenes.weights_sha, "pretraining": stage_one.weights_sha}
    begun = [{name: [*each.files.values()] for name, each in found.pretrained.items()} for found in (stage_one, cell)]
    assert begun == [{"instruction_weights": [scenes.weights_sha]}, {"weights": [stage_one.weights_sha]}]
    assert Present().stale(spec) == []

    known, before, after = (load_file(each.trained_outputs[0]) for each in (spec.prior, spec.pretraining, spec))
    for name, value in known.items():
        stages = before[f"visual.instruction.{name}"], after[f"backbone.visual.instruction.{name}"]
        same = [torch.equal(value, each) for each in stages]
        assert same == [not name.startswith("attnpool.")] * 2 or name == "attnpool.k_proj.bias", name
    for name in ("visual.vit.proj", "visual.to_token.weight"):
        assert not torch.equal(before[name], after[f"backbone.{name}"])
    assert not torch.equal(before["token_embedding.weight"], after["text.token_embedding.weight"])


def test_a_cell_needs_the_pretraining_that_it_starts_from(change):
    params = change()
    assert needs.pretraining(params, CELL) == FIRST
    assert needs.pretraining(params, OTHER) is None
    assert needs.pretraining(change(weights="none"), CELL) is None
    items = [spec.item for spec in artefacts(change(), "tiny")]
    assert items == ["scenes/tiny/scenes", "pretraining/tiny/first", f"cells/{OTHER.path}", f"cells/{CELL.path}"]


def test_an_address_names_a_pretraining():
    assert pretraining_of("pretraining://paper/pir-clip") == NamedId("paper", "pir-clip")
    assert [pretraining_of(other) for other in ("openai", "none", "scenes://a/b")] == [None] * 3
    with pytest.raises(ParamsError, match="names no pretraining: write pretraining://EXPERIMENT/NAME"):
        pretraining_of("pretraining://paper")


@pytest.mark.parametrize(
    ("pretraining", "settings", "message"),
    [
        ({"epoch": 3}, {}, "experiments.tiny.pretrained.first.settings is not valid: epoch: Extra inputs are not"),
        ({"instruction": {"depth": 1}}, {}, "settings is not valid: instruction.depth: Extra inputs are not permitted"),
        ({}, {"weights": "pretraining://tiny/other"}, r"unknown pretraining 'tiny/other': .*\.pretrained has first"),
        ({"model": "tiny-112"}, {}, r"another model than its own \(model tiny-64, not tiny-112\)"),
        ({"instruction": None}, {}, r"than its own \(instruction layers=\(1, 1, 1, 1\) width=4, not None\)"),
        ({"belief": "released"}, {}, r"another model than its own \(belief paper, not released\)"),
        ({}, {"instruction_weights": "none"}, r"\(instruction_weights none, not scenes://tiny/scenes\)"),
        ({}, {"spatial": False}, r"\(instruction None, not layers"),
    ],
)
def test_what_params_yaml_may_not_say_of_a_pretraining(pretraining, settings, message, change):
    with pytest.raises(ParamsError, match=message):
        open_params(change(pretraining, **settings).model_dump())


def test_what_has_to_be_known_of_a_pretraining(change):
    assert open_params(change().model_dump())
    raw = change().model_dump()
    raw["experiments"]["tiny"]["pretrained"]["first"]["dataset"] = "atlantis"
    with pytest.raises(ParamsError, match="unknown dataset 'atlantis'"):
        open_params(copy.deepcopy(raw))
    raw["experiments"]["tiny"]["pretrained"]["first"]["rate"] = 1
    with pytest.raises(ParamsError, match=r"pretrained\.first\.rate: Extra inputs are not permitted"):
        parse_params(raw)
    del raw["experiments"]["tiny"]["pretrained"]["first"]["rate"]
    raw["experiments"]["pretraining"] = raw["experiments"]["tiny"]
    with pytest.raises(ParamsError, match="no experiment can be called 'pretraining'"):
        parse_params(raw)


def test_the_parameters_of_a_cell_hold_those_of_its_pretraining(change):
    shas = {spec_of(change(each), CELL).params_sha for each in (None, {"epochs": 2}, {"warmup": 0.2})}
    assert len(shas) == 3
    assert spec_of(change({"workers": 1}), CELL).params_sha in shas
    assert spec_of(change(), OTHER).params_sha == spec_of(change({"epochs": 2}), OTHER).params_sha


@pytest.mark.parametrize("changed", ["weights", "seed", "data", "prior", "nothing"])
def test_a_cell_of_another_pretraining_is_stale(changed, change):
    params = change()
    put_prior(prior_spec(params, NamedId("tiny", "scenes")))
    put_pretraining(first(params))
    put_cell(spec_of(params, CELL))
    assert Present().stale(spec_of(params, CELL)) == []
    match changed:
        case "weights":
            put_pretraining(first(params), b"other weights")
        case "seed":
            params = change({"seed": 1})
        case "data":
            put_pretraining(first(params), data_sha="older")
        case "prior":
            put_prior(prior_spec(params, NamedId("tiny", "scenes")), b"other weights")
    expected = {"nothing": [], "prior": ["prior", "pretraining"]}.get(changed, ["pretraining"])
    assert Present().stale(spec_of(params, CELL)) == expected


def test_a_current_pretraining_is_not_trained_again(change, processes):
    spec = first(change())
    put_prior(spec.prior)
    put_pretraining(spec)
    assert run(spec) == Result(Outcome(), False)
    other_data(spec_of(change(), CELL))
    put_pretraining(spec, data_sha="of the table before")
    assert Present().stale(spec) == ["data"]
    assert run(spec).ran


def test_a_cell_waits_for_its_pretraining_and_names_the_command(change, processes):
    put_prior(first(change()).prior)
    with pytest.raises(RsitrError, match="which has not been computed: run `rsitr pretrain tiny/first`"):
        run(spec_of(change(), CELL))
    assert command("pretrain", "tiny/first").stdout == "pretraining/tiny/first: ok\n"
    assert run(spec_of(change(), CELL)).outcome == Outcome()
    assert [item for item, *_ in processes.ran] == ["pretraining/tiny/first", f"cells/{CELL.path}"]
    spec = first(change())
    spec.outputs[0].write_bytes(b"half")
    spec_of(change(), CELL).trained_outputs[0].unlink()
    with pytest.raises(
        RsitrError, match="rests on the checkpoint of pretraining/tiny/first: run `rsitr pretrain tiny/f"
    ):
        run(spec_of(change(), CELL))
    assert "unknown pretraining 'tiny/second'" in refused("pretrain", "tiny/second")


def test_a_killed_pretraining_leaves_a_record(change, processes):
    spec = first(change())
    put_prior(spec.prior)
    processes.killed = KILLED
    assert run(spec) == Result(KILLED, True)
    assert PretrainingRecord.read(spec.record_file).outcome == KILLED
    assert load_file(spec.outputs[0]) == {}


def test_shards_that_are_not_here_are_said_and_the_cell_with_them(change):
    params = change({"instruction_weights": "none"}, instruction_weights="none")
    spec = first(params).model_copy(update={"shards": ("data/raw/rs5m/*-train-*.tar",)})
    assert spec.inputs == []
    assert Present().data_sha(spec) is None
    reason = (
        "the shards of scenes-b (data/raw/rs5m/*-train-*.tar) are not here: run `rsitr data fetch scenes-b`, then "
        "`rsitr pretrain tiny/first`"
    )
    assert pretrain(spec).outcome == Outcome(status="skipped", reason=reason)
    report = train(spec_of(params, CELL))
    assert report.outcome == Outcome(status="skipped", reason=f"its pretraining tiny/first is skipped: {reason}")
    # Once the shards are here, the same command trains.
    assert pretrain(first(params)).outcome == Outcome()


def test_what_torchrun_has_trained_is_recorded_and_not_repeated(change, monkeypatch):
    spec = first(change({"instruction_weights": "none"}, instruction_weights="none"))
    step = Pretrainer.train_step

    def killed(self, number, batch):
        if number == 1:
            raise KeyboardInterrupt
        return step(self, number, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(spec)
    whole = load_spec(Path("checkpoints/pretraining/tiny/first/spec.yaml"))
    assert PretrainSettings(**whole.model_dump(include=PretrainSettings.model_fields.keys())) == spec.settings
    done = loop.pretrain(whole)
    monkeypatch.setattr(Pretrainer, "run", lambda self: pytest.fail("trained again"))
    record = pretrain(spec)
    assert (record.outcome, record.weights_sha, record.steps) == (Outcome(), done.weights_sha, 2)
