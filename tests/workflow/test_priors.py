"""Priors through real Snakemake: one that saw images of the test set and one that did not, and cells that use them."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from rsitr.datasets.table import read_table
from tests.helpers.project_copy import TINY, Project

METHOD = '''"""VSE whose image tower begins as a prior."""

from rsitr.methods.base import method
from rsitr.methods.dual_encoder import backbone_arguments
from rsitr.methods.vse import VSE, VSEConfig
from rsitr.nn.backbones import ImageBackbone


class InstructedConfig(VSEConfig):
    instruction_weights: str = "none"


@method("instructed")
class Instructed(VSE):
    """The image tower is the prior's."""

    Config = InstructedConfig

    @staticmethod
    def make_backbone(config):
        return ImageBackbone(**backbone_arguments(config) | {"weights": config.instruction_weights})
'''
NAMES = ("all", "clean")


def with_priors(**clean: Any) -> dict[str, Any]:
    """The parameters of the tiny project with two priors, which differ in ``without``, and a cell for each."""
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    settings = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "epochs": 2}
    prior = {"datasets": ["scenes-a"], "settings": settings}
    tiny["priors"] = {"all": prior, "clean": prior | {"without": ["scenes-b"]} | clean}
    methods = {f"instructed@{name}": {"instruction_weights": f"scenes://tiny/{name}"} for name in NAMES}
    tiny["matrix"].append({"datasets": ["scenes-b"], "methods": list(methods), "seeds": [0]})
    tiny["settings"]["methods"] = methods
    return params


def planted(folder: Path) -> set[str]:
    """Training images of scenes-a that were copied into the test split of scenes-b."""
    rows = csv.DictReader((folder / "data/extracted/scenes-b/duplicates.csv").read_text().splitlines())
    originals = {row["of_image"] for row in rows if row["of_dataset"] == "scenes-a"}
    table = read_table(folder / "data/canonical/scenes-a/dataset.parquet")[0]
    split = dict(zip(table["image_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    return {image for image in originals if split[image] == "train"}


@pytest.fixture
def primed(project: Project) -> Project:
    """A finished project with two priors to train and two cells that begin as them."""
    (project.path / "src/rsitr/methods/instructed.py").write_text(METHOD)
    project.params(with_priors())
    return project


def test_a_prior_with_and_without_images_of_the_test_set(primed: Project) -> None:
    cells = {f"scenes-b/instructed@{name}/0" for name in NAMES}
    priors = {f"tiny/{name}/model.safetensors" for name in NAMES}
    assert primed.planned("all") == cells | priors
    primed.snakemake("data")
    # Only the priors read it: it is data of the experiment all the same, not something that a later stage brings.
    assert (primed.path / "data/canonical/scenes-a/dataset.parquet").is_file()
    primed.snakemake("all")

    results = primed.path / "results"
    records = {name: json.loads((results / f"scenes/tiny/{name}/scenes.json").read_text()) for name in NAMES}
    assert [record["outcome"]["status"] for record in records.values()] == ["ok", "ok"]
    near_duplicates = planted(primed.path)
    assert len(near_duplicates) == 5
    assert records["all"]["left_out"] == {}
    assert records["clean"]["left_out"] == {"scenes-a: near duplicate in scenes-b test": 5}
    rows = csv.DictReader((results / "scenes/tiny/clean/left_out.csv").read_text().splitlines())
    assert {row["image"] for row in rows} == near_duplicates
    used = {name: sum(record["images"].values()) for name, record in records.items()}
    assert used["all"] - used["clean"] == 5

    for name in NAMES:
        cell = json.loads((results / f"cells/tiny/scenes-b/instructed@{name}/0/cell.json").read_text())
        assert cell["outcome"]["status"] == "ok", cell["outcome"]
        assert cell["used"]["prior"] == records[name]["weights_sha"]
    table = (results / "tables/tiny/comparison.md").read_text()
    assert "test images with a near duplicate in the images of the prior tiny/all (rule copies)" in table
    assert "in the images of the prior tiny/clean" not in table
    overlaps = (results / "tables/tiny/leakage.training.csv").read_text().splitlines()
    seen = {row["training"]: row["images"] for row in csv.DictReader(overlaps)}
    assert 1 <= int(seen["tiny/all"]) <= 5  # of the five some may be held out
    assert seen["tiny/clean"] == "0"
    assert "tiny/clean" in primed.run_warm("rsitr", "scenes", "report", "tiny")

    assert primed.planned("all") == set()
    primed.params(with_priors(seed=1))
    assert primed.planned("all") == {"scenes-b/instructed@clean/0", "tiny/clean/model.safetensors"}
    primed.params(with_priors())
    primed.edit("src/rsitr/stages/prior.py", "WARMUP = 0.1", "WARMUP = 0.2")
    assert primed.planned("all") == cells | priors


def test_a_prior_that_cannot_be_had_ends_its_cells_and_no_other(primed: Project) -> None:
    params = with_priors()
    params["experiments"]["tiny"]["priors"]["all"]["settings"] = {"image_backbone": "test_resnet", "image_size": 32}
    params["experiments"]["tiny"]["missing_weights"] = "skip"
    primed.params(params)  # weights of timm, and no network
    primed.snakemake("results/cells/tiny/scenes-b/instructed@all/0/cell.json")
    cell = json.loads((primed.path / "results/cells/tiny/scenes-b/instructed@all/0/cell.json").read_text())
    assert cell["outcome"]["status"] == "skipped"
    assert cell["outcome"]["reason"].startswith("its prior tiny/all is skipped: ")
