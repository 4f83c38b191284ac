"""The seven ways in which a Snakemake and DVC pipeline goes wrong without a word (DESIGN: known traps), and others."""

from __future__ import annotations

import copy
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock, Timeout

from rsitr.gpus import gpus
from rsitr.records.provenance import cores, memory_gib
from tests.helpers.project_copy import TINY, Project

CELL = "results/cells/tiny/scenes-b"


def test_finished_run_has_nothing_left_to_do(project: Project) -> None:
    assert "Nothing to be done" in project.snakemake("all")


def test_editing_a_method_reruns_that_method_only(project: Project) -> None:
    """Trap 1: edits in imported modules."""
    project.edit("src/rsitr/methods/vse.py", "self.triplet_loss(scores, batch)", "self.triplet_loss(2 * scores, batch)")
    assert project.planned("all") == {"scenes-b/vse/0"}


def test_editing_a_comment_reruns_nothing(project: Project) -> None:
    project.edit("src/rsitr/methods/vse.py", '"""Eq. 15, or the triplet loss."""', '"""Equation 15."""  # a comment')
    assert project.planned("all") == set()


def test_gpu_and_cpu_are_capped_without_a_profile(finished: tuple[Project, str]) -> None:
    """Traps 2 and 7: no profile is loaded with a Snakefile at the root, and --cores 8 may exceed the machine."""
    resources = next(line for line in finished[1].splitlines() if line.startswith("Provided resources"))
    caps = {name: int(value) for name, value in re.findall(r'Resource\("(\w+)", (\d+)', resources)}
    assert caps["gpu"] == max(gpus(), 1)
    assert caps["cpu"] == cores()
    assert caps["mem_mb"] <= memory_gib() * 1024


def test_clone_without_metadata_does_not_certify_stale_numbers(project: Project) -> None:
    """Trap 3: Snakemake without its metadata sees file times only."""
    shutil.rmtree(project.path / ".snakemake")
    project.edit("src/rsitr/methods/vse.py", "self.temperature())", "self.temperature() * 1.0)")
    assert project.planned("all") == {"scenes-b/vse/0"}
    project.run_warm("rsitr", "tables", "tiny", "--only", "comparison")
    assert "made by other code" in (project.path / "results/tables/tiny/comparison.md").read_text()
    refused = project.run_warm("rsitr", "tables", "tiny", "--strict", check=False)
    assert "scenes-b/vse/0" in refused
    assert "Traceback" not in refused


def test_clone_with_any_file_times_reruns_nothing(project: Project) -> None:
    """Trap 3, the other way: a checkout gives every file an arbitrary time, and current records stay current."""
    for folder in (".snakemake", ".rsitr", "data/raw"):  # what neither git nor DVC brings
        shutil.rmtree(project.path / folder)
    clock = random.Random(0)
    for folder in ("results", "checkpoints", "data/canonical"):
        for path in (project.path / folder).rglob("*"):
            moment = 1_700_000_000 + clock.randrange(10**6)
            os.utime(path, (moment, moment))
    assert project.planned("all") == set()


def test_a_folder_may_have_a_quote_and_a_space_in_its_name(project: Project) -> None:
    """Its environment is in it, as after `make`, and not activated."""
    moved = Project(project.path.rename(project.path.with_name("o'neil data")))
    (moved.path / ".venv").symlink_to(sys.prefix)
    table = moved.path / "data/keywords/scenes-b.parquet"
    assert not table.exists()
    moved.run(f"{moved.path}/.venv/bin/python", "-m", "snakemake", "--cores", "1", "data/keywords/scenes-b.parquet")
    assert table.is_file()


def test_records_from_git_need_no_training(project: Project) -> None:
    """A clone has records but neither data nor checkpoints: the tables are rebuilt from the records alone."""
    for folder in (".snakemake", "data", "checkpoints", "results/tables"):
        shutil.rmtree(project.path / folder)
    project.snakemake("results/tables/tiny/comparison.csv")
    assert not (project.path / "checkpoints").exists()


def test_a_clone_with_current_records_plans_tables_alone_and_writes_nothing(project: Project) -> None:
    """Trap 1. Pictures need checkpoints, and tables of datasets need data; neither came with the records."""
    for folder in (".snakemake", "data", "checkpoints", ".rsitr"):
        shutil.rmtree(project.path / folder, ignore_errors=True)
    for path in (project.path / "results").rglob("*"):  # a clone writes all files at once, in any order
        os.utime(path, (1e9, 1e9))
    before = {path: path.stat().st_mtime_ns for path in project.path.rglob("*") if path.is_file()}
    assert "Nothing to be done" in project.snakemake("-n", "all")
    project.run_warm("rsitr", "status", "tiny")
    after = {path: path.stat().st_mtime_ns for path in project.path.rglob("*") if path.is_file()}
    changed = {path.relative_to(project.path).parts[0] for path in after if before.get(path) != after[path]}
    assert changed <= {".snakemake", "src"}  # the log of the dry run, and compiled sources


def test_tables_without_cells_are_not_enough(project: Project) -> None:
    """Trap 4: `all` asks for every cell, not only for the tables made from them."""
    shutil.rmtree(project.path / "results/cells")
    shutil.rmtree(project.path / "checkpoints")
    assert project.planned("all") == {"scenes-b/chance/0", "scenes-b/vse/0"}


def test_new_seed_adds_its_cells_only(project: Project) -> None:
    """Trap 5, in Snakemake; the same through DVC is in test_dvc.py."""
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["matrix"][0]["seeds"] = [0, 1]
    project.params(params)
    assert project.planned("all") == {"scenes-b/chance/1", "scenes-b/vse/1"}


def test_another_role_makes_tables_again_and_trains_nothing(project: Project) -> None:
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["matrix"][0]["role"] = "control"
    project.params(params)
    assert "rule tables:" in project.snakemake("-n", "all")
    assert project.planned("all") == set()


def test_a_damaged_table_is_named_and_the_next_run_makes_it_again_and_nothing_else(project: Project) -> None:
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["matrix"].append({"datasets": ["scenes-b"], "methods": ["chance"], "seeds": [1]})
    project.params(params)
    table = project.path / "data/canonical/scenes-b/clean-official-remoteclip.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:200] + bytes(100) + whole[300:])
    cells = [project.path / "results/cells/tiny/scenes-b" / name / "0/cell.json" for name in ("chance", "vse")]
    before = [path.stat().st_mtime_ns for path in (*cells, table.with_name("dataset.parquet"))]
    failed = project.snakemake("all", check=False) + "".join(
        path.read_text() for path in (project.path / "results/logs").rglob("*.log")
    )
    assert "clean-official-remoteclip.parquet is damaged (" in failed
    assert "run again, which makes it again" in failed
    assert table.with_name(f"{table.name}.damaged").is_file()
    project.snakemake("all", "--rerun-incomplete")  # of what ran when the table went
    assert table.read_bytes() == whole
    assert (project.path / "results/cells/tiny/scenes-b/chance/1/cell.json").is_file()
    assert [path.stat().st_mtime_ns for path in (*cells, table.with_name("dataset.parquet"))] == before


def _claim(folder: str, devices: int, per_gpu: str, queue: multiprocessing.Queue, stay: multiprocessing.Event) -> None:  # type: ignore[type-arg]
    tempfile.tempdir = folder
    os.environ["RSITR_CELLS_PER_GPU"] = per_gpu
    import torch

    used: list[int] = []
    torch.cuda.device_count, torch.cuda.set_device = lambda: devices, used.append
    torch.cuda.get_device_properties = lambda index: SimpleNamespace(uuid=f"GPU-{index}")
    from rsitr.stages.devices import claim

    device = claim()
    assert [f"cuda:{index}" for index in used] == [device]
    queue.put(device)
    stay.wait(30)


@pytest.mark.parametrize(
    ("devices", "per_gpu", "claimed"),
    [(2, "1", {"cuda:0", "cuda:1"}), (1, "2", {"cuda:0"}), (2, "2", {"cuda:0", "cuda:1"})],
)
def test_no_more_cells_on_a_gpu_than_allowed(devices: int, per_gpu: str, claimed: set[str], tmp_path: Path) -> None:
    """Trap 6: the local executor counts GPUs but assigns none; two processes take an empty one each, if they can."""
    # Each process begins with torch imported, and on its own.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rsitr.stages.devices"])
    queue, stay = context.Queue(), context.Event()
    arguments = (str(tmp_path), devices, per_gpu, queue, stay)
    processes = [context.Process(target=_claim, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert {queue.get(timeout=60) for _ in processes} == claimed
    locks = sorted(tmp_path.glob("rsitr-gpus-*/*"))
    held = locks[-1] if devices == 1 else locks[0]
    with pytest.raises(Timeout):
        FileLock(held).acquire(timeout=0)
    stay.set()
    for process in processes:
        process.join()
    FileLock(held).acquire(timeout=0)  # given back when the process ended


def test_numbers_do_not_depend_on_cores(project: Project, finished: tuple[Project, str]) -> None:
    """Trap 7: the same cell gives the same checkpoint under --cores 1."""
    shutil.rmtree(project.path / "checkpoints")
    shutil.rmtree(project.path / "results")
    model = "checkpoints/tiny/scenes-b/vse/0/model.safetensors"
    project.snakemake(model, cores=1)
    assert (project.path / model).read_bytes() == (finished[0].path / model).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["vsee"]}, "unknown method 'vsee'"),
        ({"datasets": ["rscid"]}, "unknown dataset 'rscid'"),
        ({"seeds": ["one"]}, "seeds.0"),
        ({"methods": ["vse@nowhere"]}, "has no variant 'nowhere'"),
    ],
)
def test_mistakes_in_params_stop_before_the_graph(project: Project, change: dict[str, list[str]], message: str) -> None:
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["matrix"][0] |= change
    project.params(params)
    assert message in project.snakemake("-n", "all", check=False)


def test_wrong_type_of_a_setting_stops_before_the_graph(project: Project) -> None:
    params = copy.deepcopy(TINY)
    params["experiments"]["tiny"]["settings"]["methods"] = {"vse": {"epochs": "many"}}
    project.params(params)
    output = project.snakemake("-n", "all", check=False)
    assert "epochs" in output
    assert "'many' is not of type 'integer'" in output


def test_what_leaks_is_in_the_tables(finished: tuple[Project, str]) -> None:
    """`scenes-b` has planted copies of test images in train; the protocol `remoteclip` finds some of them only."""
    tables = finished[0].path / "results/tables/tiny"
    rows = [line.split(",") for line in (tables / "leakage.long.csv").read_text().splitlines()]
    found = {row[3]: int(row[4]) for row in rows if row[:3] == ["scenes-b", "train", "scenes-b"]}
    assert found["copies"] > found["remoteclip"] > 0
    assert (tables / "leakage.png").is_file()
    assert "with a near duplicate in train (rule copies)" in (tables / "comparison.md").read_text()
