"""The table of tunings from made-up records, by hand."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest

from rsitr.params import parse_params
from rsitr.params.ids import TuningId
from rsitr.params.tuning import Choices, Range
from rsitr.records.artefact import Outcome
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.tuning import Trial, TuningRecord
from rsitr.tables.tuning import TABLE
from tests.helpers.lab import Reader

VSE, SWAN, HVSA, SCAN = (TuningId("lab", "ucm", name) for name in ("vse", "swan", "hvsa", "scan-t2i"))
SPACE = {"learning_rate": Range(low=1e-4, high=1e-2, log=True), "negatives": Choices(choices=["hardest", "all"])}


def trial(number, rate, merit=None, status="complete", **fields):
    settings = {"learning_rate": rate, "negatives": "all"}
    return Trial(
        number=number, settings=settings, merit=merit, val_mr=merit, status=status, merits=[merit or 1.0], **fields
    )


def record(wanted, trials, **fields):
    made = TuningRecord(**wanted._asdict(), seed=7, max_steps=9, space=SPACE, planned=len(trials), trials=trials)
    made.conclude()
    write_json(Paths.tuning(wanted), made.model_copy(update=fields))


@pytest.fixture
def table(tmp_path, monkeypatch):
    """The table of four tunings: one that is fine, one whose given settings diverged, one skipped, one not run."""
    monkeypatch.chdir(tmp_path)
    trials = [trial(0, 1e-3, 40.0, steps=9, seconds=1.5), trial(1, 9.5e-3, 44.0), trial(2, 2e-3, 42.0)]
    lost = [trial(3, 3e-3, status="pruned"), trial(4, 8e-3, status="diverged", reason="the loss became nan")]
    record(VSE, [*trials, *lost, trial(5, 4e-3, status="failed", reason="no")])
    record(SWAN, [trial(0, 0.5, status="diverged", reason="the loss became inf"), trial(1, 1e-3, 30.0)], synthetic=True)
    record(HVSA, [], outcome=Outcome(status="skipped", reason="no usable images in val"))
    block = {"datasets": ["ucm"], "methods": ["vse"], "seeds": [0], "settings": "tuned"}
    lab = {"title": "The lab", "matrix": [block], "tuning": {"trials": 6, "max_steps": 9, "seed": 7}}
    params = parse_params({"experiment": "lab", "experiments": {"lab": lab}})
    found = Reader()
    found.out, found.name = tmp_path / "out", "tuning"
    stale = {VSE: [], SWAN: ["code"], HVSA: [], SCAN: []}
    material = SimpleNamespace(name="lab", out=found.out, experiment=params["lab"], tunings=stale)
    assert [path.name for path in TABLE.build(material)] == TABLE.files(params["lab"])
    return found


def test_a_row_says_what_was_tried_and_what_it_gained(table):
    row = table.rows()["vse"]
    assert [row[name] for name in ("trials", "complete", "pruned", "lost")] == ["6", "3", "1", "2"]
    # 40, 42 and 44: two from the mean each, and a sum of squares of 8 over 2.
    assert [row[name] for name in ("best", "spread", "as given", "gain")] == ["44.00", "2.00", "40.00", "+4.00"]
    assert row["best settings"] == "learning_rate 0.0095, negatives all"
    # A twentieth of two decades below 1e-2 is 7.94e-3. Of two names none is at an edge.
    assert row["at the edge"] == "learning_rate"


def test_what_has_no_number_says_why(table):
    rows = table.rows()
    assert [rows["swan"][name] for name in ("best", "spread", "gain", "at the edge")] == ["30.00 [†1]", "", "", ""]
    assert table.note(rows["swan"]["best"]) == "made by other code than the present"
    assert table.note(rows["swan"]["as given"]) == "the loss became inf"
    assert table.note(rows["hvsa"]["trials"]) == "skipped: no usable images in val"
    assert table.note(rows["scan-t2i"]["trials"]) == "not run yet"
    assert "6 trials of at most 9 steps, with seed 7" in table.read("md")
    assert "ucm (synthetic)" in table.read("csv")


def test_every_trial_is_a_row(table):
    rows = list(csv.DictReader((table.out / "tuning.trials.csv").read_text().splitlines()))
    assert [(row["method"], row["trial"], row["status"]) for row in rows] == [
        *(("vse", "0", "complete"), ("vse", "1", "complete"), ("vse", "2", "complete"), ("vse", "3", "pruned")),
        *(("vse", "4", "diverged"), ("vse", "5", "failed"), ("swan", "0", "diverged"), ("swan", "1", "complete")),
    ]
    assert rows[0] == {
        **{"dataset": "ucm", "method": "vse", "role": "main", "trial": "0", "status": "complete"},
        **{"merit": "40.0", "val_mr": "40.0", "val_dup_mr": "", "epochs": "1", "steps": "9", "seconds": "1.5"},
        **{"settings": '{"learning_rate": 0.001, "negatives": "all"}', "reason": ""},
    }
    assert rows[4]["reason"] == "the loss became nan"


def test_an_experiment_whose_settings_are_given_has_no_such_table(table):
    block = {"datasets": ["ucm"], "methods": ["vse"], "seeds": [0]}
    lab = {"title": "The lab", "matrix": [block], "tuning": {}}
    assert TABLE.files(parse_params({"experiment": "lab", "experiments": {"lab": lab}})["lab"]) == []
