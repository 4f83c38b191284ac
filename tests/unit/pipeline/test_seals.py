"""Seals of what a run wrote: when they hold, when git or a whole new checkpoint takes their place."""

from __future__ import annotations

import subprocess

import pytest

from rsitr.errors import RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline import run as running
from rsitr.pipeline.seals import broken, committed, known, sealing
from rsitr.pipeline.specs import spec_of
from rsitr.pipeline.status import status
from tests.helpers.made import Processes, put_evaluated


@pytest.fixture
def spec(project, monkeypatch):
    """A cell that was run."""
    monkeypatch.setattr(running, "run_process", Processes())
    found = spec_of(load_params(), CellId("tiny", "scenes-b", "vse", 0))
    running.run(found)
    return found


def edit(path):
    path.write_bytes(path.read_bytes() + b" ")


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True)


def test_all_but_weights_and_card_is_sealed(spec):
    names = {"train.json", "bundle.json", "ranks.parquet", "top.parquet", "history.csv", "cell.json"}
    assert {path.name for path in known(spec)} == names
    assert broken(spec) == []


def test_status_and_run_notice_a_changed_record(spec):
    edit(spec.record_file)
    assert broken(spec) == [spec.record_file]
    (row,) = status([spec])
    assert row.state == "ok damaged"
    assert row.reason == f"{spec.record_file} is not what the last run here wrote: see `rsitr verify`"
    assert running.run(spec).ran
    assert status([spec])[0].state == "ok"
    assert spec.record_file.with_name("cell.json.damaged").is_file()


def test_an_evaluation_does_not_vouch_for_the_checkpoint(spec):
    train = spec.trained_outputs[1]
    edit(train)
    with sealing(spec, spec.scored_outputs):
        edit(spec.record_file)
    assert broken(spec) == [train]


def test_what_a_failed_run_wrote_has_no_seal(spec):
    with pytest.raises(RsitrError), sealing(spec, spec.scored_outputs):  # noqa: PT012
        edit(spec.record_file)
        raise RsitrError("no room")
    assert {path.parts[0] for path in known(spec)} == {"checkpoints"}
    assert broken(spec) == []


def test_a_checkpoint_may_be_replaced_as_a_whole(spec):
    train, bundle = spec.trained_outputs[1:3]
    edit(train)
    edit(bundle)
    assert broken(spec) == []


def test_what_is_as_git_has_it_is_whole(spec):
    assert committed([spec.record_file]) == {}  # there is no git
    put_evaluated(spec, role="control")
    assert broken(spec) == [spec.record_file]
    git("init", "--quiet")
    git("add", "results")
    git("commit", "--quiet", "--message", "records")
    assert committed([spec.record_file, spec.trained_outputs[1]]) == {spec.record_file: True}
    assert broken(spec) == []
    edit(spec.record_file)
    assert committed([spec.record_file]) == {spec.record_file: False}
    assert broken(spec) == [spec.record_file]
