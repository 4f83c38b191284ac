"""Two-stage retrieval through real Snakemake: what is made, what a change makes anew, what a clone does not."""

from __future__ import annotations

import copy
import json
import shutil
from typing import Any

from tests.helpers.project_copy import TINY, Project

RECORD = "results/two_stage/tiny/scenes-b/scan-t2i/{}/0/two_stage.json"
FILTERS = ("vse", "retrieval-filter")


def with_two_stages(*shortlists: int) -> dict[str, Any]:
    """The parameters of the tiny project with a scorer, a filter that it teaches, and both filters in use."""
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    tiny["matrix"].append({"datasets": ["scenes-b"], "methods": ["scan-t2i", "retrieval-filter"], "seeds": [0]})
    tiny["settings"]["methods"] = {"retrieval-filter": {"teacher": "scan-t2i", "compare": "lists"}}
    common = {"datasets": ["scenes-b"], "scorer": "scan-t2i", "shortlists": list(shortlists), "seeds": [0]}
    tiny["two_stage"] = [common | {"filter": name} for name in FILTERS]
    return params


def planned(project: Project) -> set[str]:
    """Filters of the two-stage retrievals that a run would make."""
    lines = project.snakemake("-n", "all").splitlines()
    outputs = [line.split()[1] for line in lines if line.strip().startswith("output: results/two_stage/")]
    return {output.split("/")[5] for output in outputs}


def test_all_makes_them_once_and_again_when_something_changed(project: Project) -> None:
    project.params(with_two_stages(2, 4))
    assert planned(project) == set(FILTERS)
    project.snakemake("results/tables/tiny/two-stage.csv")
    for name in FILTERS:
        record = json.loads((project.path / RECORD.format(name)).read_text())
        assert record["outcome"]["status"] == "ok", record["outcome"]
        assert [point["k"] for point in record["points"]] == [2, 4]
    folder = project.path / "results/tables/tiny"
    assert "| scan-t2i, retrieval-filter | 4 | 1 |" in (folder / "two-stage.md").read_text()
    assert (folder / "two-stage.png").read_bytes().startswith(b"\x89PNG")
    assert planned(project) == set()

    # A clone has records and tables, and neither checkpoints nor what Snakemake remembers: nothing is to be done.
    away = project.path.with_name("away")
    away.mkdir()
    for name in ("checkpoints", ".snakemake"):
        shutil.move(project.path / name, away / name)
    assert planned(project) == set()
    assert project.planned("all") == set()
    for name in ("checkpoints", ".snakemake"):
        shutil.rmtree(project.path / name, ignore_errors=True)
        shutil.move(away / name, project.path / name)

    project.params(with_two_stages(2, 3))
    assert planned(project) == set(FILTERS)
    assert project.planned("all") == set()  # no cell is trained again
    project.params(with_two_stages(2, 4))
    project.edit("src/rsitr/methods/retrieval_filter.py", "return 2 * width", "return 3 * width")
    assert planned(project) == {"retrieval-filter"}
    project.run_warm("rsitr", "tables", "tiny", "--only", "two-stage")
    marked = [line for line in (folder / "two-stage.md").read_text().splitlines() if "†" in line]
    assert len([line for line in marked if line.startswith("| scan-t2i, retrieval-filter")]) == 4
    assert "made by other code and filter than the present (seed 0)" in marked[-1]
    assert not [line for line in marked if line.startswith("| scan-t2i, vse")]
