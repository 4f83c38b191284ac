"""Table and figure of two-stage retrieval from records made by hand."""

from __future__ import annotations

import csv

import pytest

from rsitr.params import parse_params
from rsitr.params.ids import TwoStageId
from rsitr.records.artefact import Outcome
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.two_stage import Point, Seconds, TwoStageRecord, Way
from rsitr.tables.published import METRICS
from rsitr.tables.two_stage import TABLE, build, collect
from tests.helpers.lab import view


def seconds(i2t: float, t2i: float) -> Seconds:
    return Seconds(i2t=i2t, t2i=t2i)


def way(mr: float, i2t: float, t2i: float) -> Way:
    return Way(metrics=dict.fromkeys(METRICS, 10.0) | {"mr": mr}, seconds=seconds(i2t, t2i))


def record(seed: int, *, dataset: str = "rsicd", shift: float = 0.0, **changes: object) -> TwoStageRecord:
    points = [
        Point(
            **way(mr + shift, i2t, t2i).model_dump(),
            k=k,
            filter_seconds=seconds(0, 0),
            rerank_seconds=seconds(i2t, t2i),
        )
        for k, mr, i2t, t2i in ((16, 20.0, 0.004, 0.003), (128, 21.5, 0.02, 0.01))
    ]
    facts = {"experiment": "lab", "dataset": dataset, "scorer": "mtgfe", "filter": "retrieval-filter", "seed": seed}
    made = TwoStageRecord(
        **facts,
        exhaustive=way(22 + shift, 0.4, 0.08),
        filtered=way(15 + shift, 0.001, 0.0005),
        points=points,
    )
    return made.model_copy(update=changes)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """``lab(*records)``: the rows of ``two-stage.csv`` and the comments below them."""
    monkeypatch.chdir(tmp_path)
    blocks = [
        {"datasets": ["rsicd", "scenes-a"], "scorer": "mtgfe", "filter": "retrieval-filter", "shortlists": [16, 128]}
    ]
    experiment = {"title": "Lab", "matrix": [{"datasets": ["rsicd"], "methods": ["mtgfe"], "seeds": [0]}]}
    experiment["two_stage"] = [block | {"seeds": [0, 1]} for block in blocks]

    def made(*records, stale=None):
        params = parse_params({"experiment": "lab", "experiments": {"lab": experiment}})
        for each in records:
            write_json(Paths.two_stage(each.id), each)
        paths = build(view(params, tmp_path), collect(params, "lab", stale or {}), tmp_path)
        assert [path.name for path in paths] == [f"two-stage.{kind}" for kind in ("csv", "md", "tex", "html", "png")]
        lines = paths[0].read_text().splitlines()
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        return {(row["table"], row["shortlist"]): row for row in rows}, [line for line in lines if line.startswith("#")]

    made.experiment = experiment
    return made


def test_rows_and_columns(lab):
    synthetic = {"data": {"synthetic": True}, "dataset": "scenes-a"}
    rows, notes = lab(record(0), record(1, shift=1), *(record(seed, **synthetic) for seed in (0, 1)))
    every, short, long, alone = (rows["rsicd", key] for key in ("all pairs", "16", "128", "filter alone"))
    assert every["mR"] == "22.50 ± 0.71"
    assert every["Δ mR"] == every["i2t ×"] == ""
    assert (long["mR"], long["Δ mR"]) == ("22.00 ± 0.71", "-0.50 ± 0.00")
    assert (long["i2t ms"], long["t2i ms"]) == ("20.00 ± 0.00", "10.00 ± 0.00")
    assert (long["i2t ×"], long["t2i ×"]) == ("20.0 ± 0.0", "8.0 ± 0.0")
    assert (short["i2t ×"], alone["i2t ms"]) == ("100.0 ± 0.0", "1.00 ± 0.00")
    # What the paper prints stands next to its own K and nothing else, and never next to synthetic data.
    assert (every["published mR"], every["published i2t ms"]) == ("30.68", "472.10")
    assert (long["published mR"], long["published t2i ms"]) == ("29.80", "14.27")
    assert short["published mR"] == alone["published mR"] == ""
    assert {row["published mR"] for (table, _), row in rows.items() if table == "scenes-a (synthetic)"} == {""}
    assert notes == ["# snakemake --cores 8 all --config experiment=lab"]


def test_what_is_missing_failed_or_stale_is_said(lab):
    failed = record(1, outcome=Outcome(status="skipped", reason="its scorer is failed"), points=[], exhaustive=None)
    stale = {TwoStageId("lab", "scenes-a", "mtgfe", "retrieval-filter", 1): ["code", "filter"]}
    rows, notes = lab(record(0), failed, *(record(seed, dataset="scenes-a") for seed in (0, 1)), stale=stale)
    assert rows["rsicd", "128"]["mR"] == "NA [1]"
    assert rows["rsicd", "128"]["seeds"] == "1/2"
    assert rows["scenes-a", "128"]["mR"] == "21.50 ± 0.00 [†2]"
    assert notes[:2] == [
        "# [1] seed 1: skipped: its scorer is failed",
        "# [†2] made by other code and filter than the present (seed 1)",
    ]


def test_a_length_that_a_record_lacks_is_no_result(lab):
    first = record(0)
    rows, notes = lab(first.model_copy(update={"points": first.points[:1]}), record(1))
    assert rows["rsicd", "16"]["mR"] == "20.00 ± 0.00"
    assert (rows["rsicd", "128"]["mR"], rows["rsicd", "128"]["seeds"]) == ("NA [1]", "1/2")
    assert (rows["scenes-a", "16"]["mR"], rows["scenes-a", "16"]["seeds"]) == ("NA [2]", "0/2")
    assert notes[:2] == [
        "# [1] seed 0: its record has no shortlists of this length",
        "# [2] seed 0: not run yet; seed 1: not run yet",
    ]


@pytest.mark.parametrize(
    ("method", "expected"), [("mtgfe", {"ablation"}), ("retrieval-filter", {"ablation"}), ("vse", {None})]
)
def test_the_role_is_that_of_scorer_or_filter(method, expected, lab):
    lab.experiment["matrix"][0] |= {"methods": [method], "role": "ablation"}
    rows, _ = lab(record(0), record(1))
    assert {row.get("role") for (table, _), row in rows.items() if table == "rsicd"} == expected


def test_nothing_where_nothing_is_asked_for():
    experiment = {"title": "Lab", "matrix": [{"datasets": ["rsicd"], "methods": ["mtgfe"], "seeds": [0]}]}
    params = parse_params({"experiment": "lab", "experiments": {"lab": experiment}})
    assert TABLE.files(params["lab"]) == []
