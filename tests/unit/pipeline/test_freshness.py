"""What a record no longer agrees with: parameters, code, data, and what it rests on, each by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.specs import spec_of
from rsitr.records.artefact import Outcome
from rsitr.records.cell import Record, Spec
from rsitr.records.certificates import ANY, Certificate, Ledger
from rsitr.records.files import write_json
from tests.helpers.made import KILLED, fill, other_data, put_cell, put_evaluated, put_trained

VSE = CellId("tiny", "scenes-b", "vse", 0)


@pytest.fixture
def spec(project) -> Spec:
    return spec_of(load_params(), VSE)


def stale(spec):
    return Present().stale(spec)


def identified(spec, **other):
    return {"identities": spec.identities | other}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, []),
        ({"trained": "older"}, ["code"]),
        ({"scored": "older"}, ["code of evaluation"]),
        ({"parameters": "older"}, ["parameters"]),
        ({"parameters": "older", "trained": "older"}, ["parameters", "code"]),
    ],
)
def test_parts_of_the_identity_are_named(other, expected, spec):
    put_cell(spec, **identified(spec, **other))
    assert stale(spec) == expected


def test_what_has_no_record_is_not_stale(spec):
    assert stale(spec) == []


def test_another_role_makes_nothing_stale(spec):
    put_cell(spec, role=spec.role)
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["experiments"]["tiny"]["matrix"][0]["role"] = "control"
    now = spec_of(parse_params(raw), VSE)
    assert (spec.role, now.role) == ("main", "control")
    assert (now.identities, now.configuration) == (spec.identities, spec.configuration)
    assert stale(now) == []


@pytest.mark.parametrize("here", [True, False])
def test_other_data_is_named_and_data_that_is_not_here_is_not_judged(here, spec):
    put_cell(spec)
    other_data(spec)
    if not here:
        spec.clean.unlink()
    assert stale(spec) == (["data"] if here else [])


def test_a_record_that_failed_before_it_read_the_data_is_not_of_other_data(spec):
    put_cell(spec, data_sha="", outcome=KILLED)
    assert stale(spec) == []


def test_a_record_of_version_1_states_one_code_for_training_and_evaluation(spec):
    old = {"version": 1, "code_sha": "older", "params_sha": spec.params_sha, "teacher_sha": "", "prior_sha": ""}
    put_cell(spec)
    write_json(spec.record_file, VSE._asdict() | old)
    assert sorted(stale(spec)) == ["code", "code of evaluation"]
    row = Certificate("migration", "trained", ANY, "older", spec.code["trained"], "base", "head", "the same sources")
    assert Present(Ledger([row])).stale(spec) == ["code of evaluation"]
    rows = [row, row._replace(part="scored", new=spec.code["scored"])]
    assert Present(Ledger(rows)).stale(spec) == []


@pytest.mark.parametrize(
    ("configuration", "expected"), [("own", []), (ANY, []), ("cells/tiny/scenes-b/chance#0", ["code"])]
)
def test_certificates_are_followed_in_a_chain_and_for_their_configuration_alone(configuration, expected, spec):
    put_cell(spec, **identified(spec, trained="older"))
    of = spec.configuration if configuration == "own" else configuration
    rows = [
        Certificate("replay", "trained", ANY, "older", "between", "a", "b", "trace"),
        Certificate("replay", "trained", of, "between", spec.code["trained"], "b", "c", "trace"),
    ]
    assert Ledger().add(rows) == 2
    assert stale(spec) == expected


def test_a_certificate_of_one_part_says_nothing_of_another(spec):
    put_cell(spec, **identified(spec, scored="older"))
    Ledger().add([Certificate("replay", "trained", ANY, "older", spec.code["scored"], "a", "b", "trace")])
    assert stale(spec) == ["code of evaluation"]


def test_the_present_is_read_once(spec):
    present = Present()
    put_cell(spec)
    assert present.stale(spec) == []
    put_cell(spec, **identified(spec, trained="older"))
    assert present.stale(spec) == []
    assert stale(spec) == ["code"]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({}, []),
        ({"data_sha": "older"}, ["data"]),
        ({"outcome": KILLED}, ["checkpoint"]),
        ({"identities": {}}, ["parameters", "code"]),  # as reports were before they had any
    ],
)
def test_a_checkpoint_is_of_its_report(report, expected, spec):
    put_trained(spec, **report)
    assert Present().other_checkpoint(spec) == expected


@pytest.mark.parametrize("part", ["parameters", "trained"])
def test_a_checkpoint_of_another_training_is_named(part, spec):
    identities = {"parameters": spec.params_sha, "trained": spec.code["trained"]}
    put_trained(spec, identities=identities | {part: "older"})
    assert Present().other_checkpoint(spec) == [{"trained": "code"}.get(part, part)]


@pytest.mark.parametrize("absent", range(4))
def test_half_a_checkpoint_is_none(absent, spec):
    put_trained(spec)
    spec.trained_outputs[absent].unlink()
    assert Present().other_checkpoint(spec) == ["checkpoint"]


def test_code_of_evaluation_is_no_matter_of_the_checkpoint(spec):
    put_trained(spec)
    edited = spec.model_copy(update={"code": spec.code | {"scored": "newer"}})
    assert Present().other_checkpoint(edited) == []


def test_a_record_is_superseded_by_another_current_checkpoint_alone(spec):
    put_cell(spec)
    assert Present().current(spec)
    put_trained(spec, b"of this machine")
    assert not Present().current(spec)
    put_trained(spec, b"of this machine", identities={"parameters": spec.params_sha, "trained": "older"})
    assert Present().current(spec)
    put_trained(spec, b"", outcome=KILLED, weights_sha="")
    assert Present().current(spec)
    for path in spec.trained_outputs:  # a clone has records and no checkpoints
        path.unlink()
    assert Present().current(spec)


def test_weights_that_nobody_has_are_not_judged(spec):
    """A student's record names the weights of its teacher, of which here is neither checkpoint nor record."""
    teacher = spec.model_copy(update={"method": "chance"})
    student = spec.model_copy(update={"teacher": teacher})
    put_cell(student, used={"teacher": "first"})
    assert stale(student) == []
    put_trained(teacher, b"second")
    assert stale(student) == ["teacher"]


def test_what_rests_on_something_stale_is_stale_unless_only_its_evaluation_changed(spec):
    teacher = spec.model_copy(update={"method": "chance"})
    student = spec.model_copy(update={"teacher": teacher})
    put_cell(teacher)
    put_cell(student)
    assert stale(student) == []
    put_cell(teacher, **identified(teacher, scored="older"))
    assert stale(student) == []
    put_cell(teacher, **identified(teacher, trained="older"))
    assert stale(student) == ["teacher"]


def test_a_record_is_read_as_it_stands(spec):
    put_cell(spec, outcome=Outcome(status="skipped", reason="no weights"))
    assert Present().record(spec) == Record.read(spec.record_file)
    assert json.loads(spec.record_file.read_text())["version"] == 2
    assert isinstance(Present().record(spec), Record)
    fill(spec.record_file).unlink()
    assert Present().record(spec) is None


def test_the_weights_of_a_cell_are_those_here_else_those_of_the_record(spec):
    recorded = put_cell(spec, b"recorded")
    assert Present().weights_sha(spec) == recorded
    here = put_trained(spec, b"here")
    assert Present().weights_sha(spec) == here
    put_evaluated(spec, weights_sha="of the record")
    spec.trained_outputs[1].unlink()
    assert Present().weights_sha(spec) == "of the record"
