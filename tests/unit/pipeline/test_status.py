"""The matrix and its records: what is missing, stale or failed, what strict tables refuse, what is forgotten."""

from __future__ import annotations

import re

import pytest

from rsitr.errors import StaleRecord
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline import report
from rsitr.pipeline.specs import spec_of
from rsitr.pipeline.status import forget, refuse, status_of, summary
from rsitr.records.artefact import Outcome
from rsitr.records.cell import read_report
from rsitr.records.paths import Paths
from tests.helpers.made import KILLED, fill, put_cell, put_evaluated, put_trained

CHANCE0, CHANCE1, VSE0, VSE1 = (
    CellId("tiny", "scenes-b", method, seed) for method in ("chance", "vse") for seed in (0, 1)
)
SKIPPED = Outcome(status="skipped", reason="no weights")


@pytest.fixture
def params(project):
    return load_params()


def put(params, cell, **record):
    spec = spec_of(params, cell)
    put_cell(spec, **record)
    return spec


def older(params, cell):
    spec = spec_of(params, cell)
    return {"identities": spec.identities | {"trained": "older"}}


def test_status_lists_the_expected_matrix(params):
    put(params, CHANCE0)
    put(params, CHANCE1, outcome=SKIPPED, **older(params, CHANCE1))
    put(params, VSE0, outcome=Outcome(status="failed", reason="loss nan"))
    put(params, VSE0._replace(seed=9))  # of another matrix
    rows = status_of(params, "tiny")
    assert [(row.spec.cell, row.state, row.reason) for row in rows] == [
        (CHANCE0, "ok", ""),
        (CHANCE1, "skipped stale", "no weights; made by other code"),
        (VSE0, "failed", "loss nan"),
        (VSE1, "missing", "not run yet"),
    ]
    assert summary(rows) == "1 failed, 1 missing, 1 ok, 1 skipped stale"


def test_strict_refuses_stale_failed_and_missing_cells_before_writing(params):
    put(params, CHANCE0)
    put(params, CHANCE1, data_sha="older")
    put(params, VSE0, outcome=Outcome(status="failed", reason="loss nan"))
    with pytest.raises(StaleRecord) as error:
        report.build(params, "tiny", only="pir", strict=True)
    assert str(error.value).splitlines() == [
        "3 of 4 results of tiny are not of the present code, parameters and data:",
        "  tiny/scenes-b/chance/1: ok stale (made by other data)",
        "  tiny/scenes-b/vse/0: failed (loss nan)",
        "  tiny/scenes-b/vse/1: missing (not run yet)",
        "Run `snakemake --cores 8 all --config experiment=tiny`, `rsitr retry --failed` for failed ones, or leave out "
        "strict",
    ]
    assert not Paths.tables("tiny").exists()


def test_strict_accepts_present_and_skipped_cells(params):
    for cell in (CHANCE0, CHANCE1, VSE0):
        put(params, cell)
    put(params, VSE1, outcome=SKIPPED)
    refuse(params, "tiny")


def test_forget_deletes_what_failed_and_keeps_what_it_can_continue_from(params):
    kept = [put(params, CHANCE0), put(params, VSE1, outcome=SKIPPED)]
    spec = spec_of(params, VSE0)
    put_trained(spec, b"", outcome=KILLED, weights_sha="")
    put_evaluated(spec, **older(params, VSE0))
    state = fill(Paths.checkpoint(VSE0) / "resume.pt", b"state")
    assert forget(params, "tiny", {"failed"}) == [spec]
    assert not any(path.exists() for path in spec.outputs)
    assert state.read_bytes() == b"state"
    assert all(path.exists() for other in kept for path in other.outputs)
    assert forget(params, "tiny", {"failed"}) == []


def test_forget_keeps_a_checkpoint_whose_evaluation_failed(params):
    spec = put(params, VSE0, outcome=KILLED)
    assert forget(params, "tiny", {"failed"}) == [spec]
    assert all(path.is_file() for path in spec.trained_outputs)
    assert read_report(VSE0).outcome == Outcome()
    assert not any(path.exists() for path in spec.scored_outputs)


@pytest.mark.parametrize(("states", "gone"), [({"failed"}, [VSE0]), ({"skipped"}, [VSE1]), ({"ok"}, [CHANCE0])])
def test_forget_takes_the_states_it_is_told(states, gone, params):
    put(params, CHANCE0)
    put(params, VSE0, outcome=KILLED, **older(params, VSE0))
    put(params, VSE1, outcome=SKIPPED)
    assert [spec.cell for spec in forget(params, "tiny", states)] == gone
    left = [cell for cell in (CHANCE0, VSE0, VSE1) if (Paths.cell(cell) / "cell.json").is_file()]
    assert left == [cell for cell in (CHANCE0, VSE0, VSE1) if cell not in gone]


def test_a_damaged_record_counts_as_missing_and_is_named(params):
    path = put(params, VSE0).record_file
    path.write_text(path.read_text()[:40])
    (row,) = [row for row in status_of(params, "tiny") if row.spec.record_file == path]
    assert row.state == "missing"
    assert re.match(
        r".*vse/0/cell.json cannot be read \(.*\): restore it from git, or delete it and run again", row.reason
    )
