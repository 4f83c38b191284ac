"""``benchmarks/gpu.sh`` works on the day a GPU is there: all of it runs here, on tiny models."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub import constants

from rsitr.records.files import read_csv
from rsitr.stages.warm import LIBRARIES, STAGES

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results/benchmarks/gpu.csv"
IN_THIS_PROCESS = ("clip-vit-b-32-bf16", "vse", "mtgfe", "two-cells", "methods")
"""Steps that are tested without a process of their own, whose import of torch would take most of the time."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The Python of the script."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    yield gpu
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_script_runs_steps_and_writes_nothing_without_a_gpu(gpu: ModuleType) -> None:
    assert set(gpu.STEPS) == {"resume", *IN_THIS_PROCESS}
    before = RESULT.read_bytes() if RESULT.exists() else None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command, environment = (
        [ROOT / "benchmarks/gpu.sh", "--cpu", "resume"],
        os.environ | {"PATH": path, "CUDA_VISIBLE_DEVICES": "-1"},
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "resume: ok, " in done.stdout, f"{done.stdout}\n{done.stderr}"
    assert (RESULT.read_bytes() if RESULT.exists() else None) == before


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Those of a step without a GPU. Its processes are forks of one that has imported torch."""
    folder = tmp_path_factory.mktemp("steps")
    for file in ("params.yaml", "requirements.lock"):
        shutil.copy(ROOT / file, folder)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES[STAGES]])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        patch.setattr(multiprocessing, "get_context", lambda method: context)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_THIS_PROCESS)
def test_a_step_works_without_a_gpu(
    gpu: ModuleType, name: str, surroundings: None, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = gpu.STEPS[name][1]()
    assert {row.case for row in rows} == {name}
    assert all(row.ours > 0 for row in rows)
    assert name != "methods" or [row.metric for row in rows] == ["ok"], capfd.readouterr().err


def test_without_a_gpu_there_is_nothing_to_measure(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "vse"])
    with pytest.raises(SystemExit, match="torch finds no GPU here"):
        gpu.main()


def test_a_step_that_fails_or_takes_too_long_is_a_row(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gpu.csv"
    monkeypatch.setitem(gpu.STEPS, "vse", (0, None))
    monkeypatch.setitem(gpu.STEPS, "no such step", (100, None))  # which the process of the step does not know
    gpu.write_rows(out, [gpu.Row("vse", "peak memory", "MiB", 1.0, "", None, "here")])
    for name in ("vse", "no such step"):
        gpu.measured(name, out, cpu=True)
    statuses = {row["case"]: row["ours"] for row in read_csv(out) if row["metric"] == "exit status"}
    assert statuses == {"vse": "124.0", "no such step": "2.0"}
    assert "peak memory" not in {row["metric"] for row in read_csv(out)}, "of an earlier run, which was not this one"


def test_on_a_gpu_the_cells_are_those_of_the_paper(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("vse", "mtgfe"):
        assert gpu.cell(name).item == f"cells/paper/rsicd/{name}/0"


def test_all_steps_together_take_ten_minutes_at_most(gpu: ModuleType) -> None:
    assert sum(limit for limit, _ in gpu.STEPS.values()) <= 600
