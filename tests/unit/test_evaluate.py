"""Evaluation: what is embedded, ranked and written, on the tiny project and on embeddings set by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from rsitr.datasets.splits import SplitData, load_splits
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TrainReport, read_record
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import Ranks, text_groups
from rsitr.stages import evaluate as evaluation
from rsitr.stages.evaluate import SplitRanks, evaluate, metrics_of, write_ranks
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
    pair = rank_embeddings(IMAGES, TEXTS, SPLIT.image_of, text_group=text_groups(SPLIT.captions))
    return SplitRanks(*pair, Ranks(np.array([3, 1]), np.array([1, 1, 1, 6])))


def test_ranks_are_written_query_by_query(tmp_path):
    path = tmp_path / "cell" / "ranks.parquet"
    write_ranks(path, SPLIT, ranks())
    table = pq.read_table(path)
    assert table.schema.equals(evaluation.RANKS_SCHEMA)
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


def test_metrics_by_hand():
    metrics = metrics_of(ranks(), SPLIT)
    assert metrics["i2t_r1"] == 100
    assert metrics["t2i_r1"] == 75
    assert metrics["t2i_r5"] == 100
    assert metrics["mr"] == pytest.approx((5 * 100 + 75) / 6)
    assert metrics["dup_t2i_r1"] == metrics["dup_mr"] == 100
    # One of the two captions "a dot" must miss its image at the first place, whatever the model.
    assert metrics["ceiling_t2i_r1"] == 75
    assert (metrics["i2t_medr"], metrics["t2i_medr"]) == (1, 1)
    assert (metrics["rr_i2t_r1"], metrics["rr_i2t_r5"], metrics["rr_t2i_r5"]) == (50, 100, 75)
    assert len(metrics) == 4 * 7 + 2


@pytest.fixture
def trained(project, make_spec):
    spec = make_spec("vse", epochs=1)
    assert train(spec).outcome.status == "ok"
    return spec


def test_the_record_of_a_trained_cell(trained):
    record = evaluate(trained)
    assert record.outcome == Outcome()
    assert (record.params_sha, record.code_sha) == (trained.params_sha, trained.code_sha)
    assert record.data_sha == load_splits(Paths.clean("scenes-b", "none"))[1].data_sha
    assert record.selection["split"] == "val"
    assert set(record.seconds) == {"features", "train", "evaluate", "encode", "score", "inference"}
    assert set(record.peak_memory_mib) == {"train", "evaluate"}
    assert record.published.paper == "pir2024"
    assert "epochs 1 instead of 50" in record.deviations
    folder = Paths.cell(trained.cell)
    table = pq.read_table(folder / "ranks.parquet").to_pandas()
    assert len(table) == 6 + 12
    share = 100 * (table.loc[table["direction"] == "t2i", "rank"] <= 5).mean()
    assert record.metrics["t2i_r5"] == pytest.approx(share)
    history = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    assert history[0] == "epoch,loss,val_mr,learning_rate"
    assert len(history) == 2
    assert evaluate(trained).metrics == record.metrics


def test_a_checkpoint_of_another_cell_fails_and_names_it(trained):
    path = Paths.checkpoint(trained.cell) / "model.safetensors"
    state = load_file(path)
    save_file({"image_head.weight": torch.ones(3, 3)}, path, metadata={"cell": "tiny/ucm/vse/7"})
    record = evaluate(trained)
    assert record.outcome.status == "failed"
    assert "was written for tiny/ucm/vse/7 and does not fit this model" in record.outcome.reason
    assert record.metrics == {}
    assert len(pq.read_table(Paths.cell(trained.cell) / "ranks.parquet")) == 0
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
    assert {file.name for file in Paths.cell(spec.cell).iterdir()} == {"cell.json", "ranks.parquet", "history.csv"}


def test_an_evaluation_that_was_killed_is_recorded_and_the_checkpoint_stays_good(trained):
    killed = Outcome(status="failed", reason="evaluate was killed by SIGKILL")
    record = evaluate(trained, killed)
    assert (record.outcome, record.metrics) == (killed, {})
    assert record.selection["split"] == "val"
    assert read_record(Paths.cell(trained.cell) / "cell.json") == record
    assert evaluate(trained).outcome == Outcome()


def test_a_method_that_is_not_trained_leaves_an_empty_checkpoint_and_is_evaluated(project, make_spec, tiny_clip):
    spec = make_spec("chance").model_copy(
        update={"method": "clip", "settings": {"model": tiny_clip, "weights": "none"}}
    )
    assert train(spec).outcome == Outcome()
    assert load_file(Paths.checkpoint(spec.cell) / "model.safetensors") == {}
    record = evaluate(spec)
    assert record.outcome == Outcome()
    assert record.parameters["trainable"] == 0
    assert 0 < record.metrics["mr"] <= 100
