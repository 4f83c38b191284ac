"""Real runs beyond the first: what is made again, and what comes out."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import zipfile
from pathlib import PurePosixPath

from tests.helpers.project_copy import TINY, Project

CELL = "results/cells/tiny/scenes-b"


def test_data_rebuilt_alike_costs_no_training_and_other_data_does(project: Project) -> None:
    path, model = project.path / CELL / "vse/0/cell.json", "checkpoints/tiny/scenes-b/vse/0/model.safetensors"
    record, weights = path.read_bytes(), (project.path / model).read_bytes()
    project.edit("src/rsitr/datasets/scenes.py", 'citation = "drawn by rsitr; no publication"', 'citation = "rsitr"')
    assert "rule canonical:" in project.snakemake("data", "cells")
    assert path.read_bytes() == record  # the times in it are those of the first run
    assert project.planned("all") == set()
    project.edit("src/rsitr/datasets/scenes.py", "generate(self.name, root)", "generate(self.name, root, 1)")
    assert "2 results are of the data before: run the same command again" in project.snakemake("data", "cells")
    project.snakemake("data", "cells")
    assert json.loads(path.read_bytes())["data_sha"] != json.loads(record)["data_sha"]
    assert (project.path / model).read_bytes() != weights


def test_a_teacher_is_trained_first_and_an_edit_of_it_reaches_its_student(project: Project) -> None:
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    tiny["matrix"].insert(0, {"datasets": ["scenes-b"], "methods": ["lw-mcr@taught"], "seeds": [0]})
    tiny["settings"]["methods"] = {"lw-mcr@taught": {"teacher": "vse"}}
    project.params(params)
    student = f"{CELL}/lw-mcr@taught/0/cell.json"
    assert project.planned(student) == {"scenes-b/lw-mcr@taught/0"}
    shutil.rmtree(project.path / "checkpoints")
    assert project.planned(student) == {"scenes-b/vse/0", "scenes-b/lw-mcr@taught/0"}
    project.snakemake("cells")
    records = [json.loads((project.path / path).read_text()) for path in (student, f"{CELL}/vse/0/cell.json")]
    assert [record["outcome"]["status"] for record in records] == ["ok", "ok"]
    assert records[0]["used"]["teacher"] == records[1]["weights_sha"]
    assert project.planned("all") == set()
    project.edit("src/rsitr/methods/vse.py", "self.triplet_loss(scores, batch)", "self.triplet_loss(2 * scores, batch)")
    assert project.planned("all") == {"scenes-b/vse/0", "scenes-b/lw-mcr@taught/0"}


def test_a_dynamic_margin_finds_its_similarities_made_and_a_new_matrix_costs_no_training(project: Project) -> None:
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    tiny["matrix"].append({"datasets": ["scenes-b"], "methods": ["vse++", "vse++@dynamic"], "seeds": [0]})
    tiny["settings"]["methods"] = {"vse++@dynamic": {"margin_type": "dynamic", "prior": "released"}}
    project.params(params)
    tables = project.path / "results/tables/tiny"
    assert not list(tables.glob("amfmn-*"))
    assert "rule similarity:" in project.snakemake("all")
    folder = project.path / "data/similarity/scenes-b/official-remoteclip"
    record = project.path / CELL / "vse++@dynamic/0/cell.json"
    assert sorted(path.name for path in folder.iterdir()) == ["released.json", "released.npy"]
    assert "γ 0.2, β 5, S released" in (tables / "margin.md").read_text()
    # Of the tables of a paper those that have a method of the matrix; before, it had none.
    assert sorted(path.name for path in tables.glob("amfmn-*.md")) == ["amfmn-table-2.md", "amfmn-table-7.md"]
    trained = record.read_bytes()
    os.utime(folder / "released.npy")
    project.snakemake("all")
    assert record.read_bytes() == trained


def test_failed_cell_leaves_the_tables_complete(project: Project) -> None:
    """NA with its reason in every format; `rsitr retry --failed` reruns only that cell; strict refuses."""
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["settings"]["methods"] = {"vse": {"learning_rate": 1e30}}
    project.params(params)
    project.snakemake("all")
    record = json.loads((project.path / CELL / "vse/0/cell.json").read_text())
    assert record["outcome"]["status"] == "failed"
    assert "lower learning_rate" in record["outcome"]["reason"]
    assert "TrainingDiverged" in record["outcome"]["traceback"]
    for kind in ("csv", "md", "tex", "html"):
        text = (project.path / f"results/tables/tiny/comparison.{kind}").read_text()
        assert "NA" in text
        assert "the loss became" in text
    assert "1 failed" in project.run_warm("rsitr", "status", "tiny")
    assert "scenes-b/vse/0" in project.run_warm("rsitr", "tables", "tiny", "--strict", check=False)
    again = project.run_warm("rsitr", "retry", "tiny", "--failed")
    assert again.count("rule cell:") == 1
    assert "place=tiny/scenes-b/vse/0" in again


def test_shards_of_a_comparison_give_what_one_job_gives(project: Project) -> None:
    """And what the clean protocol `copies` reads is built when it is asked for."""
    path = project.path / "data/near_duplicates/scenes-b/scenes-b.parquet"
    whole = path.read_bytes()
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"] |= {"shards": 3, "dedup": "copies"}
    project.params(params)
    path.unlink()
    project.snakemake("data")
    assert path.read_bytes() == whole
    assert len(list((path.parent / "scenes-b").glob("*-of-3.parquet"))) == 3
    assert (project.path / "data/canonical/scenes-b/clean-official-copies.parquet").is_file()


def test_the_report_has_pages_and_pictures_with_their_labels(project: Project) -> None:
    project.snakemake("--report", "report.zip", "all")
    with zipfile.ZipFile(project.path / "report.zip") as report:
        (page,) = (report.read(name).decode() for name in report.namelist() if name.endswith("report.html"))
        inside = {PurePosixPath(name).name for name in report.namelist() if "/data/" in name}
    tables = project.path / "results/tables/tiny"
    shown = {path.name for path in tables.iterdir() if path.suffix in (".html", ".png")}
    assert inside == shown > {"comparison.html", "comparison.png"}
    results = json.JSONDecoder().raw_decode(re.split(r'id="results">\s*var results = ', page)[1])[0]
    labels = {PurePosixPath(name).name: entry["labels"] for name, entry in results.items()}
    assert labels.keys() == shown
    assert labels["pir-table-1.html"]["paper"] == "PIR"
    del labels["comparison.png"]["shows"]
    assert labels["comparison.png"] == {"table": "comparison", "paper": "none", "dataset": "scenes-b"}
