"""Two-stage retrieval by cells of the tiny project: what the record says, when it is made anew, what is refused."""

from __future__ import annotations

import os

import pytest
import torch
import yaml
from rsitr.pipeline.two_stages import (
    forget_two_stages,
    run_two_stage,
    stale_two_stage,
    status_of_two_stages,
    synchronise_two_stages,
)
from typer.testing import CliRunner

from rsitr.cli import app
from rsitr.errors import ParamsError, StaleRecord
from rsitr.params import Params, load_params
from rsitr.pipeline import cells as pipeline
from rsitr.pipeline import report
from rsitr.pipeline import two_stages as run
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TrainReport, read_record
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.two_stage import TwoStageRecord, read_two_stage
from rsitr.stages import pairs
from rsitr.stages import two_stage as stage
from rsitr.stages.encode import Encoded, score_all
from rsitr.stages.evaluate import evaluate
from rsitr.stages.pairs import Pairs
from rsitr.stages.train import train

METHODS = ["scan-t2i", "vse++", "retrieval-filter", "distilled-dual"]
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXTS = 12
"""Different captions of the six test images."""


def block(chosen="vse++", **changes):
    facts = {"datasets": ["scenes-b"], "scorer": "scan-t2i", "filter": chosen, "shortlists": [2, 4, 99], "seeds": [0]}
    return facts | changes


@pytest.fixture
def arrange(project):
    """``arrange(*blocks)``: params.yaml with these two-stage retrievals of cells of the matrix; returns it typed."""

    def arranged(*blocks) -> Params:
        raw = yaml.safe_load((project / "params.yaml").read_text())
        tiny = raw["experiments"]["tiny"]
        methods = [*METHODS, "vse++@keywords", "mtgfe", "retrieval-filter@paper"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": methods, "seeds": [0]}]
        tiny["two_stage"] = list(blocks)
        tiny["settings"]["all"]["epochs"] = 1
        tiny["settings"]["methods"] = {
            "retrieval-filter": {"teacher": "scan-t2i", "compare": "lists", "distillation_temperature": 0.1},
            "distilled-dual": {"teacher": "scan-t2i", "distillation_temperature": 0.1},
            "mtgfe": {"text_weights": "none", "text_options": BERT},
            "retrieval-filter@paper": {"teacher": "mtgfe", "compare": "pairs", "distillation_temperature": 1.0},
        }
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return pipeline.open_params(load_params().model_dump())

    return arranged


@pytest.fixture
def in_this_process(monkeypatch):
    """The stage runs here: a process of its own takes seconds to begin. Returns the specs that it ran on."""
    ran = []

    def run_here(name, spec, path):
        ran.append(spec)
        stage.run(spec)

    monkeypatch.setattr(run, "run_stage", run_here)
    return ran


def made(params: Params, *methods: str) -> None:
    for cell in params.cells("tiny"):
        if cell.method in methods:
            spec = pipeline.spec_of(params, cell)
            assert train(spec).outcome.status == "ok"
            assert evaluate(spec).outcome.status == "ok"


def test_a_record_of_two_cells(arrange):
    params = arrange(block(), block("retrieval-filter"), block("distilled-dual", shortlists=[3]))
    made(params, *METHODS)
    for spec in pipeline.two_stage_specs(params, "tiny"):
        record = stage.run(spec)
        assert record.outcome.status == "ok", record.outcome.traceback
        assert read_two_stage(spec.id) == record
        cells = [read_record(Paths.cell(cell) / "cell.json") for cell in spec.id.cells]
        assert [record.scorer_sha, record.filter_sha] == [cell.weights_sha for cell in cells]
        assert record.data_sha == cells[0].data_sha
        assert [point.k for point in record.points] == list(spec.shortlists)
        assert record.gallery == {"images": 6, "captions": 12, "texts": TEXTS}
        assert record.timed == {"i2t": 6, "t2i": TEXTS, "exhaustive_i2t": 6, "exhaustive_t2i": TEXTS}
        assert record.exhaustive.metrics == {name: cells[0].metrics[name] for name in record.exhaustive.metrics}
        assert record.filtered.metrics["mr"] == cells[1].metrics["mr"]
        if spec.shortlists[-1] == 99:  # more than there is: everything is scored
            assert record.points[-1].metrics == record.exhaustive.metrics
        for point in record.points:
            assert point.seconds.i2t == pytest.approx(point.filter_seconds.i2t + point.rerank_seconds.i2t)
            assert min(point.filter_seconds.t2i, point.rerank_seconds.t2i) > 0
        assert stale_two_stage(spec) == []


def test_mtgfe_and_its_filter(arrange):
    params = arrange(block("retrieval-filter@paper", scorer="mtgfe"))
    made(params, "mtgfe", "retrieval-filter@paper")
    (spec,) = pipeline.two_stage_specs(params, "tiny")
    record = stage.run(spec)
    assert record.outcome.status == "ok", record.outcome.traceback
    assert record.points[-1].metrics == record.exhaustive.metrics


@pytest.mark.parametrize("room", [2**24, 300])
def test_pairs_are_scored_as_all_pairs_are(room, arrange, monkeypatch):
    """In one block, or in many because memory is short; captions of several lengths."""
    spec = pipeline.spec_of(arrange(), arrange().cells("tiny")[0])
    train(spec)
    side = stage.ready(spec, "cpu")
    monkeypatch.setattr(pairs, "PAIR_NUMBERS", room)
    scorer = Pairs(side.method, side.encoded, "cpu")
    assert len(set(scorer.words.tolist())) > 1
    with torch.inference_mode():
        full = score_all(side.method, side.encoded.images, side.encoded.texts, "cpu")
        some, few = torch.tensor([7, 0, 3]), torch.tensor([5, 1])
        torch.testing.assert_close(scorer.of_image(2), full[2])
        torch.testing.assert_close(scorer.of_image(4, some), full[4, some])
        torch.testing.assert_close(scorer.of_text(9), full[:, 9])
        torch.testing.assert_close(scorer.of_text(1, few), full[few, 1])


def test_captions_are_one_text_where_no_method_tells_them_apart():
    texts = torch.arange(3.0)[:, None]
    scorer = Encoded(torch.zeros(1, 1), texts, torch.tensor([0, 0, 2, 2, 1]))
    chosen = Encoded(torch.zeros(1, 1), texts, torch.tensor([1, 0, 2, 2, 2]))
    first, second, text_of = stage.same_texts(scorer, chosen)
    assert text_of.tolist() == [1, 0, 3, 3, 2]
    assert first.texts[text_of].flatten().tolist() == [0, 0, 2, 2, 1]
    assert second.texts[text_of].flatten().tolist() == [1, 0, 2, 2, 2]


def test_a_cell_that_is_missing_or_failed_becomes_the_reason(arrange):
    params = arrange(block())
    (spec,) = pipeline.two_stage_specs(params, "tiny")
    record = stage.run(spec)
    assert record.outcome.status == "skipped"
    name = "tiny/scenes-b/scan-t2i/0"
    assert record.outcome.reason == f"its scorer {name} has not been trained: run `rsitr train {name}`"
    made(params, "scan-t2i")
    folder = Paths.checkpoint(spec.filter.cell)
    write_json(folder / "train.json", TrainReport(outcome=Outcome(status="failed", reason="the loss became nan")))
    record = stage.run(spec)
    assert record.outcome.reason == "its filter tiny/scenes-b/vse++/0 is failed: the loss became nan"
    assert record.points == []
    assert stale_two_stage(spec) == []
    train(spec.filter)
    assert stale_two_stage(spec) == ["filter"]
    record = stage.run(spec)
    assert record.outcome.reason.endswith("has not been evaluated: run `rsitr evaluate tiny/scenes-b/vse++/0`")
    evaluate(spec.filter)
    newer = spec.filter.model_copy(update={"code_sha": "newer"})
    record = stage.run(spec.model_copy(update={"filter": newer}))
    assert record.outcome.reason == (
        "its filter tiny/scenes-b/vse++/0 is of other code: run `rsitr train tiny/scenes-b/vse++/0`"
    )


def test_a_filter_that_another_teacher_has_taught_is_refused(arrange):
    params = arrange(block("retrieval-filter"))
    made(params, "scan-t2i", "retrieval-filter")
    (spec,) = pipeline.two_stage_specs(params, "tiny")
    path = Paths.cell(spec.filter.cell) / "cell.json"
    write_json(path, read_record(path).model_copy(update={"teacher_sha": "another"}))
    name = "tiny/scenes-b/retrieval-filter/0"
    assert stage.run(spec).outcome.reason == f"its filter {name} is of other teacher: run `rsitr train {name}`"


def test_what_is_current_is_not_repeated_and_what_is_not_is_named(arrange, in_this_process):
    params = arrange(block())
    made(params, "scan-t2i", "vse++")
    (spec,) = pipeline.two_stage_specs(params, "tiny")
    path = Paths.two_stage(spec.id)
    assert status_of_two_stages([spec]) == [(f"two_stage/{spec.id.path}", "missing", "")]
    assert run_two_stage(spec).status == run_two_stage(spec).status == "ok"
    assert status_of_two_stages([spec]) == [(f"two_stage/{spec.id.path}", "ok", "")]
    assert len(in_this_process) == 1
    # File times follow the hashes: a current record becomes newer than its inputs, the spec of a stale one than it.
    os.utime(path, (1, 1))
    synchronise_two_stages([spec])
    assert path.stat().st_mtime > Paths.two_stage_spec(spec.id).stat().st_mtime
    (longer,) = pipeline.two_stage_specs(arrange(block(shortlists=[5])), "tiny")
    assert stale_two_stage(longer) == ["parameters"]
    assert status_of_two_stages([longer])[0][1:] == ("ok stale", "changed: parameters")
    assert stale_two_stage(spec.model_copy(update={"code_sha": "1" * 64})) == ["code"]
    report = Paths.checkpoint(spec.filter.cell) / "train.json"
    report.write_text(report.read_text().replace(read_two_stage(spec.id).filter_sha, "2" * 64))
    assert stale_two_stage(spec) == ["filter"]
    synchronise_two_stages([spec])
    assert path.stat().st_mtime < Paths.two_stage_spec(spec.id).stat().st_mtime


def test_strict_refuses_what_is_stale_or_missing(arrange, in_this_process):
    params = arrange(block())
    made(params, "scan-t2i", "vse++")
    (spec,) = pipeline.two_stage_specs(params, "tiny")
    with pytest.raises(StaleRecord, match=r"\n  two_stage/tiny/.*: missing\n"):
        report.refuse(params, "tiny")
    run_two_stage(spec)
    with pytest.raises(StaleRecord, match=r"(?s)^(?!.*two_stage/)"):  # for the sake of cells that were not run
        report.refuse(params, "tiny")
    with pytest.raises(StaleRecord, match=r"ok stale \(changed: parameters\)"):
        report.refuse(arrange(block(shortlists=[5])), "tiny")


def test_a_killed_run_is_recorded_and_forgotten_on_demand(arrange, monkeypatch):
    (spec,) = pipeline.two_stage_specs(arrange(block()), "tiny")
    monkeypatch.setattr(run, "run_stage", lambda *_: Outcome(status="failed", reason="killed by SIGKILL"))
    assert run_two_stage(spec).reason == "killed by SIGKILL"
    assert read_two_stage(spec.id).outcome.status == "failed"
    forget_two_stages([spec.id], {"skipped"})
    assert read_two_stage(spec.id)
    forget_two_stages([spec.id], {"failed"})
    assert read_two_stage(spec.id) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scorer": "mtgfee"},
            "two_stage names the scorer mtgfee, which the matrix does not have on scenes-b with seed 0",
        ),
        ({"filter": "chance"}, "two_stage names the filter chance, which the matrix does not have on scenes-b"),
        ({"seeds": [7]}, "names the scorer scan-t2i, which the matrix does not have on scenes-b with seed 7"),
        ({"datasets": ["ucm"]}, "names the scorer scan-t2i, which the matrix does not have on ucm"),
        ({"filter": "scan-t2i"}, "scan-t2i cannot be its own filter: name a cheaper method as the filter"),
        ({"filter": "vse++@keywords"}, "scan-t2i and vse\\+\\+@keywords read different queries"),
        ({"shortlists": []}, "two_stage.0.shortlists: List should have at least 1 item"),
        ({"shortlists": [0]}, "two_stage.0.shortlists.0: Input should be greater than or equal to 1"),
        ({"length": 3}, "two_stage.0.length: Extra inputs are not permitted"),
    ],
)
def test_mistakes_in_params(arrange, changes, message):
    with pytest.raises(ParamsError, match=message):
        arrange(block(**changes))


def test_blocks_of_the_same_cells_are_one(arrange):
    (spec,) = pipeline.two_stage_specs(arrange(block(shortlists=[8, 2, 8]), block(shortlists=[4])), "tiny")
    assert spec.shortlists == (2, 4, 8)
    assert spec.id.path == "tiny/scenes-b/scan-t2i/vse++/0"


def test_command(arrange, in_this_process):
    arrange(block())
    name = "tiny/scenes-b/scan-t2i/vse++/0"
    answer = CliRunner().invoke(app, ["two-stage", name])
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith(
        f"two_stage/{name}: skipped (its scorer tiny/scenes-b/scan-t2i/0 has not been trained"
    )
    answer = CliRunner().invoke(app, ["two-stage", "tiny/scenes-b/scan-t2i/vse/0"])
    assert answer.exit_code == 1
    assert f"unknown two-stage retrieval 'tiny/scenes-b/scan-t2i/vse/0': experiments.tiny.two_stage has {name}" in (
        answer.stderr.replace("\n", " ")
    )
    assert "name a two-stage retrieval as EXPERIMENT/" in CliRunner().invoke(app, ["two-stage", "tiny"]).stderr


def test_a_record_goes_out_and_in():
    record = TwoStageRecord(
        experiment="tiny", dataset="ucm", scorer="mtgfe", filter="vse", seed=0, params_sha="a", code_sha="b"
    )
    assert TwoStageRecord.model_validate_json(record.model_dump_json()) == record
