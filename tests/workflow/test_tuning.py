"""Tuning through real Snakemake: a method is tuned, its cells take what was found, and a table says what that was."""

from __future__ import annotations

import copy
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.project_copy import TINY, Project

TUNING = "results/tuning/tiny/scenes-b/vse/tuning.json"


def with_tuning(**changes: Any) -> dict[str, Any]:
    """The parameters of the tiny project with tuned cells of ``vse``: the method, and a variant with its own rate."""
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    tiny["matrix"].append(
        {"datasets": ["scenes-b"], "methods": ["vse@tuned", "vse@slower"], "seeds": [0], "settings": "tuned"}
    )
    tiny["settings"]["methods"] = {"vse@tuned": {}, "vse@slower": {"learning_rate": 1e-4}}
    space = {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}, "width": {"choices": [8, 12]}}
    tiny["tuning"] = {"trials": 3, "max_steps": 4, "space": {"methods": {"vse": space}}} | changes
    return params


def committed(project: Project) -> None:
    """Put the project into git as it is."""
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "as it is")):
        project.run("git", *command)


def files(project: Project) -> dict[Path, bytes]:
    """Records and certificates."""
    found = (path for pattern in ("*.json", "*.csv") for path in (project.path / "results").rglob(pattern))
    return {path: path.read_bytes() for path in found}


@pytest.mark.slow
def test_a_method_is_tuned_and_its_cells_take_what_was_found(project: Project) -> None:
    project.params(with_tuning())
    printed = project.snakemake("-n", "all")
    assert f"output: {TUNING}" in printed
    assert project.planned("all") == {"scenes-b/vse@tuned/0", "scenes-b/vse@slower/0"}  # the one as given is there
    project.snakemake("all")

    record = json.loads((project.path / TUNING).read_text())
    assert record["outcome"]["status"] == "ok", record["outcome"]
    assert [trial["number"] for trial in record["trials"]] == [0, 1, 2]
    assert record["trials"][0]["settings"] == {"learning_rate": 6e-5, "width": 16}
    cells = {}
    for name in ("vse@tuned", "vse@slower"):
        cells[name] = json.loads((project.path / f"results/cells/tiny/scenes-b/{name}/0/cell.json").read_text())
        assert cells[name]["outcome"]["status"] == "ok", cells[name]["outcome"]
        assert cells[name]["used"]["tuning"] == record["weights_sha"]
        assert cells[name]["config"]["width"] == record["best"]["width"]
    assert cells["vse@tuned"]["config"]["learning_rate"] == record["best"]["learning_rate"]
    assert cells["vse@slower"]["config"]["learning_rate"] == 1e-4
    rows = list(csv.DictReader((project.path / "results/tables/tiny/tuning.trials.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert "best settings" in (project.path / "results/tables/tiny/tuning.md").read_text()

    assert "Nothing to be done" in project.snakemake("-n", "all")
    assert "tuning/tiny/scenes-b/vse: current, not run" in project.run_warm("rsitr", "tune", "tiny/scenes-b/vse")
    # Another search is another tuning, whose cells are trained again; the cell as given is not.
    project.params(with_tuning(trials=2))
    assert f"output: {TUNING}" in project.snakemake("-n", "all")
    assert project.planned("all") == {"scenes-b/vse@tuned/0", "scenes-b/vse@slower/0"}
    project.params(with_tuning())
    assert "Nothing to be done" in project.snakemake("-n", "all")
    # An edit of how trials are drawn makes them stale, and an edit of evaluation does not.
    project.edit("src/rsitr/stages/evaluate.py", "repeats: int = 10", "repeats: int = 11")
    assert f"output: {TUNING}" not in project.snakemake("-n", "all")
    project.edit("src/rsitr/stages/sampling.py", "STARTUP = 4", "STARTUP = 5")
    assert f"output: {TUNING}" in project.snakemake("-n", "tunings")

    # Neither alters a number: three trials are drawn at random in either case. The last of them shows it, and a cell.
    committed(project)
    tuning, cell = "tuning/tiny/scenes-b/vse", "cells/tiny/scenes-b/vse@tuned/0"
    assert f"{cell} is of other tuning, not of other code alone" in project.run_warm(
        "rsitr", "repeat", cell, check=False
    )
    printed = project.run_warm("rsitr", "repeat", tuning, cell)
    assert "3 of 3 trials" in printed
    assert "1 of 3 trials" not in printed
    assert f"{tuning}: the same, 1 certificates added" in printed
    assert f"{cell}: the same, 1 certificates added" in printed
    assert "Nothing to be done" in project.snakemake("-n", "tunings")
    assert project.planned("all") == {f"scenes-b/{name}/0" for name in ("chance", "vse", "vse@slower")}

    before = files(project)
    project.edit("src/rsitr/methods/vse.py", "self.temperature())", "self.temperature() * 1.5)")
    committed(project)
    printed = project.run_warm("rsitr", "repeat", tuning, check=False)
    assert re.search(
        r"tuning/tiny/scenes-b/vse: [a-z]+ of trial 2: .* became .*: what the change altered has to be", printed
    )
    assert files(project) == before
