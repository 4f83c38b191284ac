"""Cells on a real Slurm, a node of which dies in the middle: the records are those of a run on one machine."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.project_copy import TINY, Project, timeless
from tests.helpers.slurm import NODES as GPUS
from tests.helpers.slurm import Cluster, cluster, missing, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
NODES = [*GPUS]
CELLS = ("chance", "vse")
RECORDS = [f"results/cells/tiny/scenes-b/{method}/0/cell.json" for method in CELLS]
SAME = ("ranks.parquet", "top.parquet", "history.csv")
"""What a cell writes besides its record, to the byte."""
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    with cluster() as found:
        yield found
    assert not [*found.processes()]


def prepared(finished: Project, folder: Path) -> Project:
    """A project with data and without results, in which a job without a GPU of the scheduler trains nothing."""
    project = Project(folder)
    parts = shutil.ignore_patterns("results", "checkpoints", "locks")
    shutil.copytree(finished.path, project.path, ignore=parts)
    params = copy.deepcopy(TINY)
    tiny = params["experiments"]["tiny"]
    tiny["settings"]["methods"] = {"vse": {"epochs": 40}}
    project.params(params)
    project.needs_gpu()
    return project


def same(ours: Project, theirs: Project) -> None:
    """Fail unless two projects have the same records, but for what they say of time and machine."""
    for record in map(Path, RECORDS):
        read = [json.loads((project.path / record).read_text(encoding="utf-8")) for project in (ours, theirs)]
        assert [each["outcome"]["status"] for each in read] == ["ok", "ok"]
        assert timeless(read[0]) == timeless(read[1])
        for file in (*(record.with_name(name) for name in SAME), Path("checkpoints", *record.parts[2:-1], WEIGHTS)):
            assert (ours.path / file).read_bytes() == (theirs.path / file).read_bytes(), file


def test_a_run_that_loses_a_node_ends_with_the_same_records(
    slurm: Cluster, finished: tuple[Project, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (prepared(finished[0], tmp_path / name) for name in ("here", "there"))
    state = there.path / "checkpoints/tiny/scenes-b/vse/0/resume.pt"
    environment = there.environment
    command = slurm.snakemake(environment, *RECORDS)
    with (tmp_path / "printed.txt").open("w") as printed:
        run = subprocess.Popen(command, cwd=there.path, env=environment, stdout=printed, stderr=printed)
        try:
            until(lambda: state.exists() or run.poll() is not None, "no state to continue from", 180)
            jobs = slurm.ask("scontrol", "show", "job", "--oneliner").splitlines()
            training = [job for job in jobs if "tiny_scenes-b_vse_0" in job and "JobState=RUNNING" in job]
            assert len(training) == 1, jobs
            assert "gres:gpu:1" in training[0]
            node = re.findall(r" NodeList=(n\d) ", training[0])[0]
            slurm.lose(node)
            assert not (there.path / RECORDS[1]).exists()
            run.wait(240)
        finally:
            run.kill()
            run.wait()
    text = (tmp_path / "printed.txt").read_text(encoding="utf-8")
    assert run.returncode == 0, text[-6000:]
    assert "failed due to a node failure" in text
    log = (there.path / "results/logs/cells/tiny/scenes-b/vse/0.log").read_text(encoding="utf-8")
    assert log.startswith("continuing at step ")
    assert slurm.ask("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N") == NODES[node == NODES[0]]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # a device by the rule above, and none for torch
    here.run_warm("rsitr", "run", "cells/tiny/scenes-b/chance/0")
    here.run_warm("rsitr", "run", "cells/tiny/scenes-b/vse/0")
    same(there, here)
