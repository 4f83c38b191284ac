"""Environments that `make env` fills: all of the lock file, the part for CPUs, that of `snakemake --sdm conda`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rsitr.pipeline.project import lay_out
from tests.helpers.project_copy import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
GPU_ONLY = {"nvidia-cuda-cccl", "nvidia-cusolver", "nvidia-nvjitlink", "nvidia-nvtx", "triton"}

# It writes down how it was called. What Python is asked to install first is uv.
STUB = """#!/bin/bash
echo "${0##*/} $*" >> "$STUB_LOG"
case ${0##*/} in
  python) cp "$0" "${0%/*}/uv" ;;
  rsitr) touch data/raw/scenes-b/source.json ;;
esac
"""
CONDA = """#!/bin/bash
case "$1 $2" in
  "info --json") echo '{"conda_prefix": "'"$CONDA_BASE"'", "platform": "linux-64"}' ;;
  "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
  "clean -y") ;;
  "--version "*) echo "conda 25.1.0" ;;
  "env create")
    while [[ $1 != --prefix ]]; do shift; done
    mkdir -p "$2/bin" && cp "$CONDA_BASE/bin/stub" "$2/bin/python"
    cp "$CONDA_BASE/bin/stub" "$2/bin/rsitr" ;;
  *) echo "unexpected: conda $*" >&2; exit 1 ;;
esac
"""
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'


def packages(lock: str) -> dict[str, str]:
    """Package -> its lines in a lock file."""
    blocks = re.split(r"^(?=\S+==)", lock, flags=re.MULTILINE)
    return {block.partition("==")[0]: block for block in blocks if "==" in block}


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def calls(environment: Path) -> list[str]:
    """What `make env` calls to fill an environment."""
    return [
        f"python -m pip install --quiet --require-hashes --no-deps --requirement {environment}/uv.lock",
        f"uv pip sync --python {environment}/bin/python --quiet --require-hashes {environment}/requirements.lock",
        f"uv pip install --python {environment}/bin/python --quiet --no-build-isolation --no-deps --editable .",
    ]


@pytest.mark.parametrize(("arguments", "left_out"), [((), set()), (("CPU=1",), GPU_ONLY)], ids=["all", "CPU"])
def test_what_make_installs(tmp_path: Path, arguments: tuple[str, ...], left_out: set[str]) -> None:
    put(tmp_path / "bin/python", STUB)
    log = tmp_path / "log"
    command = ["make", "env", f"VENV={tmp_path}", *arguments]
    for _ in range(2):  # the second time, there is nothing to do
        subprocess.run(command, cwd=ROOT, env=os.environ | {"STUB_LOG": str(log)}, check=True, capture_output=True)
    assert log.read_text().splitlines() == calls(tmp_path)
    locked, installed = packages(LOCK), packages((tmp_path / "requirements.lock").read_text())
    assert {*packages((tmp_path / "uv.lock").read_text()).items()} == {("uv", locked["uv"])}
    assert {*locked} - {*installed} == left_out
    assert installed == {name: lines for name, lines in locked.items() if name not in left_out}


@pytest.fixture
def conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a stand-in for conda, whose environments have stand-ins for Python, uv and rsitr."""
    base = tmp_path / "conda"
    put(base / "bin/conda", CONDA)
    put(base / "bin/activate", ACTIVATE)
    put(base / "bin/stub", STUB)
    monkeypatch.setenv("PATH", f"{base}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CONDA_BASE", str(base))
    monkeypatch.setenv("STUB_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def build(folder: Path) -> None:
    """Fetch a dataset of a project by Snakemake with conda."""
    command = ["snakemake", "--sdm", "conda", "--cores", "1", "data/raw/scenes-b/source.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)


@pytest.mark.slow
def test_a_conda_environment_is_filled_by_make_and_used(tmp_path: Path, conda: Path) -> None:
    lay_out(tmp_path)
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "workflow/envs/rsitr.post-deploy.sh"):
        shutil.copy2(ROOT / name, tmp_path / name)
    build(tmp_path)
    (lock,) = (tmp_path / ".snakemake/conda").glob("*/requirements.lock")
    assert lock.read_text() == LOCK
    assert conda.read_text().splitlines() == [*calls(lock.parent), "rsitr data fetch scenes-b"]


@pytest.mark.slow
def test_a_conda_environment_of_a_project_elsewhere(tmp_path: Path, conda: Path) -> None:
    lay_out(tmp_path)
    build(tmp_path)
    assert conda.read_text().splitlines() == [
        "python -m pip install --requirement requirements.txt",
        "rsitr data fetch scenes-b",
    ]
