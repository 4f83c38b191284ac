"""A folder of one's own, imported into a project and trained on."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.pictures import picture
from tests.helpers.project_copy import TINY, Project, copy_sources

CELL = "results/cells/tiny/mine/vse/0/cell.json"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project without any result, whose only dataset is one that is not imported yet."""
    (tmp_path / "project").mkdir()
    project = copy_sources(tmp_path / "project")
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"] |= {"matrix": [{"datasets": ["mine"], "methods": ["vse"], "seeds": [0]}]}
    params["experiments"]["tiny"]["dedup"] = "none"
    project.params(params)
    return project


@pytest.mark.slow
def test_a_folder_is_imported_and_a_cell_of_it_trained(project: Project, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    lines = []
    for number, split in enumerate(["train"] * 16 + ["val"] * 6 + ["test"] * 6):
        Image.fromarray(picture(number, 32)).save(own / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "split": split, "captions": [f"port {number}", "a port"]}))
    (own / "all.jsonl").write_text("\n".join(lines), encoding="utf-8")
    said = project.snakemake("-n", CELL, check=False)
    assert "unknown dataset 'mine'" in said
    assert "with `rsitr data import FOLDER --as mine`" in said
    printed = project.run_warm("rsitr", "data", "import", str(own), "--as", "mine")
    assert printed == "data/raw/mine/source.json: jsonl, 28 images (16 train, 6 val, 6 test), 56 captions\n"
    receipt = (project.path / "data/raw/mine/source.json").read_bytes()
    project.snakemake(CELL)
    record = json.loads((project.path / CELL).read_text())
    assert record["outcome"]["status"] == "ok"
    assert record["data"]["origin"] == "imported"
    assert record["data"]["images"] == {"train": 16, "val": 6, "test": 6}
    assert (project.path / "data/raw/mine/source.json").read_bytes() == receipt
    # Not even when everything is made again does Snakemake remove what only an import can write.
    again = project.snakemake("-n", "-F", "data")
    assert "rule canonical:" in again
    assert "rule fetch:" not in again
    assert project.planned("cells") == set()
