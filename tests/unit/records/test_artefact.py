"""Specs, records and their files: what identifies an artefact, how a failure is told, how a result is written."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from rsitr.errors import DatasetError, RecordError, TrainingDiverged, Unsupported, WeightsUnavailable
from rsitr.params import Prior
from rsitr.params.ids import CellId, CleanId, NamedId, TwoStageId
from rsitr.records import artefact
from rsitr.records.artefact import Outcome
from rsitr.records.cell import SCORED, TRAINED, Record, Spec, TrainReport, TuningSpec, trained_identities
from rsitr.records.files import read_json, replacing, set_aside, write_csv, write_json, write_text
from rsitr.records.paths import Paths
from rsitr.records.prior import PriorSpec, SceneRecord
from rsitr.records.study import Study, StudySpec
from rsitr.records.two_stage import TwoStageRecord, TwoStageSpec

IDENTITY = {"experiment": "lab", "dataset": "ucm", "method": "vse", "seed": 0}
FACTS = {"settings": {"epochs": 3}, "dedup": "none", "threads": 1}
SPEC = Spec(**IDENTITY, **FACTS, code={TRAINED: "c0de", SCORED: "5c0re"})
PRIOR = PriorSpec(experiment="lab", name="mine", prior=Prior(datasets=["aid"]), threads=1, code={"code": "c0de"})
OTHER = SPEC.model_copy(update={"method": "vse++"})


def record(**fields):
    made = {"identities": SPEC.identities, "data_sha": "da7a", "weights_sha": "we16"}
    return Record(**IDENTITY, **(made | fields))


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"settings": {"epochs": 4}}, True),
        ({"settings": {}}, True),
        ({"dedup": "remoteclip"}, True),
        ({"seed": 1}, True),
        ({"method": "vse++"}, True),
        ({"packages": {"georsclip": "1.0"}}, True),
        ({"teacher": OTHER}, True),
        ({"prior": PRIOR}, True),
        ({"role": "sweep"}, False),
        ({"threads": 8}, True),  # the sum of a gradient is in another order
        ({"code": {TRAINED: "other", SCORED: "other"}}, False),
    ],
)
def test_params_sha_covers_what_params_yaml_says(change, differs):
    assert (SPEC.model_copy(update=change).params_sha != SPEC.params_sha) is differs


@pytest.mark.parametrize("part", ["teacher", "prior"])
def test_params_sha_covers_what_a_cell_rests_on(part):
    whole = SPEC.model_copy(update={"teacher": OTHER, "prior": PRIOR})
    changed = {
        "teacher": OTHER.model_copy(update={"settings": {"epochs": 9}}),
        "prior": PRIOR.model_copy(update={"prior": Prior(datasets=["aid"], without=["ucm"])}),
    }[part]
    assert whole.model_copy(update={part: changed}).params_sha != whole.params_sha


def test_a_prior_knows_the_package_that_its_weights_come_from():
    assert PRIOR.model_copy(update={"packages": {"weights": "1.0"}}).params_sha != PRIOR.params_sha


def test_a_configuration_is_what_the_seeds_have_in_common():
    assert SPEC.configuration == SPEC.model_copy(update={"seed": 7}).configuration
    assert SPEC.configuration.startswith("cells/lab/ucm/vse#")
    assert SPEC.configuration != SPEC.model_copy(update={"settings": {"epochs": 4}}).configuration
    assert PRIOR.configuration.startswith("scenes/lab/mine#")
    seeded = PRIOR.model_copy(update={"prior": Prior(datasets=["aid"], seed=5)})
    assert seeded.configuration == PRIOR.configuration
    assert seeded.params_sha != PRIOR.params_sha


def test_each_kind_has_its_files():
    two = TwoStageSpec(scorer=SPEC, filter=OTHER, shortlists=(3,), threads=1, code={"code": "c0de"})
    study = StudySpec(cell=SPEC, two_encoders=OTHER, threads=1, code={"code": "c0de"})
    pupil = SPEC.model_copy(update={"teacher": OTHER, "seed": 1000})
    tuning = TuningSpec(base=pupil, space={}, trials=3, max_steps=9, threads=1, code={"code": "c0de"})
    expected = {
        "cells/lab/ucm/vse/0": [
            *("checkpoints/lab/ucm/vse/0/model.safetensors", "checkpoints/lab/ucm/vse/0/train.json"),
            *("checkpoints/lab/ucm/vse/0/bundle.json", "checkpoints/lab/ucm/vse/0/README.md"),
            *(
                f"results/cells/lab/ucm/vse/0/{name}"
                for name in ("ranks.parquet", "top.parquet", "history.csv", "cell.json")
            ),
        ],
        "scenes/lab/mine": [
            "checkpoints/scenes/lab/mine/model.safetensors",
            *(f"results/scenes/lab/mine/{name}" for name in ("left_out.csv", "scenes.json")),
        ],
        "tuning/lab/ucm/vse": ["results/tuning/lab/ucm/vse/tuning.json"],
        "two_stage/lab/ucm/vse/vse++/0": ["results/two_stage/lab/ucm/vse/vse++/0/two_stage.json"],
        "peder/lab/ucm/vse/0": [f"results/peder/lab/ucm/vse/0/{name}" for name in ("failures.csv", "study.json")],
    }
    specs = (SPEC, PRIOR, tuning, two, study)
    assert {spec.item: [path.as_posix() for path in spec.outputs] for spec in specs} == expected
    assert all(spec.record_file == spec.outputs[-1] for spec in specs)
    assert [list(spec.rests_on) for spec in specs] == [
        *([], [], ["teacher"], ["scorer", "filter"], ["cell", "two_encoders"]),
    ]
    assert list(SPEC.model_copy(update={"teacher": OTHER, "prior": PRIOR}).rests_on) == ["teacher", "prior"]


def test_a_checkpoint_is_identified_by_parameters_and_the_code_of_training():
    assert trained_identities(SPEC) == {"parameters": SPEC.params_sha, "trained": "c0de"}


def test_the_record_of_a_cell_begins_with_what_training_reported():
    report = TrainReport(identities=trained_identities(OTHER), data_sha="da7a", weights_sha="we16", used={"prior": "p"})
    begun = Record.begun(SPEC.model_copy(update={"role": "sweep"}), report)
    assert begun.identities == {"parameters": OTHER.params_sha, "trained": "c0de", "scored": "5c0re"}
    assert (begun.data_sha, begun.weights_sha, begun.used) == ("da7a", "we16", {"prior": "p"})
    assert (begun.version, begun.cell, begun.role) == (2, CellId("lab", "ucm", "vse", 0), "sweep")


OLD = {"version": 1, "code_sha": "c0de", "data_sha": "da7a"}


@pytest.mark.parametrize(
    ("model", "fields", "identities", "used", "weights"),
    [
        (
            Record,
            IDENTITY | {"params_sha": "pa7a", "teacher_sha": "t", "prior_sha": "", "weights_sha": "we16"},
            {"parameters": "pa7a", "trained": "c0de", "scored": "c0de"},
            {"teacher": "t"},
            "we16",
        ),
        (
            TwoStageRecord,
            {"experiment": "lab", "dataset": "ucm", "scorer": "a", "filter": "b", "seed": 0}
            | {"params_sha": "pa7a", "scorer_sha": "s", "filter_sha": "f"},
            {"parameters": "pa7a", "code": "c0de"},
            {"scorer": "s", "filter": "f"},
            "",
        ),
        (
            SceneRecord,
            {"experiment": "lab", "name": "mine", "datasets": ["aid"], "without": [], "dedup": "copies", "seed": 0}
            | {"params_sha": "pa7a", "weights_sha": "we16"},
            {"parameters": "pa7a", "code": "c0de"},
            {},
            "we16",
        ),
        (
            Study,
            IDENTITY | {"weights_sha": "c", "two_encoders_sha": "e"},
            {"code": "c0de"},
            {"cell": "c", "two_encoders": "e"},
            "",
        ),
    ],
    ids=["cell", "two-stage", "prior", "study"],
)
def test_a_record_of_version_1_is_read(model, fields, identities, used, weights, tmp_path):
    write_json(tmp_path / "record.json", OLD | fields)
    found = read_json(model, tmp_path / "record.json")
    assert (found.version, found.identities, found.used) == (2, identities, used)
    assert (found.data_sha, found.weights_sha) == ("da7a", weights)


def test_a_record_of_a_later_version_is_refused(tmp_path):
    write_json(tmp_path / "cell.json", record().model_dump(mode="json") | {"version": 3})
    with pytest.raises(RecordError, match=r"cell.json cannot be read .*: restore it from git, or delete it and run ag"):
        Record.read(tmp_path / "cell.json")


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
    assert len(lines) == artefact.TRACEBACK_LINES
    assert lines[-1] == "rsitr.errors.TrainingDiverged: the loss became nan"


def test_an_unforeseen_error_is_named_by_its_type_and_its_paths_are_short():
    try:
        read_json(Spec, Path("no such spec"))
    except FileNotFoundError as error:
        outcome = Outcome.of(error)
    assert outcome.reason.startswith("FileNotFoundError: ")
    assert 'File "rsitr/records/files.py"' in outcome.traceback
    assert str(Path(artefact.__file__).parents[2]) not in outcome.traceback


def test_spec_and_record_survive_a_round_trip(tmp_path):
    whole = SPEC.model_copy(update={"teacher": OTHER, "prior": PRIOR})
    write_json(tmp_path / "deep" / "spec.json", whole)
    assert read_json(Spec, tmp_path / "deep" / "spec.json") == whole
    written = record(metrics={"ceiling_mr": 12.25}, outcome=Outcome.of(DatasetError("x")))
    write_json(tmp_path / "cell.json", written)
    assert Record.read(tmp_path / "cell.json") == written
    assert Record.read(tmp_path / "none.json") is None


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError):
        Spec.model_validate(SPEC.model_dump() | {"epochs": 3})
    with pytest.raises(ValidationError):
        Record.model_validate(record().model_dump() | {"metric": {}})


def test_equal_content_gives_equal_bytes(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": 2})
    write_json(tmp_path / "b", {"a": 2, "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def write_half(path, error):
    with replacing(path) as partial:
        partial.write_text("half of")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_a_write_that_does_not_end_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "cell.json"
    write_json(path, {"version": 1})
    with pytest.raises(error):
        write_half(path, error)
    assert json.loads(path.read_text(encoding="utf-8")) == {"version": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_has_the_mode_of_any_new_file(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "cell.json", {})
        write_csv(tmp_path / "history.csv", ["epoch"], [])
        with replacing(tmp_path / "model.safetensors") as partial:
            partial.unlink()  # as a library that writes a file of its own, with a mode of its own
            partial.touch(0o600)
        assert os.umask(umask) == umask  # as it was found
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}


def test_a_damaged_file_that_is_set_aside_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "resume.pt"
    for content in ("first", "second"):
        write_text(path, content)
        assert set_aside(path) == tmp_path / "resume.pt.damaged"
    assert [file.name for file in tmp_path.iterdir()] == ["resume.pt.damaged"]
    assert (tmp_path / "resume.pt.damaged").read_text() == "second"


def test_places_follow_the_identity():
    cell = CellId("lab", "ucm", "vse++@amfmn", 2)
    assert Paths.checkpoint(cell) == Path("checkpoints/lab/ucm/vse++@amfmn/2")
    assert Paths.cell(cell) == Path("results/cells/lab/ucm/vse++@amfmn/2")
    assert Paths.clean(CleanId("ucm", dedup="remoteclip")) == Path(
        "data/canonical/ucm/clean-official-remoteclip.parquet"
    )
    assert Paths.prior(NamedId("lab", "mine")) == Path("results/scenes/lab/mine")
    assert Paths.two_stage(TwoStageId("lab", "ucm", "a", "b", 0)) == Path(
        "results/two_stage/lab/ucm/a/b/0/two_stage.json"
    )
