"""Two-stage retrieval by cells of the tiny project: what the record says, when it is made anew, what is refused."""

from __future__ import annotations

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from rsitr.cli import app
from rsitr.datasets.table import read_facts
from rsitr.errors import ParamsError, RsitrError, StaleRecord
from rsitr.params import Params, load_params
from rsitr.pipeline import run as running
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.run import Result
from rsitr.pipeline.specs import open_params, spec_of, two_stage_specs
from rsitr.pipeline.status import forget, refuse, status
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, TrainReport
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.two_stage import TwoStageRecord
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import duplicates_of
from rsitr.stages import two_stage as stage
from rsitr.stages.encode import Encoded, score_all
from rsitr.stages.evaluate import evaluate
from rsitr.stages.train import train
from rsitr.stages.two_stage import Pairs
from tests.helpers.made import KILLED, other_data, put_cell, put_evaluated, put_trained, put_two_stage

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
        methods = [*METHODS, "vse++@keywords", "mtgfe", "retrieval-filter@paper", "envlf"]
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": methods, "seeds": [0]}]
        tiny["two_stage"] = list(blocks)
        tiny["settings"]["all"]["epochs"] = 1
        tiny["settings"]["methods"] = {
            "retrieval-filter": {"teacher": "scan-t2i", "compare": "lists", "distillation_temperature": 0.1},
            "distilled-dual": {"teacher": "scan-t2i", "distillation_temperature": 0.1},
            "mtgfe": {"text_weights": "none", "text_options": BERT},
            "envlf": {"text_weights": "none", "text_options": BERT, "heads": 2},
            "retrieval-filter@paper": {"teacher": "mtgfe", "compare": "pairs", "distillation_temperature": 1.0},
        }
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return open_params(load_params().model_dump())

    return arranged


@pytest.fixture
def in_this_process(monkeypatch):
    """Two-stage retrieval runs here: a process of its own takes seconds to begin. Returns what ran."""
    ran = []

    def run_here(spec, path, stages=()):
        ran.append(spec.item)
        stage.run(spec)

    monkeypatch.setattr(running, "run_process", run_here)
    return ran


def made(params: Params, *methods: str) -> None:
    for cell in params.cells("tiny"):
        if cell.method in methods:
            spec = spec_of(params, cell)
            assert train(spec).outcome.status == "ok"
            assert evaluate(spec).outcome.status == "ok"


def test_a_record_of_two_cells(arrange):
    params = arrange(block(), block("retrieval-filter"), block("distilled-dual", shortlists=[3]))
    made(params, *METHODS)
    for spec in two_stage_specs(params, "tiny"):
        record = stage.run(spec)
        assert record.outcome.status == "ok", record.outcome.traceback
        assert TwoStageRecord.read(spec.record_file) == record
        cells = [Record.read(Paths.cell(cell) / "cell.json") for cell in spec.id.cells]
        assert record.identities == spec.identities
        assert record.used == dict(zip(("scorer", "filter"), (cell.weights_sha for cell in cells), strict=True))
        assert record.data_sha == cells[0].data_sha
        assert [point.k for point in record.points] == list(spec.shortlists)
        assert record.gallery == {"images": 6, "captions": 12, "texts": TEXTS}
        assert record.timed == {"i2t": 6, "t2i": TEXTS, "exhaustive_i2t": 6, "exhaustive_t2i": TEXTS}
        ranked = [metrics_of(read_ranks(Paths.cell(cell) / "ranks.parquet").ranks) for cell in spec.id.cells]
        assert {"mr", "dup_mr", "i2t_medr"} < set(record.exhaustive.metrics)
        assert record.exhaustive.metrics == {name: ranked[0][name] for name in record.exhaustive.metrics}
        assert record.filtered.metrics["mr"] == ranked[1]["mr"]
        if spec.shortlists[-1] == 99:  # more than there is: everything is scored
            assert record.points[-1].metrics == record.exhaustive.metrics
        for point in record.points:
            assert point.seconds.i2t == pytest.approx(point.filter_seconds.i2t + point.rerank_seconds.i2t)
            assert min(point.filter_seconds.t2i, point.rerank_seconds.t2i) > 0
        assert Present().stale(spec) == []


def test_mtgfe_and_its_filter(arrange):
    params = arrange(block("retrieval-filter@paper", scorer="mtgfe"))
    made(params, "mtgfe", "retrieval-filter@paper")
    (spec,) = two_stage_specs(params, "tiny")
    trained, held = (
        load_file(Paths.checkpoint(cell.cell) / "model.safetensors") for cell in (spec.scorer, spec.filter)
    )
    taught = {name.removeprefix("teacher."): value for name, value in held.items() if name.startswith("teacher.")}
    assert {name.split(".")[0] for name in taught} == {"backbone", "image_head", "text"}
    assert all(torch.equal(value, trained[name]) for name, value in taught.items())
    record = stage.run(spec)
    assert record.outcome.status == "ok", record.outcome.traceback
    assert record.points[-1].metrics == record.exhaustive.metrics


def test_a_method_may_be_its_own_filter(arrange):
    """EnVLF: its alignment makes the shortlists, its multimodal encoder sorts them."""
    params = arrange(block("envlf", scorer="envlf", shortlists=[1, 3, 99]))
    made(params, "envlf")
    (spec,) = two_stage_specs(params, "tiny")
    record = stage.run(spec)
    assert record.outcome.status == "ok", record.outcome.traceback
    assert record.used["scorer"] == record.used["filter"]
    side = stage.ready(spec.scorer, "cpu")
    with torch.inference_mode():
        cosines = side.method.align(side.encoded.images, side.encoded.texts)
    aligned, counted = rank_scores(
        lambda images, texts: cosines[images][:, side.encoded.place[texts]],
        side.split.image_of,
        duplicates=duplicates_of(side.split.captions, side.split.hashes),
    )
    assert record.filtered.metrics == metrics_of({"rank": aligned, "dup_rank": counted})
    assert record.filtered.metrics["mr"] != record.exhaustive.metrics["mr"]
    # One candidate cannot be sorted, and everything is.
    assert record.points[0].metrics == record.filtered.metrics
    assert record.points[-1].metrics == record.exhaustive.metrics
    assert Present().stale(spec) == []


@pytest.mark.parametrize("room", [2**24, 300])
def test_pairs_are_scored_as_all_pairs_are(room, arrange, monkeypatch):
    """In one block, or in many because memory is short; captions of several lengths."""
    spec = spec_of(arrange(), arrange().cells("tiny")[0])
    train(spec)
    side = stage.ready(spec, "cpu")
    monkeypatch.setattr(stage, "PAIR_NUMBERS", room)
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
    (spec,) = two_stage_specs(params, "tiny")
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
    assert Present().stale(spec) == []
    train(spec.filter)
    record = stage.run(spec)
    assert record.outcome.reason.endswith("has not been evaluated: run `rsitr evaluate tiny/scenes-b/vse++/0`")
    evaluate(spec.filter)
    assert stage.run(spec).outcome == Outcome()


def test_a_cell_that_was_trained_again_has_to_be_evaluated_first(arrange):
    (spec,) = two_stage_specs(arrange(block()), "tiny")
    for cell in (spec.scorer, spec.filter):
        put_cell(cell)
    put_trained(spec.filter, b"other weights")
    assert stage.run(spec).outcome.reason == (
        "its filter tiny/scenes-b/vse++/0 has not been evaluated: run `rsitr evaluate tiny/scenes-b/vse++/0`"
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("nothing", []),
        ("shortlists", ["parameters"]),
        ("code", ["code"]),
        ("weights of the filter", ["filter"]),
        ("weights of the scorer", ["scorer"]),
        ("code of the filter's training", ["filter"]),
        ("code of the filter's evaluation", []),
        ("data", ["data", "scorer", "filter"]),
        ("data of the record", ["data"]),
        ("checkpoints that are not here", []),
    ],
)
def test_what_changed_is_named(changed, expected, arrange):
    (spec,) = two_stage_specs(arrange(block()), "tiny")
    for cell in (spec.scorer, spec.filter):
        put_cell(cell)
    put_two_stage(spec, data_sha=read_facts(spec.scorer.clean).data_sha)
    match changed:
        case "shortlists":
            (spec,) = two_stage_specs(arrange(block(shortlists=[5])), "tiny")
        case "code":
            spec = spec.model_copy(update={"code": {"code": "1" * 64}})
        case "weights of the filter":
            put_trained(spec.filter, b"other weights")
        case "weights of the scorer":
            put_trained(spec.scorer, b"other weights")
        case "code of the filter's training":
            put_cell(spec.filter, identities=spec.filter.identities | {"trained": "older"})
        case "code of the filter's evaluation":
            put_cell(spec.filter, identities=spec.filter.identities | {"scored": "older"})
        case "data":
            other_data(spec.scorer)
        case "data of the record":
            put_two_stage(spec, data_sha="older")
        case "checkpoints that are not here":
            for cell in (spec.scorer, spec.filter):
                for path in cell.trained_outputs:
                    path.unlink()
    assert Present().stale(spec) == expected


def test_what_is_current_is_not_repeated(arrange, in_this_process):
    params = arrange(block())
    made(params, "scan-t2i", "vse++")
    (spec,) = two_stage_specs(params, "tiny")
    item = f"two_stage/{spec.id.path}"

    def state(wanted):
        return [(row.spec.path, row.state, row.reason) for row in status([wanted])]

    assert state(spec) == [(item, "missing", "not run yet")]
    assert running.run(spec) == Result(Outcome(), True)
    assert running.run(spec) == Result(Outcome(), False)
    assert running.run(spec).say(spec) == f"{item}: current, not run"
    assert state(spec) == [(item, "ok", "")]
    assert in_this_process == [item]
    (longer,) = two_stage_specs(arrange(block(shortlists=[5])), "tiny")
    assert state(longer) == [(item, "ok stale", "made by other parameters")]
    assert running.run(longer) == Result(Outcome(), True)
    assert in_this_process == [item, item]
    assert [point.k for point in TwoStageRecord.read(spec.record_file).points] == [5]


def test_strict_refuses_what_is_stale_or_missing(arrange):
    params = arrange(block())
    (spec,) = two_stage_specs(params, "tiny")
    for cell in (spec.scorer, spec.filter):
        put_cell(cell)
    with pytest.raises(StaleRecord, match=r"\n  two_stage/tiny/\S*: missing \(not run yet\)\n"):
        refuse(params, "tiny")
    put_two_stage(spec)
    with pytest.raises(StaleRecord, match=r"(?s)^(?!.*two_stage/)"):  # for the sake of cells that were not run
        refuse(params, "tiny")
    with pytest.raises(StaleRecord, match=r"two_stage/\S*: ok stale \(made by other parameters\)"):
        refuse(arrange(block(shortlists=[5])), "tiny")


def test_a_killed_run_is_recorded_and_forgotten_on_demand(arrange, monkeypatch):
    params = arrange(block())
    (spec,) = two_stage_specs(params, "tiny")
    monkeypatch.setattr(running, "run_process", lambda *_: KILLED)
    with pytest.raises(RsitrError, match="rests on cells/tiny/scenes-b/scan-t2i/0, which has not been computed"):
        running.run(spec)
    for cell in (spec.scorer, spec.filter):
        put_cell(cell)
    assert running.run(spec) == Result(KILLED, True)
    record = TwoStageRecord.read(spec.record_file)
    assert (record.outcome, record.identities) == (KILLED, spec.identities)
    assert forget(params, "tiny", {"skipped"}) == []
    assert TwoStageRecord.read(spec.record_file) == record
    assert forget(params, "tiny", {"failed"}) == [spec]
    assert TwoStageRecord.read(spec.record_file) is None
    assert all(path.is_file() for path in spec.scorer.outputs)


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
    (spec,) = two_stage_specs(arrange(block(shortlists=[8, 2, 8]), block(shortlists=[4])), "tiny")
    assert spec.shortlists == (2, 4, 8)
    assert spec.id.path == "tiny/scenes-b/scan-t2i/vse++/0"


def test_command(arrange, in_this_process):
    (spec,) = two_stage_specs(arrange(block()), "tiny")
    item = "two_stage/tiny/scenes-b/scan-t2i/vse++/0"
    for cell in (spec.scorer, spec.filter):
        put_trained(cell)
        put_evaluated(cell, outcome=Outcome(status="failed", reason="the loss became nan"))
    answer = CliRunner().invoke(app, ["run", item])
    assert answer.exit_code == 0, answer.output
    assert answer.output == f"{item}: skipped (its scorer tiny/scenes-b/scan-t2i/0 is failed: the loss became nan)\n"
    for wrong in (f"{item}0", "two_stage/tiny", "two_stage"):
        answer = CliRunner().invoke(app, ["run", wrong])
        assert answer.exit_code == 1, answer.output
        assert answer.stderr.startswith("rsitr: ")
    assert in_this_process == [item]


def test_a_record_goes_out_and_in():
    record = TwoStageRecord(
        experiment="tiny", dataset="ucm", scorer="mtgfe", filter="vse", seed=0, identities={"code": "b"}
    )
    assert TwoStageRecord.model_validate_json(record.model_dump_json()) == record
