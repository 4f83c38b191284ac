"""The command line: every mistake of the user's ends with one message and status 1."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rsitr import __version__, cli
from rsitr.captions.audit import audit
from rsitr.cli import app
from rsitr.datasets.table import read_table
from rsitr.params import load_params
from rsitr.params.ids import CellId, CleanId
from rsitr.pipeline.run import Result
from rsitr.pipeline.specs import spec_of
from rsitr.pipeline.status import Row
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TrainReport, trained_identities
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.rehearsal import Rehearsed
from tests.helpers.commands import refused, run

CELL = CellId("tiny", "scenes-b", "vse", 0)


def commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of a command and of every one below it."""
    below = [found for name, sub in getattr(command, "commands", {}).items() for found in commands(sub, (*path, name))]
    return [path, *below]


ALL = commands(typer.main.get_command(app))


def test_the_commands_of_the_pipeline_are_there():
    expected = [("data", name) for name in ("list", "fetch", "verify", "build", "clean", "audit", "export")]
    expected += [(name,) for name in ("run", "train", "evaluate", "tables", "status", "retry", "rehearse", "certify")]
    assert set(expected) <= set(ALL)


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert run("--version").stdout == f"{__version__}\n" == f"{version('rsitr')}\n"


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
@pytest.mark.parametrize("command", ["train ", "evaluate ", "run cells/"])
def test_cells_that_do_not_exist(command, cell, message, project, monkeypatch):
    monkeypatch.setattr(cli, "run_artefact", lambda spec, *stages: pytest.fail(f"{spec.item} ran"))
    assert message in refused(*f"{command}{cell}".split())


@pytest.mark.parametrize("command", ["train", "evaluate", "run"])
def test_what_is_to_be_computed_is_named(command):
    result = run(command)
    assert result.exit_code == 2  # typer's own refusal
    assert "Missing argument" in result.stderr


@pytest.mark.parametrize("item", ["scenes/tiny/clean", "two_stage/tiny/scenes-b/vse/chance/0", "peder/tiny", "vse"])
def test_an_item_that_does_not_exist_is_answered_with_what_does(item, project, monkeypatch):
    monkeypatch.setattr(cli, "run_artefact", lambda spec, *stages: pytest.fail(f"{spec.item} ran"))
    message = refused("run", item)
    assert message.startswith(f"rsitr: {item} is not part of tiny, which has ")
    assert "cells/... (4)" in message
    assert "see `rsitr status`" in message
    assert "unknown experiment 'shop': params.yaml has tiny" in refused("run", "scenes/shop/clean")


def test_several_are_computed_after_one_warm_up_and_one_that_cannot_be_stops_no_other(project, monkeypatch):
    warmed, ran = [], []

    def compute(spec, *stages):
        ran.append(spec.item)
        return Result(Outcome(status="ok"), True)

    monkeypatch.setattr(cli, "warm_up", lambda threads, commands: warmed.append((threads, commands)))
    monkeypatch.setattr(cli, "run_artefact", compute)
    cells = [f"cells/tiny/scenes-b/{name}/0" for name in ("chance", "vse")]
    result = run("run", cells[0], "scenes/tiny/none", cells[1])
    assert (result.exit_code, ran, warmed) == (1, cells, [(1, False)])
    assert "rsitr: scenes/tiny/none is not part of tiny" in result.stderr
    assert run("run", *cells).exit_code == 0
    assert run("run", cells[0]).exit_code == 0
    assert len(warmed) == 2  # one alone would not gain by it


@pytest.mark.slow
def test_run_computes_a_cell_from_its_clean_table_to_its_record(project):
    assert run("run", "cells/tiny/scenes-b/chance/0").stdout == "tiny/scenes-b/chance/0: ok\n"
    assert Paths.cell(CELL._replace(method="chance")).joinpath("cell.json").is_file()
    assert run("run", "cells/tiny/scenes-b/chance/0").stdout == "tiny/scenes-b/chance/0: current, not run\n"


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
    shutil.copy(Paths.clean(CleanId("scenes-b")), Paths.dataset("scenes-b"))
    output = run("data", "audit", "scenes-b", "--out", "new/found.csv").stdout
    # Of 48 captions half are unique; "A red dot." and its like stand on two images each, one of them in train.
    line = next(line for line in output.splitlines() if "shared-across-splits" in line)
    assert [cell.strip() for cell in line.split("│")[2:6]] == ["12", "6", "6", "24"]
    assert output.endswith("new/found.csv\n")
    with Path("new/found.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["dataset", "kind", "image_id", "split", "caption", "text", "detail"]
    assert ["scenes-b", "shared-across-splits", "00.png", "train", "1", "A red dot.", "on images: 1 of val"] in rows
    findings = audit(read_table(Paths.dataset("scenes-b"))[0].to_pandas(), "scenes-b")
    assert rows == [list(map(str, finding)) for finding in findings]


def test_audit_needs_tables(project):
    assert "dataset.parquet is missing: build it with" in refused("data", "audit", "scenes-b", "atlantis")


def test_status_and_retry(project):
    output = run("status").stdout
    assert "4 missing" in output
    assert "tiny/scenes-b/vse/1" in output
    assert "say which: --failed, --skipped or both" in refused("retry")
    result = run("retry", "--failed")
    assert (result.exit_code, result.stdout) == (0, "0 results to compute again\n")


REASON = "[/missing/weights.safetensors] cannot be had: " + "name a local file in params.yaml, " * 10 + "or none"


def one_row(params, name):
    return [Row(spec_of(params, CELL), "skipped", REASON)]


def test_status_gives_whole_reasons_one_line_a_cell(project, monkeypatch):
    monkeypatch.setattr(cli, "status_of", one_row)
    (line,) = [line for line in run("status").stdout.splitlines() if CELL.path in line]
    assert REASON in line


def test_status_in_a_narrow_terminal_keeps_names_and_every_word(project, monkeypatch):
    monkeypatch.setattr(cli, "status_of", one_row)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    lines = [line for line in run("status").stdout.splitlines() if "│" in line]
    assert max(map(len, lines)) == 60
    assert CELL.path in lines[0]
    assert "".join(line.split("│")[3] for line in lines).replace(" ", "") == REASON.replace(" ", "")


@pytest.mark.parametrize(("ran", "said"), [(True, "skipped"), (False, "current, not run")])
def test_the_outcome_is_printed(ran, said, project, monkeypatch):
    skipped = Outcome(status="skipped", reason="no weights")
    asked = []

    def computed(spec, *stages):
        asked.append((spec.item, *stages))
        return Result(skipped, ran)

    monkeypatch.setattr(cli, "run_artefact", computed)
    for command in ("train", "evaluate"):
        assert run(command, CELL.path).stdout == f"tiny/scenes-b/vse/0: {said} (no weights)\n"
    assert run("run", f"cells/{CELL.path}").stdout == f"tiny/scenes-b/vse/0: {said} (no weights)\n"
    item = f"cells/{CELL.path}"
    assert asked == [(item, ("train",)), (item, ("evaluate",)), (item,)]


@pytest.mark.parametrize("status", ["ok", "skipped", "failed"])
def test_a_rehearsal_lists_what_it_found_and_fails_where_something_failed(status, project, monkeypatch):
    outcome = Outcome(status=status, reason="" if status == "ok" else "a reason")
    asked = []

    def rehearsed(specs, minutes):
        asked.append((specs[0].item, minutes))
        return [Rehearsed(item=specs[0].item, outcome=outcome, parameters=123, seconds=4)]

    monkeypatch.setattr(cli, "rehearsed", rehearsed)
    result = run("rehearse", "--minutes", "3")
    first, minutes = asked[0]
    assert (minutes, result.exit_code) == (3, int(status == "failed"))
    assert [*one_row_of(result.stdout, first)] == [first, status, "123", "", "4", "", "", ""]
    counts = {"ok": "1 ok, 0 failed, 0 left out", "failed": "0 ok, 1 failed, 0 left out"}
    assert f"{counts.get(status, '0 ok, 0 failed, 1 left out')}, 1 not rehearsed yet" in result.stdout
    assert (f"{first}: {status} (4 s, 0.0 M parameters): a reason" in result.stdout) == (status != "ok")


def one_row_of(text: str, first: str) -> list[str]:
    """The cells of the line of a table that begins with ``first``."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"│ {first} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_configuration_that_does_not_exist_is_not_rehearsed(project):
    assert "cells/tiny/x/vse/0 is not a configuration of tiny: name a cell" in refused(
        "rehearse", "--only", "cells/tiny/x/vse/0"
    )


@pytest.mark.parametrize("arguments", [("tables",), ("data", "clean", "scenes-b")], ids=["tables", "clean"])
def test_a_folder_that_cannot_be_written(arguments, project):
    """A file where a folder should be stops even root."""
    table = Paths.clean(CleanId("scenes-b")).read_bytes()
    shutil.rmtree("data/canonical")
    Path("data/canonical").write_bytes(b"")
    Path("results").write_bytes(b"")
    if arguments[0] == "data":
        assert "dataset.parquet is missing" in refused(*arguments)
        Path("data/canonical").unlink()
        Paths.dataset("scenes-b").parent.mkdir(parents=True)
        Paths.dataset("scenes-b").write_bytes(table)
        Paths.clean(CleanId("scenes-b")).mkdir()
    assert "check that the folder exists, is writable and has free space" in refused(*arguments)


@pytest.mark.slow
def test_results_that_cannot_be_written(project, capfd):
    skipped, spec = Outcome(status="skipped", reason="x"), spec_of(load_params(), CELL)
    report = TrainReport(outcome=skipped, identities=trained_identities(spec))
    write_json(Paths.checkpoint(CELL) / "train.json", report)
    Path("results").write_bytes(b"")
    assert "tiny/scenes-b/vse/0 has no new record: see the message above" in refused("evaluate", CELL.path)
    error = capfd.readouterr().err  # of the stage, a process of its own
    assert "results" in error
    assert "is writable and has free space" in error
    assert "Traceback" not in error


FACTS = ["ceiling", "datasets", "dedup", "leakage", "mtgfe-table-1", "splits", "statistics"]


def test_tables_of_data_that_is_not_here_are_left_and_named(project):
    out = Paths.tables("tiny")
    out.mkdir(parents=True)
    (out / "datasets.csv").write_text("from git\n", encoding="utf-8")
    lines = run("tables").stdout.splitlines()
    assert lines[-1] == f"left as they are, since all or some of their data is not here: {', '.join(FACTS)}"
    assert (out / "datasets.csv").read_text(encoding="utf-8") == "from git\n"
    written = {Path(line).name for line in lines[:-1]}
    assert {"comparison.csv", "metrics.json", "sources.md"} <= written
    assert {path.name for path in out.iterdir()} == written | {"datasets.csv"}
    # Nothing is said of a table that was not asked for, or that the experiment does not have.
    assert run("tables", "--only", "datasets").stdout.endswith("not here: datasets\n")
    assert "not here" not in run("tables", "--only", "comparison").stdout
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["experiments"]["tiny"]["matrix"][0]["methods"] = ["chance"]
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert run("tables", "--only", "mtgfe-table-1").stdout == ""


def test_tables_of_captions_are_built_where_the_canonical_table_is(project):
    shutil.copy(Paths.clean(CleanId("scenes-b")), Paths.dataset("scenes-b"))
    lines = run("tables", "--only", "facts").stdout.splitlines()
    names = ("ceiling", "datasets", "mtgfe-table-1", "splits", "statistics")
    expected = {f"{name}.{kind}" for name in names for kind in ("csv", "md", "tex", "html")}
    assert {Path(line).name for line in lines} == expected | {"statistics.png", "similarity.png"}


def test_a_table_keeps_the_rows_of_a_dataset_whose_data_is_not_here(project):
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["experiments"]["tiny"]["matrix"][0]["datasets"] = ["scenes-a", "scenes-b"]
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    shutil.copy(Paths.clean(CleanId("scenes-b")), Paths.dataset("scenes-b"))
    table = Paths.tables("tiny") / "datasets.csv"
    assert str(table) in run("tables", "--only", "datasets").stdout, "there is nothing to lose"
    table.write_text("from git\n", encoding="utf-8")
    assert run("tables", "--only", "datasets").stdout.endswith("data is not here: datasets\n")
    assert table.read_text(encoding="utf-8") == "from git\n"
    Paths.dataset("scenes-a").parent.mkdir(parents=True)
    shutil.copy(Paths.dataset("scenes-b"), Paths.dataset("scenes-a"))
    assert str(table) in run("tables", "--only", "datasets").stdout


@pytest.mark.parametrize("strict", ["params.yaml", "--strict"])
def test_strict_writes_no_table_of_missing_records(strict, project):
    options = ["--strict"] if strict == "--strict" else []
    if not options:
        raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        Path("params.yaml").write_text(yaml.safe_dump(raw | {"strict": True}), encoding="utf-8")
    for only in ([], ["--only", "records"], ["--only", "comparison"]):
        message = refused("tables", *only, *options)
        assert "4 of 4 results of tiny are not of the present code, parameters and data" in message
        assert "tiny/scenes-b/vse/1: missing (not run yet)" in message
        assert not Paths.tables("tiny").exists()
    # What the datasets' modules state is no record.
    assert "sources.csv" in run("tables", "--only", "sources", *options).stdout


def test_a_damaged_table_is_set_aside_and_named_with_what_to_do(project):
    Paths.dataset("scenes-b").parent.mkdir(parents=True, exist_ok=True)
    Paths.dataset("scenes-b").write_bytes(b"<!DOCTYPE html>")
    message = refused("data", "clean", "scenes-b")
    assert "dataset.parquet is damaged (" in message
    assert "it is now data/canonical/scenes-b/dataset.parquet.damaged; run again, which makes it again" in message
    assert not Paths.dataset("scenes-b").exists()
