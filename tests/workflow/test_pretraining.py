"""A pretraining in the graph: after its prior, before the cell that starts from it, and once."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.helpers.project_copy import TINY, Project

CELL = "results/cells/tiny/scenes-b/pir-clip/0/cell.json"
SMALL = {"layers": [1, 1, 1, 1], "width": 4}
START = {"model": "tiny-64", "instruction": SMALL, "instruction_weights": "scenes://tiny/scenes"}


def with_stages(dataset: str = "scenes-b", **settings: Any) -> dict[str, Any]:
    """The tiny project with a scene classifier, stage 1 of PIR-CLIP on a dataset, and a cell of stage 2."""
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    options = {**SMALL, "output_dim": 64}
    image = {"image_backbone": "modified_resnet", "image_weights": "none", "image_size": 64, "image_options": options}
    tiny["priors"] = {"scenes": {"datasets": ["scenes-b"], "settings": image | {"epochs": 1}}}
    first = START | {"epochs": 1, "batch_size": 32, "workers": 0}
    tiny["pretrained"] = {"first": {"dataset": dataset, "settings": first | settings}}
    tiny["matrix"][0]["methods"] = ["chance", "pir-clip"]
    tiny["settings"]["methods"] = {"pir-clip": START | {"weights": "pretraining://tiny/first"}}
    return params


def test_stage_one_comes_before_stage_two(project: Project) -> None:
    project.params(with_stages())
    project.snakemake("cells")
    record = json.loads((project.path / CELL).read_text())
    assert record["outcome"]["status"] == "ok", record["outcome"]
    first = json.loads((project.path / "results/pretraining/tiny/first/pretraining.json").read_text())
    assert record["used"]["pretraining"] == first["weights_sha"]
    assert record["used"]["prior"] == first["used"]["prior"]
    assert "Nothing to be done" in project.snakemake("-n", "cells")
    project.params(with_stages(seed=1))
    assert project.planned("cells") == {"scenes-b/pir-clip/0", "tiny/first/model.safetensors"}
    # Where git has the record alone, the weights come before a cell that needs them.
    project.params(with_stages())
    (project.path / "checkpoints/pretraining/tiny/first/model.safetensors").unlink()
    (project.path / CELL).unlink()
    assert "rule pretraining_weights:" in project.snakemake("-n", "cells")


def test_half_a_terabyte_is_not_fetched_unasked(project: Project) -> None:
    """Without RS5M the cell is skipped, and says which two commands bring it."""
    project.params(with_stages("rs5m"))
    assert "dataset=rs5m" not in project.snakemake("cells")
    outcome = json.loads((project.path / CELL).read_text())["outcome"]
    assert outcome["status"] == "skipped"
    assert outcome["reason"].startswith("its pretraining tiny/first is skipped: the shards of rs5m")
    assert outcome["reason"].endswith("run `rsitr data fetch rs5m`, then `rsitr pretrain tiny/first`")
