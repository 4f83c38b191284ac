"""The folder that a command works in, whose paths are whose, and what is said where there is no project."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from tests.helpers.commands import refused, run

ANNOTATION = {
    "images": [
        {"filename": f"{number}.png", "split": split, "sentences": [{"raw": f"a {word}"}, {"raw": f"one {word}"}]}
        for number, (split, word) in enumerate([("train", "dot"), ("train", "bar"), ("test", "post")])
    ]
}


@pytest.fixture
def elsewhere(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, which is not the project that RSITR_HOME names."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RSITR_HOME", os.path.relpath(project, folder))
    return folder


def test_a_command_works_in_the_project_that_is_named(elsewhere, project):
    assert "4 missing" in run("status").stdout
    assert Path.cwd() == project
    assert "RSITR_HOME" not in os.environ  # or what is started from here would look for it again


def test_paths_of_the_user_start_where_the_user_is(elsewhere, project):
    shutil.copy(project / Paths.clean(CleanId("scenes-b")), project / Paths.dataset("scenes-b"))
    assert run("data", "audit", "scenes-b", "--out", "found.csv").stdout.endswith(f"{elsewhere}/found.csv\n")
    assert [path.name for path in elsewhere.iterdir()] == ["found.csv"]


def test_a_name_that_begins_with_a_dot_is_a_path_of_the_user(elsewhere, project):
    (elsewhere / "spec.yaml").write_text("shards: []", encoding="utf-8")
    assert f"{elsewhere}/spec.yaml" in refused("pretrain", "./spec.yaml")
    assert f"{elsewhere}" not in refused("pretrain", "spec.yaml")


def test_paths_that_nobody_gave_are_in_the_project(elsewhere, project):
    lines = run("tables", "--only", "sources").stdout.splitlines()
    assert "results/tables/tiny/sources.csv" in lines
    assert (project / "results/tables/tiny/sources.csv").is_file()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    "command", [("status",), ("data", "list"), ("captions", "statistics", "--annotation", "a.json")]
)
def test_a_home_that_is_no_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSITR_HOME", "gone")
    assert refused(*command) == (
        "rsitr: RSITR_HOME names gone, which is not a folder: `rsitr init gone` lays out a project there\n"
    )


NO_PROJECT = (
    "there is no project in {}, since params.yaml is missing: go to the folder of one, set RSITR_HOME to it, or lay "
    "one out with `rsitr init FOLDER`\n"
)


@pytest.mark.parametrize(
    "command",
    [
        *[("status",), ("tables",), ("schemas",), ("rehearse",), ("retry", "--failed"), ("certify", "HEAD~1")],
        *[("run", "cells/demo/scenes-a/vse/0"), ("train", "demo/scenes-a/vse/0"), ("evaluate", "demo/scenes-a/vse/0")],
        *[("tune", "demo/scenes-a/vse"), ("pretrain", "demo/all"), ("scenes", "report"), ("examples",)],
        *[("locate", "--image", "a.tif", "--text", "b"), ("attention", "--image", "a.png", "--text", "b")],
        *[("peder", "failures", "demo/scenes-a/clip/0"), ("peder", "probabilities", "--image", "a", "--text", "b")],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("named", [True, False], ids=["RSITR_HOME", "here"])
def test_what_needs_a_project_says_so(command, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    if named:
        monkeypatch.setenv("RSITR_HOME", "empty")
    assert refused(*command) == "rsitr: " + NO_PROJECT.format(tmp_path / "empty" if named else tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize(
    "command", [("data", "clean", "ucm"), ("captions", "keywords", "ucm"), ("dedup", "pairs", "ucm")], ids=" ".join
)
def test_what_reads_the_files_of_a_project_says_where_there_is_none(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(*command)
    assert "build it with `snakemake --cores 2 data/" in message
    assert message.endswith("rsitr: " + NO_PROJECT.format(tmp_path))


def test_what_needs_no_project_works_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "UCM-Captions" in run("data", "list").stdout
    missing = "data/raw/ucm/source.json is missing: fetch the dataset first with `rsitr data fetch ucm`"
    assert refused("data", "build", "ucm") == f"rsitr: {missing}\n"
    assert run("data", "fetch", "scenes-a").stdout == "data/raw/scenes-a/source.json\n"


@pytest.mark.slow
def test_captions_of_ones_own_are_measured_anywhere(elsewhere):
    (elsewhere / "mine.json").write_text(json.dumps(ANNOTATION), encoding="utf-8")
    lines = run("captions", "statistics", "--annotation", "mine.json", "--out", "found").stdout.splitlines()
    assert any(line.startswith("│ mine ") for line in lines)
    assert f"{elsewhere}/found/statistics.csv" in lines
