"""``rsitr rehearse``: its plan, its estimate by hand, what it keeps and what it does again."""

from __future__ import annotations

import pytest

from rsitr.errors import ParamsError
from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId, NamedId
from rsitr.pipeline import rehearsal
from rsitr.pipeline.rehearsal import Estimate, current, estimate, figures, key_of, line, planned, rehearse, summary
from rsitr.pipeline.specs import pretraining_spec, prior_spec, spec_of
from rsitr.records.artefact import Outcome
from rsitr.records.files import write_json
from rsitr.records.rehearsal import Course, Rehearsed
from tests.helpers.project_copy import TINY

PARAMS = load_params()
CHANCE = "cells/tiny/scenes-b/chance/0"


def test_the_plan_has_every_configuration_once_and_each_method_first():
    specs = planned(PARAMS, "paper")
    items = [spec.item for spec in specs]
    cells = [item.split("/") for item in items if item.startswith("cells/")]
    assert len(items) == len(set(items))
    assert {tuple(cell[2:4]) for cell in cells} == {cell[1:3] for cell in PARAMS.cells("paper")}
    assert {cell[4] for cell in cells} == {"0"}
    families = [cell[3].partition("@")[0] for cell in cells]
    count = len(set(families))
    assert len(set(families[:count])) == count, "one of each method comes before the second of any"
    methods = [cell[3] for cell in cells]
    assert len(set(methods[: len(set(methods))])) == len(set(methods)), "then all variants, then other datasets"
    assert {item.split("/")[0] for item in items} == {"cells", "scenes", "pretraining", "two_stage", "peder"}


def test_some_of_it_can_be_named():
    name = "cells/paper/rsicd/vse/0"
    assert [spec.item for spec in planned(PARAMS, "paper", [name])] == [name]
    with pytest.raises(ParamsError, match="cells/paper/rsicd/vse/1 is not a configuration of paper: name a cell"):
        planned(PARAMS, "paper", [name, "cells/paper/rsicd/vse/1"])


def report(**fields):
    return Rehearsed(item="cells/x", batch=4, step_seconds=0.5, seconds=12.4, **fields)


def test_the_estimate_of_captions_by_hand():
    spec = spec_of(PARAMS, CellId("paper", "ucm", "vse++", 0))
    found = report(course=Course(epochs=30, batch_size=128, samples="captions"), parameters=1_500_000)
    # 1,680 x 5 captions make 65 batches of 128; 30 x 65 steps of 0.5 s x 32 are 31,200 s.
    assert estimate(spec, found) == Estimate(1950, pytest.approx(31200 / 3600))
    assert figures(spec, found) == ["1500000", "", "12", "0.50", "1950", "8.7"]


def test_the_estimate_of_a_joint_training_set_by_hand():
    spec = spec_of(PARAMS, CellId("paper", "rsicd", "pir-clip@ret-3", 0))
    found = report(course=Course(epochs=1, batch_size=100, samples="captions"))
    # 3,432, 8,734 and 1,680 images with five captions each are 69,230 pairs.
    assert estimate(spec, found) == Estimate(692, pytest.approx(692 * 12.5 / 3600))


def test_the_estimate_of_images_by_hand():
    spec = prior_spec(PARAMS, NamedId("paper", "resnet50-aid"))
    found = report(course=Course(epochs=2, batch_size=64, samples="images"))
    # 10,000 images make 156 batches of 64.
    assert estimate(spec, found) == Estimate(312, pytest.approx(312 * 8 / 3600))


def test_what_has_no_training_or_no_known_size_has_no_estimate():
    spec = spec_of(PARAMS, CellId("paper", "ucm", "clip", 0))
    assert estimate(spec, Rehearsed(item="x")) is None
    unknown = spec_of(PARAMS, CellId("demo", "scenes-a", "vse", 0))
    assert estimate(unknown, report(course=Course(epochs=1, batch_size=4, samples="images"))) is None


@pytest.mark.parametrize("cell", [CellId("paper", "ucm", "vse++", 0), CellId("demo", "scenes-a", "vse", 0)])
def test_the_estimate_of_steps_needs_no_size_of_the_data(cell):
    found = report(course=Course(epochs=30, max_steps=200, batch_size=64, samples="images"))
    assert estimate(spec_of(PARAMS, cell), found) == Estimate(200, pytest.approx(200 * 8 / 3600))


def test_the_summary_says_what_failed_and_what_was_left_out():
    trace = 'Traceback\n  File "rsitr/nn/text.py", line 7, in forward\n    x = y\nKeyError: 1'
    failed = report(outcome=Outcome(status="failed", reason="KeyError: 1", traceback=trace), parameters=1_234_567)
    left_out = Rehearsed(item="cells/y", outcome=Outcome(status="skipped", reason="no names and shapes"), seconds=3)
    elsewhere = report(outcome=Outcome(status="failed", reason="x", traceback='  File "torch/a.py", line 1, in b'))
    assert elsewhere.place == '"torch/a.py", line 1, in b'
    ended = Rehearsed(item="cells/z", seconds=2, peak_memory_mib=700)
    assert line(ended) == "cells/z: ok (2 s, 700 MiB)"
    assert summary([None] * 4, [ended, left_out, failed]).splitlines() == [
        "1 ok, 1 failed, 1 left out, 1 not rehearsed yet",
        'cells/x: failed (12 s, 1.2 M parameters): KeyError: 1 ["rsitr/nn/text.py", line 7, in forward]',
        "cells/y: skipped (3 s): no names and shapes",
    ]


@pytest.fixture
def chance(tmp_path, monkeypatch):
    """A configuration that is rehearsed in seconds, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (spec,) = planned(parse_params(TINY), "tiny", [CHANCE])
    return spec


def test_a_report_is_current_for_the_same_settings_and_code(chance, monkeypatch):
    path = rehearsal.report_file(chance)
    assert current(chance) is None
    write_json(path, Rehearsed(item=chance.item, key=key_of(chance)))
    assert current(chance) is not None
    assert current(chance.model_copy(update={"settings": {"query": "keywords"}})) is None
    assert current(chance.model_copy(update={"code": {"trained": "other"}})) is None
    monkeypatch.setattr(rehearsal, "code_sha", lambda names: "other code of the rehearsal")
    assert current(chance) is None
    path.write_text("{")
    assert current(chance) is None


def test_only_one_rehearsal_runs_in_a_folder(chance):
    rehearsal.FOLDER.mkdir(parents=True)
    with rehearsal.FileLock(rehearsal.FOLDER / "lock"), pytest.raises(ParamsError, match="is running in this folder"):
        rehearse([chance])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_failed_is_rehearsed_again_and_what_is_well_is_not(chance, tmp_path):
    (found,) = rehearse([chance], minutes=0.001)
    assert (found.outcome.status, found.outcome.reason) == ("failed", "took more than 0.001 minutes: raise --minutes")
    (found,) = rehearse([chance])
    assert found.outcome.status == "ok", found.outcome
    assert found.seconds > 0
    path = rehearsal.report_file(chance)
    before = path.stat().st_mtime_ns
    assert rehearse([chance]) == [found]
    assert path.stat().st_mtime_ns == before
    # Nothing but the report and the specification is left: no data, no checkpoint, no record.
    left = {each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*") if each.is_file()}
    assert left == {f".rsitr/rehearsal/reports/{CHANCE}.json", ".rsitr/rehearsal/lock", f".rsitr/specs/{CHANCE}.json"}


def test_a_process_that_ends_without_a_report_is_told(chance, tmp_path, monkeypatch):
    (tmp_path / "broken/rsitr").mkdir(parents=True)
    (tmp_path / "broken/rsitr/__init__.py").touch()
    monkeypatch.setattr(rehearsal, "surroundings", lambda threads, shared: {"PYTHONPATH": str(tmp_path / "broken")})
    (found,) = rehearse([chance])
    assert (found.outcome.status, found.outcome.reason) == ("failed", "ended with status 1 and no report")
    assert "No module named 'rsitr.stages'" in found.outcome.traceback


def test_the_estimate_of_a_pretraining_by_hand():
    spec = pretraining_spec(PARAMS, NamedId("paper", "pir-clip"))
    found = report(course=Course(epochs=20, batch_size=256, samples="images"))
    # 1,000,000 samples make 3,906 batches of 256; 20 x 3,906 steps of 0.5 s x 64.
    assert estimate(spec, found) == Estimate(78120, pytest.approx(78120 * 32 / 3600))
