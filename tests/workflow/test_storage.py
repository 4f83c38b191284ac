"""Machines that share no folder: files are in a storage, and each job sees those alone that its rule names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.kubernetes import kubernetes, missing, plugin_paths
from tests.helpers.project_copy import Project, copy_sources, timeless
from tests.helpers.slurm import OFTEN

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
CELLS = [f"cells/tiny/scenes-b/{method}/0/cell.json" for method in ("chance", "vse")]
OF_TIME = {"convergence", "cell", "train", "site", "chance", "vse"}
"""Files that show it, by their first name."""


def storage(folder: Path) -> tuple[str, ...]:
    return "--default-storage-provider", "fs", "--default-storage-prefix", str(folder)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of data, checkpoints and results, but for logs, raw data and the marks of Snakemake."""
    found = (path for part in ("data", "checkpoints", "results") for path in (folder / part).rglob("*"))
    places = {path.relative_to(folder).as_posix(): path for path in found if path.is_file()}
    left = ("data/raw/", "results/logs/", "results/timing/")
    return {
        name: path.read_bytes() for name, path in places.items() if not name.startswith(left) and path.name[0] != "."
    }


def test_a_storage_has_every_file_of_a_run_in_a_folder(finished: tuple[Project, str], tmp_path: Path) -> None:
    project, place = copy_sources(tmp_path / "project"), tmp_path / "storage"
    project.snakemake(*storage(place), "--", "all")
    ours, theirs = files(place), files(finished[0].path)
    assert sorted(ours) == sorted(theirs)
    assert {Path(name).name.partition(".")[0] for name in ours if ours[name] != theirs[name]} == OF_TIME
    for cell in CELLS:
        records = [json.loads(each[f"results/{cell}"]) for each in (ours, theirs)]
        assert timeless(records[0]) == timeless(records[1])
    # The project has nothing but what was fetched.
    assert [path.name for path in (project.path / "data").iterdir()] == ["raw"]
    assert not (project.path / "results").exists()

    # Nothing is left to do, until params.yaml says otherwise of a cell.
    assert "Nothing to be done" in project.snakemake("-n", *storage(place), "--", "all")
    params = (project.path / "params.yaml").read_text(encoding="utf-8")
    (project.path / "params.yaml").write_text(params.replace("epochs: 1\n", "epochs: 2\n"), encoding="utf-8")
    planned = project.snakemake("-n", *storage(place), "--", "all")
    assert "rule cell:" in planned
    assert "rule clean:" not in planned


def test_pods_that_share_nothing_leave_the_same_records(finished: tuple[Project, str], tmp_path: Path) -> None:
    project, place = copy_sources(tmp_path / "project"), tmp_path / "storage"
    project.run("git", "init", "--quiet")
    project.run("git", "add", ".")
    project.needs_gpu()
    environment = project.environment
    environment["PYTHONPATH"] += "".join(f"{os.pathsep}{path}" for path in plugin_paths())
    with kubernetes(tmp_path / "node", environment) as (node, config):
        command = (sys.executable, "-c", OFTEN, "--profile", "workflow/profiles/kubernetes", "--retries", "0")
        run = subprocess.run(
            [*command, *storage(place), "--", f"results/{CELLS[1]}"],
            cwd=project.path,
            env=environment | {"KUBECONFIG": str(config)},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr[-6000:] + "".join(map(node.log, node.jobs))
    # Fetching and the canonical table are work of this machine.
    limits = [job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] for job in node.jobs.values()]
    assert sorted(each.get("nvidia.com/gpu", "not asked") for each in limits) == ["1", "not asked"]
    assert {each["memory"] for each in limits} == {"1000M", "2000M"}
    ours, theirs = files(place), files(finished[0].path)
    records = [json.loads(each[f"results/{CELLS[1]}"]) for each in (ours, theirs)]
    assert timeless(records[0]) == timeless(records[1])
    made = [name for name in ours if name.startswith(("results/cells/", "checkpoints/"))]
    assert {Path(name).name for name in made if ours[name] != theirs[name]} == {"cell.json", "train.json"}
