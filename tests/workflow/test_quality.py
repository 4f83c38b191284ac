"""Style and types, with the same commands that pre-commit runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rsitr.pipeline.cells import open_params

from rsitr.params import Params, load_params
from rsitr.records.cell import Record

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


@pytest.mark.parametrize(("name", "model"), [("params", Params), ("cell", Record)])
def test_schema_files_are_current(name: str, model: type[Params] | type[Record]) -> None:
    """Written by `rsitr schemas`; editors and other programs read them."""
    schema = json.loads((ROOT / "workflow/schemas" / f"{name}.schema.json").read_text())
    assert schema == model.model_json_schema()


@pytest.mark.parametrize("experiment", ["demo", "laptop", "paper"])
def test_every_experiment_is_valid(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params = load_params()
    assert open_params(params.model_dump() | {"experiment": experiment}).cells(experiment)


def test_lock_names_no_index() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("--")]
