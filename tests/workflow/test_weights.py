"""Pretrained weights in the graph: fetched before what needs them, and never a reason to do anything twice."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from rsitr.pipeline.weights import Receipt, caches
from tests.helpers.project_copy import TINY, Project, copy_sources

pytestmark = pytest.mark.slow
REPOSITORY = "owner/tiny"


@pytest.fixture
def of_hub(tmp_path: Path) -> Project:
    """A project without results, one of whose two methods needs weights of the hub; there is no network."""
    project, params = copy_sources(tmp_path), copy.deepcopy(TINY)
    transformer = {"text_encoder": "transformer", "text_weights": REPOSITORY}
    params["experiments"]["tiny"]["settings"]["methods"] = {"vse": transformer}
    project.params(params)
    return project


def test_nothing_that_needs_missing_weights_is_computed_and_the_run_says_so(of_hub: Project) -> None:
    plan = of_hub.snakemake("-n", "all")
    assert "rule weights:" in plan
    assert not (of_hub.path / Receipt.path("tiny")).exists()
    records = [f"results/cells/tiny/scenes-b/{method}/0/cell.json" for method in ("chance", "vse")]
    printed = of_hub.snakemake("--keep-going", *records, check=False)
    assert "owner/tiny: missing: weights unavailable: owner/tiny is not in the Hugging Face cache" in printed
    assert "Error in rule weights" in printed
    assert [(of_hub.path / record).exists() for record in records] == [True, False]


def test_weights_that_are_here_ask_for_no_job(project: Project) -> None:
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["settings"]["methods"] = {
        "vse": {"text_encoder": "transformer", "text_weights": REPOSITORY}
    }
    project.params(params)
    receipt = project.path / Receipt.path("tiny")
    before = {path: path.stat().st_mtime_ns for path in project.path.rglob("*.json")}
    assert "rule weights:" in project.snakemake("-n", "all")
    receipt.parent.mkdir(parents=True, exist_ok=True)
    receipt.write_text(json.dumps({"caches": caches(), "files": {REPOSITORY: []}}), encoding="utf-8")
    plan = project.snakemake("-n", "all")
    assert "rule cell:" in plan
    assert "rule weights:" not in plan
    assert {path: path.stat().st_mtime_ns for path in before} == before
