"""Evaluation: what is embedded, ranked and written, on the tiny project and on embeddings set by hand."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from rsitr.datasets.splits import SplitData, load_splits
from rsitr.errors import RecordError
from rsitr.params.ids import CleanId
from rsitr.records.artefact import Outcome
from rsitr.records.cell import SCORED, TRAINED, TrainReport
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file
from rsitr.retrieval.rank_files import SCHEMA, SplitRanks, metrics_of, read_ranks, write_ranks
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import Ranks, RecallReport, ceiling, duplicates_of
from rsitr.retrieval.top_files import read_top
from rsitr.stages import encode as scoring
from rsitr.stages.evaluate import evaluate
from rsitr.stages.small import Killed
from rsitr.stages.train import train

# Two images on the axes of the plane; captions 1 and 3 say the same.
SPLIT = SplitData(
    ["a.png", "b.png"],
    [Path("a.png"), Path("b.png")],
    ["a" * 64, "b" * 64],
    ["a red dot", "a dot", "a bar", "A dot."],
    np.array([0, 0, 1, 1]),
    ("", ""),
)
IMAGES = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
#         own image           wrong image         own image           as caption 1
TEXTS = torch.tensor([[0.8, 0.6], [0.6, 0.8], [0.0, 1.0], [0.6, 0.8]])


def ranks():
    """Those after re-ranking are made up."""
    pair = rank_embeddings(IMAGES, TEXTS, SPLIT.image_of, duplicates=duplicates_of(SPLIT.captions, SPLIT.hashes))
    return SplitRanks(*pair, Ranks(np.array([3, 1]), np.array([1, 1, 1, 6])))


def test_ranks_are_written_query_by_query(tmp_path):
    path = tmp_path / "cell" / "ranks.parquet"
    write_ranks(path, SPLIT, ranks())
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    columns = ("direction", "image_id", "caption", "rank", "dup_rank", "rr_rank")
    assert [tuple(row[name] for name in columns) for row in table.to_pylist()] == [
        # Image a: caption 0 scores .8, more than all others. Image b: caption 2 scores 1.
        ("i2t", "a.png", -1, 1, 1, 3),
        ("i2t", "b.png", -1, 1, 1, 1),
        # Caption 1 belongs to image a but lies nearer to b; so does its twin, which belongs to b.
        ("t2i", "a.png", 0, 1, 1, 1),
        ("t2i", "a.png", 1, 2, 1, 1),
        ("t2i", "b.png", 2, 1, 1, 1),
        ("t2i", "b.png", 3, 1, 1, 6),
    ]


def test_metrics_by_hand(tmp_path):
    write_ranks(tmp_path / "ranks.parquet", SPLIT, ranks())
    metrics = metrics_of(read_ranks(tmp_path / "ranks.parquet").ranks)
    assert metrics["i2t_r1"] == 100
    assert metrics["t2i_r1"] == 75
    assert metrics["t2i_r5"] == 100
    assert metrics["mr"] == pytest.approx((5 * 100 + 75) / 6)
    assert metrics["dup_t2i_r1"] == metrics["dup_mr"] == 100
    assert (metrics["i2t_medr"], metrics["t2i_medr"]) == (1, 1)
    assert (metrics["rr_i2t_r1"], metrics["rr_i2t_r5"], metrics["rr_t2i_r5"]) == (50, 100, 75)
    assert len(metrics) == 3 * 7 + 2
    # One of the two captions "a dot" must miss its image at the first place, whatever the model.
    assert ceiling(SPLIT.image_of, duplicates_of(SPLIT.captions, SPLIT.hashes)).t2i_r1 == 75


def test_ranks_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "ranks.parquet"
    write_ranks(path, SPLIT, ranks())
    found = read_ranks(path)
    assert found.image_of.tolist() == [0, 0, 1, 1]
    assert found.image_ids.tolist() == ["a.png", "b.png"]
    assert found.ranks["rr_rank"].i2t.tolist() == [3, 1]
    assert found.ranks["rank"].t2i.tolist() == [1, 2, 1, 1]


def test_ranks_of_a_file_without_a_column_have_no_metrics_of_it(tmp_path):
    path = tmp_path / "ranks.parquet"
    write_ranks(path, SPLIT, ranks())
    pq.write_table(pq.read_table(path).drop_columns(["rr_rank"]).replace_schema_metadata({}), path)
    assert {name for name in metrics_of(read_ranks(path).ranks) if name.startswith("rr_")} == set()
    assert len(metrics_of(read_ranks(path).ranks)) == 2 * 7 + 2


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more"])
def test_ranks_that_cannot_be_read_are_named(content, tmp_path):
    path = tmp_path / "ranks.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        RecordError, match=r"ranks.parquet cannot be read .*: restore it from git, or evaluate the cell"
    ):
        read_ranks(path)


@pytest.fixture
def trained(project, make_spec):
    spec = make_spec("vse", epochs=1)
    assert train(spec).outcome.status == "ok"
    return spec


def test_the_record_of_a_trained_cell(trained):
    record = evaluate(trained)
    assert record.outcome == Outcome()
    assert record.identities == {"parameters": trained.params_sha, "trained": "0" * 64, "scored": "0" * 64}
    assert record.weights_sha == sha256_file(Paths.checkpoint(trained.cell) / "model.safetensors")
    assert record.data_sha == load_splits(Paths.clean(CleanId("scenes-b")))[1].data_sha
    assert record.selection["split"] == "val"
    assert set(record.seconds) == {"features", "train", "evaluate", "encode", "score", "inference"}
    assert set(record.peak_memory_mib) == {"train", "evaluate"}
    assert record.published.paper == "pir2024"
    assert "epochs 1 instead of 50" in record.deviations
    folder = Paths.cell(trained.cell)
    table = pq.read_table(folder / "ranks.parquet").to_pandas()
    assert len(table) == 6 + 12
    share = 100 * (table.loc[table["direction"] == "t2i", "rank"] <= 5).mean()
    assert metrics_of(read_ranks(folder / "ranks.parquet").ranks)["t2i_r5"] == pytest.approx(share)
    # No two captions of the six test images are alike, so everything can be found. All other metrics are in the ranks.
    assert record.metrics == {f"ceiling_{field.name}": 100 for field in fields(RecallReport)}
    history = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    assert history[0] == "epoch,loss,val_mr,val_dup_mr,learning_rate,contrastive"
    assert len(history) == 2
    first = [path.read_bytes() for path in trained.scored_outputs[:2]]
    assert evaluate(trained).metrics == record.metrics
    assert [path.read_bytes() for path in trained.scored_outputs[:2]] == first


def test_the_first_items_are_those_that_the_ranks_count(trained):
    evaluate(trained)
    ranks, top = read_ranks(Paths.cell(trained.cell) / "ranks.parquet"), read_top(trained.top_file)
    assert (top.i2t.items.shape, top.t2i.items.shape) == ((6, 10), (12, 6))
    assert (top.image_of.tolist(), top.image_ids.tolist()) == (ranks.image_of.tolist(), ranks.image_ids.tolist())
    # All items are in the lists of captions, and none ties with another.
    place = 1 + (top.t2i.items == top.image_of[:, None]).argmax(1)
    assert place.tolist() == ranks.ranks["rank"].t2i.tolist()
    own = top.image_of[top.i2t.items] == np.arange(6)[:, None]
    assert (1 + own.argmax(1))[own.any(1)].tolist() == ranks.ranks["rank"].i2t[own.any(1)].tolist()
    assert (np.diff(top.t2i.scores) <= 0).all()


def test_the_record_is_of_the_code_that_trained_and_of_the_code_that_evaluated(trained):
    edited = trained.model_copy(update={"code": {TRAINED: "1" * 64, SCORED: "2" * 64}})
    identities = evaluate(edited).identities
    assert (identities[TRAINED], identities[SCORED]) == ("0" * 64, "2" * 64)


def test_nothing_is_kept_against_an_objection(trained):
    def object_to():
        raise RecordError("the sources have changed")

    with pytest.raises(RecordError, match="the sources have changed"):
        evaluate(trained, object_to)
    assert not Paths.cell(trained.cell).exists()


def test_what_was_never_trained_is_not_evaluated(project, make_spec):
    with pytest.raises(RecordError, match="tiny/scenes-b/vse/0 has not been trained: run `rsitr train tiny/scenes-b"):
        evaluate(make_spec("vse"))


def test_a_checkpoint_of_another_cell_fails_and_names_it(trained):
    path = Paths.checkpoint(trained.cell) / "model.safetensors"
    state = load_file(path)
    save_file({"image_head.weight": torch.ones(3, 3)}, path, metadata={"cell": "tiny/ucm/vse/7"})
    record = evaluate(trained)
    assert record.outcome.status == "failed"
    assert "was written for tiny/ucm/vse/7 and does not fit this model" in record.outcome.reason
    assert record.metrics == {}
    assert len(pq.read_table(Paths.cell(trained.cell) / "ranks.parquet")) == 0
    assert read_top(trained.top_file).i2t.items.size == 0
    state.pop("image_head.weight")
    save_file(state, path)
    assert "belongs to another model: ['image_head.weight']" in evaluate(trained).outcome.reason


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_what_was_not_trained_is_recorded_and_not_evaluated(status, project, make_spec):
    spec = make_spec("vse")
    report = TrainReport(outcome=Outcome(status=status, reason="because"), seconds={"train": 2.0})
    write_json(Paths.checkpoint(spec.cell) / "train.json", report)
    record = evaluate(spec)
    assert record.outcome == Outcome(status=status, reason="because")
    assert (record.metrics, record.seconds) == ({}, {"train": 2.0})
    assert {file.name for file in Paths.cell(spec.cell).iterdir()} == {path.name for path in spec.scored_outputs}


def test_a_method_that_is_not_trained_leaves_an_empty_checkpoint_and_is_evaluated(project, make_spec, tiny_clip):
    spec = make_spec("chance").model_copy(
        update={"method": "clip", "settings": {"model": tiny_clip, "weights": "none"}}
    )
    assert train(spec).outcome == Outcome()
    assert load_file(Paths.checkpoint(spec.cell) / "model.safetensors") == {}
    record = evaluate(spec)
    assert record.outcome == Outcome()
    assert record.parameters["trainable"] == 0
    assert 0 < metrics_of(read_ranks(Paths.cell(spec.cell) / "ranks.parquet").ranks)["mr"] <= 100


@pytest.fixture
def of_pairs(project, make_spec, monkeypatch):
    """A trained cell that scores pairs, a text at a time, and keeps scores after every block."""
    spec = make_spec("scan-t2i", epochs=1)
    assert train(spec).outcome == Outcome()
    monkeypatch.setattr(scoring, "PAIR_NUMBERS", 1)
    monkeypatch.setattr(scoring, "KEEP_SECONDS", -1)
    return spec


def kept_of(spec):
    return Paths.checkpoint(spec.cell) / "scores.pt"


def blocks(spec, monkeypatch, killed_at=None):
    """Evaluate a cell; how many blocks of texts were scored, the last of them cut short by a kill, if any."""
    scored, real = [], scoring._score_texts

    def counted(method, images, texts, scores, device):
        scored.append(len(texts))
        if len(scored) == killed_at:
            raise Killed
        real(method, images, texts, scores, device)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_score_texts", counted)
        if killed_at:
            with pytest.raises(Killed):
                evaluate(spec)
        else:
            assert evaluate(spec).outcome == Outcome()
    return len(scored)


def test_a_killed_evaluation_of_pairs_continues_and_ends_with_the_same_ranks(of_pairs, monkeypatch):
    ranks = Paths.cell(of_pairs.cell) / "ranks.parquet"
    total = blocks(of_pairs, monkeypatch)
    assert total == 12
    expected = ranks.read_bytes()
    ranks.unlink()
    assert blocks(of_pairs, monkeypatch, killed_at=3) == 3
    assert kept_of(of_pairs).is_file()
    assert not ranks.exists()
    assert blocks(of_pairs, monkeypatch) == total - 2
    assert ranks.read_bytes() == expected
    assert not kept_of(of_pairs).exists()


@pytest.mark.parametrize("other", ["code", "weights", "a bit"])
def test_kept_scores_of_anything_else_are_not_used(other, of_pairs, monkeypatch, capsys):
    total, ranks = blocks(of_pairs, monkeypatch), Paths.cell(of_pairs.cell) / "ranks.parquet"
    expected = ranks.read_bytes()
    blocks(of_pairs, monkeypatch, killed_at=3)
    spec, folder = of_pairs, Paths.checkpoint(of_pairs.cell)
    if other == "code":
        spec = of_pairs.model_copy(update={"code": {TRAINED: "0" * 64, SCORED: "2" * 64}})
    elif other == "weights":
        report = TrainReport.model_validate_json((folder / "train.json").read_bytes())
        write_json(folder / "train.json", report.model_copy(update={"weights_sha": "1" * 64}))
    else:
        whole = kept_of(spec).read_bytes()
        kept_of(spec).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert blocks(spec, monkeypatch) == total
    assert ranks.read_bytes() == expected
    assert ("scores.pt.damaged is damaged: evaluation begins again" in capsys.readouterr().err) == (other == "a bit")


def test_an_evaluation_of_embeddings_keeps_no_scores(trained, monkeypatch):
    monkeypatch.setattr(scoring, "KEEP_SECONDS", -1)
    monkeypatch.setattr(scoring.Kept, "write", lambda *arguments: pytest.fail("scores were kept"))
    assert evaluate(trained).outcome == Outcome()
