"""Specs and records: what identifies a cell, how a failure is told, when a record is stale."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rsitr.errors import DatasetError, TrainingDiverged, Unsupported, WeightsUnavailable
from rsitr.params import CellId
from rsitr.records import cell as cells
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, Spec, read_record, read_spec
from rsitr.records.files import write_json
from rsitr.records.paths import Paths

SPEC = Spec(
    experiment="lab",
    dataset="ucm",
    method="vse",
    seed=0,
    settings={"epochs": 3},
    dedup="none",
    threads=1,
    code_sha="c0de",
)


def record(**fields):
    identity = {"experiment": "lab", "dataset": "ucm", "method": "vse", "seed": 0}
    made = {"params_sha": SPEC.params_sha, "code_sha": "c0de", "data_sha": "da7a"}
    return Record(**identity, **(made | {"outcome": Outcome()} | fields))


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"settings": {"epochs": 4}}, True),
        ({"settings": {}}, True),
        ({"dedup": "remoteclip"}, True),
        ({"seed": 1}, True),
        ({"threads": 8}, False),
        ({"code_sha": "other"}, False),
    ],
)
def test_params_sha_covers_what_params_yaml_says(change, differs):
    assert (SPEC.model_copy(update=change).params_sha != SPEC.params_sha) is differs


@pytest.mark.parametrize(
    ("fields", "data_sha", "expected"),
    [
        ({}, "da7a", []),
        ({"code_sha": "older"}, "da7a", ["code"]),
        ({"params_sha": "older"}, "da7a", ["parameters"]),
        ({}, "other", ["data"]),
        ({}, None, []),  # a clone without data judges code and parameters only
        ({"data_sha": ""}, "da7a", []),  # failed before it read the data
        ({"code_sha": "older", "params_sha": "older"}, "other", ["code", "parameters", "data"]),
    ],
)
def test_stale(fields, data_sha, expected):
    assert record(**fields).stale(SPEC, data_sha) == expected


@pytest.mark.parametrize("error", [Unsupported("no images"), WeightsUnavailable("no network")])
def test_what_is_not_to_be_had_is_skipped(error):
    assert Outcome.of(error) == Outcome(status="skipped", reason=str(error))


def ping(levels):
    pong(levels)  # two functions in turn: Python shortens the traceback of one that calls itself


def pong(levels):
    if levels:
        ping(levels - 1)
    raise TrainingDiverged("the loss became nan")


def test_a_failure_keeps_the_end_of_its_traceback():
    try:
        ping(40)
    except TrainingDiverged as error:
        outcome = Outcome.of(error)
    assert (outcome.status, outcome.reason) == ("failed", "the loss became nan")
    lines = outcome.traceback.splitlines()
    assert len(lines) == cells.TRACEBACK_LINES
    assert lines[-1] == "rsitr.errors.TrainingDiverged: the loss became nan"


def test_an_unforeseen_error_is_named_by_its_type_and_its_paths_are_short():
    try:
        read_spec(Path("no such spec"))
    except FileNotFoundError as error:
        outcome = Outcome.of(error)
    assert outcome.reason.startswith("FileNotFoundError: ")
    assert 'File "rsitr/cells.py"' in outcome.traceback
    assert str(Path(cells.__file__).parents[1]) not in outcome.traceback


def test_spec_and_record_survive_a_round_trip(tmp_path):
    write_json(tmp_path / "deep" / "spec.json", SPEC)
    assert read_spec(tmp_path / "deep" / "spec.json") == SPEC
    written = record(metrics={"mr": 12.25}, outcome=Outcome.of(DatasetError("x")))
    write_json(tmp_path / "cell.json", written)
    assert read_record(tmp_path / "cell.json") == written
    assert read_record(tmp_path / "none.json") is None


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError):
        Spec.model_validate(SPEC.model_dump() | {"epochs": 3})
    with pytest.raises(ValidationError):
        Record.model_validate(record().model_dump() | {"metric": {}})


def test_equal_content_gives_equal_bytes(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": 2})
    write_json(tmp_path / "b", {"a": 2, "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_killed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "cell.json"
    write_json(path, {"version": 1})

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"version": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"version": 1}


def test_places_follow_the_identity():
    cell = CellId("lab", "ucm", "vse++@amfmn", 2)
    assert Paths.spec(cell) == Path(".rsitr/specs/lab/ucm/vse++@amfmn/2.json")
    assert Paths.checkpoint(cell) == Path("checkpoints/lab/ucm/vse++@amfmn/2")
    assert Paths.cell(cell) == Path("results/cells/lab/ucm/vse++@amfmn/2")
    assert Paths.clean("ucm", "remoteclip") == Path("data/canonical/ucm/clean-remoteclip.parquet")
