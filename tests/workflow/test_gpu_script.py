"""``benchmarks/gpu.sh`` works on the day a GPU is there: all of it runs here, on tiny models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rsitr.records.files import read_csv

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results/benchmarks/gpu.csv"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script where torch sees no GPU."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run([ROOT / "benchmarks/gpu.sh", *arguments], env=environment, capture_output=True, text=True)


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


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_step_works_without_a_gpu_and_nothing_is_written(gpu: ModuleType) -> None:
    before = RESULT.read_bytes() if RESULT.exists() else None
    done = run("--cpu")
    for name in gpu.STEPS:
        assert f"{name}: ok, " in done.stdout, f"{name}\n{done.stdout}\n{done.stderr}"
    assert (RESULT.read_bytes() if RESULT.exists() else None) == before


def test_without_a_gpu_there_is_nothing_to_measure() -> None:
    done = run("vse")
    assert (done.returncode, done.stdout) == (1, "")
    assert "torch finds no GPU here" in done.stderr


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
