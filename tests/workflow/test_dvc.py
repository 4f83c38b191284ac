"""DVC over the same graph: a clean clone, a new seed, and the commands that show something."""

from __future__ import annotations

import copy
import filecmp
import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.project_copy import TINY, Project, copy_sources


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory, finished: tuple[Project, str]) -> Project:
    """A clean clone of a committed project after `dvc repro`."""
    origin = copy_sources(tmp_path_factory.mktemp("origin"))
    origin.run("git", "init", "--quiet")
    origin.run("git", "add", "--all")
    origin.run("git", "commit", "--quiet", "--message", "project")
    clone = tmp_path_factory.mktemp("clones") / "clone"
    origin.run("git", "clone", "--quiet", str(origin.path), str(clone))
    # The same sources with their times, and with them what is compiled: numba takes ten seconds for it.
    shutil.copytree(finished[0].path / "src", clone / "src", dirs_exist_ok=True)
    project = Project(clone)
    project.run_warm("dvc", "repro")
    return project


def files(folder: Path) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_clean_clone_rebuilds_what_snakemake_builds(reproduced: Project, finished: tuple[Project, str]) -> None:
    for part in ("results/tables/tiny", "results/cells/tiny", "checkpoints/tiny"):
        ours, theirs = reproduced.path / part, finished[0].path / part
        assert files(ours) == files(theirs)
        # Reports, records and the table of convergence carry wall time; everything else is the same to the byte.
        timed = ("train.json", "cell.json", *(f"convergence.{kind}" for kind in ("csv", "md", "tex", "html")))
        same = [name for name in files(ours) if not name.endswith(timed)]
        assert filecmp.cmpfiles(ours, theirs, same, shallow=False) == (same, [], [])


def test_second_repro_does_nothing(reproduced: Project) -> None:
    output = reproduced.run("dvc", "repro")
    assert output.count("didn't change, skipping") == 3


def test_metrics_and_plots_show_the_numbers(reproduced: Project) -> None:
    shown = json.loads(reproduced.run("dvc", "metrics", "show", "--json").splitlines()[0])
    values = shown[""]["data"]["results/tables/tiny/metrics.json"]["data"]["scenes-b"]
    assert set(values) == {"chance", "vse"}
    assert 0 < values["vse"]["mr"] <= 100
    reproduced.run("dvc", "plots", "show", "--out", "plots")
    assert "val_mr" in (reproduced.path / "plots/index.html").read_text()
    dag = reproduced.run("dvc", "dag", "--mermaid")
    assert all(stage in dag for stage in ("data", "cells", "tables"))


def test_experiment_with_a_changed_parameter(reproduced: Project, tmp_path: Path) -> None:
    """`dvc exp run -S` changes a parameter, reruns what depends on it, and nothing else."""
    shutil.copytree(reproduced.path, tmp_path / "project")
    project = Project(tmp_path / "project")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "results")
    output = project.run_warm("dvc", "exp", "run", "-S", "experiments.tiny.settings.all.epochs=2")
    assert output.count("rule cell:") == 1
    record = json.loads((project.path / "results/cells/tiny/scenes-b/vse/0/cell.json").read_text())
    assert record["config"]["epochs"] == 2


def test_new_seed_keeps_the_cells_there_are(reproduced: Project, tmp_path: Path) -> None:
    """Trap 5: outputs that do not persist would be removed, and every cell run again."""
    shutil.copytree(reproduced.path, tmp_path / "project")
    project = Project(tmp_path / "project")
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["matrix"][0]["seeds"] = [0, 1]
    project.params(params)
    output = project.run_warm("dvc", "repro", "cells")
    trained = [line for line in output.splitlines() if "output: checkpoints/" in line]
    assert len(trained) == 2
    assert all("/1/" in line for line in trained)
