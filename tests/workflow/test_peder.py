"""The study of CLIP alone in the graph: after evaluation, once, and never a reason to train."""

from __future__ import annotations

import copy

from tests.helpers.project_copy import TINY

TABLES = ("results/tables/tiny/peder-measures.csv", "results/tables/tiny/peder-probabilities.csv")


def test_a_study_follows_its_cell_and_trains_nothing_by_itself(project):
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    tiny["matrix"][0]["methods"] = ["chance", "vse", "clip"]
    tiny["settings"]["methods"] = {"clip": {"model": "tiny-64", "weights": "none"}}
    project.params(params)
    log = project.snakemake(*TABLES)
    assert log.count("rule study:") == 2  # of CLIP, and of the two encoders that were trained before
    studies = project.path / "results/peder/tiny/scenes-b"
    assert {path.parent.parent.name for path in studies.rglob("study.json")} == {"clip", "vse"}
    assert "Nothing to be done" in project.snakemake("-n", *TABLES)
    # A clone without checkpoints keeps what it has, and does not train for a study that it lacks.
    for checkpoint in (project.path / "checkpoints").rglob("model.safetensors"):
        checkpoint.unlink()
    for file in (studies / "clip/0").iterdir():
        file.unlink()
    plan = project.snakemake("-n", TABLES[0])
    assert "checkpoints of current records are not here: the pictures of peder (2 checkpoints), peder/" in plan
    for rule in ("cell", "checkpoint", "study"):
        assert f"rule {rule}:" not in plan
