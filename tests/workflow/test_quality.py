"""Style and types, with the same commands that pre-commit runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsitr.params import load_params
from rsitr.pipeline.specs import open_params
from rsitr.records.schemas import MODELS, write_schemas

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("snakefmt", "--check", "Snakefile", "workflow"),
        ("mypy",),
        ("snakemake", "--lint"),
    ],
    ids=lambda command: command[0] + "-" + command[-1] if len(command) > 1 else command[0],
)
def test_clean(command: tuple[str, ...]) -> None:
    result = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_schema_files_are_those_that_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by `rsitr schemas`; editors and other programs read them."""
    folder = Path("workflow/schemas")
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    written = write_schemas()
    assert len(written) == len(MODELS) == len({*written})
    assert {path.name for path in written} == {path.name for path in (ROOT / folder).iterdir()}
    for path in written:
        assert path.read_bytes() == (ROOT / path).read_bytes(), path


@pytest.mark.parametrize("experiment", ["demo", "laptop", "paper"])
def test_every_experiment_is_valid(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params = load_params()
    assert open_params(params.model_dump() | {"experiment": experiment}).cells(experiment)


def test_lock_names_no_index() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("--")]
