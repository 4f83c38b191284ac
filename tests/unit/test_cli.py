"""The command line: every mistake of the user's ends with one message and status 1."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from rsitr.cli import app
from rsitr.params import CellId, load_params
from rsitr.pipeline import cells as pipeline
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TrainReport
from rsitr.records.files import write_json
from rsitr.records.paths import Paths

CELL = CellId("tiny", "scenes-b", "vse", 0)


def commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of a command and of every one below it."""
    below = [found for name, sub in getattr(command, "commands", {}).items() for found in commands(sub, (*path, name))]
    return [path, *below]


ALL = commands(typer.main.get_command(app))


def run(*arguments: str):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """The message of a command that ends with status 1."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("rsitr: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_the_commands_of_the_pipeline_are_there():
    expected = [("data", name) for name in ("list", "fetch", "verify", "build", "clean", "audit", "export")]
    expected += [(name,) for name in ("train", "evaluate", "tables", "status", "retry")]
    assert set(expected) <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help(path):
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    words = result.stdout.split("Usage: ")[1].splitlines()[2:]
    assert any(len(line.strip()) > 20 for line in words)  # each says what it does


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("vse", "name a cell as EXPERIMENT/DATASET/METHOD/SEED, e.g. demo/scenes-a/vse/0"),
        ("tiny/scenes-b/vse/first", "name a cell as EXPERIMENT/DATASET/METHOD/SEED"),
        ("tiny/scenes-b/vse/²", "name a cell as EXPERIMENT/DATASET/METHOD/SEED"),
        ("shop/scenes-b/vse/0", "unknown experiment 'shop': params.yaml has tiny"),
        ("tiny/atlantis/vse/0", "unknown dataset 'atlantis': the known ones are aid, "),
        ("tiny/scenes-b/vsee/0", "unknown method 'vsee': the known ones are amfmn-fusion, "),
        ("tiny/scenes-b/vse@vit/0", "vse has no variant 'vit' (deit-bert, joint, keywords, "),
        ("tiny/../vse/0", "unknown dataset '..'"),
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_cells_that_do_not_exist(command, cell, message, project, monkeypatch):
    monkeypatch.setattr(pipeline, "run_cell_stage", lambda stage, spec: pytest.fail(f"{stage} ran"))
    assert message in refused(command, cell)


def test_a_cell_is_named_or_given_as_a_file():
    assert "name a cell as EXPERIMENT/DATASET/METHOD/SEED" in refused("train")
    assert "no such spec" in refused("train", "--spec", "no such spec")


@pytest.mark.parametrize(
    "arguments", [("data", "fetch", "atlantis"), ("data", "build", "atlantis")], ids=["fetch", "build"]
)
def test_datasets_that_do_not_exist(arguments, project):
    assert "unknown dataset 'atlantis': the known ones are aid, nwpu, " in refused(*arguments)


@pytest.mark.parametrize("arguments", [("data", "clean", "scenes-b", "--dedup", "phash"), ("tables", "--only", "all")])
def test_choices_that_do_not_exist(arguments, project):
    result = run(*arguments)
    assert result.exit_code in (1, 2)  # typer's own refusals end with 2
    assert "none" in result.stderr or "comparison" in result.stderr
    assert not list(Path("data").rglob("*phash*"))


def test_a_table_that_was_not_built(project):
    shutil.rmtree("data/canonical")
    assert "dataset.parquet is missing: build it with `snakemake" in refused("data", "clean", "scenes-b")
    assert "source.json" in refused("data", "build", "scenes-b")


def test_outside_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "params.yaml not found: run from the folder that holds the Snakefile" in refused("status")


def test_a_method_that_params_yaml_misspells(project):
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["experiments"]["tiny"]["matrix"][0]["methods"] = ["vse++", "vsee"]
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert "unknown method 'vsee'" in refused("status")
    assert "unknown method 'vsee'" in refused("tables")


def test_list_shows_every_dataset():
    from rsitr.datasets import registry

    output = run("data", "list").stdout
    assert all(name in output for name in registry())


def test_audit_prints_every_fault_and_writes_the_findings(project, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shutil.copy(Paths.clean("scenes-b", "none"), Paths.dataset("scenes-b"))
    output = run("data", "audit", "scenes-b", "--out", "found.csv").stdout
    # Of 48 captions half are unique; "A red dot." and its like stand on two images each, one of them in train.
    line = next(line for line in output.splitlines() if "shared-across-splits" in line)
    assert [cell.strip() for cell in line.split("│")[2:6]] == ["12", "6", "6", "24"]
    assert output.endswith("found.csv\n")
    lines = Path("found.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "dataset,kind,image_id,split,caption,text,detail"
    assert "scenes-b,shared-across-splits,00.png,train,1,A red dot.,on images: 1 of val" in lines


def test_audit_needs_tables(project):
    assert "dataset.parquet is missing: build it with" in refused("data", "audit", "scenes-b", "atlantis")


def test_status_and_retry(project):
    output = run("status").stdout
    assert "4 missing" in output
    assert "tiny/scenes-b/vse/1" in output
    assert "say which cells: --failed, --skipped or both" in refused("retry")
    result = run("retry", "--failed")
    assert (result.exit_code, result.stdout) == (0, "0 cells to run again\n")


REASON = "[/missing/weights.safetensors] cannot be had: " + "name a local file in params.yaml, " * 10 + "or none"


def test_status_gives_whole_reasons_one_line_a_cell(project, monkeypatch):
    monkeypatch.setattr(pipeline, "status", lambda params, name: [(CELL, "skipped", REASON)])
    (line,) = [line for line in run("status").stdout.splitlines() if CELL.path in line]
    assert REASON in line


def test_status_in_a_narrow_terminal_keeps_names_and_every_word(project, monkeypatch):
    monkeypatch.setattr(pipeline, "status", lambda params, name: [(CELL, "skipped", REASON)])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    lines = [line for line in run("status").stdout.splitlines() if "│" in line]
    assert max(map(len, lines)) == 60
    assert CELL.path in lines[0]
    assert "".join(line.split("│")[3] for line in lines).replace(" ", "") == REASON.replace(" ", "")


def test_the_outcome_is_printed(project, monkeypatch):
    skipped = Outcome(status="skipped", reason="no weights")
    monkeypatch.setattr(pipeline, "run_cell_stage", lambda stage, spec: skipped)
    assert run("train", CELL.path).stdout == "tiny/scenes-b/vse/0: skipped (no weights)\n"


@pytest.mark.parametrize("arguments", [("tables",), ("data", "clean", "scenes-b")], ids=["tables", "clean"])
def test_a_folder_that_cannot_be_written(arguments, project):
    """A file where a folder should be stops even root."""
    table = Paths.clean("scenes-b", "none").read_bytes()
    shutil.rmtree("data/canonical")
    Path("data/canonical").write_bytes(b"")
    Path("results").write_bytes(b"")
    if arguments[0] == "data":
        assert "dataset.parquet is missing" in refused(*arguments)
        Path("data/canonical").unlink()
        Paths.dataset("scenes-b").parent.mkdir(parents=True)
        Paths.dataset("scenes-b").write_bytes(table)
        Paths.clean("scenes-b", "none").with_suffix(".part").mkdir()
    assert "check that the folder exists, is writable and has free space" in refused(*arguments)


def test_results_that_cannot_be_written(project, capfd):
    write_json(Paths.checkpoint(CELL) / "train.json", TrainReport(outcome=Outcome(status="skipped", reason="x")))
    write_json(Paths.origin(CELL), pipeline.spec_of(load_params(), CELL))
    Path("results").write_bytes(b"")
    assert "evaluate of tiny/scenes-b/vse/0 could not write its record: see the message above" in refused(
        "evaluate", CELL.path
    )
    error = capfd.readouterr().err  # of the stage, a process of its own
    assert "results" in error
    assert "is writable and has free space" in error
    assert "Traceback" not in error
