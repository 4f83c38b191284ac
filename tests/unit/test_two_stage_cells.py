"""Two-stage retrieval by cells of the tiny project: what the record says, when it is made anew, what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
import yaml

from rsitr import pipeline
from rsitr.cells import Layout, read_record
from rsitr.cli import app
from rsitr.errors import ParamsError
from rsitr.methods.base import Corpus
from rsitr.params import Params, TwoStageId, load_params
from rsitr.retrieval.recall import recall
from rsitr.scoring import Encoded, Scores, encode_captions
from rsitr.two_stage import run as running
from rsitr.two_stage.pairs import Pairs
from rsitr.two_stage.record import read_two_stage
from rsitr.two_stage.run import forget_two_stages, run_two_stage, stale_two_stage, synchronise_two_stages
from rsitr.two_stage.stage import same_texts

METHODS = ["scan-t2i", "vse++", "retrieval-filter", "distilled-dual"]
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
        tiny["matrix"] = [{"datasets": ["scenes-b"], "methods": METHODS, "seeds": [0, 1]}]
        tiny["two_stage"] = list(blocks)
        tiny["settings"]["methods"] = {
            "retrieval-filter": {"teacher": "scan-t2i", "compare": "lists", "distillation_temperature": 0.1},
            "distilled-dual": {"teacher": "scan-t2i", "distillation_temperature": 0.1},
        }
        (project / "params.yaml").write_text(yaml.safe_dump(raw))
        return pipeline.open_params(load_params().model_dump())

    return arranged


def made(params: Params, method: str) -> None:
    spec = pipeline.spec_of(params, next(cell for cell in params.cells("tiny") if cell.method == method))
    for stage in ("train", "evaluate"):
        assert pipeline.run_cell_stage(stage, spec).status == "ok"


def test_a_record_of_two_cells(arrange):
    params = arrange(block(), block("retrieval-filter"), block("distilled-dual", shortlists=[3]))
    for method in METHODS:
        made(params, method)
    for spec in pipeline.two_stage_specs(params, "tiny"):
        outcome = run_two_stage(spec)
        assert outcome.status == "ok", outcome.traceback
        record = read_two_stage(spec.id)
        cells = [read_record(Layout.cell(cell) / "cell.json") for cell in spec.id.cells]
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
            total = point.filter_seconds.i2t + point.rerank_seconds.i2t
            assert point.seconds.i2t == pytest.approx(total)
            assert min(point.filter_seconds.t2i, point.rerank_seconds.t2i) > 0
        assert stale_two_stage(spec) == []
