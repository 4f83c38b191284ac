"""The campaign of faults: a short form of it in which every verdict is ok, and that it finds what it should."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.campaign import COLUMNS, SHORT, Row, _may_stay, neither_old_nor_new, planned, read
from tests.faults.kinds import FAULTS
from tests.faults.project import STAGES, digest
from tests.helpers.made import fill
from tests.helpers.warm import ROOT

CLEAN = next(stage for stage in STAGES if stage.name == "clean")
TABLE = "data/canonical/scenes-b/clean-official-remoteclip.parquet"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="faults are made by means of Linux")
@pytest.mark.timeout(600)
def test_the_short_campaign_finds_no_defect_but_those_that_were_planted(tmp_path: Path) -> None:
    out = tmp_path / "faults.csv"
    command = [sys.executable, "-m", "tests.faults.campaign", "--short"]
    done = subprocess.run(
        [*command, "--out", str(out), "--work", str(tmp_path / "work")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    with out.open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == [*COLUMNS]
    assert {(row["fault"], row["stage"]) for row in rows} == {(name, stage) for name in SHORT for stage in SHORT[name]}
    tried = [row for row in rows if row["verdict"] != "not tried"]
    assert {row["verdict"] for row in tried} == {"ok"}
    assert len(tried) >= len(rows) - 1  # a disk of its own needs the right to mount one
    found = {row["fault"]: row["seen"] for row in rows if row["fault"].startswith("planted")}
    assert f"{TABLE} is neither the old file nor the new one" in found["planted: files are written in place"]
    assert ".part is left over" in found["planted: unfinished files stay"]


def test_the_plan_has_as_many_rows_and_tries_as_it_promises() -> None:
    rows = planned(short=False, only="")
    assert len({(fault.name, stage.name) for fault, stage, _ in rows}) == len(rows) >= 60
    assert sum(tries for *_, tries in rows) >= 500
    kills = [(stage.name, tries) for fault, stage, tries in rows if fault.name.startswith("kill ")]
    assert sum(tries for name, tries in kills if name == "whole run") == 100
    assert sum(tries for name, tries in kills if name != "whole run") >= 100
    assert {name for name, _ in kills} == {stage.name for stage in STAGES} | {"whole run"}


@pytest.mark.parametrize(
    ("content", "verdicts"), [("old", []), ("new", []), ("ne", [f"{TABLE} is neither the old file nor the new one"])]
)
def test_half_a_file_is_neither_old_nor_new(content: str, verdicts: list[str], tmp_path: Path) -> None:
    seen = {TABLE: content}
    assert [*neither_old_nor_new(tmp_path, CLEAN, {TABLE: "old"}, seen, {TABLE: "new"})] == verdicts


def test_a_file_that_is_gone_is_named_unless_the_stage_makes_it(tmp_path: Path) -> None:
    before = {TABLE: "old", "data/raw/scenes-b/source.json": "old"}
    said = [*neither_old_nor_new(tmp_path, CLEAN, before, {}, before)]
    assert said == ["data/raw/scenes-b/source.json is gone"]


def test_records_of_failures_are_neither_old_nor_new_and_right(tmp_path: Path) -> None:
    record = fill(tmp_path / "results/tuning/tiny/x/y/tuning.json", b'{"outcome": {"status": "failed"}}')
    name = record.relative_to(tmp_path).as_posix()
    assert [*neither_old_nor_new(tmp_path, CLEAN, {}, {name: "another"}, {name: "new"})] == []


def test_times_do_not_count_and_everything_else_does(tmp_path: Path) -> None:
    def of(name: str, content: str) -> str:
        return digest(name, fill(tmp_path / "file", content.encode()))

    def record(seconds: float, mr: float) -> str:
        return json.dumps({"seconds": {"train": seconds}, "peak_memory_mib": seconds, "metrics": {"mr": mr}})

    cell = "results/cells/tiny/scenes-b/vse/0/cell.json"
    assert of(cell, record(1, 50)) == of(cell, record(2, 50)) != of(cell, record(1, 51))
    assert of(cell, record(1, 50)[:-1]) != of(cell, record(1, 50))
    timed, other = "results/tables/tiny/two-stage.csv", "results/tables/tiny/comparison.csv"
    assert of(timed, "vse,1.5\n") == of(timed, "vse,2.25\n") != of(timed, "clip,1.5\n")
    assert of(other, "vse,1.5\n") != of(other, "vse,2.25\n")


def test_only_what_belongs_to_no_artefact_may_stay_unfinished() -> None:
    part = ".x.abc.part"
    stays = [f"data/thumbnails/{part}", f"results/tables/tiny/{part}", f"results/site/{part}"]
    goes = [f"checkpoints/tiny/{part}", f"results/cells/tiny/{part}", "data/thumbnails/x.parquet", "results/tables/x"]
    assert [*map(_may_stay, [*stays, *goes])] == [True] * 3 + [False] * 4


def test_a_campaign_continues_after_the_last_whole_row(tmp_path: Path) -> None:
    journal = fill(tmp_path / "journal.csv", b"none,clean,1,every file,1 x ended well,ok\nnone,tra")
    assert read(journal) == [Row("none", "clean", 1, "every file", "1 x ended well", "ok")]
    assert journal.read_text() == "none,clean,1,every file,1 x ended well,ok\n"


def test_what_cannot_be_tried_here_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from tests.faults import campaign

    lacking = replace(FAULTS[0], lacks=lambda: "no such right")
    campaign.work_through([(lacking, CLEAN, 3)], None, tmp_path / "journal.csv")  # type: ignore[arg-type]
    assert read(tmp_path / "journal.csv") == [Row("none", "clean", 0, lacking.expected, "no such right", "not tried")]
